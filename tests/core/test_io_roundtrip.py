"""Read → write → read gives the same voxels, affine and codes, in every format, dtype and grid."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from napari_medzoo.errors import MedzooError
from napari_medzoo.io import FORMATS, read_segmentation, read_volume, write_segmentation, write_volume
from napari_medzoo.labels import BACKGROUND, Label, LabelTable, Segmentation
from napari_medzoo.space import Grid
from napari_medzoo.study import FileInfo, Volume
from tests.conftest import make_awkward_grids

SUFFIXES = [(key, suffix) for key, known in FORMATS.items() if known.write for suffix in known.suffixes]
GRIDS = list(make_awkward_grids())


def some_volume(grid: Grid, dtype: str = "int16", seed: int = 0) -> Volume:
    random = np.random.default_rng(seed)
    kind = np.dtype(dtype)
    if kind.kind == "f":
        data = random.normal(0, 1000, grid.shape).astype(kind)
    else:
        data = random.integers(np.iinfo(kind).min, np.iinfo(kind).max, grid.shape, dtype=kind, endpoint=True)
    return Volume(data, grid, "t1w")


def some_labels(grid: Grid, highest: int = 5) -> Segmentation:
    values = (0, 1, 3, highest)
    data = np.random.default_rng(1).choice(np.array(values, dtype=np.uint32), grid.shape)
    data[0, 0, 0] = highest
    labels = [Label(value, f"part {value}", (value % 256, 9, 9)) for value in values if value]
    return Segmentation(data, grid, LabelTable("parts", (BACKGROUND, *labels)))


def sheared() -> Grid:
    affine = np.eye(4)
    affine[:3, :3] = [[1.0, 0.3, 0.0], [0.0, 1.1, -0.2], [0.1, 0.0, 2.0]]
    affine[:3, 3] = [5, -6, 7.5]
    return Grid((11, 9, 7), affine)


@pytest.mark.parametrize("name", GRIDS)
@pytest.mark.parametrize(("key", "suffix"), SUFFIXES)
def test_volume_comes_back(key: str, suffix: str, name: str, tmp_path: Path) -> None:
    volume = some_volume(make_awkward_grids()[name])
    first = read_volume(write_volume(volume, tmp_path / f"a{suffix}"), "t1w")
    assert first.grid.same_as(volume.grid, tolerance_mm=1e-4)
    assert first.data.dtype == volume.data.dtype
    np.testing.assert_array_equal(first.data, volume.data)
    assert first.file is not None
    assert first.file.format == ("nifti" if key == "analyze" else key)
    second = read_volume(write_volume(first, tmp_path / f"b{suffix}"), "t1w")
    np.testing.assert_array_equal(second.data, first.data)
    # The text of NRRD holds vectors where ITK holds directions and spacings: the last bit of a double may differ.
    np.testing.assert_allclose(second.grid.affine, first.grid.affine, rtol=0, atol=1e-14 if key == "nrrd" else 0)
    assert second.file is not None
    assert (second.file.qform_code, second.file.sform_code) == (first.file.qform_code, first.file.sform_code)


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64"])
@pytest.mark.parametrize("suffix", [".nii.gz", ".hdr", ".nrrd", ".mha"])
def test_every_dtype_comes_back(suffix: str, dtype: str, tmp_path: Path, awkward_grids: dict[str, Grid]) -> None:
    volume = some_volume(awkward_grids["awkward"], dtype)
    again = read_volume(write_volume(volume, tmp_path / f"a{suffix}"))
    assert again.data.dtype == volume.data.dtype
    np.testing.assert_array_equal(again.data, volume.data)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "int32", "float32"])
def test_mgh_dtypes_come_back(dtype: str, tmp_path: Path, awkward_grids: dict[str, Grid]) -> None:
    volume = some_volume(awkward_grids["oblique"], dtype)
    again = read_volume(write_volume(volume, tmp_path / "a.mgz"))
    assert again.data.dtype == volume.data.dtype
    np.testing.assert_array_equal(again.data, volume.data)


def test_mgh_widens_what_it_can_keep_and_refuses_the_rest(tmp_path: Path, awkward_grids: dict[str, Grid]) -> None:
    grid = awkward_grids["flipped"]
    volume = some_volume(grid, "uint16")
    again = read_volume(write_volume(volume, tmp_path / "a.mgz"))
    assert again.data.dtype == np.int32
    np.testing.assert_array_equal(again.data, volume.data)
    with pytest.raises(MedzooError, match=r"c\.mgz.*cannot hold these float64 values unchanged; write \.nii\.gz"):
        write_volume(some_volume(grid, "float64"), tmp_path / "c.mgz")
    assert [file.name for file in tmp_path.iterdir()] == ["a.mgz"]


@pytest.mark.parametrize("name", [*GRIDS, "sheared"])
@pytest.mark.parametrize(("key", "suffix"), SUFFIXES)
def test_labels_come_back(key: str, suffix: str, name: str, tmp_path: Path) -> None:
    highest = {"oblique": 70000, "flipped": 5}.get(name, 300)
    segmentation = some_labels({**make_awkward_grids(), "sheared": sheared()}[name], highest)
    again = read_segmentation(write_segmentation(segmentation, tmp_path / f"a{suffix}"), segmentation.table)
    np.testing.assert_array_equal(again.data, segmentation.data)
    assert again.data.dtype == np.min_scalar_type(highest)
    assert again.grid.same_as(segmentation.grid, tolerance_mm=1e-4)
    assert again.table is segmentation.table
    assert not again.warnings


@pytest.mark.parametrize(
    ("suffix", "highest", "dtype"),
    [(".nii.gz", 255, "u1"), (".nii.gz", 256, "u2"), (".nii", 65536, "u4"), (".mgz", 256, "i2"), (".mgh", 40000, "i4")],
)
def test_labels_take_the_smallest_dtype(
    suffix: str, highest: int, dtype: str, tmp_path: Path, awkward_grids: dict[str, Grid]
) -> None:
    path = write_segmentation(some_labels(awkward_grids["identity"], highest), tmp_path / f"a{suffix}")
    assert nib.load(path).get_data_dtype().newbyteorder("=") == np.dtype(dtype)


@pytest.mark.parametrize("codes", [(1, 1), (2, 1), (0, 2), (1, 0), (1, 4), (3, 0)])
@pytest.mark.parametrize("name", GRIDS)
def test_nifti_codes_and_affine_are_kept(codes: tuple[int, int], name: str, tmp_path: Path) -> None:
    grid = make_awkward_grids()[name]
    header = nib.Nifti1Header()
    header.set_data_dtype(np.int16)
    header.set_data_shape(grid.shape)
    header.set_qform(grid.affine, codes[0])
    header.set_sform(grid.affine, codes[1])
    source = tmp_path / "source.nii.gz"
    nib.Nifti1Image(some_volume(grid).data, None, header).to_filename(source)
    volume = read_volume(source)
    segmentation = some_labels(volume.grid)
    for output in (
        write_volume(volume, tmp_path / "scan.nii.gz"),
        write_segmentation(segmentation, tmp_path / "labels.nii.gz", like=volume.file),
        write_segmentation(segmentation, tmp_path / "pair.hdr", like=volume.file),
    ):
        written = nib.load(output).header
        assert (int(written["qform_code"]), int(written["sform_code"])) == codes
        np.testing.assert_array_equal(written.get_best_affine(), volume.grid.affine)
        # Both are set, whichever a program reads.
        np.testing.assert_allclose(written.get_qform(), volume.grid.affine, atol=1e-4)
        np.testing.assert_allclose(written.get_sform(), volume.grid.affine, atol=1e-4)
    # The scan has gone by the time the labels are written: its codes are still known.
    source.unlink()
    written = nib.load(write_segmentation(segmentation, tmp_path / "later.nii", like=volume.file)).header
    assert (int(written["qform_code"]), int(written["sform_code"])) == codes
    np.testing.assert_allclose(written.get_best_affine(), volume.grid.affine, atol=1e-4)


def test_a_qform_that_differs_from_the_sform_is_kept(tmp_path: Path, awkward_grids: dict[str, Grid]) -> None:
    scanner, atlas = awkward_grids["oblique"].affine, awkward_grids["flipped"].affine
    image = nib.Nifti1Image(some_volume(awkward_grids["oblique"]).data, None)
    image.set_qform(scanner, 1)
    image.set_sform(atlas, 4)
    image.to_filename(tmp_path / "scan.nii")
    volume = read_volume(tmp_path / "scan.nii")
    np.testing.assert_allclose(volume.grid.affine, atlas, atol=1e-5)
    written = nib.load(write_segmentation(some_labels(volume.grid), tmp_path / "labels.nii.gz", volume.file)).header
    np.testing.assert_array_equal(written.get_qform(), nib.load(tmp_path / "scan.nii").get_qform())
    np.testing.assert_array_equal(written.get_sform(), volume.grid.affine)


def test_shear_survives_although_a_qform_cannot_hold_it(tmp_path: Path) -> None:
    grid = sheared()
    like = FileInfo(tmp_path / "gone.nii.gz", "nifti", qform_code=1, sform_code=0)
    path = write_segmentation(some_labels(grid), tmp_path / "labels.nii.gz", like)
    header = nib.load(path).header
    assert int(header["sform_code"]) == 1, "with a qform alone the shear would be lost"
    np.testing.assert_array_equal(header.get_sform(), grid.affine.astype(np.float32))
    assert read_segmentation(path).grid.same_as(grid, 1e-4)


def test_no_codes_stay_no_codes_only_where_the_voxel_sizes_say_it_all(
    tmp_path: Path, awkward_grids: dict[str, Grid]
) -> None:
    image = nib.Nifti1Image(some_volume(awkward_grids["anisotropic"]).data, None)
    image.header.set_zooms((0.9, 1.25, 3.0))
    image.to_filename(tmp_path / "scan.nii")
    volume = read_volume(tmp_path / "scan.nii")
    assert any("left and right are a guess" in text for text in volume.warnings)
    again = read_volume(write_volume(volume, tmp_path / "again.nii"))
    assert again.file is not None
    assert (again.file.qform_code, again.file.sform_code) == (0, 0)
    np.testing.assert_array_equal(again.grid.affine, volume.grid.affine)
    moved = some_labels(awkward_grids["oblique"])
    assert read_segmentation(write_segmentation(moved, tmp_path / "moved.nii", volume.file)).grid.same_as(moved.grid)


def test_scaled_integers_are_scaled_and_come_back(tmp_path: Path, awkward_grids: dict[str, Grid]) -> None:
    stored = some_volume(awkward_grids["permuted"]).data
    image = nib.Nifti1Image(stored, awkward_grids["permuted"].affine)
    image.header.set_slope_inter(0.5, -20)
    nib.Nifti1Image(image.dataobj, None, image.header).to_filename(tmp_path / "reference.nii")
    # nibabel chooses its own slope when it saves; write the one we want into the header's bytes.
    content = bytearray((tmp_path / "reference.nii").read_bytes())
    content[112:120] = np.array([0.5, -20], dtype="<f4").tobytes()
    content[352:] = stored.astype("<i2").tobytes(order="F")
    (tmp_path / "scaled.nii").write_bytes(content)
    volume = read_volume(tmp_path / "scaled.nii")
    np.testing.assert_allclose(volume.data, stored * 0.5 - 20)
    again = read_volume(write_volume(volume, tmp_path / "again.nii.gz"))
    np.testing.assert_array_equal(again.data, volume.data)


def test_analyze_stays_analyze_where_its_header_can_say_it(tmp_path: Path) -> None:
    header = nib.AnalyzeHeader()
    header.set_data_dtype(np.int16)
    header.set_data_shape((11, 9, 7))
    header.set_zooms((1, 1.5, 2))
    grid = Grid((11, 9, 7), header.get_best_affine())
    nib.AnalyzeImage(some_volume(grid).data, None, header).to_filename(tmp_path / "subject-1-T1.hdr")
    volume = read_volume(tmp_path / "subject-1-T1.img")
    assert volume.file is not None
    assert volume.file.format == "analyze"
    assert volume.modality == "t1w"
    assert volume.grid.axis_codes == "LAS"
    assert any("check left and right" in text for text in volume.warnings)
    segmentation = some_labels(volume.grid, 300)
    path = write_segmentation(segmentation, tmp_path / "labels.img", like=volume.file)
    assert (tmp_path / "labels.hdr").read_bytes()[344:348] != b"ni1\0", "Analyze, not NIfTI"
    again = read_segmentation(path, segmentation.table)
    np.testing.assert_array_equal(again.data, segmentation.data)
    assert again.grid.same_as(volume.grid, 1e-6)
    # A grid that Analyze cannot say, or labels it has no dtype for, become a NIfTI pair.
    turned = some_labels(make_awkward_grids()["oblique"])
    write_segmentation(turned, tmp_path / "turned.hdr", like=volume.file)
    assert (tmp_path / "turned.hdr").read_bytes()[344:348] == b"ni1\0"
    assert read_segmentation(tmp_path / "turned.img").grid.same_as(turned.grid, 1e-4)
