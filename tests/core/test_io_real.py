"""The real scans are read as they are, with their geometry and modalities."""

from __future__ import annotations

from itertools import permutations, product
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from napari_medzoo.io import load_study, looks_like_labels, read_segmentation, read_volume, write_segmentation
from napari_medzoo.label_tables import LABEL_TABLES
from napari_medzoo.study import FileInfo

STUDIES = {
    "ms/patient26_mni": {"t1w": "T1w", "t1wgd": "T1wGd", "t2w": "T2w", "flair": "FLAIR"},
    "ms/patient12_raw": {"t1w": "study1_T1W", "t2w": "study1_T2W", "flair": "study1_FLAIR"},
    "glioma/TCGA-DU-7294": {key: f"TCGA-DU-7294_{name}_bet" for key, name in
                            {"t1w": "t1", "t1wgd": "t1c", "t2w": "t2", "flair": "fla"}.items()},
    "structures/ixi012": {"t1w": "T1w"},
    "structures/fsaverage": {"t1w": "brain"},
    "misc/t2_gif": {"t2w": "T2w"},
    "misc/t1gd_tumour": {"unknown": "image"},
}  # fmt: skip


@pytest.mark.parametrize("folder", STUDIES)
def test_studies(folder: str, data_dir: Path) -> None:
    study = load_study(data_dir / folder)
    found = {key: volume.file.path.name.split(".")[0] for key, volume in study.volumes.items() if volume.file}
    assert found == STUDIES[folder]
    assert study.on_one_grid == (folder != "ms/patient12_raw")
    assert not study.warnings
    assert not any(looks_like_labels(volume) for volume in study.volumes.values())


LABEL_MAPS = {
    "ms/patient26_mni/lesions.nii.gz": ("lesions", 1),
    "glioma/TCGA-DU-7294/mav.nii.gz": ("mav", 2),
    "glioma/TCGA-DU-7294/simple.nii.gz": ("simple", 2),
    "structures/ixi012/dlmuse.nii.gz": ("muse", 148),
    "structures/fsaverage/aseg.mgz": ("aseg", 43),
    "misc/t1gd_tumour/label.nrrd": ("label", 1),
    "misc/t2_gif/gif_parcellation_T1space.nii.gz": ("gif_parcellation_T1space", 158),
    "labelmaps/training_seg_01.nii.gz": (None, 53),
}


@pytest.mark.parametrize("name", LABEL_MAPS)
def test_label_maps(name: str, data_dir: Path, tmp_path: Path) -> None:
    path = data_dir / name
    assert looks_like_labels(path)
    segmentation = read_segmentation(path)
    table, count = LABEL_MAPS[name]
    if table in LABEL_TABLES:
        assert segmentation.table is LABEL_TABLES[table]
        assert np.count_nonzero(np.bincount(segmentation.data.ravel())[1:]) == count
    elif table:
        assert segmentation.table.name == table
        assert len(segmentation.table.foreground) == count
    assert segmentation.data.dtype == (np.uint16 if segmentation.data.max() > 255 else np.uint8)
    ending = "".join(path.suffixes)
    again = read_segmentation(write_segmentation(segmentation, tmp_path / f"a{ending}"), segmentation.table)
    np.testing.assert_array_equal(again.data, segmentation.data)
    np.testing.assert_allclose(again.grid.affine, segmentation.grid.affine, rtol=0, atol=1e-5)


def test_hippocampus_labels_and_scans_are_told_apart(data_dir: Path) -> None:
    for path in sorted((data_dir / "hippocampus" / "labelsTr").glob("*.nii.gz"))[:10]:
        assert looks_like_labels(path)
        assert read_segmentation(path).table.indices == (0, 1, 2)
        scan = data_dir / "hippocampus" / "imagesTr" / path.name
        assert not looks_like_labels(scan)
        assert read_volume(scan).grid.same_as(read_segmentation(path).grid)


def right_handed_codes() -> list[str]:
    """The 24 axis codes of rotations (the other 24 are mirrored)."""
    found = []
    for order in permutations(range(3)):
        for signs in product((1, -1), repeat=3):
            matrix = np.zeros((3, 3))
            for axis, (place, sign) in enumerate(zip(order, signs, strict=True)):
                matrix[place, axis] = sign
            affine = np.eye(4)
            affine[:3, :3] = matrix
            found.append("".join(nib.aff2axcodes(affine)))
    return found


def test_every_orientation_is_the_same_head(data_dir: Path) -> None:
    files = sorted((data_dir / "orientations").glob("*.nii.gz"))
    assert len(files) == 24
    assert {file.name[:3] for file in files} <= set(right_handed_codes())
    reference = read_volume(data_dir / "orientations" / "LAS.nii.gz")
    for file in files:
        volume = read_volume(file)
        assert volume.grid.axis_codes == file.name[:3]
        turned = nib.orientations.apply_orientation(volume.data, volume.grid.orientation_to("LAS"))
        assert volume.grid.reoriented("LAS").same_as(reference.grid, tolerance_mm=0.05)
        assert np.corrcoef(turned.ravel(), reference.data.ravel())[0, 1] > 0.999


@pytest.mark.parametrize(
    "name",
    [
        "ms/patient26_mni/T1w.nii.gz",  # a qform alone
        "ms/patient12_raw/study1_T1W.nii.gz",  # oblique
        "structures/ixi012/dlmuse.nii.gz",  # a sform alone
        "glioma/TCGA-DU-7294/TCGA-DU-7294_t1_bet.nii.gz",
    ],
)
def test_labels_for_a_real_scan_carry_its_affine_and_codes(name: str, data_dir: Path, tmp_path: Path) -> None:
    volume = read_volume(data_dir / name)
    assert isinstance(volume.file, FileInfo)
    labels = read_segmentation(write_mask(volume, tmp_path / "mask.nii.gz"))
    source, written = nib.load(data_dir / name).header, nib.load(tmp_path / "mask.nii.gz").header
    assert labels.grid.same_as(volume.grid, tolerance_mm=0)
    for field in ("qform_code", "sform_code", "srow_x", "srow_y", "srow_z", "quatern_b", "quatern_c", "quatern_d"):
        np.testing.assert_array_equal(source[field], written[field])
    assert written.get_data_dtype() == np.uint8


def write_mask(volume, path: Path) -> Path:  # type: ignore[no-untyped-def]
    from napari_medzoo.labels import BACKGROUND, Label, LabelTable, Segmentation

    table = LabelTable("mask", (BACKGROUND, Label(1, "head", (200, 0, 0))))
    mask = (volume.data > volume.data.mean()).astype(np.int64)
    return write_segmentation(Segmentation(mask, volume.grid, table), path, like=volume.file)
