"""What every reader hands over, and the checks that every scan has to pass."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_medzoo.errors import MedzooError
from napari_medzoo.space import Grid

GZIP_MAGIC = b"\x1f\x8b"
EXPORT_AGAIN = "export or download it again"


@dataclass(frozen=True, eq=False)
class Raw:
    """Voxels and geometry as a file gives them.

    Attributes
    ----------
    data : numpy.ndarray
        ``(X, Y, Z)`` in a real dtype of the machine's byte order, scaling (NIfTI's slope and intercept) applied.
    affine : numpy.ndarray
        ``(4, 4) float64``, voxel index to RAS+ mm; not checked yet.
    qform_code, sform_code : int
        NIfTI's codes; 1 elsewhere.
    warnings : tuple of str
        What the reader had to assume.
    format : str
        A key of `FORMATS` where the content decides and not the ending (pairs), else ``""``.
    """

    data: NDArray[Any]
    affine: NDArray[np.float64]
    qform_code: int = 1
    sform_code: int = 1
    warnings: tuple[str, ...] = ()
    format: str = ""

    def grid(self, path: Path) -> Grid:
        """The checked grid.

        Raises
        ------
        MedzooError
            Naming `path`, for an affine with NaN, a zero voxel size or coinciding axes.
        """
        try:
            return Grid((self.data.shape[0], self.data.shape[1], self.data.shape[2]), self.affine)
        except MedzooError as error:
            raise MedzooError(f"{path}: {str(error)[0].lower()}{str(error)[1:]}") from error


def damaged(path: Path, kind: str, what: str) -> MedzooError:
    """The error for a file that is not, or no longer, what its name says."""
    return MedzooError(f"{path}: cannot be read as {kind} ({what}); {EXPORT_AGAIN}.")


def first_line(error: Exception) -> str:
    """The first line of what a library said, to stand inside a sentence."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")


def require_file(path: Path) -> None:
    """Refuse a missing, empty or unreadable file.

    Raises
    ------
    MedzooError
        Naming the file.
    """
    try:
        if path.is_dir():
            raise MedzooError(f"{path}: is a folder; choose a scan's file.")
        with path.open("rb") as file:
            if not file.read(1):
                raise MedzooError(f"{path}: is empty (0 bytes); {EXPORT_AGAIN}.")
    except FileNotFoundError as error:
        raise MedzooError(f"{path}: there is no such file; check its name and folder.") from error
    except OSError as error:
        raise MedzooError(f"{path}: cannot be opened ({error.strerror}); check its permissions.") from error


def read_bytes(path: Path, compressed: bool) -> bytes:
    """The file's content, unpacked to its end so that gzip's checksum is compared.

    Raises
    ------
    MedzooError
        For a missing or empty file, and for a damaged, truncated or misnamed gzip file.
    """
    require_file(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise MedzooError(f"{path}: cannot be read ({error.strerror}); check the disk and {EXPORT_AGAIN}.") from error
    packed = content.startswith(GZIP_MAGIC)
    if compressed and not packed:
        raise MedzooError(
            f"{path}: is not gzip-compressed although its name says so; rename it without the compression "
            f"ending (such as .gz) if it opens elsewhere, or {EXPORT_AGAIN}."
        )
    if packed and not compressed:
        raise MedzooError(
            f"{path}: is gzip-compressed although its name does not say so; rename it (.nii.gz, .mgz) and try again."
        )
    if not packed:
        return content
    try:
        content = gzip.decompress(content)
    except (EOFError, zlib.error, OSError) as error:
        what = "it breaks off before its end" if isinstance(error, EOFError) else "its checksum or content is wrong"
        raise MedzooError(f"{path}: the gzip compression is damaged, {what}; {EXPORT_AGAIN}.") from error
    if not content:
        raise MedzooError(f"{path}: holds nothing once unpacked; {EXPORT_AGAIN}.")
    return content


def require_scalar_3d(path: Path, shape: Sequence[int], dtype: np.dtype[Any]) -> tuple[int, int, int]:
    """Refuse everything but one real number per voxel of a 3D volume; trailing axes of size 1 are dropped.

    Returns
    -------
    tuple of int
        ``(X, Y, Z)``.

    Raises
    ------
    MedzooError
        For 2D, 4D, RGB, vector and complex data.
    """
    size = "×".join(str(number) for number in shape)
    if dtype.fields is not None:
        raise MedzooError(f"{path}: holds colours (RGB), expected grey values; export the scan without colours.")
    if dtype.kind == "c":
        raise MedzooError(f"{path}: holds complex numbers, expected grey values; export its magnitude.")
    if dtype.kind not in "biuf":
        raise MedzooError(f"{path}: holds {dtype} values, expected numbers; {EXPORT_AGAIN}.")
    if any(number < 1 for number in shape):
        raise MedzooError(f"{path}: holds no voxels ({size}); {EXPORT_AGAIN}.")
    if len(shape) < 3 or min(shape[:3]) == 1:
        raise MedzooError(f"{path}: is 2D ({size}), expected a 3D volume; choose a scan of several slices.")
    if any(number != 1 for number in shape[3:]):
        what = "holds several values per voxel" if len(shape) > 4 else f"is 4D, {shape[3]} volumes in one file"
        raise MedzooError(f"{path}: {what} ({size}), expected one 3D volume; save the one you want as its own file.")
    return int(shape[0]), int(shape[1]), int(shape[2])


def native(data: NDArray[Any]) -> NDArray[Any]:
    """The array in the machine's byte order, in a dtype that every later step knows."""
    data = np.asarray(data)
    if data.dtype.kind == "b":
        return data.astype(np.uint8)
    if data.dtype.kind == "f" and data.dtype.itemsize not in (4, 8):
        return data.astype(np.float32 if data.dtype.itemsize == 2 else np.float64)
    return data.astype(data.dtype.newbyteorder("="), copy=False)


def without_nan(path: Path, data: NDArray[Any]) -> tuple[NDArray[Any], tuple[str, ...]]:
    """Set NaN and infinite voxels to 0 (background).

    Returns
    -------
    data, warnings : numpy.ndarray, tuple of str

    Raises
    ------
    MedzooError
        If no voxel holds a number.
    """
    if data.dtype.kind != "f":
        return data, ()
    finite = np.isfinite(data)
    bad = data.size - int(np.count_nonzero(finite))
    if not bad:
        return data, ()
    if bad == data.size:
        raise MedzooError(f"{path}: no voxel holds a number (all are NaN or infinite); {EXPORT_AGAIN}.")
    share = 100 * bad / data.size
    text = f"{bad} voxels ({share:.2g} %) were NaN or infinite and are taken as background (0)"
    return np.where(finite, data, data.dtype.type(0)), (text,)


def require_contrast(path: Path, data: NDArray[Any]) -> None:
    """Refuse a volume whose voxels all have one value.

    Raises
    ------
    MedzooError
        Naming the file and the value.
    """
    lowest = data.min()
    if lowest == data.max():
        raise MedzooError(f"{path}: every voxel is {lowest:g}, there is nothing to see; choose another scan.")
