"""Is a model right as often as it is sure? Reliability of its confidence against a reference.

Guo, Pleiss, Sun, Weinberger: On Calibration of Modern Neural Networks, ICML 2017 (arXiv:1706.04599). Counted are the
voxels that either side calls foreground: the air around a head is right and sure everywhere, and would hide the rest.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_medzoo.comparison import NOTES, comparable
from napari_medzoo.errors import MedzooError
from napari_medzoo.labels import Segmentation
from napari_medzoo.preprocess.spatial import reorient
from napari_medzoo.space import require_same_grid
from napari_medzoo.study import Volume

BINS = 15
"""As in the paper's tables."""


@dataclass(frozen=True, eq=False)
class Calibration:
    """A reliability curve.

    Attributes
    ----------
    edges : numpy.ndarray
        ``(B + 1,)`` of 0–1: the bins of confidence, each closed at its upper edge.
    voxels : numpy.ndarray
        ``(B,) int64`` per bin.
    confidence, accuracy : numpy.ndarray
        ``(B,)``: mean confidence, and share of voxels that agree with the reference; NaN in an empty bin.
    notes : tuple of str
        What the comparison left out or converted.
    """

    edges: NDArray[np.float64]
    voxels: NDArray[np.int64]
    confidence: NDArray[np.float64]
    accuracy: NDArray[np.float64]
    notes: tuple[str, ...] = ()

    @property
    def ece(self) -> float:
        """Expected calibration error of 0–1: the mean gap of confidence and accuracy, bins weighted by their voxels."""
        total = int(self.voxels.sum())
        if not total:
            return math.nan
        return float(np.nansum(np.abs(self.confidence - self.accuracy) * self.voxels) / total)


def calibrate(confidence: Volume, prediction: Segmentation, reference: Segmentation, bins: int = BINS) -> Calibration:
    """Sort voxels by confidence and ask in each bin how many are right.

    Parameters
    ----------
    confidence : Volume
        ``(X, Y, Z)`` probability of 0–1 of the label that `prediction` gives, on its grid.
    prediction, reference : Segmentation
        In any two numberings that can be compared.
    bins : int
        Of equal width.

    Raises
    ------
    MedzooError
        For confidences outside 0–1 or on another grid, and as `comparable`.
    """
    require_same_grid(confidence.grid, prediction.grid, "The confidence", "the prediction")
    if confidence.data.min() < 0 or confidence.data.max() > 1:
        raise MedzooError(
            f"Expected confidences of 0 to 1, got {confidence.data.min():.3g} to {confidence.data.max():.3g}; "
            "give the probability of the chosen label."
        )
    ours, theirs = comparable(prediction, reference)
    counted = (ours.data > 0) | (theirs.data > 0)
    sure = reorient(confidence, ours.grid.axis_codes).data[counted].astype(np.float64)
    right = (ours.data == theirs.data)[counted]
    edges = np.linspace(0, 1, bins + 1)
    rows = np.clip(np.ceil(sure * bins).astype(int) - 1, 0, bins - 1)
    voxels = np.bincount(rows, minlength=bins)
    notes = list(ours.provenance[NOTES])
    if ours.table.name != prediction.table.name:
        notes.append(
            "Confidence is that of the model's own labels; where several of them became one, the truth is higher."
        )
    return Calibration(
        edges, voxels, _mean(sure, rows, voxels), _mean(right.astype(np.float64), rows, voxels), tuple(notes)
    )


def _mean(values: NDArray[np.float64], rows: NDArray[np.int64], counts: NDArray[np.int64]) -> NDArray[np.float64]:
    total = np.bincount(rows, weights=values, minlength=len(counts))
    return np.divide(total, counts, out=np.full(len(counts), np.nan), where=counts > 0)
