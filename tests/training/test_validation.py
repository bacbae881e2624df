"""The figures by which a card is judged: hand-made heads with hand-made labels, so that every figure is known."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from napari_medzoo_training import validation
from napari_medzoo_training.config import Recipe
from napari_medzoo_training.gif import GIF_TO_ASEG
from napari_medzoo_training.validation import CASES, PAIRS, SUBCORTICAL, mean_dice, validate

from napari_medzoo import metrics
from napari_medzoo.cards import ModelCard
from napari_medzoo.errors import MedzooError
from napari_medzoo.inference import network
from napari_medzoo.io import read_segmentation
from napari_medzoo.label_tables import LABEL_TABLES, map_values
from napari_medzoo.labels import Segmentation
from napari_medzoo.space import Grid
from napari_medzoo.study import Study
from tests.core.tiny_model import Nearest, make_card

ASEG = (0, 2, 3, 41, 42, 24, *SUBCORTICAL)


def line(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.uint8).reshape(-1, 1, 1)


def labels(data: np.ndarray, scheme: str = "aseg") -> Segmentation:
    return Segmentation(data, Grid(data.shape, np.eye(4)), LABEL_TABLES[scheme])


def answer(monkeypatch: pytest.MonkeyPatch, prediction: Any) -> list[Study]:
    """Let `predict` give what ``prediction(study)`` says; returns the studies that it was asked about."""
    asked: list[Study] = []

    def predict(study: Study, card: ModelCard, grid: str | None = None, threads: int | None = None) -> Iterator[None]:
        asked.append(study)
        yield
        volume = study[study.modalities[0]]
        return Segmentation(prediction(volume), volume.grid, card.label_table)

    monkeypatch.setattr(validation, "predict", predict)
    return asked


def test_mean_dice_is_the_mean_of_hard_dice_and_measures_no_surface(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "surface_distances", None)
    prediction, reference = labels(line(10, 10, 10, 17, 0)), labels(line(10, 10, 17, 17, 17))
    assert mean_dice(prediction, reference, (10, 17)) == pytest.approx((2 * 2 / 5 + 2 * 1 / 4) / 2)


def test_what_neither_side_has_says_nothing_and_what_one_lacks_counts_as_nothing() -> None:
    prediction, reference = labels(line(10, 17, 0)), labels(line(10, 0, 0))
    assert mean_dice(prediction, reference, (10, 11)) == 1
    assert mean_dice(prediction, reference, (10, 17)) == 0.5


def test_an_index_that_is_not_compared_is_an_error() -> None:
    few = Segmentation(line(10), Grid((1, 1, 1), np.eye(4)), LABEL_TABLES["aseg"].subset([10]))
    with pytest.raises(MedzooError, match="do not both have label 17"):
        mean_dice(few, labels(line(10)), (10, 17))


def test_gif_means_what_lies_there(data_dir: Path) -> None:
    """Left is left, every structure of aseg is reached, and the sizes of both sides are alike."""
    stored = read_segmentation(data_dir / "misc" / "t2_gif" / "gif_parcellation_T1space.nii.gz")
    data = map_values(stored.data, GIF_TO_ASEG)
    assert set(SUBCORTICAL) <= set(np.unique(data).tolist()) <= set(LABEL_TABLES["aseg"].indices)
    ml = stored.grid.voxel_volume_ml
    middle = stored.grid.to_world(np.argwhere(data == 14)).mean(axis=0)[0]
    for left, right in (*PAIRS, (2, 41), (3, 42), (7, 46), (8, 47), (26, 58), (28, 60)):
        ours, theirs = (np.argwhere(data == index) for index in (left, right))
        assert stored.grid.to_world(ours)[:, 0].mean() < middle < stored.grid.to_world(theirs)[:, 0].mean()
        assert 0.6 < len(ours) / len(theirs) < 1.7
    assert 10 < ml * np.count_nonzero(data == 16) < 30
    wordless = ~np.isin(stored.data, [0, *GIF_TO_ASEG])
    assert wordless.sum() * ml < 20


def write(path: Path, data: np.ndarray, affine: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(data, affine), path)


def test_contrasts_are_compared_pair_by_pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    affine = np.diag([-1.0, 2.0, 1.0, 1.0])
    for name, values in {"T1w": (2, 2, 3, 3), "T2w": (2, 2, 3, 3), "FLAIR": (2, 3, 3, 3)}.items():
        data = np.broadcast_to(line(*values), (4, 2, 2)).astype(np.float32)
        write(tmp_path / "ms" / "patient26_mni" / f"{name}.nii.gz", data, affine)
    asked = answer(monkeypatch, lambda volume: volume.data.astype(np.uint8))
    scores = list(validate(make_card(tmp_path, channels=(0, 2, 3)), tmp_path, ("contrasts",)))
    assert [study.modalities for study in asked] == [("t1w",), ("t2w",), ("flair",)], "each alone"
    # aseg's 2 is white matter, 3 is grey.
    other = (2 * 1 / (2 + 1) + 2 * 2 / (2 + 3)) / 2
    assert {score.metric.split(",")[0]: score.value for score in scores} == {
        "Dice of T1w with T2w": 1.0,
        "Dice of T1w with FLAIR": pytest.approx(other, abs=1e-4),
        "Dice of T2w with FLAIR": pytest.approx(other, abs=1e-4),
    }
    assert {score.command for score in scores} == {"medzoo-train evaluate tiny --case contrasts"}


@pytest.fixture
def thick(tmp_path: Path) -> Path:
    """A T2w of thick slices, and its parcellation turned, on a finer grid; each GIF value in its own 4×4×6 mm block."""
    values = np.array([0, *sorted(set(GIF_TO_ASEG) - {1, 2, 3}), 96], dtype=np.uint8)
    blocks = np.zeros(216, dtype=np.uint8)
    blocks[: len(values)] = values
    fine = blocks.reshape(6, 6, 6).repeat(4, 0).repeat(4, 1).repeat(6, 2)  # RAS, 1 mm
    folder = tmp_path / "misc" / "t2_gif"
    turned = np.array([[0, 0, 1.0, 0], [-1, 0, 0, 23], [0, -1, 0, 35], [0, 0, 0, 1]])  # PIR
    write(folder / "gif_parcellation_T1space.nii.gz", fine.transpose(1, 2, 0)[::-1, ::-1].copy(), turned)
    coarse = fine[1::2, 1::2, 3::6][::-1].astype(np.float32)
    affine = np.array([[-2.0, 0, 0, 23], [0, 2, 0, 1], [0, 0, 6, 3], [0, 0, 0, 1]])
    write(folder / "T2w.nii.gz", coarse, affine)
    return tmp_path


def test_thick_slices_are_scored_on_their_own_grid(thick: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, lambda volume: map_values(volume.data.astype(np.uint8), GIF_TO_ASEG))
    card = make_card(thick, channels=sorted({*ASEG, *GIF_TO_ASEG.values()}))
    scores = list(validate(card, thick, ("t2_gif",), show=thick / "shown"))
    assert [score.value for score in scores] == [1.0] * 5
    picture = (thick / "shown" / "t2_gif.png").read_bytes()
    assert picture.startswith(b"\x89PNG")
    table = (thick / "shown" / "t2_gif.md").read_text()
    assert "| Thalamus | 0.1 | 0.1 | 1.00 | 0.1 | 0.1 | 1.00 |" in table


def test_swapped_sides_and_lost_halves_show_in_the_figures(thick: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(volume: Any) -> np.ndarray:
        found = map_values(volume.data.astype(np.uint8), GIF_TO_ASEG)
        swapped = {**{index: index for index in ASEG}, 10: 49, 49: 10}
        found = map_values(found, swapped)
        where = np.argwhere(found == 17)
        found[tuple(where[::2].T)] = 0
        return found

    answer(monkeypatch, wrong)
    scores = [score.value for score in validate(make_card(thick, channels=ASEG), thick, ("t2_gif",))]
    tissue, subcortical, hemispheres, sides, volumes = scores
    assert tissue < 1
    assert subcortical == pytest.approx((12 + 2 / 3) / 15, abs=1e-4)
    assert hemispheres == pytest.approx(1, abs=0.1)
    assert sides == pytest.approx((6 + 0.5) / 7, abs=1e-4)
    assert volumes == pytest.approx((14 + 0.5) / 15, abs=1e-4)


@pytest.fixture
def held_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[ModelCard, Recipe]:
    """Ten crops with three intensities, and a card that labels by intensity.

    In every reference but case 3's the labels are the intensities'; case 3's has half of "anterior" as "posterior".
    """
    monkeypatch.setattr(network, "ARCHITECTURES", {"nearest": Nearest})
    own = [
        {"index": 1, "name": "anterior", "color": [255, 0, 0]},
        {"index": 2, "name": "posterior", "color": [0, 255, 0]},
    ]
    common: dict[str, Any] = {"label_scheme": "crop", "labels": own, "channels": (0, 1, 2)}
    for number in range(10):
        truth = np.zeros((8, 8, 12), dtype=np.uint8)
        truth[2:6, 2:6, 2:6], truth[2:6, 2:6, 6:10] = 1, 2
        affine = np.diag([-1.0, 1.5, 1.0, 1.0])
        write(tmp_path / "set" / "imagesTr" / f"crop_{number}.nii.gz", truth.astype(np.float32), affine)
        if number == 3:
            truth[2:6, 2:6, 2:4] = 2
        write(tmp_path / "set" / "labelsTr" / f"crop_{number}.nii.gz", truth, affine)
    (tmp_path / "folds.json").write_text(
        json.dumps({"seed": 1, "folds": [["crop_3", "crop_8"], [f"crop_{n}" for n in (0, 1, 2, 4, 5, 6, 7, 9)]]})
    )
    recipe = Recipe.model_validate(
        {
            "name": "tiny",
            "title": "Tiny",
            "architecture": "nearest",
            "preprocessing": {"spacing": None, "head_crop": None, "normalise": {"method": "minmax"}},
            "dataset": {"kind": "msd", "folder": "set"},
            "folds": {"count": 2, "fold": 0, "file": tmp_path / "folds.json"},
            "stages": [{"steps": 1, "patch": [8, 8, 8]}],
            "licence": "none",
            "data": "none",
            **common,
        }
    )
    return make_card(tmp_path, "nearest", network=Nearest(1, 3), **common), recipe


def test_the_held_out_fold_is_scored_class_by_class(held_out: tuple, tmp_path: Path) -> None:
    card, recipe = held_out
    scores = list(validate(card, tmp_path, recipe=recipe))
    anterior, posterior = (1 + 2 * 32 / (64 + 32)) / 2, (1 + 2 * 64 / (64 + 96)) / 2
    assert {score.metric: score.value for score in scores} == {
        "Dice of anterior, 2 cases, fold 0 of 2": pytest.approx(anterior, abs=1e-4),
        "Dice of posterior, 2 cases, fold 0 of 2": pytest.approx(posterior, abs=1e-4),
        "Dice, mean of 2 classes, 2 cases, fold 0 of 2": pytest.approx((anterior + posterior) / 2, abs=1e-4),
    }


def test_the_other_fold_is_another(held_out: tuple, tmp_path: Path) -> None:
    card, recipe = held_out
    recipe = recipe.model_copy(update={"folds": recipe.folds.model_copy(update={"fold": 1})})
    assert [score.value for score in validate(card, tmp_path, ("held_out",), recipe=recipe)] == [1.0, 1.0, 1.0]


def test_without_a_file_the_folds_are_those_the_training_makes(held_out: tuple, tmp_path: Path) -> None:
    from napari_medzoo_training.held_out import split_cases

    card, recipe = held_out
    recipe = recipe.model_copy(update={"folds": recipe.folds.model_copy(update={"file": None})})
    subjects = [f"crop_{number}" for number in range(10)]
    split = split_cases(recipe, subjects, tmp_path / "run")
    score = next(validate(card, tmp_path, ("held_out",), recipe=recipe))
    assert "5 cases" in score.metric
    assert (score.value < 1) == ("crop_3" in [subjects[number] for number in split.held_out])


def test_a_recipe_that_teaches_something_else_is_refused(held_out: tuple, tmp_path: Path) -> None:
    card, recipe = held_out
    recipe = recipe.model_copy(update={"channels": (0, 2, 1)})
    with pytest.raises(MedzooError, match="does not label what the recipe"):
        list(validate(card, tmp_path, recipe=recipe))


def test_cases_that_say_nothing_about_a_card_are_passed_over(held_out: tuple, tmp_path: Path) -> None:
    card, recipe = held_out
    assert len(list(validate(card, tmp_path, tuple(CASES), recipe=recipe))) == 3
    with pytest.raises(MedzooError, match=r"labels 'crop', which mni152 cannot judge; choose from: held_out\."):
        list(validate(card, tmp_path, ("mni152",), recipe=recipe))
    with pytest.raises(MedzooError, match="name the recipe"):
        list(validate(card, tmp_path))
