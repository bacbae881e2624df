"""A folder with the slices of one DICOM series, through SimpleITK (GDCM).

The geometry is computed from every slice's own position, so that a missing slice, uneven gaps or a second time
point are noticed instead of becoming a wrong spacing, and sheared stacks keep their shear.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from napari_medzoo.errors import MedzooError
from napari_medzoo.io.itk import LPS_TO_RAS, quiet
from napari_medzoo.io.raw import Raw, native, require_file

SERIES_UID, SERIES_DESCRIPTION, CONTRAST_AGENT = "0020|000e", "0008|103e", "0018|0010"
POSITION, ORIENTATION, FRAMES = "0020|0032", "0020|0037", "0028|0008"
IMAGE_TYPE, MODALITY = "0008|0008", "0008|0060"
CONVERT = "convert it to NIfTI (for example with dcm2niix) and open that"
GAP_TOLERANCE = 0.05
"""Gaps between slices may differ by this share of their median (positions are rounded when they are written)."""


@dataclass(frozen=True)
class Slice:
    """Header of one file of a series; positions in LPS+ mm."""

    path: Path
    size: tuple[int, int]
    spacing: tuple[float, float]
    position: NDArray[np.float64]
    axes: NDArray[np.float64]
    tags: dict[str, str]


def is_dicom(path: Path) -> bool:
    """Whether the file begins as DICOM files do (128 bytes, then ``DICM``)."""
    try:
        with path.open("rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False


def dicom_files(folder: Path) -> list[Path]:
    """The DICOM files directly in `folder`, by name (a DICOMDIR is an index, not a scan)."""
    files = (file for file in folder.iterdir() if file.is_file() and not file.name.startswith("."))
    return sorted(file for file in files if file.name.upper() != "DICOMDIR" and is_dicom(file))


def series_words(folder: Path) -> str:
    """What the first file says about its series: description and contrast agent, ``""`` where it says nothing."""
    import SimpleITK as sitk

    files = dicom_files(folder)
    if not files:
        return ""
    try:
        tags = _tags(_reader(sitk, files[0]))
    except MedzooError:
        return ""  # reading the series will say what is wrong with it; a missing name is no reason to stop here
    return " ".join(filter(None, (tags[SERIES_DESCRIPTION], tags[CONTRAST_AGENT] and "contrast")))


def read_dicom(folder: Path) -> Raw:
    """Read the one series of a folder.

    Returns
    -------
    Raw
        Voxel axes: along the rows, down the columns, from slice to slice. Rescale slope and intercept are applied
        slice by slice.

    Raises
    ------
    MedzooError
        For several series, multi-frame files, mosaics, colour, a single slice, missing or repeated slices, and
        scans of other formats in the same folder.
    """
    import SimpleITK as sitk

    if folder.is_file():
        require_file(folder)
        raise MedzooError(f"{folder}: is one file of a DICOM series; choose its folder instead.")
    files = dicom_files(folder)
    if not files:
        raise MedzooError(f"{folder}: holds no DICOM files; choose the folder of one series.")
    slices = [_slice(_reader(sitk, file), file) for file in files]
    _require_one_series(folder, slices)
    slices, step = _ordered(folder, slices)
    stack = []
    for item in slices:
        try:
            with quiet():
                image = sitk.ReadImage(str(item.path), imageIO="GDCMImageIO")
        except RuntimeError as error:
            raise MedzooError(f"{item.path}: its voxels are damaged or cut off; export the series again.") from error
        if image.GetNumberOfComponentsPerPixel() != 1:
            raise MedzooError(f"{folder}: holds colours (RGB), expected grey values; choose an MR series.")
        stack.append(native(sitk.GetArrayFromImage(image))[0].T)
    affine = np.eye(4)
    first = slices[0]
    affine[:3, 0] = first.axes[0] * first.spacing[0]
    affine[:3, 1] = first.axes[1] * first.spacing[1]
    affine[:3, 2] = step
    affine[:3, 3] = first.position
    warnings = () if first.tags[MODALITY] in ("MR", "") else (f"a {first.tags[MODALITY]} series, not MR",)
    return Raw(np.stack(stack, axis=2), LPS_TO_RAS @ affine, warnings=warnings)


def _reader(sitk, path: Path):  # type: ignore[no-untyped-def]  # SimpleITK has no types
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    reader.SetImageIO("GDCMImageIO")
    try:
        with quiet():
            reader.ReadImageInformation()
    except RuntimeError as error:
        raise MedzooError(f"{path}: cannot be read as DICOM; export the series again, or {CONVERT}.") from error
    return reader


def _tags(reader) -> dict[str, str]:  # type: ignore[no-untyped-def]
    wanted = (SERIES_UID, SERIES_DESCRIPTION, CONTRAST_AGENT, POSITION, ORIENTATION, FRAMES, IMAGE_TYPE, MODALITY)
    return {tag: reader.GetMetaData(tag).strip() if reader.HasMetaDataKey(tag) else "" for tag in wanted}


def _slice(reader, path: Path) -> Slice:  # type: ignore[no-untyped-def]
    tags = _tags(reader)
    size = reader.GetSize()
    if (len(size) > 2 and size[2] > 1) or tags[FRAMES] not in ("", "0", "1"):
        raise MedzooError(f"{path}: is a multi-frame (enhanced) DICOM file, which is not supported yet; {CONVERT}.")
    if "MOSAIC" in tags[IMAGE_TYPE].upper():
        raise MedzooError(f"{path}: is a mosaic of slices, which is not supported; {CONVERT}.")
    try:
        position = np.array([float(number) for number in tags[POSITION].split("\\")])
        axes = np.array([float(number) for number in tags[ORIENTATION].split("\\")]).reshape(2, 3)
    except ValueError as error:
        raise MedzooError(f"{path}: says not where its slice lies; export the series with its geometry.") from error
    if position.shape != (3,) or not np.isfinite([*position, *axes.ravel()]).all():
        raise MedzooError(f"{path}: says not where its slice lies; export the series with its geometry.")
    return Slice(path, size[:2], reader.GetSpacing()[:2], position, axes, tags)


def _require_one_series(folder: Path, slices: list[Slice]) -> None:
    series = {item.tags[SERIES_UID] for item in slices}
    if len(series) > 1:
        names = sorted({item.tags[SERIES_DESCRIPTION] or "unnamed" for item in slices})
        raise MedzooError(
            f"{folder}: holds {len(series)} DICOM series ({', '.join(names)}), expected one; "
            "put each series into a folder of its own."
        )
    if len(slices) == 1:
        raise MedzooError(f"{folder}: holds a single DICOM slice, expected a whole series; copy all its files here.")
    first = slices[0]
    for item in slices[1:]:
        same = item.size == first.size and np.allclose(item.spacing, first.spacing, rtol=1e-3)
        if not same or not np.allclose(item.axes, first.axes, atol=1e-3):
            raise MedzooError(
                f"{folder}: {first.path.name} and {item.path.name} differ in size, pixel spacing or direction "
                "(a localiser?), expected parallel slices; choose another series."
            )


def _ordered(folder: Path, slices: list[Slice]) -> tuple[list[Slice], NDArray[np.float64]]:
    """The slices along their normal, and the step from one to the next in LPS+ mm."""
    normal = np.cross(slices[0].axes[0], slices[0].axes[1])
    slices = sorted(slices, key=lambda item: float(item.position @ normal))
    positions = np.array([item.position for item in slices])
    steps = np.diff(positions, axis=0)
    gaps = steps @ normal
    usual = float(np.median(gaps))
    if gaps.min() < 0.01:
        raise MedzooError(
            f"{folder}: has several slices at the same place (several echoes, time points or repeats), expected one "
            f"volume; {CONVERT}."
        )
    uneven = np.flatnonzero(np.abs(gaps - usual) > GAP_TOLERANCE * usual)
    if uneven.size:
        before, after = slices[uneven[0]].path.name, slices[uneven[0] + 1].path.name
        raise MedzooError(
            f"{folder}: the gap between {before} and {after} is {gaps[uneven[0]]:.2f} mm, elsewhere {usual:.2f} mm; "
            "slices are missing, copy the whole series."
        )
    return slices, (positions[-1] - positions[0]) / (len(slices) - 1)
