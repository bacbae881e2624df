"""The one place where arrays and grids meet SimpleITK.

Conventions that are kept here so that nobody else has to think of them:

- ITK's millimetres are LPS+ (x to the person's left, y to the back); ours are RAS+. `lps_to_ras` converts.
- An ``(X, Y, Z)`` C-contiguous array is handed over as it is, which makes ITK's axes ``(k, j, i)``. The directions are
  handed over in the same order, so physical points agree, and no 3D array is ever transposed.
- An ITK image cannot hold a sheared affine. Resampling therefore runs in *index space* (`resample_index`: unit
  geometry and an explicit matrix), which is exact for any affine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_medzoo.errors import MedzooError
from napari_medzoo.space import Grid
from napari_medzoo.study import Volume

if TYPE_CHECKING:
    import SimpleITK as sitk

FLIP_XY = np.diag([-1.0, -1.0, 1.0, 1.0])
_INTERPOLATORS = {0: "sitkNearestNeighbor", 1: "sitkLinear", 3: "sitkBSpline"}


def lps_to_ras(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Take a ``(4, 4)`` matrix between LPS+ points to the same one between RAS+ points, and back."""
    return FLIP_XY @ matrix @ FLIP_XY


def native(data: NDArray[Any]) -> NDArray[Any]:
    """`data` C-contiguous, in the machine's byte order and a type that ITK knows (bool as uint8, half as float32)."""
    if data.dtype == np.bool_:
        data = data.astype(np.uint8)
    elif data.dtype.kind == "f" and data.dtype.itemsize not in (4, 8):
        data = data.astype(np.float32)
    return np.ascontiguousarray(data, dtype=data.dtype.newbyteorder("="))


def to_itk(volume: Volume) -> sitk.Image:
    """The volume as a SimpleITK image in physical space; ITK's axes are ``(k, j, i)``.

    Raises
    ------
    MedzooError
        For a sheared affine, which ITK cannot hold; resample onto an `orthogonal_grid` first.
    """
    import SimpleITK as sitk

    grid = volume.grid
    directions = grid.affine[:3, :3] / np.array(grid.spacing)
    if not np.allclose(directions.T @ directions, np.eye(3), atol=1e-4):
        raise MedzooError(f"{volume.name}: the axes of {grid} are not at right angles; resample it first.")
    image = sitk.GetImageFromArray(native(volume.data))
    image.SetSpacing(grid.spacing[::-1])
    image.SetDirection((FLIP_XY[:3, :3] @ _nearest_orthonormal(directions))[:, ::-1].ravel().tolist())
    image.SetOrigin((FLIP_XY[:3, :3] @ grid.affine[:3, 3]).tolist())
    return image


def from_itk(image: sitk.Image, like: Volume) -> Volume:
    """The array of an image that `to_itk` made (and a filter changed), on the grid of the volume `like`."""
    import SimpleITK as sitk

    return Volume(sitk.GetArrayFromImage(image), like.grid, like.modality, like.file, like.warnings)


def matrix_of(transform: sitk.Euler3DTransform | sitk.AffineTransform) -> NDArray[np.float64]:
    """A rigid or affine ITK transform with a centre as a ``(4, 4)`` matrix of RAS+ points."""
    matrix = np.eye(4)
    matrix[:3, :3] = np.reshape(transform.GetMatrix(), (3, 3))
    center = np.array(transform.GetCenter())
    matrix[:3, 3] = np.array(transform.GetTranslation()) + center - matrix[:3, :3] @ center
    return lps_to_ras(matrix)


def orthogonal_grid(grid: Grid, spacing_mm: float) -> Grid:
    """An isotropic grid along the axes nearest to the grid's own that covers all of its voxels, sheared or not."""
    axes = _nearest_orthonormal(grid.affine[:3, :3] / np.array(grid.spacing))
    last = np.array(grid.shape) - 0.5
    outer = grid.to_world([[i, j, k] for i in (-0.5, last[0]) for j in (-0.5, last[1]) for k in (-0.5, last[2])])
    along = outer @ axes
    size = np.maximum(np.ceil(np.ptp(along, axis=0) / spacing_mm - 1e-4), 1).astype(int)
    affine = np.eye(4)
    affine[:3, :3] = axes * spacing_mm
    middle = (along.min(axis=0) + along.max(axis=0)) / 2
    affine[:3, 3] = axes @ (middle - spacing_mm * (size - 1) / 2)
    return Grid((int(size[0]), int(size[1]), int(size[2])), affine)


def resample_index(
    data: NDArray[Any], matrix: NDArray[np.float64], shape: tuple[int, int, int], order: int
) -> NDArray[Any]:
    """Interpolate an array at affinely mapped voxel indices.

    Parameters
    ----------
    data : numpy.ndarray
        ``(X, Y, Z)`` of any real type.
    matrix : numpy.ndarray
        ``(4, 4)``: index of the result to (fractional) index of `data`.
    shape : tuple of int
        Of the result.
    order : int
        0 nearest (halves go up), 1 linear, 3 cubic B-spline.

    Returns
    -------
    numpy.ndarray
        `shape`; float32, for order 0 the type of `data`. More than half a voxel outside of `data` it is 0.
    """
    import SimpleITK as sitk

    image = sitk.GetImageFromArray(native(data))
    transform = sitk.AffineTransform(3)
    transform.SetMatrix(matrix[:3, :3][::-1, ::-1].ravel().tolist())
    transform.SetTranslation(matrix[:3, 3][::-1].tolist())
    result = sitk.Resample(
        image,
        [int(size) for size in shape[::-1]],
        transform,
        getattr(sitk, _INTERPOLATORS[order]),
        [0.0] * 3,
        [1.0] * 3,
        np.eye(3).ravel().tolist(),
        0,
        image.GetPixelID() if order == 0 else sitk.sitkFloat32,
    )
    return sitk.GetArrayFromImage(result)


def _nearest_orthonormal(directions: NDArray[np.float64]) -> NDArray[np.float64]:
    """The orthonormal matrix nearest to `directions` (polar decomposition); reflections stay reflections."""
    left, _, right = np.linalg.svd(directions)
    return left @ right
