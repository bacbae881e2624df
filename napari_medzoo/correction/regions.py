"""What the correction tools share: the box of a class, and who gets what a class gives up."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_medzoo.space import Grid

Labels = NDArray[Any]
Mask = NDArray[np.bool_]
Box = tuple[slice, ...]


@dataclass(frozen=True, eq=False)
class Corrected:
    """Labels after a tool.

    Attributes
    ----------
    data : numpy.ndarray
        ``(X, Y, Z)``, the dtype of what was given.
    changed : int
        How many voxels have another class now.
    """

    data: Labels
    changed: int


def changed(
    data: Labels,
    grid: Grid,
    label: int,
    box: Box,
    gained: Mask | None = None,
    lost: Mask | None = None,
    protected: Collection[int] = (),
) -> Corrected:
    """`data` where `label` took `gained` and gave up `lost` (masks of the box), as far as `protected` allows."""
    if label in protected:
        return nothing(data)
    result = data.copy()
    inner = result[box]
    if lost is not None and lost.any():
        _give_way(data, result, grid, label, box, lost, protected)
    if gained is not None:
        inner[gained & ~np.isin(inner, list(protected))] = label
    return Corrected(result, int(np.count_nonzero(inner != data[box])))


def _give_way(
    data: Labels, result: Labels, grid: Grid, label: int, box: Box, lost: Mask, protected: Collection[int]
) -> None:
    """Give what `label` loses to the nearest voxel's class, in `result`."""
    from scipy import ndimage

    given = np.zeros(data.shape, dtype=bool)
    given[box] = lost
    around = _bounds(given)
    assert around is not None  # asked only where something is lost
    spacing = np.array(grid.spacing)
    reach = 2 * float(spacing.max())
    while True:
        region = _wider(around, np.ceil(reach / spacing).astype(int), data.shape)
        whole = all(cut == slice(0, size) for cut, size in zip(region, data.shape, strict=True))
        takers = ~np.isin(data[region], [label, *protected])
        if whole and not takers.any():
            return  # every other class is protected: nobody may have it
        here = given[region]
        field = ndimage.distance_transform_edt(~takers, sampling=spacing, return_distances=False, return_indices=True)
        nearest = [axis[here] for axis in field]
        apart = np.linalg.norm((np.stack(nearest) - np.stack(np.nonzero(here))) * spacing[:, None], axis=0)
        # Whoever is outside the region is further away than `reach`.
        if whole or (takers.any() and apart.max() <= reach):
            break
        reach *= 2
    result[region][here] = data[region][tuple(nearest)]


def box_of(data: Labels, label: int, margin: NDArray[np.int_] | None = None) -> Box | None:
    """The smallest box that holds a class, with `margin` voxels around as far as the array reaches."""
    box = _bounds(data == label)
    return box if box is None or margin is None else _wider(box, margin, data.shape)


def _bounds(mask: Mask) -> Box | None:
    box = []
    for axis in range(3):
        found = np.flatnonzero(mask.any(axis=tuple(other for other in range(3) if other != axis)))
        if not len(found):
            return None
        box.append(slice(int(found[0]), int(found[-1]) + 1))
    return tuple(box)


def _wider(box: Box, margin: NDArray[np.int_], shape: Sequence[int]) -> Box:
    return tuple(
        slice(max(cut.start - int(more), 0), min(cut.stop + int(more), size))
        for cut, more, size in zip(box, margin, shape, strict=True)
    )


def nothing(data: Labels) -> Corrected:
    """Nothing to correct: a copy of `data`."""
    return Corrected(data.copy(), 0)
