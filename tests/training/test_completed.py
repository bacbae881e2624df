"""A patient of whom only the lesions were drawn becomes a case to train on."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from napari_medzoo_training.completed import complete, complete_patient
from napari_medzoo_training.config import DataSource
from napari_medzoo_training.datasets import read_cases
from napari_medzoo_training.lesion_validation import CONSENSUS

from napari_medzoo.errors import MedzooError
from napari_medzoo.io import read_segmentation
from napari_medzoo.label_tables import LABEL_TABLES
from napari_medzoo.labels import Segmentation
from napari_medzoo.progress import run
from napari_medzoo.space import Grid
from tests.core.tiny_model import Nearest, make_card


def test_lesions_are_those_that_were_drawn_and_no_others(awkward_grids: dict[str, Grid]) -> None:
    grid = awkward_grids["awkward"]
    labels, drawn = np.zeros((2, *grid.shape), dtype=np.uint8)
    labels[0, 0, :4] = 1, 4, 4, 6
    drawn[0, 0, [0, 1]] = 1
    completed = complete(Segmentation(labels, grid, LABEL_TABLES["mrbrains"]), Segmentation(drawn, grid, CONSENSUS))
    np.testing.assert_array_equal(completed.data[0, 0, :5], [4, 4, 3, 6, 0])
    assert completed.grid is grid


def test_other_grids_are_refused(awkward_grids: dict[str, Grid]) -> None:
    one, other = awkward_grids["flipped"], awkward_grids["oblique"]
    with pytest.raises(MedzooError, match="different grids"):
        complete(
            Segmentation(np.zeros(one.shape, dtype=np.uint8), one, LABEL_TABLES["mrbrains"]),
            Segmentation(np.zeros(other.shape, dtype=np.uint8), other, CONSENSUS),
        )


def test_the_patient_becomes_a_table_that_is_read_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("napari_medzoo.inference.network.ARCHITECTURES", {"nearest": Nearest})
    patient = tmp_path / "ms" / "patient26_mni"
    patient.mkdir(parents=True)
    scan = np.zeros((16, 16, 16), dtype=np.float32)
    scan[4:8], scan[8:12], scan[12:] = 3, 4, 8  # `Nearest` labels every voxel by its brightness
    drawn = np.zeros(scan.shape, dtype=np.uint8)
    drawn[5, :4] = 1
    affine = np.diag([-1.0, 1.0, 1.0, 1.0])
    for name, data in {"FLAIR": scan, "T1w": scan, "T2w": scan, "lesions": drawn}.items():
        nib.save(nib.Nifti1Image(data, affine), patient / f"{name}.nii.gz")
    modalities = ("t1w", "t2w", "flair")
    channels = tuple(range(9))
    card = make_card(tmp_path, "nearest", {}, modalities, channels, Nearest(3, 9), label_scheme="mrbrains")
    table = run(complete_patient(card, tmp_path, tmp_path / "made"))
    found = read_cases(DataSource(kind="table", folder=table), modalities, tmp_path)
    (case,) = found.cases
    assert {key: path.name for key, path in case.scans.items()} == {
        "t1w": "T1w.nii.gz",
        "t2w": "T2w.nii.gz",
        "flair": "FLAIR.nii.gz",
    }
    assert case.reference is not None
    labels = read_segmentation(case.reference, LABEL_TABLES["mrbrains"])
    expected = np.zeros(scan.shape)
    expected[4:12], expected[12:] = 3, 8
    expected[5, :4] = 4
    np.testing.assert_array_equal(labels.data, expected)
    np.testing.assert_array_equal(labels.grid.affine, affine)


def test_a_card_of_other_classes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MedzooError, match="eight classes"):
        run(complete_patient(make_card(tmp_path), tmp_path, tmp_path / "made"))
