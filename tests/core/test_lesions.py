"""The list of lesions on any grid, where each lies, and how two lesion maps agree."""

from __future__ import annotations

import csv
import io
import math
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from typer.testing import CliRunner

from napari_medzoo.cli.app import app
from napari_medzoo.errors import MedzooError
from napari_medzoo.io import read_segmentation
from napari_medzoo.label_tables import LABEL_TABLES
from napari_medzoo.labels import Label, LabelTable, Segmentation
from napari_medzoo.lesions import compare_lesions, find_lesions, lesion_indices
from napari_medzoo.space import Grid

MASK = LabelTable("mask", (Label(1, "label 1", (255, 200, 0)),))


def masked(data: np.ndarray, affine: np.ndarray | None = None) -> Segmentation:
    grid = Grid(data.shape, np.eye(4) if affine is None else affine)
    return Segmentation(data.astype(np.uint8), grid, MASK)


@pytest.fixture
def brain() -> np.ndarray:
    """MRBrainS18's classes: a ventricle in the middle of white matter, cortex around it, brain stem below."""
    data = np.full((40, 40, 40), 3, dtype=np.uint8)
    data[:3] = data[-3:] = 1
    data[17:23, 17:23, 17:23] = 6
    data[12:28, 12:28, :8] = 8
    return data


def test_regions_follow_ventricles_cortex_and_brain_stem(brain: np.ndarray) -> None:
    brain[24:27, 18:22, 18:22] = 4  # one voxel of white matter from the ventricle
    brain[4:6, 18:21, 18:20] = 4
    brain[10:12, 30:32, 30:32] = 4
    brain[18:22, 18:20, 2:4] = 4
    found = find_lesions(Segmentation(brain, Grid(brain.shape, np.eye(4)), LABEL_TABLES["mrbrains"]))
    assert [one.region for one in found.lesions] == ["periventricular", "infratentorial", "juxtacortical", "deep"]
    assert [one.number for one in found.lesions] == [1, 2, 3, 4]
    assert found.load_ml == pytest.approx(sum((48, 16, 12, 8)) / 1000)


def test_labels_of_another_numbering_tell_the_region_too(brain: np.ndarray) -> None:
    """In aseg both sides have a lesion class, and structures become MRBrainS18's by the declared mapping."""
    aseg = np.array([0, 3, 10, 2, 25, 24, 4, 8, 16], dtype=np.uint8)[brain]
    aseg[24:27, 18:22, 18:22], aseg[30:32, 30:32, 30:32] = 25, 57
    found = find_lesions(Segmentation(aseg, Grid(aseg.shape, np.eye(4)), LABEL_TABLES["aseg"]))
    assert [one.region for one in found.lesions] == ["periventricular", "deep"]


def test_a_mask_alone_tells_no_region() -> None:
    data = np.zeros((9, 9, 9))
    data[2:5, 3:6, 4:6] = 1
    (lesion,) = find_lesions(masked(data)).lesions
    assert lesion.region == "unknown"


@pytest.mark.parametrize("name", ["identity", "anisotropic", "flipped", "permuted", "oblique", "awkward"])
def test_volume_centre_and_extent_on_any_grid(name: str, awkward_grids: dict[str, Grid]) -> None:
    grid = awkward_grids[name]
    data = np.zeros(grid.shape, dtype=np.uint8)
    data[3:8, 4, 2], data[3, 4:7, 2] = 1, 1  # an L, whose centroid lies beside it
    (lesion,) = find_lesions(Segmentation(data, grid, MASK), minimum_mm3=0).lesions
    assert lesion.volume_ml == pytest.approx(7 * np.prod(grid.spacing) / 1000)
    assert data[lesion.voxel] == 1
    np.testing.assert_allclose(lesion.centre_mm, grid.to_world([lesion.voxel])[0])
    across = float(np.linalg.norm(np.array(grid.spacing) * (4, 2, 0)))
    assert lesion.extent_mm == pytest.approx(across + np.prod(grid.spacing) ** (1 / 3))


def test_the_same_lesions_however_the_file_stores_its_axes(brain: np.ndarray) -> None:
    brain[24:27, 18:22, 18:22] = brain[5:7, 18:21, 18:20] = 4
    lists = []
    for orientation in ("RAS", "LIA", "PSL"):
        image = nib.Nifti1Image(brain, np.diag([1.0, 1.2, 1.5, 1]))
        codes = nib.orientations.axcodes2ornt(orientation)
        turned = image.as_reoriented(nib.orientations.ornt_transform(nib.orientations.axcodes2ornt("RAS"), codes))
        grid = Grid(turned.shape, turned.affine)
        found = find_lesions(Segmentation(np.asarray(turned.dataobj), grid, LABEL_TABLES["mrbrains"]))
        lists.append([(one.volume_ml, one.region, round(one.extent_mm, 6)) for one in found.lesions])
    assert lists[0] == lists[1] == lists[2]


def test_what_is_too_small_is_left_out_and_counted() -> None:
    data = np.zeros((12, 12, 12))
    data[1, 1, 1] = data[1, 1, 5] = 1
    data[5, 5, 5:8] = 1
    found = find_lesions(masked(data))
    assert (len(found.lesions), found.left_out) == (1, 2)
    assert found.load_ml == pytest.approx(0.003)
    assert len(find_lesions(masked(data), minimum_mm3=0).lesions) == 3
    fine = find_lesions(masked(data, np.diag([0.5, 0.5, 0.5, 1])))  # three voxels are 0.4 mm³ there
    assert not fine.lesions and fine.load_ml == 0


def test_voxels_that_touch_at_a_corner_are_one_lesion() -> None:
    data = np.zeros((6, 6, 6))
    data[1, 1, 1] = data[2, 2, 2] = data[3, 3, 3] = 1
    assert len(find_lesions(masked(data)).lesions) == 1


def test_the_table_reads_back() -> None:
    data = np.zeros((9, 9, 9))
    data[2:5, 3:6, 4:6] = 1
    rows = list(csv.DictReader(io.StringIO(find_lesions(masked(data)).to_tsv()), delimiter="\t"))
    assert rows[0]["lesion"] == "1" and float(rows[0]["volume_ml"]) == pytest.approx(0.018)
    assert (float(rows[0]["x_mm"]), float(rows[0]["y_mm"])) == (3.0, 4.0)


def test_agreement_counts_lesions_found_missed_and_false() -> None:
    reference, ours = np.zeros((20, 20, 20)), np.zeros((20, 20, 20))
    reference[2:5, 2:5, 2:5] = reference[10:13, 10:13, 10:13] = reference[16:18, 2:4, 2:4] = 1
    ours[4:6, 4:6, 4:6] = ours[10:13, 10:13, 10:13] = ours[2:4, 15:17, 15:17] = 1
    ours[18, 18, 18] = 1  # too small to be false
    agreement = compare_lesions(masked(ours), masked(reference))
    assert (agreement.lesions, agreement.found, agreement.false) == (3, 2, 1)
    assert agreement.sensitivity == pytest.approx(2 / 3)
    assert agreement.dice == pytest.approx(2 * 28 / (62 + 44))
    assert agreement.reference_load_ml == pytest.approx(0.062)


def test_agreement_of_nothing_with_nothing_is_not_a_number() -> None:
    agreement = compare_lesions(masked(np.zeros((5, 5, 5))), masked(np.zeros((5, 5, 5))))
    assert math.isnan(agreement.dice) and math.isnan(agreement.sensitivity) and agreement.false == 0


def test_maps_on_different_grids_are_refused() -> None:
    data = np.ones((5, 5, 5))
    with pytest.raises(MedzooError, match="different grids"):
        compare_lesions(masked(data), masked(data, np.diag([1, 1, 2, 1])))


def test_which_labels_are_lesions() -> None:
    assert lesion_indices(LABEL_TABLES["mrbrains"]) == (4,)
    assert lesion_indices(LABEL_TABLES["aseg"]) == (25, 57)
    assert lesion_indices(MASK) == (1,)
    with pytest.raises(MedzooError, match=r"none of its labels a lesion.*WM"):
        lesion_indices(LABEL_TABLES["tissue"])


def test_the_command_writes_the_list_and_compares(tmp_path: Path) -> None:
    data = np.zeros((12, 12, 12), dtype=np.uint8)
    data[2:5, 3:6, 4:6] = data[8:10, 8:10, 8:10] = 1
    affine = np.diag([-1.0, 1, 1.5, 1])
    nib.save(nib.Nifti1Image(data, affine), tmp_path / "ours.nii.gz")
    data[8:10] = 0
    nib.save(nib.Nifti1Image(data, affine), tmp_path / "theirs.nii.gz")
    output = tmp_path / "new" / "lesions.tsv"
    call = ["lesions", str(tmp_path / "ours.nii.gz"), "--reference", str(tmp_path / "theirs.nii.gz"), "-o", str(output)]
    result = CliRunner().invoke(app, call)
    assert result.exit_code == 0, result.output
    assert "2 lesions, 0.04 mL" in result.output and "1 of 1 lesions found, 1 false" in result.output
    assert len(output.read_text(encoding="utf-8").splitlines()) == 3
    again = CliRunner().invoke(app, call)
    assert again.exit_code == 1 and "overwrite" in again.output


def test_a_real_consensus_mask(data_dir: Path) -> None:
    """Nineteen objects, two of them of three voxels of 1 mm³ and none below."""
    found = find_lesions(read_segmentation(data_dir / "ms" / "patient26_mni" / "lesions.nii.gz"))
    assert (len(found.lesions), found.left_out) == (19, 0)
    assert found.load_ml == pytest.approx(8.227, abs=1e-3)
    assert found.lesions[0].volume_ml == pytest.approx(2.724, abs=1e-3)
