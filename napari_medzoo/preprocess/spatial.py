"""Reorienting (lossless) and resampling (interpolating) volumes and label arrays."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import nibabel as nib
import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_medzoo.errors import MedzooError
from napari_medzoo.preprocess.itk import resample_index
from napari_medzoo.space import Grid
from napari_medzoo.study import Volume

SAME_LATTICE_VOXELS = 0.02
"""Grids whose voxels coincide to this share of a voxel are the same lattice: headers round to float32."""

TRUNCATE = 4.0
"""Standard deviations at which a Gaussian ends."""

SLICE_PROFILE = 1 / (2 * np.sqrt(2 * np.log(2)))
"""Standard deviation of a Gaussian whose full width at half maximum is 1: how a scanner's voxel sees."""

VOXEL_MEAN = 1 / np.sqrt(12)
"""Standard deviation of the mean over a voxel of size 1."""


class Lattice(NamedTuple):
    """An index map that only permutes, flips and shifts: ``index[axes[b]] = signs[b] * result[b] + offsets[b]``."""

    axes: tuple[int, ...]
    signs: tuple[int, ...]
    offsets: tuple[int, ...]


def index_map(source: Grid, target: Grid, transform: ArrayLike | None = None) -> NDArray[np.float64]:
    """The ``(4, 4)`` matrix from voxel indices of `source` to (fractional) voxel indices of `target`.

    `transform` takes the source's RAS+ mm to the target's (identity if None). The result is rounded to a billionth in
    its matrix and a millionth of a voxel in its shift, so that the rounding of floating point, which depends on how a
    file stores its axes, never reaches a voxel.
    """
    between = np.eye(4) if transform is None else np.asarray(transform, dtype=np.float64)
    matrix = np.linalg.inv(target.affine) @ between @ source.affine
    matrix[:3, :3] = np.round(matrix[:3, :3], 9)
    matrix[:3, 3] = np.round(matrix[:3, 3], 6)
    return matrix + 0.0  # no negative zeros


def lattice_of(matrix: NDArray[np.float64], shape: tuple[int, ...]) -> Lattice | None:
    """How to do an index map without interpolation, or None where that would move a voxel."""
    whole = np.rint(matrix)
    turn = whole[:3, :3].astype(int)
    if not (np.abs(turn).sum(axis=0) == 1).all() or not (np.abs(turn).sum(axis=1) == 1).all():
        return None
    last = np.array(shape) - 1
    corners = np.array([[i, j, k, 1] for i in (0, last[0]) for j in (0, last[1]) for k in (0, last[2])])
    if np.abs(corners @ (matrix - whole).T).max() > SAME_LATTICE_VOXELS:
        return None
    axes = np.abs(turn).argmax(axis=0)
    return Lattice(
        tuple(int(axis) for axis in axes),
        tuple(int(turn[axes[b], b]) for b in range(3)),
        tuple(int(whole[axes[b], 3]) for b in range(3)),
    )


def take(data: NDArray[Any], lattice: Lattice, shape: tuple[int, int, int]) -> NDArray[Any]:
    """Copy voxels along a `Lattice` into a C-contiguous array of `shape`; 0 where `data` has none."""
    turned = data.transpose(lattice.axes)
    result = np.zeros(shape, dtype=data.dtype)
    inside, source = [], []
    for b in range(3):
        index = lattice.signs[b] * np.arange(shape[b]) + lattice.offsets[b]
        (valid,) = np.nonzero((index >= 0) & (index < turned.shape[b]))
        if valid.size == 0:
            return result
        inside.append(slice(valid[0], valid[-1] + 1))
        first, last = index[valid[0]], index[valid[-1]]
        stop = last + lattice.signs[b]
        source.append(slice(first, stop if stop >= 0 else None, lattice.signs[b]))
    result[tuple(inside)] = turned[tuple(source)]
    return result


def reorient(volume: Volume, axis_codes: str) -> Volume:
    """The same voxels with the axes permuted and flipped to point along `axis_codes` ("RAS"); a lossless view."""
    data = nib.orientations.apply_orientation(volume.data, volume.grid.orientation_to(axis_codes))
    return replace(volume, data=data, grid=volume.grid.reoriented(axis_codes))


def resample(volume: Volume, grid: Grid, transform: ArrayLike | None = None, order: int = 1) -> Volume:
    """Interpolate a volume on another grid, in one interpolation.

    Parameters
    ----------
    volume : Volume
    grid : Grid
        Where the result lies.
    transform : array_like, optional
        ``(4, 4)``: RAS+ mm of `grid` to RAS+ mm of `volume`.
    order : int
        0 nearest (labels; keeps the type), 1 linear, 3 cubic B-spline (both float32). Along axes on which `grid` is
        coarser the volume is first smoothed by a Gaussian that makes up the difference in resolution (Cardoso 2015).

    Returns
    -------
    Volume
        0 outside of the field of view. Where both grids hold the same voxels these are copied, bit by bit.
    """
    if order not in (0, 1, 3):
        raise MedzooError(f"Expected interpolation order 0, 1 or 3, got {order}.")
    matrix = index_map(grid, volume.grid, transform)
    lattice = lattice_of(matrix, grid.shape)
    if lattice is not None:
        return replace(volume, data=take(volume.data, lattice, grid.shape), grid=grid)
    if order == 0:
        return replace(volume, data=nearest(volume.data, matrix, grid.shape), grid=grid)
    return replace(volume, data=interpolate(volume.data, matrix, grid.shape, order), grid=grid)


def interpolate(
    data: NDArray[Any],
    matrix: NDArray[np.float64],
    shape: tuple[int, int, int],
    order: int = 1,
    width: float = SLICE_PROFILE,
) -> NDArray[np.float32]:
    """Interpolate an array through an index map (result to `data`) after anti-aliasing; float32 of `shape`.

    Only the part of `data` that the result can see is worked on. `width` is that of `antialias_sigma`; 0 smoothes
    nothing.
    """
    sigma = antialias_sigma(matrix, width)
    last = np.array(shape) - 1
    corners = np.array([[i, j, k] for i in (0, last[0]) for j in (0, last[1]) for k in (0, last[2])])
    seen = corners @ matrix[:3, :3].T + matrix[:3, 3]
    reach = np.ceil(TRUNCATE * sigma) + (8 if order == 3 else 2)  # a B-spline's prefilter looks further
    start = np.maximum(np.floor(seen.min(axis=0) - reach), 0).astype(int)
    stop = np.minimum(np.ceil(seen.max(axis=0) + reach) + 1, data.shape).astype(int)
    if (stop - start < 1).any():
        return np.zeros(shape, dtype=np.float32)
    part = data[tuple(slice(a, b) for a, b in zip(start, stop, strict=True))]
    if (sigma > 0).any():
        from scipy.ndimage import gaussian_filter

        part = gaussian_filter(part.astype(np.float32), sigma, mode="nearest", truncate=TRUNCATE)
    shifted = matrix.copy()
    shifted[:3, 3] -= start
    return resample_index(part, shifted, shape, order)


def antialias_sigma(matrix: NDArray[np.float64], width: float = SLICE_PROFILE) -> NDArray[np.float64]:
    """Standard deviation, in voxels of the source along its axes, of the Gaussian to apply before interpolating.

    A step of one source voxel along axis ``i`` is ``|inverse column i|`` voxels of the result; its reciprocal is how
    much coarser the result is. The Gaussian makes up the difference of two voxels that see with the standard deviation
    `width`, in their own sizes: ``sigma² = width² (coarser² - 1)``.
    """
    coarser = 1 / np.linalg.norm(np.linalg.inv(matrix[:3, :3]), axis=0)
    sigma = np.sqrt(np.maximum(coarser**2 - 1, 0)) * width
    return np.where(sigma < 0.15, 0.0, np.round(sigma, 6))  # narrower kernels weigh the neighbours with < 1e-9


def mean_reach(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """How many voxels of the source, along its axes, the mean over a voxel of the result looks to either side."""
    return np.ceil(TRUNCATE * antialias_sigma(matrix, VOXEL_MEAN))


def nearest(data: NDArray[Any], matrix: NDArray[np.float64], shape: tuple[int, int, int]) -> NDArray[Any]:
    """The nearest voxel of `data` for every voxel of the result (halves go up), 0 outside; keeps the type."""
    off_diagonal = np.abs(matrix[:3, :3] - np.diag(np.diag(matrix[:3, :3]))) @ np.array(shape)
    if off_diagonal.max() > 1e-4:
        return resample_index(data, matrix, shape, 0).astype(data.dtype, copy=False)
    result = np.zeros(shape, dtype=data.dtype)
    inside, source = [], []
    for axis in range(3):
        index = np.floor(matrix[axis, axis] * np.arange(shape[axis]) + matrix[axis, 3] + 0.5).astype(int)
        (valid,) = np.nonzero((index >= 0) & (index < data.shape[axis]))
        inside.append(valid)
        source.append(index[valid])
    result[np.ix_(*inside)] = data[np.ix_(*source)]
    return result
