"""NRRD and MetaImage (MHA, MHD), through SimpleITK, whose world is LPS+ where ours is RAS+."""

from __future__ import annotations

import errno
import math
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_medzoo.io.raw import Raw, damaged, native, require_file, require_scalar_3d
from napari_medzoo.space import Grid
from napari_medzoo.study import FileInfo

if TYPE_CHECKING:
    import SimpleITK as sitk

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


@contextmanager
def quiet() -> Iterator[None]:
    """Keep ITK's warnings off the terminal; what matters is raised or becomes a warning of the volume."""
    import SimpleITK as sitk

    before = sitk.ProcessObject.GetGlobalWarningDisplay()
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    try:
        yield
    finally:
        sitk.ProcessObject.SetGlobalWarningDisplay(before)


def read_nrrd(path: Path) -> Raw:
    """Read ``.nrrd`` or ``.nhdr``."""
    return _read(path, "NRRD", "NrrdImageIO", b"NRRD")


def read_mha(path: Path) -> Raw:
    """Read ``.mha`` or ``.mhd``."""
    return _read(path, "MetaImage", "MetaImageIO", None)


def _read(path: Path, kind: str, image_io: str, magic: bytes | None) -> Raw:
    import SimpleITK as sitk

    require_file(path)
    with path.open("rb") as file:
        if magic and not file.read(len(magic)) == magic:
            raise damaged(path, kind, "it does not begin with such a header")
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    reader.SetImageIO(image_io)
    with quiet():
        try:
            reader.ReadImageInformation()
        except RuntimeError as error:
            raise damaged(path, kind, "its header is damaged, or its geometry is singular") from error
        shape = require_scalar_3d(path, _shape(reader), _dtype(reader))
        # gzip packs at most about 1000 : 1. Without this look ITK would first ask for memory that no machine has.
        if path.suffix.lower() in (".nrrd", ".mha") and math.prod(shape) > 1100 * path.stat().st_size:
            raise damaged(path, kind, f"its header promises {'×'.join(map(str, shape))} voxels, the file is too short")
        oriented = kind != "NRRD" or reader.HasMetaDataKey("NRRD_space")
        try:
            image = reader.Execute()
        except RuntimeError as error:
            raise damaged(path, kind, "its voxels are missing, damaged or cut off") from error
    data = native(sitk.GetArrayFromImage(image)).T.reshape(shape, order="F")
    warnings = () if oriented else ("no space in the file: its axes are taken to run to the left, back and top (LPS)",)
    return Raw(data, affine_of(image), warnings=warnings)


def _shape(reader: sitk.ImageFileReader) -> tuple[int, ...]:
    components = reader.GetNumberOfComponents()
    return (*reader.GetSize(), *([1, components] if components > 1 else []))


def _dtype(reader: sitk.ImageFileReader) -> np.dtype[Any]:
    import SimpleITK as sitk

    name = sitk.GetPixelIDValueAsString(reader.GetPixelID())
    return np.dtype(complex if "complex" in name else float)


def affine_of(image: sitk.Image) -> NDArray[np.float64]:
    """Voxel index to RAS+ mm of the first three axes, ``(4, 4)``."""
    size = image.GetDimension()
    direction = np.array(image.GetDirection()).reshape(size, size)
    affine = np.eye(4)
    affine[:3, :3] = (direction * np.array(image.GetSpacing()))[:3, :3]
    affine[:3, 3] = image.GetOrigin()[:3]
    return LPS_TO_RAS @ affine


def write_itk(data: NDArray[Any], grid: Grid, path: Path, like: FileInfo | None, labels: bool) -> None:
    """Write NRRD or MetaImage, compressed, and read it back (ITK does not always say that a disk was full).

    Raises
    ------
    OSError
        If the file could not be written whole.
    """
    import SimpleITK as sitk

    image = sitk.GetImageFromArray(np.ascontiguousarray(data.T))
    affine = LPS_TO_RAS @ grid.affine
    spacing = np.array(grid.spacing)
    image.SetSpacing(spacing.tolist())
    image.SetDirection((affine[:3, :3] / spacing).ravel().tolist())
    image.SetOrigin(affine[:3, 3].tolist())
    with quiet():
        try:
            sitk.WriteImage(image, str(path), useCompression=True)
            written = sitk.ReadImage(str(path))
        except RuntimeError as error:
            raise _write_failure(path, data.nbytes) from error
    if not np.array_equal(sitk.GetArrayViewFromImage(written), data.T, equal_nan=data.dtype.kind == "f"):
        raise _write_failure(path, data.nbytes)


def _write_failure(path: Path, needed: int) -> OSError:
    full = shutil.disk_usage(path.parent).free < needed
    number = errno.ENOSPC if full else errno.EIO
    return OSError(number, os.strerror(number), str(path))
