"""Shape-based interpolation between painted slices."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from napari_medzoo.correction.regions import Corrected, Labels, Mask, box_of, changed, nothing
from napari_medzoo.space import Grid


def interpolate_slices(data: Labels, grid: Grid, label: int, axis: int, protected: Collection[int] = ()) -> Corrected:
    """Fill the gaps between slices in which a class was painted.

    Between two slices that hold the class and are separated by slices that do not, the signed distance (mm, within the
    slice) to the class's outline is interpolated linearly; the class is where it is positive [1]_. Two outlines that
    hardly overlap leave the middle empty; paint a slice between them.

    Parameters
    ----------
    data : numpy.ndarray
        ``(X, Y, Z)`` integers.
    grid : Grid
    label : int
    axis : int
        The slices' axis in `data`.
    protected : collection of int

    References
    ----------
    .. [1] S. P. Raya, J. K. Udupa, "Shape-based interpolation of multidimensional objects", IEEE Trans. Med. Imaging
       9(1), 1990.
    """
    box = box_of(data, label, np.ones(3, dtype=int))
    if box is None:
        return nothing(data)
    mask = np.moveaxis(data[box] == label, axis, 0)
    filled = mask.copy()
    spacing = [mm for i, mm in enumerate(grid.spacing) if i != axis]
    painted = np.flatnonzero(mask.any(axis=(1, 2)))
    for before, after in pairwise(painted):
        if after - before < 2:
            continue
        first, last = _signed_distance(mask[before], spacing), _signed_distance(mask[after], spacing)
        for between in range(before + 1, after):
            share = (between - before) / (after - before)
            filled[between] = (1 - share) * first + share * last > 0
    gained = np.moveaxis(filled & ~mask, 0, axis)
    return changed(data, grid, label, box, gained=gained, protected=protected)


def _signed_distance(mask: Mask, spacing: Sequence[float]) -> NDArray[np.float32]:
    """mm to the outline within a slice, positive inside; the outline runs between voxel centres."""
    import edt

    inside = edt.edt(np.ascontiguousarray(mask), anisotropy=tuple(spacing), black_border=False)
    outside = edt.edt(np.ascontiguousarray(~mask), anisotropy=tuple(spacing), black_border=False)
    # A slice that the class fills has no outline: as far inside as the slice is wide.
    return np.nan_to_num(inside, posinf=float(np.dot(mask.shape, spacing))) - outside
