"""Bad input gets one sentence that names the file and what to do."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from napari_medzoo.errors import MedzooError
from napari_medzoo.io import read_segmentation, read_volume, write_volume
from napari_medzoo.space import Grid
from napari_medzoo.study import Volume

SHAPE = (11, 9, 7)
AFFINE = np.array([[-0.9, 0, 0, 4], [0, 1.25, 0, -5], [0, 0, 3.0, 6], [0, 0, 0, 1]])


def scan(dtype: type = np.int16, shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 200, shape).astype(dtype)


def refusal(path: Path, read: Callable[[Path], object] = read_volume) -> str:
    """The sentence with which a file is refused."""
    with pytest.raises(MedzooError) as caught:
        read(path)
    sentence = str(caught.value)
    assert str(path) in sentence
    assert "\n" not in sentence
    assert sentence.endswith(".")
    return sentence


def save(path: Path, data: np.ndarray, affine: np.ndarray | None = AFFINE) -> Path:
    nib.Nifti1Image(data, affine).to_filename(path)
    return path


def volume_file(folder: Path, suffix: str) -> Path:
    return write_volume(Volume(scan(), Grid(SHAPE, AFFINE)), folder / f"scan{suffix}")


EVERY = [".nii", ".nii.gz", ".hdr", ".mgh", ".mgz", ".nrrd", ".mha", ".mhd"]


@pytest.mark.parametrize("suffix", EVERY)
def test_missing(suffix: str, tmp_path: Path) -> None:
    assert "there is no such file; check its name" in refusal(tmp_path / f"nowhere{suffix}")


@pytest.mark.parametrize("suffix", [suffix for suffix in EVERY if suffix != ".hdr"])
def test_empty(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"empty{suffix}"
    path.touch()
    assert "is empty (0 bytes); export or download it again" in refusal(path)


@pytest.mark.parametrize("suffix", EVERY)
def test_no_scan_at_all(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"letter{suffix}"
    content = b"Dear colleague, please find attached no scan at all. " * 40
    path.write_bytes(gzip.compress(content) if suffix in (".nii.gz", ".mgz") else content)
    path.with_suffix(".img").write_bytes(content)
    assert "cannot be read as" in refusal(path)


@pytest.mark.parametrize("suffix", EVERY)
@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
def test_cut_off(share: float, suffix: str, tmp_path: Path) -> None:
    volume_file(tmp_path, suffix)
    largest = max(tmp_path.iterdir(), key=lambda file: file.stat().st_size)
    content = largest.read_bytes()
    largest.write_bytes(content[: int(share * len(content))])
    sentence = refusal(tmp_path / f"scan{suffix}") if suffix != ".hdr" else refusal(tmp_path / "scan.img")
    assert "export or download it again" in sentence


def test_a_cut_off_file_says_how_much_is_there(tmp_path: Path) -> None:
    path = save(tmp_path / "a.nii", scan())
    path.write_bytes(path.read_bytes()[:-100])
    assert "breaks off, 1286 of 1386 bytes of voxels are there" in refusal(path)


@pytest.mark.parametrize("suffix", [".nii.gz", ".mgz"])
def test_gzip_damage_is_found_by_its_checksum(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"a{suffix}"
    plain = tmp_path / f"a{'.nii' if suffix == '.nii.gz' else '.mgh'}"
    write_volume(Volume(scan(), Grid(SHAPE, AFFINE)), plain)
    packed = bytearray(gzip.compress(plain.read_bytes(), compresslevel=0))
    packed[-700] ^= 0x10  # a flipped bit in a voxel: it unpacks without complaint
    path.write_bytes(packed)
    assert "the gzip compression is damaged, its checksum or content is wrong" in refusal(path)
    path.write_bytes(packed[:-300])
    assert "it breaks off before its end" in refusal(path)


def test_endings_that_lie_about_compression(tmp_path: Path) -> None:
    packed = save(tmp_path / "a.nii.gz", scan()).read_bytes()
    (tmp_path / "b.nii").write_bytes(packed)
    assert "is gzip-compressed although its name does not say so; rename it" in refusal(tmp_path / "b.nii")
    (tmp_path / "c.nii.gz").write_bytes(gzip.decompress(packed))
    assert "is not gzip-compressed although its name says so; rename it" in refusal(tmp_path / "c.nii.gz")


def test_an_unknown_ending_lists_the_known(tmp_path: Path) -> None:
    (tmp_path / "scan.png").write_bytes(b"\x89PNG")
    sentence = refusal(tmp_path / "scan.png")
    assert all(suffix in sentence for suffix in (".nii.gz", ".hdr", ".mgz", ".nrrd", ".mha", "DICOM"))


def test_half_a_pair(tmp_path: Path) -> None:
    volume_file(tmp_path, ".hdr")
    (tmp_path / "scan.img").unlink()
    assert "the pair's other half, scan.img, is missing" in refusal(tmp_path / "scan.hdr")
    volume_file(tmp_path, ".mhd")
    next(tmp_path.glob("*raw")).unlink()
    assert "its voxels are missing" in refusal(tmp_path / "scan.mhd")


@pytest.mark.parametrize("suffix", [".nii.gz", ".mgz", ".nrrd", ".mha"])
def test_constant_volumes_are_refused_and_empty_label_maps_are_not(suffix: str, tmp_path: Path) -> None:
    grid = Grid(SHAPE, AFFINE)
    path = write_volume(Volume(np.zeros(SHAPE, np.uint8), grid), tmp_path / f"a{suffix}")
    assert "every voxel is 0, there is nothing to see" in refusal(path)
    assert read_segmentation(path).data.max() == 0


@pytest.mark.parametrize("suffix", [".nii.gz", ".mgz", ".nrrd", ".mha"])
def test_nan_voxels_become_background_with_a_warning(suffix: str, tmp_path: Path) -> None:
    data = scan(np.float32)
    data[2, 3, 4], data[5, 6, 1], data[0, 0, 0] = np.nan, np.inf, -np.inf
    path = tmp_path / f"a{suffix}"
    volume = read_volume(write_volume(Volume(data, Grid(SHAPE, AFFINE)), path))
    assert volume.warnings == ("3 voxels (0.43 %) were NaN or infinite and are taken as background (0)",)
    np.testing.assert_array_equal(volume.data, np.where(np.isfinite(data), data, 0))
    path = write_volume(Volume(np.full(SHAPE, np.nan, np.float32), Grid(SHAPE, AFFINE)), tmp_path / f"b{suffix}")
    assert "no voxel holds a number" in refusal(path)


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        ((11, 9), "is 2D (11×9), expected a 3D volume"),
        ((11, 9, 1), "is 2D (11×9×1)"),
        ((1, 11, 9), "is 2D (1×11×9)"),
        ((11, 9, 7, 5), "is 4D, 5 volumes in one file (11×9×7×5)"),
        ((11, 9, 7, 1, 3), "holds several values per voxel"),
    ],
)
@pytest.mark.parametrize("suffix", [".nii.gz", ".hdr"])
def test_other_dimensions(suffix: str, shape: tuple[int, ...], said: str, tmp_path: Path) -> None:
    image = nib.Nifti1Image(scan(shape=shape), AFFINE)
    (image if suffix == ".nii.gz" else nib.Nifti1Pair(image.dataobj, AFFINE)).to_filename(tmp_path / f"a{suffix}")
    assert said in refusal(tmp_path / f"a{suffix}")
    assert said in refusal(tmp_path / f"a{suffix}", read_segmentation)


def test_other_dimensions_of_mgh_and_itk(tmp_path: Path) -> None:
    import SimpleITK as sitk

    nib.MGHImage(scan(np.float32, (11, 9, 7, 4)), AFFINE).to_filename(tmp_path / "a.mgz")
    assert "is 4D, 4 volumes" in refusal(tmp_path / "a.mgz")
    for suffix in (".nrrd", ".mha"):
        path = tmp_path / f"a{suffix}"
        for image, said in [
            (sitk.GetImageFromArray(scan(shape=(9, 11))), "is 2D (11×9)"),
            (sitk.GetImageFromArray(scan(shape=(7, 9, 11, 3)), isVector=True), "several values per voxel"),
            (sitk.GetImageFromArray(scan(shape=(4, 7, 9, 11)), isVector=False), "is 4D, 4 volumes"),
        ]:
            sitk.WriteImage(image, str(path))
            assert said in refusal(path)


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha"])
def test_a_trailing_axis_of_one_is_fine(suffix: str, tmp_path: Path) -> None:
    import SimpleITK as sitk

    path, data = tmp_path / f"a{suffix}", scan()
    if suffix == ".nii.gz":
        save(path, data[..., None])
    else:
        image = sitk.GetImageFromArray(data.T[None], isVector=False)
        image.SetSpacing([0.9, 1.25, 3.0, 1.0])
        image.SetDirection(np.diag([1, -1, 1, 1]).ravel().tolist())
        image.SetOrigin([-4, 5, 6, 0])
        sitk.WriteImage(image, str(path))
    volume = read_volume(path)
    np.testing.assert_array_equal(volume.data, data)
    np.testing.assert_allclose(volume.grid.affine, AFFINE, atol=1e-6)


def test_colours_and_complex_numbers(tmp_path: Path) -> None:
    colours = np.zeros(SHAPE, dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    assert "holds colours (RGB)" in refusal(save(tmp_path / "a.nii", colours))
    assert "holds complex numbers, expected grey values; export its magnitude" in refusal(
        save(tmp_path / "b.nii", scan(np.complex64))
    )


def changed_header(path: Path, **fields: object) -> Path:
    """Overwrite fields of a NIfTI header without any check."""
    content = bytearray(save(path, scan()).read_bytes())
    header = nib.Nifti1Header(bytes(content[:348]), check=False)
    for name, value in fields.items():
        header[name] = value
    content[:348] = header.binaryblock
    path.write_bytes(content)
    return path


SIZES = [1, 0.9, 1.25, 3, 1, 1, 1, 1]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"srow_x": [np.nan, 0, 0, 0]}, "its sform has NaN or infinite numbers"),
        ({"srow_y": [0, 0, 0, np.inf]}, "its sform has NaN or infinite numbers"),
        ({"srow_x": [0, 0, 0, 4]}, "the affine is singular (a voxel axis has no length or two axes coincide)"),
        ({"srow_x": [1, 1, 0, 0], "srow_y": [1, 1, 0, 0]}, "the affine is singular"),
        ({"sform_code": 0, "quatern_b": np.nan, "qform_code": 1}, "its qform has NaN or infinite numbers"),
        ({"sform_code": 0, "pixdim": [1, 0, 1, 1, 1, 1, 1, 1], "qform_code": 1}, "its voxel size is 0, 1, 1 mm"),
        ({"sform_code": 0, "pixdim": [1, 1, np.nan, 1, 1, 1, 1, 1]}, "its voxel size is 1, nan, 1 mm"),
        ({"sform_code": 0, "quatern_b": 3, "qform_code": 1}, "cannot be read as NIfTI"),
        ({"xyzt_units": 7}, "cannot be read as NIfTI"),
        ({"datatype": 77}, "cannot be read as NIfTI"),
        ({"dim": [3, 30000, 30000, 30000, 1, 1, 1, 1]}, "breaks off, 1386 of 54000000000000 bytes"),
        ({"dim": [3, 11, 0, 7, 1, 1, 1, 1]}, "holds no voxels (11×0×7)"),
    ],
)
def test_geometry_that_is_none(fields: dict[str, object], said: str, tmp_path: Path) -> None:
    assert said in refusal(changed_header(tmp_path / "a.nii", **fields))


def test_geometry_that_has_to_be_assumed_is_warned_about(tmp_path: Path) -> None:
    volume = read_volume(changed_header(tmp_path / "a.nii", sform_code=0, qform_code=0, pixdim=SIZES))
    assert volume.grid.spacing == pytest.approx((0.9, 1.25, 3))
    assert "left and right are a guess" in volume.warnings[0]
    volume = read_volume(changed_header(tmp_path / "b.nii", sform_code=0, pixdim=[1, -0.9, *SIZES[2:]], qform_code=1))
    assert "negative voxel sizes" in volume.warnings[0]
    volume = read_volume(changed_header(tmp_path / "c.nii", xyzt_units=1))
    assert "gives lengths in meter; they were read as mm" in volume.warnings[0]
    # A flip is no defect: most scans are stored with a negative determinant.
    assert np.linalg.det(volume.grid.affine) < 0
    # The sform is complete in itself, whatever the voxel sizes say.
    assert read_volume(changed_header(tmp_path / "d.nii", pixdim=[1, 0, 0, 0, 1, 1, 1, 1])).grid.spacing[2] == 3


def test_the_sform_wins_over_the_qform_where_its_code_is_set(tmp_path: Path) -> None:
    image = nib.Nifti1Image(scan(), None)
    image.set_qform(np.diag([2.0, 2, 2, 1]), 1)
    image.set_sform(AFFINE, 2)
    image.to_filename(tmp_path / "a.nii")
    np.testing.assert_allclose(read_volume(tmp_path / "a.nii").grid.affine, AFFINE, atol=1e-6)
    image.set_sform(AFFINE, 0)
    image.to_filename(tmp_path / "b.nii")
    np.testing.assert_allclose(read_volume(tmp_path / "b.nii").grid.affine, np.diag([2.0, 2, 2, 1]), atol=1e-6)


def test_a_header_that_promises_too_much_is_refused_before_memory_is_asked_for(tmp_path: Path) -> None:
    for suffix, before, after in [
        (".nrrd", b"sizes: 11 9 7", b"sizes: 110000 90000 70000"),
        (".mha", b"DimSize = 11 9 7", b"DimSize = 110000 90000 70000"),
    ]:
        content = volume_file(tmp_path, suffix).read_bytes()
        (tmp_path / f"bad{suffix}").write_bytes(content.replace(before, after))
        assert "promises 110000×90000×70000 voxels, the file is too short" in refusal(tmp_path / f"bad{suffix}")


def test_singular_geometry_of_other_formats(tmp_path: Path) -> None:
    path = volume_file(tmp_path, ".mha")
    for before, after in (
        (b"ElementSpacing = 0.9", b"ElementSpacing = 0.0"),
        (b"ElementSpacing = 0.9", b"ElementSpacing = nan"),
    ):
        content = path.read_bytes()
        (tmp_path / "bad.mha").write_bytes(content.replace(before, after))
        assert content != (tmp_path / "bad.mha").read_bytes()
        refusal(tmp_path / "bad.mha")
    content = bytearray(volume_file(tmp_path, ".mgh").read_bytes())
    content[30:34] = np.array([0.0], ">f4").tobytes()
    (tmp_path / "bad.mgh").write_bytes(content)
    assert "its voxel size is 0, 1.25, 3 mm" in refusal(tmp_path / "bad.mgh")


def test_an_unknown_modality_lists_the_known(tmp_path: Path) -> None:
    with pytest.raises(MedzooError, match="unknown modality 't3w'; choose one of t1w, t2w, flair"):
        read_volume(save(tmp_path / "a.nii", scan()), "t3w")


@pytest.mark.parametrize("suffix", EVERY)
def test_any_damage_is_either_read_or_refused_in_a_sentence(suffix: str, tmp_path: Path) -> None:
    """Flip bytes of the header at random: whatever comes of it, it is a volume or a `MedzooError`."""
    path = volume_file(tmp_path, suffix)
    packed = suffix in (".nii.gz", ".mgz")
    content = gzip.decompress(path.read_bytes()) if packed else path.read_bytes()
    random = np.random.default_rng(1)
    refusals = []
    for _ in range(60):
        damaged = bytearray(content)
        for position in random.integers(0, min(400, len(content)), 6):
            damaged[position] = random.integers(0, 256)
        path.write_bytes(gzip.compress(bytes(damaged)) if packed else damaged)
        try:
            assert read_volume(path).data.shape
        except MedzooError as error:
            refusals.append(str(error))
    assert len(refusals) > 10
    assert all(str(path) in sentence and "\n" not in sentence for sentence in refusals)
