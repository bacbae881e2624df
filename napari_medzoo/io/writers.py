"""Write label maps and scans, whole or not at all, in the format that the file's ending asks for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from napari_medzoo.errors import MedzooError
from napari_medzoo.io.formats import FORMATS, Format, format_for_writing
from napari_medzoo.io.nifti import pair_stem
from napari_medzoo.io.raw import native
from napari_medzoo.io.safe import refuse_existing, replacing
from napari_medzoo.label_tables import count_values, require_known
from napari_medzoo.labels import Segmentation
from napari_medzoo.space import Grid
from napari_medzoo.study import FileInfo, Volume


def write_segmentation(
    segmentation: Segmentation, path: str | Path, like: FileInfo | None = None, overwrite: bool = False
) -> Path:
    """Write a label map.

    Parameters
    ----------
    segmentation : Segmentation
        Written in the smallest integer dtype of the format that holds its values, unsigned where there is one.
    path : path
        The ending decides the format: ``.nii.gz``, ``.nii``, ``.hdr``/``.img``, ``.mgz``, ``.mgh``, ``.nrrd``,
        ``.nhdr``, ``.mha``, ``.mhd``.
    like : FileInfo, optional
        The scan the labels belong to (`Volume.file`): its NIfTI codes, qform and sform are kept; a ``.hdr`` becomes
        Analyze 7.5 where the scan was and the header can say where the voxels lie, else a NIfTI pair. Where the scan
        was moved by hand (`FileInfo.moved`), the labels are written where its file says.
    overwrite : bool
        Whether a file that is already there may be replaced.

    Returns
    -------
    pathlib.Path
        `path`.

    Raises
    ------
    MedzooError
        For an unknown ending, an existing file, negative labels, labels outside the table or too large for the
        format, and when the disk is full or the folder read-only. Nothing half-written stays.
    """
    path = Path(path)
    target = format_for_writing(path)
    values, _ = count_values(segmentation.data)
    if values[0] < 0:
        raise MedzooError(f"{path}: cannot be written, label {values[0]} is negative; labels are 0 or more.")
    require_known(segmentation, values, f"{path}: the labels")
    dtype = label_dtype(values[-1], target, path, like)
    data = segmentation.data.astype(dtype, copy=False)
    grid = segmentation.grid
    if like is not None and like.moved is not None:
        grid = Grid(grid.shape, np.linalg.inv(like.moved) @ grid.affine)
    return _write(data, grid, path, target, like, labels=True, overwrite=overwrite)


def write_volume(volume: Volume, path: str | Path, overwrite: bool = False) -> Path:
    """Write a scan in its own dtype; the ending decides the format as for `write_segmentation`.

    Returns
    -------
    pathlib.Path
        `path`.

    Raises
    ------
    MedzooError
        As for `write_segmentation`, and for a dtype that the format does not have when its values would change.
    """
    path = Path(path)
    target = format_for_writing(path)
    data = native(volume.data)
    if not target.holds(data.dtype):
        data = _exactly(data, target, path)
    return _write(data, volume.grid, path, target, volume.file, labels=False, overwrite=overwrite)


def label_dtype(highest: int, target: Format, path: Path, like: FileInfo | None = None) -> np.dtype[Any]:
    """The smallest integer dtype of `target` that holds labels up to `highest`, unsigned ones first.

    Raises
    ------
    MedzooError
        If the format has none.
    """
    names = [name for name in ("uint8", "uint16", "int16", "uint32", "int32") if name in target.dtypes]
    if target is FORMATS["analyze"] and like is not None and like.format == "analyze":
        names = ["uint8", "int16", *names]  # what Analyze 7.5 has
    for name in names:
        if highest <= np.iinfo(name).max:
            return np.dtype(name)
    raise MedzooError(
        f"{path}: label {highest} is too large, {target.title} holds labels up to {np.iinfo(names[-1]).max}; "
        "renumber the labels, or write another format."
    )


def _exactly(data: NDArray[Any], target: Format, path: Path) -> NDArray[Any]:
    """`data` in the first of the format's dtypes that keeps every value."""
    for name in target.dtypes:
        dtype = np.dtype(name)
        if dtype.kind in "iu" and (data.min() < np.iinfo(dtype).min or data.max() > np.iinfo(dtype).max):
            continue
        with np.errstate(over="ignore"):
            converted = data.astype(dtype)
        if np.array_equal(converted, data):
            return converted
    raise MedzooError(
        f"{path}: {target.title} cannot hold these {data.dtype} values unchanged; write .nii.gz or .nrrd instead."
    )


def _write(
    data: NDArray[Any],
    grid: Grid,
    path: Path,
    target: Format,
    like: FileInfo | None,
    labels: bool,
    overwrite: bool,
) -> Path:
    if not overwrite and target is FORMATS["analyze"]:
        for ending in (".hdr", ".img"):
            refuse_existing(path.with_name(pair_stem(path) + ending))
    assert target.write is not None  # format_for_writing gives no other
    with replacing(path, overwrite) as temporary:
        try:
            target.write(data, grid, temporary, like, labels)
        except nib.spatialimages.HeaderDataError as error:
            raise MedzooError(
                f"{path}: {target.title} cannot hold this volume ({error}); write .nrrd or .mha instead."
            ) from error
    return path
