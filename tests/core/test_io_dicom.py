"""A folder of one DICOM series is read with its geometry, or refused in one sentence."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from napari_medzoo.errors import MedzooError
from napari_medzoo.io import load_study, read_volume

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0])
ACROSS, DOWN = np.array([1.0, 0.0, 0.0]), np.array([0.0, np.cos(0.2), -np.sin(0.2)])
SIZE = (9, 7)  # columns, rows


def write_slice(path: Path, position: np.ndarray, pixels: np.ndarray, **tags: str) -> Path:
    """One MR slice, written by GDCM. `pixels` (rows, columns) uint16; `position` in LPS mm."""
    import SimpleITK as sitk

    image = sitk.GetImageFromArray(pixels[None].astype(np.uint16))
    image.SetSpacing([0.8, 1.1, 1.0])
    values = {
        "0008|0016": "1.2.840.10008.5.1.4.1.1.4",
        "0008|0018": f"1.2.826.0.1.3680043.2.1125.{abs(hash(path.name)) % 10**12}",
        "0008|0060": "MR",
        "0020|000d": "1.2.826.0.1.3680043.2.1125.1",
        "0020|000e": "1.2.826.0.1.3680043.2.1125.2",
        "0020|0052": "1.2.826.0.1.3680043.2.1125.3",
        "0008|103e": "t1_tse",
        "0020|0032": "\\".join(f"{number:.6g}" for number in position),
        "0020|0037": "\\".join(f"{number:.8g}" for number in (*ACROSS, *DOWN)),
    } | {tag.replace("_", "|").removeprefix("t"): value for tag, value in tags.items()}
    for tag, value in values.items():
        image.SetMetaData(tag, value)
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    writer.SetFileName(str(path))
    writer.SetImageIO("GDCMImageIO")
    writer.Execute(image)
    return path


def series(folder: Path, count: int = 5, gap: float = 2.5, skip: tuple[int, ...] = (), **tags: str) -> np.ndarray:
    """Write a series whose file names do not follow the slices' order; returns its voxels ``(X, Y, Z)``."""
    folder.mkdir(parents=True, exist_ok=True)
    normal = np.cross(ACROSS, DOWN)
    pixels = np.random.default_rng(0).integers(0, 900, (count, SIZE[1], SIZE[0]))
    for number in range(count):
        if number not in skip:
            name = f"{(number * 3) % count:03d}.dcm"
            write_slice(folder / name, np.array([-10, 20, 30]) + number * gap * normal, pixels[number], **tags)
    return pixels.transpose(2, 1, 0)


def test_voxels_and_geometry(tmp_path: Path) -> None:
    voxels = series(tmp_path / "scan")
    volume = read_volume(tmp_path / "scan")
    np.testing.assert_array_equal(volume.data, voxels)
    assert volume.file is not None
    assert (volume.file.format, volume.file.path) == ("dicom", tmp_path / "scan")
    expected = np.eye(4)
    expected[:3, :3] = LPS_TO_RAS @ np.column_stack([ACROSS * 0.8, DOWN * 1.1, np.cross(ACROSS, DOWN) * 2.5])
    expected[:3, 3] = LPS_TO_RAS @ [-10, 20, 30]
    np.testing.assert_allclose(volume.grid.affine, expected, atol=1e-4)


def test_the_series_description_names_the_modality(tmp_path: Path) -> None:
    series(tmp_path / "2")
    study = load_study(tmp_path / "2")
    assert study.modalities == ("t1w",)
    assert study.reasons["t1w"] == "2 is named T1w by 't1' in its DICOM series description"
    series(tmp_path / "3", t0018_0010="Gadovist", t0020_000e="1.2.3.4")
    assert load_study(tmp_path / "3").modalities == ("t1wgd",)
    # A folder of folders, one series each, is one study.
    study = load_study(tmp_path)
    assert study.modalities == ("t1w", "t1wgd")


def test_a_missing_slice_is_noticed(tmp_path: Path) -> None:
    series(tmp_path / "scan", skip=(2,))
    with pytest.raises(MedzooError, match=r"scan: the gap between .* is 5\.00 mm, elsewhere 2\.50 mm; slices are miss"):
        read_volume(tmp_path / "scan")


def test_repeated_slices_are_noticed(tmp_path: Path) -> None:
    series(tmp_path / "scan", gap=0)
    with pytest.raises(MedzooError, match="several slices at the same place"):
        read_volume(tmp_path / "scan")


def test_several_series_are_refused_by_their_names(tmp_path: Path) -> None:
    series(tmp_path / "scan")
    series(tmp_path / "other", t0020_000e="1.2.3.4", t0008_103e="t2_tse")
    for file in (tmp_path / "other").iterdir():
        shutil.move(file, tmp_path / "scan" / f"other{file.name}")
    with pytest.raises(MedzooError, match=r"scan: holds 2 DICOM series \(t1_tse, t2_tse\), expected one"):
        read_volume(tmp_path / "scan")


def test_other_scans_in_the_folder_are_refused_and_other_files_are_not(tmp_path: Path) -> None:
    series(tmp_path / "scan")
    (tmp_path / "scan" / "notes.txt").write_text("of no interest")
    (tmp_path / "scan" / "DICOMDIR").write_bytes(bytes(128) + b"DICM")
    assert load_study(tmp_path / "scan").modalities == ("t1w",)
    (tmp_path / "scan" / "T1.nii.gz").write_bytes(b"x")
    with pytest.raises(MedzooError, match=r"scan: holds DICOM files and other scans \(T1\.nii\.gz\)"):
        load_study(tmp_path / "scan")


def test_one_slice_or_one_file_is_no_volume(tmp_path: Path) -> None:
    series(tmp_path / "scan", count=1)
    with pytest.raises(MedzooError, match="scan: holds a single DICOM slice, expected a whole series"):
        read_volume(tmp_path / "scan")
    with pytest.raises(MedzooError, match=r"000\.dcm: is one file of a DICOM series; choose its folder"):
        read_volume(tmp_path / "scan" / "000.dcm")
    (tmp_path / "empty").mkdir()
    with pytest.raises(MedzooError, match="empty: holds no DICOM files"):
        read_volume(tmp_path / "empty")


def test_mosaics_and_cut_off_files_are_refused(tmp_path: Path) -> None:
    series(tmp_path / "mosaic", t0008_0008="ORIGINAL\\PRIMARY\\M\\MOSAIC")
    with pytest.raises(MedzooError, match=r"is a mosaic of slices, which is not supported; convert it to NIfTI"):
        read_volume(tmp_path / "mosaic")
    series(tmp_path / "cut")
    file = next((tmp_path / "cut").iterdir())
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(MedzooError, match=r"cut.*\.dcm: cannot be read as DICOM; export the series again"):
        read_volume(tmp_path / "cut")


PGBM003 = {
    "11-T1post-18670": "t1wgd",
    "26401-T1prereg-52906": "t1w",
    "36468-FLAIRreg-58706": "flair",
    "37830-T2reg-78532": "t2w",
}


def test_a_real_patient_of_four_series(data_dir: Path) -> None:
    import SimpleITK as sitk

    study = load_study(data_dir / "dicom" / "pgbm003")
    assert {volume.file.path.name: key for key, volume in study.volumes.items() if volume.file} == PGBM003
    for volume in study.volumes.values():
        assert volume.data.shape == (280, 320, 22)
        assert volume.grid.spacing == pytest.approx((0.6875, 0.6875, 6.5), abs=1e-3)
        # The same series through ITK's own series reader, corner by corner.
        assert volume.file is not None
        names = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(volume.file.path))
        image = sitk.ReadImage(names)
        np.testing.assert_array_equal(volume.data, sitk.GetArrayFromImage(image).T)
        for index in ((0, 0, 0), (279, 0, 0), (0, 319, 21), (279, 319, 21)):
            point = LPS_TO_RAS @ image.TransformIndexToPhysicalPoint(index)
            np.testing.assert_allclose(volume.grid.to_world([index])[0], point, atol=0.05)


SERIES = ["ge", "generic", "hitachi", "philips", "siemens"]


@pytest.mark.parametrize("vendor", SERIES)
@pytest.mark.parametrize("syntax", ["001", "001_implicit"])
def test_vendors_series_agree_with_itk(vendor: str, syntax: str, data_dir: Path) -> None:
    import SimpleITK as sitk

    folder = data_dir / "dicom" / vendor / "anatomical" / syntax
    volume = read_volume(folder)
    assert volume.data.shape[2] == 4
    image = sitk.ReadImage(sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder)))
    np.testing.assert_array_equal(volume.data, sitk.GetArrayFromImage(image).T)
    corner = LPS_TO_RAS @ image.TransformIndexToPhysicalPoint([size - 1 for size in image.GetSize()])
    np.testing.assert_allclose(volume.grid.corners_mm()[-1], corner, atol=0.05)


@pytest.mark.parametrize(
    ("folder", "said"),
    [
        ("ge/anatomical/001_single_slice", "holds a single DICOM slice"),
        ("hyperfine/anatomical/001", "is a multi-frame"),
        ("philips_enhanced/anatomical/001", "is a multi-frame"),
        ("philips_enhanced/anatomical/001_implicit", "is a multi-frame"),
        ("siemens_multiframe/anatomical/001", "is a multi-frame"),
    ],
)
def test_what_is_not_supported_yet_is_said(folder: str, said: str, data_dir: Path) -> None:
    with pytest.raises(MedzooError, match=said) as caught:
        load_study(data_dir / "dicom" / folder)
    assert "\n" not in str(caught.value)


def test_scaled_voxels_that_are_not_isotropic(data_dir: Path) -> None:
    volume = read_volume(data_dir / "dicom" / "generic" / "anatomical" / "002_non_isotropic")
    assert volume.grid.spacing == pytest.approx((6.4, 4.0, 0.5), abs=1e-3)
    assert volume.data.dtype.kind == "f", "its rescale slope is a fraction"
