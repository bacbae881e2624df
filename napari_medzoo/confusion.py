"""Which label was taken for which: the confusion matrix with names."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_medzoo.evaluate import confusion
from napari_medzoo.labels import LabelTable, Segmentation


@dataclass(frozen=True, eq=False)
class Confusion:
    """How many voxels of each reference label were given each label.

    Attributes
    ----------
    table : LabelTable
        The common numbering; rows and columns stand in the order of its labels, background first.
    voxels : numpy.ndarray
        ``(K, K) int64``: row = the reference's label, column = the prediction's.
    """

    table: LabelTable
    voxels: NDArray[np.int64]

    @property
    def shares(self) -> NDArray[np.float64]:
        """``(K, K)``: each row as a share of the reference's label; NaN in the row of a label that it lacks."""
        total = self.voxels.sum(axis=1, keepdims=True)
        return np.divide(self.voxels, total, out=np.full(self.voxels.shape, np.nan), where=total > 0)

    def dice(self, index: int) -> float:
        """Hard Dice of 0–1 of one label; NaN where both sides lack it."""
        row = self.table.indices.index(index)
        total = int(self.voxels[row].sum() + self.voxels[:, row].sum())
        return 2 * int(self.voxels[row, row]) / total if total else math.nan

    def present(self) -> tuple[int, ...]:
        """Positions (not indices) of the labels that at least one side has, background included."""
        found = self.voxels.sum(axis=0) + self.voxels.sum(axis=1)
        return tuple(row for row in range(len(self.table)) if row == 0 or found[row])

    def describe(self, row: int, column: int) -> str:
        """One cell in words."""
        known, given = self.table.labels[row].name, self.table.labels[column].name
        share = self.shares[row, column]
        percent = "" if math.isnan(share) else f"{share:.1%} of "
        return f"{percent}{known} was called {given}: {self.voxels[row, column]} voxels"


def count_confusions(prediction: Segmentation, reference: Segmentation) -> Confusion:
    """Count every pair of labels of two comparable segmentations; raises as `napari_medzoo.evaluate.confusion`."""
    return Confusion(reference.table, confusion(prediction, reference))
