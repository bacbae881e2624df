"""The shipped model on real scans: what holds whatever the model's quality, and the least it must reach."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from napari_medzoo.cards import load_card
from napari_medzoo.evaluate import comparable, evaluate
from napari_medzoo.inference import predict
from napari_medzoo.io import load_study, read_volume
from napari_medzoo.label_tables import convert
from napari_medzoo.labels import Segmentation
from napari_medzoo.preprocess import prepare, reorient
from napari_medzoo.progress import run
from napari_medzoo.samples import load_sample, sample_reference
from napari_medzoo.study import Study, Volume

FAR_APART = ("AIL.nii.gz", "LSP.nii.gz")

MAIN = (2, 41, 3, 42, 4, 43, 10, 49, 16, 8, 47)
"""aseg: white matter, cortex, lateral ventricles, thalami, brain stem and cerebellar cortex."""


def segment(volume: Volume) -> Segmentation:
    """The labels of one scan by the default model."""
    return run(predict(Study({"t1w": volume}), load_card("structures"), device="cpu"))


def in_ras(segmentation: Segmentation) -> np.ndarray:
    volume = reorient(Volume(segmentation.data, segmentation.grid), "RAS")
    return np.ascontiguousarray(volume.data)


def dice(first: np.ndarray, second: np.ndarray) -> float:
    return 2 * np.count_nonzero(first & second) / max(np.count_nonzero(first) + np.count_nonzero(second), 1)


def test_how_the_file_stores_its_axes_changes_nothing(data_dir: Path) -> None:
    """Every orientation of the head gives the network the same voxels, and takes labels back to the same places."""
    files = sorted((data_dir / "orientations").glob("???.nii.gz"))
    assert len(files) == 24
    recipe = load_card("structures").preprocessing
    first: tuple[np.ndarray, np.ndarray] | None = None
    for file in files:
        ready = run(prepare(Study({"t1w": read_volume(file, "t1w")}), recipe, ("t1w",)))
        scores = np.stack([ready.data[0], 0.5 - ready.data[0]])
        restored = reorient(Volume(ready.restore_scores(scores), ready.target), "RAS").data
        first = first or (ready.data[0], restored)
        np.testing.assert_array_equal(ready.data[0], first[0], err_msg=file.name)
        np.testing.assert_array_equal(restored, first[1], err_msg=file.name)
        assert restored.any(), file.name


@pytest.mark.slow
def test_two_orientations_of_a_head_are_labelled_alike(data_dir: Path) -> None:
    """And every main structure is found."""
    one, other = (in_ras(segment(read_volume(data_dir / "orientations" / name, "t1w"))) for name in FAR_APART)
    for index in MAIN:
        assert (one == index).any(), index
        assert dice(one == index, other == index) >= 0.99, index


def test_the_shipped_model_labels_the_template() -> None:
    prediction = convert(segment(load_sample("mni152")["t1w"]), "tissue")
    report = evaluate(*comparable(prediction, sample_reference("mni152")))
    assert {score.name for score in report.labels} == {"GM", "WM"}
    assert report.mean.dice >= 0.75


def test_labels_of_a_study_on_three_grids_lie_on_the_chosen_one(data_dir: Path) -> None:
    study = load_study(data_dir / "ms" / "patient12_raw")
    assert set(study.modalities) == {"t1w", "t2w", "flair"} and not study.on_one_grid
    result = run(predict(study, load_card("structures"), grid="flair"))
    assert result.grid.same_as(study["flair"].grid)
    brain_ml = sum(volume for index, volume in result.volumes_ml().items() if index != 24)
    assert 700 < brain_ml < 2200
