"""FreeSurfer's MGH and MGZ, through nibabel."""

from __future__ import annotations

import math
from io import BytesIO
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.fileholders import FileHolder
from nibabel.freesurfer.mghformat import MGHError
from nibabel.wrapstruct import WrapStructError
from numpy.typing import NDArray

from napari_medzoo.errors import MedzooError
from napari_medzoo.io.raw import EXPORT_AGAIN, Raw, damaged, first_line, native, read_bytes, require_scalar_3d
from napari_medzoo.space import Grid
from napari_medzoo.study import FileInfo

_HEADER_BYTES = 284
_UNREADABLE = (MGHError, WrapStructError, nib.spatialimages.HeaderDataError, ValueError, TypeError, KeyError, OSError)


def read_mgh(path: Path) -> Raw:
    """Read ``.mgh`` or ``.mgz``.

    Raises
    ------
    MedzooError
        For everything that is not one whole 3D volume of grey values.
    """
    content = read_bytes(path, path.name.lower().endswith((".mgz", ".gz")))
    if len(content) < _HEADER_BYTES or content[:4] != b"\x00\x00\x00\x01":
        raise damaged(path, "MGH", "it does not begin with an MGH header")
    try:
        header = nib.MGHImage.header_class(content[:_HEADER_BYTES], check=False)
        shape = require_scalar_3d(path, [int(size) for size in header["dims"]], header.get_data_dtype())
        oriented = int(header["goodRASFlag"]) == 1
        if oriented and not (np.isfinite(header["delta"]).all() and (header["delta"] > 0).all()):
            text = ", ".join(f"{size:g}" for size in header["delta"])
            raise MedzooError(f"{path}: its voxel size is {text} mm; export the scan again with its geometry.")
        image = nib.MGHImage.from_file_map({"image": FileHolder(fileobj=BytesIO(content))})
        expected = math.prod(shape) * image.dataobj.dtype.itemsize
        present = len(content) - _HEADER_BYTES
        if present < expected:
            raise MedzooError(f"{path}: breaks off, {present} of {expected} bytes of voxels are there; {EXPORT_AGAIN}.")
        data = native(np.asanyarray(image.dataobj)).reshape(shape, order="F")
    except MedzooError:
        raise
    except _UNREADABLE as error:
        raise damaged(path, "MGH", first_line(error)) from error
    warnings = () if oriented else ("no orientation in the file: taken as coronal slices, as FreeSurfer does",)
    return Raw(data, np.array(image.affine, dtype=np.float64), warnings=warnings)


def write_mgh(data: NDArray[Any], grid: Grid, path: Path, like: FileInfo | None, labels: bool) -> None:
    """Write ``.mgh`` or ``.mgz``; `data` is uint8, int16, int32 or float32 (other signatures' arguments are unused)."""
    nib.MGHImage(data, grid.affine).to_filename(path)
