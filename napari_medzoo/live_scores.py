"""Scores that keep up with a brush: exact Dice after every edit, without scoring the whole volume again.

What a pair of voxel values (prediction, reference) counts as is decided by `comparable` from the values alone: which
numbering both are brought into, which labels are left out. So the joint histogram of the two value fields holds all
there is to know for Dice, an edit only moves a few voxels from one of its cells to another, and `comparable` is asked
about the cells and not about the voxels.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from napari_medzoo.comparison import comparable, require_same_grids
from napari_medzoo.confusion import Confusion
from napari_medzoo.label_tables import OUTER_CSF, count_values, map_values
from napari_medzoo.labels import LabelTable, Segmentation
from napari_medzoo.slice_scores import SliceScores, count_slices
from napari_medzoo.space import Grid

Box = tuple[slice, slice, slice]
EVERYWHERE: Box = (slice(None), slice(None), slice(None))


class LiveScores:
    """The confusion matrix and slice scores of a prediction that is being edited.

    One thread may update it while others read: everything but the voxels changes in one assignment.

    Parameters
    ----------
    prediction, reference : Segmentation
        Each in its own numbering; on one grid, or with axes permuted and flipped.

    Attributes
    ----------
    grid : Grid
        The prediction's.

    Raises
    ------
    MedzooError
        As `comparable`.
    """

    def __init__(self, prediction: Segmentation, reference: Segmentation) -> None:
        self.grid = prediction.grid
        self._prediction, self._reference = prediction, _turned_like(reference, prediction.grid)
        require_same_grids(prediction, self._reference)
        # What `comparable` of the whole pair refuses to score because of how much there is of it stays refused.
        table = comparable(prediction, reference)[1].table
        self._values = np.array(prediction.data, order="K")
        known, _ = count_values(self._reference.data)
        self._known = np.array(known)
        self._columns = map_values(self._reference.data, {value: i for i, value in enumerate(known)})
        given = np.array(count_values(self._values)[0])
        self._refused: frozenset[int] = frozenset()
        self._refused = frozenset(self._meaning(given)[2].indices) - frozenset(table.indices)
        self._now = self._understand(given, self._joint_histogram(given))
        self._pair: tuple[_Now, tuple[Segmentation, Segmentation]] | None = None

    @property
    def confusion(self) -> Confusion:
        """As `napari_medzoo.confusion.count_confusions` of the comparable pair would count it now."""
        return self._now.confusion

    @property
    def table(self) -> LabelTable:
        """What the prediction's own values mean."""
        return self._prediction.table

    def learn(self, table: LabelTable) -> None:
        """Take over the names of classes that the prediction's table lacks: somebody may paint one of them."""
        new = [label for label in table.foreground if label.index not in self.table]
        if new:
            known = LabelTable(self.table.name, (*self.table.labels, *new))
            self._prediction = replace(self._prediction, table=known)

    def update(self, data: NDArray[Any], box: Box = EVERYWHERE) -> Box | None:
        """Take over what was edited.

        Parameters
        ----------
        data : numpy.ndarray
            ``(X, Y, Z)`` integers: the prediction as it is now, on `grid`.
        box : tuple of slice
            Where to look for edits.

        Returns
        -------
        tuple of slice or None
            The smallest box around the voxels that changed; None if none did.

        Raises
        ------
        MedzooError
            For a value that the prediction's table does not name (see `learn`); what was counted so far stays.
        """
        before = self._values[box]
        changed = np.nonzero(before != data[box])
        if not len(changed[0]):
            return None
        old, new, columns = before[changed], data[box][changed], self._columns[box][changed]
        given = np.union1d(self._now.given, new)
        pairs = np.zeros((len(given), len(self._known)), dtype=np.int64)
        pairs[np.searchsorted(given, self._now.given)] = self._now.pairs
        np.subtract.at(pairs, (np.searchsorted(given, old), columns), 1)
        np.add.at(pairs, (np.searchsorted(given, new), columns), 1)
        stays = pairs.any(axis=1)
        now = self._understand(given[stays], pairs[stays])
        self._values[box][changed] = new
        self._now = now
        starts = [part.indices(size)[0] for part, size in zip(box, self.grid.shape, strict=True)]
        x, y, z = (
            slice(int(found.min()) + start, int(found.max()) + start + 1)
            for found, start in zip(changed, starts, strict=True)
        )
        return x, y, z

    def slices(self, index: int, axis: int, known: SliceScores | None = None, box: Box = EVERYWHERE) -> SliceScores:
        """One label's counts in the slices across `axis`, as `napari_medzoo.slice_scores.slice_scores` counts them.

        Parameters
        ----------
        known : SliceScores, optional
            The same label's counts before an edit within `box`: only the slices that `box` touches are counted again.
        box : tuple of slice
            What `update` returned.
        """
        part = box[axis] if known else slice(None)
        window = tuple(part if other == axis else slice(None) for other in range(3))
        rows, columns = self._rows(window), self._columns[window]
        ours, theirs = ((table == index)[rows, columns] for table in (self._now.ours, self._now.theirs))
        counts = [count_slices(mask, axis) for mask in (ours, theirs, ours & theirs)]
        if known is not None:
            merged = [array.copy() for array in (known.predicted, known.expected, known.shared)]
            for array, count in zip(merged, counts, strict=True):
                array[part] = count
            counts = merged
        return SliceScores(counts[0], counts[1], counts[2], axis, self.grid)

    def pair(self) -> tuple[Segmentation, Segmentation]:
        """Prediction and reference as they are now, in one numbering: as `comparable` gives them, without its notes."""
        now = self._now
        if self._pair is None or self._pair[0] is not now:
            table, rows = now.confusion.table, self._rows(EVERYWHERE)
            small = np.min_scalar_type(max(table.indices))
            ours, theirs = (
                Segmentation(found.astype(small)[rows, self._columns], self.grid, table)
                for found in (now.ours, now.theirs)
            )
            self._pair = (now, (ours, theirs))
        return self._pair[1]

    def members(self, index: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The prediction's and the reference's own values that count as label `index` of the common numbering."""
        now = self._now
        ours = now.given[(now.ours == index).any(axis=1)]
        theirs = self._known[(now.theirs == index).any(axis=0)]
        return tuple(ours.tolist()), tuple(theirs.tolist())

    def _rows(self, window: tuple[slice, ...]) -> NDArray[Any]:
        return map_values(self._values[window], {int(value): row for row, value in enumerate(self._now.given)})

    def _joint_histogram(self, given: NDArray[Any]) -> NDArray[np.int64]:
        size = len(self._known)
        code = map_values(self._values, {int(value): i for i, value in enumerate(given)})
        code = code.astype(np.min_scalar_type(len(given) * size))
        code = code * code.dtype.type(size) + self._columns
        return np.bincount(code.ravel(order="K"), minlength=len(given) * size).reshape(-1, size)

    def _meaning(self, given: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any], LabelTable]:
        """What each pair of values counts as on both sides ``(given, known)``, and the common table."""
        known = self._known
        # All the other values once, the CSF around the brain so often that it counts as labelled: see `_refused`.
        often = np.concatenate([known, np.repeat(known[known == OUTER_CSF], len(known))])
        shape = (len(given), len(often), 1)
        grid = Grid(shape, np.eye(4))
        first = np.broadcast_to(given[:, None, None], shape)
        second = np.broadcast_to(often[None, :, None], shape)
        ours, theirs = comparable(
            replace(self._prediction, data=first, grid=grid), replace(self._reference, data=second, grid=grid)
        )
        return ours.data[:, : len(known), 0], theirs.data[:, : len(known), 0], theirs.table

    def _understand(self, given: NDArray[Any], pairs: NDArray[np.int64]) -> _Now:
        """Turn the joint histogram into the confusion matrix of the common numbering."""
        ours, theirs, table = self._meaning(given)
        table = table.subset(index for index in table.indices if index not in self._refused)
        row_of = {index: row for row, index in enumerate(table.indices)}
        voxels = np.zeros((len(table), len(table)), dtype=np.int64)
        rows, columns = map_values(theirs, row_of), map_values(ours, row_of)
        np.add.at(voxels, (rows, columns), pairs)
        indices = np.array(table.indices)
        return _Now(given, pairs, indices[columns], indices[rows], Confusion(table, voxels))


@dataclass(frozen=True, eq=False)
class _Now:
    """What is known at one moment.

    `given` are the prediction's values; `pairs` counts voxels by (given, known) value; `ours` and `theirs` say what
    each such pair counts as on either side.
    """

    given: NDArray[Any]
    pairs: NDArray[np.int64]
    ours: NDArray[Any]
    theirs: NDArray[Any]
    confusion: Confusion


def _turned_like(segmentation: Segmentation, grid: Grid) -> Segmentation:
    """The segmentation with its axes in the order and direction of `grid`'s."""
    codes = grid.axis_codes
    if segmentation.grid.axis_codes == codes:
        return segmentation
    data = nib.orientations.apply_orientation(segmentation.data, segmentation.grid.orientation_to(codes))
    return replace(segmentation, data=np.asarray(data), grid=segmentation.grid.reoriented(codes))
