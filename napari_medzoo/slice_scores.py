"""Dice slice by slice: which part of a structure is found and which is not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_medzoo.comparison import require_same_grids
from napari_medzoo.errors import MedzooError
from napari_medzoo.labels import Segmentation
from napari_medzoo.space import Grid

PLANE_LETTERS = {"axial": "SI", "coronal": "AP", "sagittal": "RL"}
"""Plane → where the voxel axis across it points (`Grid.axis_codes`)."""


@dataclass(frozen=True, eq=False)
class SliceScores:
    """One label's voxels in every slice across one voxel axis.

    Attributes
    ----------
    predicted, expected, shared : numpy.ndarray
        ``(N,) int64`` voxels per slice of the prediction, of the reference, and of both.
    axis : int
        The voxel axis across the slices.
    grid : Grid
    """

    predicted: NDArray[np.int64]
    expected: NDArray[np.int64]
    shared: NDArray[np.int64]
    axis: int
    grid: Grid

    @property
    def dice(self) -> NDArray[np.float64]:
        """``(N,)`` hard Dice of 0–1 per slice, NaN where neither side has the label."""
        total = self.predicted + self.expected
        return np.divide(2.0 * self.shared, total, out=np.full(total.shape, np.nan), where=total > 0)

    def position_of(self, point_mm: Sequence[float]) -> int:
        """The slice (0 to N − 1) that a point in RAS+ mm lies in or nearest to."""
        position = self.grid.to_index([point_mm])[0, self.axis]
        return int(np.clip(np.floor(position + 0.5), 0, len(self.predicted) - 1))

    def point_in(self, position: int, near_mm: Sequence[float]) -> NDArray[np.float64]:
        """RAS+ mm ``(3,)`` of the point of slice `position` that has the other voxel coordinates of `near_mm`."""
        index = self.grid.to_index([near_mm])[0]
        index[self.axis] = position
        return self.grid.to_world([index])[0]


def plane_axis(grid: Grid, plane: str) -> int:
    """The voxel axis across the slices of a plane; of an oblique grid the one nearest to it.

    Parameters
    ----------
    plane : str
        A key of `PLANE_LETTERS`.
    """
    return next(axis for axis, code in enumerate(grid.axis_codes) if code in PLANE_LETTERS[plane])


def slice_scores(prediction: Segmentation, reference: Segmentation, index: int, axis: int) -> SliceScores:
    """Count one label in every slice across a voxel axis.

    Parameters
    ----------
    prediction, reference : Segmentation
        In one numbering and on one grid (`napari_medzoo.comparison.comparable`).
    index : int
        The label.
    axis : int
        0, 1 or 2.

    Raises
    ------
    MedzooError
        For different grids, or a label or axis that there is not.
    """
    require_same_grids(prediction, reference)
    name = reference.table[index].name
    if axis not in (0, 1, 2):
        raise MedzooError(f"Expected voxel axis 0, 1 or 2 for the slices of {name}, got {axis}.")
    ours, theirs = prediction.data == index, reference.data == index
    return SliceScores(
        count_slices(ours, axis), count_slices(theirs, axis), count_slices(ours & theirs, axis), axis, reference.grid
    )


def count_slices(mask: NDArray[np.bool_], axis: int) -> NDArray[np.int64]:
    """Voxels of a mask ``(X, Y, Z) bool`` in every slice across `axis`, ``(N,) int64``."""
    others = tuple(other for other in range(3) if other != axis)
    return np.count_nonzero(mask, axis=others)
