"""Tools that correct one class: pieces, holes, surface, size, place."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from napari_medzoo.correction.regions import Corrected, Labels, Mask, box_of, changed, nothing
from napari_medzoo.errors import MedzooError
from napari_medzoo.space import Grid


def remove_islands(
    data: Labels,
    grid: Grid,
    label: int,
    smaller_than_ml: float | None = None,
    protected: Collection[int] = (),
) -> Corrected:
    """Take away pieces of a class that are apart from the rest.

    Pieces are told apart by faces, edges and corners (26 neighbours).

    Parameters
    ----------
    data : numpy.ndarray
        ``(X, Y, Z)`` integers.
    grid : Grid
    label : int
    smaller_than_ml : float, optional
        Pieces of less than this volume go; by default all but the largest.
    protected : collection of int
    """
    from scipy import ndimage

    box = box_of(data, label)
    if box is None:
        return nothing(data)
    # Slower than cc3d, which keeps Python's lock: the window would stand still.
    pieces, _ = ndimage.label(data[box] == label, np.ones((3, 3, 3)))
    sizes = np.bincount(pieces.ravel(order="K"))
    sizes[0] = 0
    if smaller_than_ml is None:
        small = np.arange(len(sizes)) != sizes.argmax()
    else:
        small = sizes * grid.voxel_volume_ml < smaller_than_ml
    small[0] = False
    return changed(data, grid, label, box, lost=small[pieces], protected=protected)


def fill_holes(
    data: Labels, grid: Grid, label: int, axis: int | None = None, protected: Collection[int] = ()
) -> Corrected:
    """Give a class the holes that it encloses, whatever unprotected class lies in them.

    Parameters
    ----------
    data : numpy.ndarray
        ``(X, Y, Z)`` integers.
    grid : Grid
    label : int
    axis : int, optional
        Fill what is enclosed within each slice across this axis; by default what is enclosed in 3D. Background passes
        through faces only; the edge of the scan is open.
    protected : collection of int
    """
    from scipy import ndimage

    box = box_of(data, label)
    if box is None:
        return nothing(data)
    mask = data[box] == label
    if axis is None:
        filled = ndimage.binary_fill_holes(mask)
    else:
        slices = [ndimage.binary_fill_holes(cut) for cut in np.moveaxis(mask, axis, 0)]
        filled = np.stack(slices, axis=axis)
    return changed(data, grid, label, box, gained=filled & ~mask, protected=protected)


def smooth(data: Labels, grid: Grid, label: int, sigma_mm: float, protected: Collection[int] = ()) -> Corrected:
    """Smooth the surface of a class.

    Its mask is blurred with a Gaussian of `sigma_mm` in each direction and cut at one half; what lies beyond the edge
    of the scan counts as a continuation of the edge. Details thinner than about ``2 * sigma_mm`` disappear.

    Parameters
    ----------
    data : numpy.ndarray
        ``(X, Y, Z)`` integers.
    grid : Grid
    label : int
    sigma_mm : float
    protected : collection of int
    """
    from scipy import ndimage

    _positive(sigma_mm, "The width of the smoothing")
    sigma = sigma_mm / np.array(grid.spacing)
    box = box_of(data, label, np.ceil(4 * sigma).astype(int) + 1)
    if box is None:
        return nothing(data)
    mask = data[box] == label
    smoothed = ndimage.gaussian_filter(mask.astype(np.float32), sigma, mode="nearest") > 0.5
    return changed(data, grid, label, box, smoothed & ~mask, mask & ~smoothed, protected)


def grow(data: Labels, grid: Grid, label: int, mm: float, protected: Collection[int] = ()) -> Corrected:
    """Give a class every voxel whose centre lies within `mm` of one of its own.

    Parameters
    ----------
    data : numpy.ndarray
        ``(X, Y, Z)`` integers.
    grid : Grid
    label : int
    mm : float
    protected : collection of int
    """
    _positive(mm, "The distance to grow")
    box = box_of(data, label, np.ceil(mm / np.array(grid.spacing)).astype(int))
    if box is None:
        return nothing(data)
    mask = data[box] == label
    return changed(data, grid, label, box, gained=~mask & (_distance(~mask, grid) <= mm), protected=protected)


def shrink(data: Labels, grid: Grid, label: int, mm: float, protected: Collection[int] = ()) -> Corrected:
    """Take from a class every voxel whose centre lies within `mm` of another class; the edge of the scan is none.

    Parameters
    ----------
    data : numpy.ndarray
        ``(X, Y, Z)`` integers.
    grid : Grid
    label : int
    mm : float
    protected : collection of int
    """
    _positive(mm, "The distance to shrink")
    box = box_of(data, label, np.ones(3, dtype=int))
    if box is None:
        return nothing(data)
    mask = data[box] == label
    return changed(data, grid, label, box, lost=mask & (_distance(mask, grid) <= mm), protected=protected)


def keep_inside(data: Labels, grid: Grid, label: int, inside: Mask, protected: Collection[int] = ()) -> Corrected:
    """Take from a class what lies outside a mask.

    Parameters
    ----------
    data : numpy.ndarray
        ``(X, Y, Z)`` integers.
    grid : Grid
    label : int
    inside : numpy.ndarray
        ``(X, Y, Z) bool`` on the same grid.
    protected : collection of int

    Raises
    ------
    MedzooError
        For a mask of another shape.
    """
    if inside.shape != data.shape:
        raise MedzooError(f"Expected a mask of shape {data.shape}, got {inside.shape}; choose one on the same grid.")
    box = box_of(data, label)
    if box is None:
        return nothing(data)
    return changed(data, grid, label, box, lost=(data[box] == label) & ~inside[box], protected=protected)


def replace_class(data: Labels, grid: Grid, label: int, by: int, protected: Collection[int] = ()) -> Corrected:
    """Turn every voxel of class `label` into class `by`.

    Raises
    ------
    MedzooError
        If `by` is protected or does not fit the array's dtype.
    """
    limits = np.iinfo(data.dtype)
    if by in protected or not limits.min <= by <= limits.max:
        raise MedzooError(f"Class {label} cannot become {by}: it is protected or too large for {data.dtype} labels.")
    mask = data == label
    if by == label:
        return nothing(data)
    result = data.copy()
    result[mask] = by
    return Corrected(result, int(mask.sum()))


def _distance(mask: Mask, grid: Grid) -> NDArray[np.float32]:
    """mm from each voxel of the mask to the nearest centre outside of it."""
    import edt

    return edt.edt(np.ascontiguousarray(mask), anisotropy=grid.spacing, black_border=False)


def _positive(mm: float, what: str) -> None:
    if not mm > 0:
        raise MedzooError(f"{what} is {mm} mm; give a length above 0.")
