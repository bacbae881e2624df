from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from napari_medzoo_training.config import Recipe, read_recipe
from napari_medzoo_training.data import open_source
from napari_medzoo_training.estimate import Trial, as_lines, estimate, largest_shape, try_out
from napari_medzoo_training.labelmaps import LabelMaps
from napari_medzoo_training.overrides import override
from napari_medzoo_training.range_test import RangeTest
from typer.testing import CliRunner

from napari_medzoo.inference.network import build_network
from napari_medzoo.progress import run

FOUND = RangeTest((1e-6, 1.0), (1.0, 2.0), (1.0, 2.0), 0.00123)


def test_time_and_memory_follow_from_the_trial(recipe: Recipe) -> None:
    report = estimate(recipe, Trial("cpu", (10.0, 20.0), (0.25, 0.5), 2_500_000_000, FOUND), (40, 44, 36))
    assert report["training_hours"] == pytest.approx((4 * 10 + 2 * 20) / 3600, abs=1e-4)
    assert report["training_memory_mb"] == 2500
    assert [stage["share_waiting_for_data"] for stage in report["stages"]] == [0.25, 0.5]
    expected = sum(parameter.numel() for parameter in build_network(recipe).parameters())
    assert report["parameters"] == expected
    assert report["weights_mb"] == pytest.approx(2 * expected / 1e6, abs=1e-3)
    assert report["inference"]["mode"] == "whole" and report["inference"]["memory_mb"] > 0
    assert report["suggested_learning_rate"] == 0.0012
    text = as_lines(report)
    assert "about 80 s for all steps" in text and "falls fastest at 0.0012" in text and "50% of it" in text


def test_what_training_alone_needs_is_not_in_the_card(recipe: Recipe) -> None:
    deep = override(recipe, ["settings={widths: [4, 8, 8], deep_supervision: 1}", "stages.1.patch=[16, 16, 8]"])
    report = estimate(deep, Trial("cpu", (1.0, 1.0), (0.0, 0.0), 1, None), (16, 16, 16))
    assert 2 * report["parameters"] / 1e6 > report["weights_mb"] > 0


def test_the_shipped_network_is_counted_without_being_built() -> None:
    shipped = read_recipe(Path("structures"))
    trial = Trial("cpu", (1.0,) * len(shipped.stages), (0.0,) * len(shipped.stages), 1, None)
    report = estimate(shipped, trial, (182, 218, 182))
    assert report["training_hours"] == pytest.approx(shipped.steps / 3600, abs=1e-3)
    assert report["inference"]["mode"] == "tiles"
    assert "learning rate" not in as_lines(report, range_was_tested=False)


def test_a_rate_that_is_not_found_is_said(recipe: Recipe) -> None:
    nothing = RangeTest((1e-6,), (1.0,), (1.0,), None)
    report = estimate(recipe, Trial("cpu", (1.0, 1.0), (0.0, 0.0), 1, nothing), (16, 16, 16))
    assert "does not fall clearly" in as_lines(report)


def test_the_largest_case_counts(label_maps: LabelMaps, cases_recipe: Recipe, tmp_path: Path) -> None:
    sizes = [item.numel() for item in label_maps.maps]
    x, y, z = largest_shape(label_maps)
    assert x * y * z == max(sizes)
    cases: Any = run(open_source(cases_recipe, tmp_path / "cache"))
    assert largest_shape(cases)[0] == max(cases.labels(number).shape[0] for number in range(10))


def test_every_stage_is_tried(packed_maps: Path, recipe: Recipe) -> None:
    trial = try_out(recipe, packed_maps.parent, steps=3, range_steps=6, device="cpu", threads=1)
    assert len(trial.seconds_per_step) == len(trial.waiting) == 2
    assert all(seconds > 0 for seconds in trial.seconds_per_step)
    assert all(0 < share < 1 for share in trial.waiting)
    assert trial.memory_bytes > 50e6
    assert trial.range_test is not None and len(trial.range_test.losses) <= 6


@pytest.mark.slow
def test_the_command_trains_nothing_that_stays(cases_recipe: Recipe, tmp_path: Path) -> None:
    """Real cases, with folds and validation in the recipe: no file of folds and no checkpoint is left."""
    from napari_medzoo_training.__main__ import app

    chosen = override(cases_recipe, [f"folds.file={tmp_path / 'folds.json'}"])
    (tmp_path / "blobs.yaml").write_text(yaml.safe_dump(chosen.model_dump(mode="json"), sort_keys=False))
    call = ["estimate", str(tmp_path / "blobs.yaml"), "--output", str(tmp_path / "runs" / "blobs"), "--steps", "3"]
    said = CliRunner().invoke(app, [*call, "--range-steps", "6", "--device", "cpu", "--threads", "1"])
    assert said.exit_code == 0, said.exception
    names = sorted(path.name for path in (tmp_path / "runs" / "blobs").iterdir())
    assert names == ["estimate.yaml", "range_test.csv", "range_test.png"]
    assert not (tmp_path / "folds.json").exists()
    report = yaml.safe_load((tmp_path / "runs" / "blobs" / "estimate.yaml").read_text())
    assert report["training_memory_mb"] > 50 and report["training_hours"] >= 0
    assert "inference on a study of" in said.output
