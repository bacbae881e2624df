from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from napari_medzoo_training.config import Recipe
from napari_medzoo_training.data import open_source
from napari_medzoo_training.fit import fit
from napari_medzoo_training.labelmaps import LabelMaps
from napari_medzoo_training.logs import append, cut, idle_share, read_log
from napari_medzoo_training.overrides import override

from napari_medzoo.progress import run


def test_a_log_is_cut_where_a_training_resumes(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    cut(path, 0)  # there is none yet
    append(path, ("step", "loss"), [(1, 0.5), (2, 0.4)])
    append(path, ("step", "loss"), [(3, 0.3)])
    with path.open("a") as stream:
        stream.write("2,0.")  # cut short by a crash, and of a step that is kept
    cut(path, 2)
    assert path.read_text() == "step,loss\n1,0.5\n2,0.4\n"
    append(path, ("step", "loss"), [(3, 0.2)])
    assert [row["loss"] for row in read_log(tmp_path)] == [0.5, 0.4, 0.2]


def test_a_log_that_has_only_a_broken_head_begins_anew(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text("step,lo")
    cut(path, 0)
    append(path, ("step", "loss"), [(1, 0.5)])
    assert read_log(tmp_path) == [{"step": 1, "loss": 0.5}]


def test_the_share_of_time_waiting_for_data() -> None:
    rows = [{"data_seconds": 1.0, "step_seconds": 4.0}, {"data_seconds": 0.0, "step_seconds": 1.0}]
    assert idle_share(rows) == pytest.approx(0.2)
    assert idle_share([]) == 0


@pytest.mark.parametrize("accumulate", [1, 2])
def test_one_row_a_step(accumulate: int, label_maps: LabelMaps, recipe: Recipe, tmp_path: Path) -> None:
    fit(override(recipe, [f"accumulate={accumulate}"]), lambda: label_maps, tmp_path, device="cpu")
    rows = read_log(tmp_path)
    assert [row["step"] for row in rows] == [1, 2, 3, 4, 5, 6]
    assert rows[0]["learning_rate"] == pytest.approx(5e-4), "half of the warm-up of two steps"
    assert all(0 < row["data_seconds"] < row["step_seconds"] < 60 for row in rows)


def test_accumulated_losses_are_the_mean(label_maps: LabelMaps, recipe: Recipe, tmp_path: Path) -> None:
    """The first step's loss over two batches of one is that of each on its own, averaged."""
    small = ["losses=[{name: cross_entropy}]", "stages.1.steps=1", "stages.0.steps=1", "checkpoint_every=1"]
    fit(override(recipe, [*small, "accumulate=2"]), lambda: label_maps, tmp_path / "two", device="cpu")
    fit(override(recipe, [*small, "batch=2"]), lambda: label_maps, tmp_path / "both", device="cpu")
    first, second = read_log(tmp_path / "two"), read_log(tmp_path / "both")
    assert first[0]["loss"] == pytest.approx(second[0]["loss"], rel=1e-5)


def test_no_tensorboard_is_needed(
    label_maps: LabelMaps, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import importlib.util

    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "tensorboard" else found(name))
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    fit(recipe, lambda: label_maps, tmp_path, device="cpu")
    assert len(read_log(tmp_path)) == 6
    assert not (tmp_path / "tensorboard").exists()


def events(folder: Path) -> Any:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    found = accumulator.EventAccumulator(str(folder / "tensorboard"))
    found.Reload()
    return found


def test_tensorboard_shows_curves_dice_and_pictures_of_cases(cases_recipe: Recipe, tmp_path: Path) -> None:
    cases = run(open_source(cases_recipe, tmp_path / "cache"))
    fit(cases_recipe, lambda: cases, tmp_path / "run", device="cpu")
    found = events(tmp_path / "run")
    curves = found.Tags()["scalars"]
    assert {"loss", "learning_rate", "share_of_time_waiting_for_data"} <= set(curves)
    assert {"dice/mean", "dice/left blob", "dice/right blob"} <= set(curves)
    assert [event.step for event in found.Scalars("loss")] == list(range(1, 13))
    logged = [row["dice"] for row in read_log(tmp_path / "run", "validation.csv")]
    assert [event.value for event in found.Scalars("dice/mean")] == pytest.approx(logged, abs=1e-5)
    assert [event.step for event in found.Images("validation")] == [3, 6, 9, 12]
    assert found.Images("validation")[0].width > 100


def test_tensorboard_shows_a_patch_where_there_are_no_cases(
    label_maps: LabelMaps, recipe: Recipe, tmp_path: Path
) -> None:
    fit(recipe, lambda: label_maps, tmp_path, device="cpu")
    found = events(tmp_path)
    assert [event.step for event in found.Images("patch")] == [3, 6]
    assert [event.step for event in found.Scalars("dice/mean")] == [3, 6]
