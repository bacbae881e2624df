"""The recipes of the thesis' experiments read the data sets as they lie on disk, and train on look-alikes of them."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from napari_medzoo_training.config import RECIPES, read_recipe
from napari_medzoo_training.data import open_source
from napari_medzoo_training.fit import fit
from napari_medzoo_training.folds import read_folds, write_folds
from napari_medzoo_training.logs import read_log
from napari_medzoo_training.overrides import override

from napari_medzoo.errors import MedzooError
from napari_medzoo.inference.network import build_network
from napari_medzoo.models.geometry import geometry_of
from napari_medzoo.progress import run
from tests.training.lookalikes import iseg2017, mrbrains18

NAMES = sorted(path.stem for path in (RECIPES / "thesis").glob("*.yaml"))
SUBJECTS = {"iseg2017": ("subject-1", "subject-2", "subject-10"), "mrbrains18": ("5", "14", "70")}


def test_both_data_sets_have_both_protocols() -> None:
    for name in ("iseg2017", "mrbrains18"):
        assert {name, f"{name}-dense", f"{name}-better"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_is_found_by_its_name_with_its_folds_and_fits_its_network(name: str) -> None:
    recipe = read_recipe(Path("thesis") / name)
    assert recipe.name == f"thesis-{name}"
    assert recipe.folds is not None and recipe.folds.file is not None
    folds = read_folds(recipe.folds.file)
    assert len(folds) == recipe.folds.count
    assert folds[0] in (("subject-1",), ("1",)) and recipe.folds.fold == 0  # the thesis held the first subject out
    assert recipe.validate_every is None  # nothing is chosen by anybody who is scored
    geometry = geometry_of(build_network(recipe, "meta"))
    assert all(geometry.takes(stage.patch) for stage in recipe.stages)
    if not name.endswith(("better", "eight")):
        assert recipe.optimiser.name == "sgd" and recipe.batch == 1
        assert recipe.optimiser.settings["weight_decay"] == 1e-8 and recipe.stages[0].learning_rate == 1e-3
        assert recipe.preprocessing.normalise is not None and recipe.preprocessing.normalise.method == "zscore"


def test_both_archives_of_mrbrains18_are_divided_alike_whatever_they_call_two_subjects() -> None:
    folder, other = RECIPES / "thesis", {"70": "27", "148": "29"}
    challenge = read_folds(folder / "mrbrains18_folds.json")
    dataverse = read_folds(folder / "mrbrains18_dataverse_folds.json")
    assert {other.get(name, name) for part in challenge for name in part} == {one for part in dataverse for one in part}
    assert [part for part in challenge if part[0] not in other] == list(dataverse[:5])


@pytest.mark.parametrize(
    ("name", "architecture"),
    [
        ("iseg2017", "vnet_thesis"),
        ("iseg2017", "vnet_light"),
        ("iseg2017-dense", "densenet3d"),
        ("iseg2017-dense", "densenet3d_late"),
        ("iseg2017-dense", "hyperdensenet"),
        ("mrbrains18", "vnet_thesis"),
        ("mrbrains18-dense", "hyperdensenet"),
    ],
)
def test_the_other_networks_take_the_same_sub_volumes(name: str, architecture: str) -> None:
    recipe = override(read_recipe(Path("thesis") / name), [f"architecture={architecture}"])
    assert geometry_of(build_network(recipe, "meta")).takes(recipe.stages[0].patch)


@pytest.mark.parametrize("name", NAMES)
def test_two_steps_on_a_look_alike(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = read_recipe(Path("thesis") / name)
    assert recipe.dataset is not None
    build = {"iseg2017": iseg2017, "mrbrains18": mrbrains18}[recipe.dataset.kind]
    build(tmp_path / "data" / recipe.dataset.folder)
    monkeypatch.setenv("MEDZOO_DATA", str(tmp_path / "data"))
    write_folds(tmp_path / "folds.json", [[subject] for subject in SUBJECTS[recipe.dataset.kind]], 0)
    small = [20, 20, 20] if name.endswith("dense") else [32, 32, 32]
    changes = [
        f"folds.file={tmp_path / 'folds.json'}",
        "stages.0.steps=2",
        f"stages.0.patch={small}",
        "checkpoint_every=1",
        "precision='32'",
    ]
    tiny = override(recipe, changes)
    source = run(open_source(tiny, tmp_path))
    result = fit(tiny, lambda: source, tmp_path / "run", device="cpu", threads=0)
    assert result.steps == 2
    assert all(math.isfinite(row["loss"]) for row in read_log(tmp_path / "run"))


def test_a_wrong_name_is_answered_with_those_there_are() -> None:
    with pytest.raises(MedzooError, match=r"thesis/iseg2017"):
        read_recipe(Path("thesis/iseg2018"))
