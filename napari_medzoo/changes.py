"""Which voxels of a label array changed, from what and to what: what undo, the edit log and the journal are made of."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Box = tuple[slice, ...]


@dataclass(frozen=True, eq=False)
class Change:
    """Voxels that changed.

    Attributes
    ----------
    indices : numpy.ndarray
        ``(N,) int64``, ascending positions in the flattened array (C order).
    old, new : numpy.ndarray
        ``(N,)`` integers of the array's dtype, before and after; nowhere equal.
    """

    indices: NDArray[np.int64]
    old: NDArray[Any]
    new: NDArray[Any]

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def inverse(self) -> Change:
        """What undoes it."""
        return Change(self.indices, self.new, self.old)

    def same_as(self, other: Change) -> bool:
        """Whether both change the same voxels from and to the same values."""
        return len(self) == len(other) and all(
            np.array_equal(getattr(self, part), getattr(other, part)) for part in ("indices", "old", "new")
        )

    def gained(self) -> dict[int, int]:
        """Class → how many voxels it gained, background included."""
        return _counts(self.new)

    def lost(self) -> dict[int, int]:
        """Class → how many voxels it lost, background included."""
        return _counts(self.old)

    def apply(self, data: NDArray[Any]) -> None:
        """Make the change in `data` ``(X, Y, Z)``, in place."""
        data[np.unravel_index(self.indices, data.shape)] = self.new


def difference(before: NDArray[Any], after: NDArray[Any], box: Box | None = None) -> Change:
    """What turns `before` into `after`.

    Parameters
    ----------
    before, after : numpy.ndarray
        ``(X, Y, Z)`` integers of one shape.
    box : tuple of slice, optional
        The only part to look at, one slice with start and stop for each axis; by default everything.
    """
    indices: list[NDArray[np.int64]] = []
    old: list[NDArray[Any]] = []
    new: list[NDArray[Any]] = []
    for part in _slabs(box or tuple(slice(0, size) for size in before.shape)):
        changed = before[part] != after[part]
        if not changed.any():
            continue
        voxels = [where + cut.start for where, cut in zip(np.nonzero(changed), part, strict=True)]
        indices.append(np.ravel_multi_index(voxels, before.shape))
        old.append(before[part][changed])
        new.append(after[part][changed])
    if not indices:
        return Change(np.zeros(0, np.int64), np.zeros(0, before.dtype), np.zeros(0, before.dtype))
    return Change(np.concatenate(indices), np.concatenate(old), np.concatenate(new).astype(before.dtype, copy=False))


def joined(first: Change, second: Change) -> Change:
    """Two changes, one after the other, as one; voxels that end as they began are not in it."""
    indices = np.concatenate([first.indices, second.indices])
    unique, earliest = np.unique(indices, return_index=True)
    latest = len(indices) - 1 - np.unique(indices[::-1], return_index=True)[1]
    old = np.concatenate([first.old, second.old])[earliest]
    new = np.concatenate([first.new, second.new])[latest]
    differs = old != new
    return Change(unique[differs], old[differs], new[differs])


def _slabs(box: Box) -> Iterator[Box]:
    # Slab by slab no temporary is as large as the volume.
    first, *others = box
    for start in range(first.start, first.stop, 8):
        yield (slice(start, min(start + 8, first.stop)), *others)


def _counts(values: NDArray[Any]) -> dict[int, int]:
    found, counts = np.unique(values, return_counts=True)
    return dict(zip(found.tolist(), counts.tolist(), strict=True))
