"""The figures that compare one label of a prediction with the same label of a reference.

For each foreground label, with P the prediction's voxels and R the reference's:

========================  =====================================================================================
Dice                      2 |P ∩ R| / (|P| + |R|), hard labels (Dice 1945)
HD95 (mm)                 the larger of the two directed 95th percentiles of the surface distances
ASSD (mm)                 mean of all surface distances of both directions together
NSD                       surface Dice (Nikolov et al. 2021): share of both surfaces within the tolerance (mm) of the
                          other; boundary voxels count alike (the paper weights them by their area)
volume similarity         1 − | |P| − |R| | / (|P| + |R|)
========================  =====================================================================================

Surfaces are boundary voxels and distances run between their centres (`napari_medzoo.surfaces`).

Adding one takes a function of a `LabelPair`, a line in `METRICS` and a field in `napari_medzoo.evaluate.LabelScore`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from napari_medzoo.surfaces import SurfaceDistances, surface_distances

ROUNDING_MM = 1e-4
"""Distances are float32; one that equals the tolerance on paper counts as within it."""


@dataclass(frozen=True, eq=False)
class LabelPair:
    """One label in prediction and reference: what a metric computes from.

    Attributes
    ----------
    prediction, reference : numpy.ndarray
        ``(X, Y, Z) bool`` masks, cropped to a box that holds both.
    predicted, expected, shared : int
        Voxels of the prediction, of the reference, and of both.
    spacing : tuple of float
        mm.
    voxel_volume_ml : float
    tolerance_mm : float
        For NSD.
    """

    prediction: NDArray[np.bool_]
    reference: NDArray[np.bool_]
    predicted: int
    expected: int
    shared: int
    spacing: tuple[float, float, float]
    voxel_volume_ml: float
    tolerance_mm: float

    @property
    def in_neither(self) -> bool:
        """Whether the label is absent from both sides."""
        return self.predicted + self.expected == 0

    @property
    def in_both(self) -> bool:
        """Whether both sides have the label."""
        return self.predicted > 0 and self.expected > 0

    @cached_property
    def distances(self) -> SurfaceDistances:
        """Surface distances; only where both sides have the label."""
        return surface_distances(self.prediction, self.reference, self.spacing)


def dice(pair: LabelPair) -> float:
    """Hard Dice of 0–1."""
    return math.nan if pair.in_neither else 2 * pair.shared / (pair.predicted + pair.expected)


def hd95_mm(pair: LabelPair) -> float:
    """The larger of the two directed 95th percentiles (linear interpolation) of the surface distances, in mm."""
    if not pair.in_both:
        return math.nan
    directed = (pair.distances.prediction_to_reference, pair.distances.reference_to_prediction)
    return max(float(np.percentile(one, 95)) for one in directed)


def assd_mm(pair: LabelPair) -> float:
    """Average symmetric surface distance in mm: the mean over all boundary voxels of both sides."""
    if not pair.in_both:
        return math.nan
    distances = pair.distances
    return float(
        np.concatenate([distances.prediction_to_reference, distances.reference_to_prediction]).mean(dtype=float)
    )


def nsd(pair: LabelPair) -> float:
    """Normalised surface Dice of 0–1: the share of boundary voxels within the tolerance of the other surface."""
    if pair.in_neither:
        return math.nan
    if not pair.in_both:
        return 0.0
    distances = pair.distances
    both = np.concatenate([distances.prediction_to_reference, distances.reference_to_prediction])
    return float((both <= pair.tolerance_mm + ROUNDING_MM).mean())


def volume_ml(pair: LabelPair) -> float:
    """Volume of the prediction in mL."""
    return pair.predicted * pair.voxel_volume_ml


def reference_volume_ml(pair: LabelPair) -> float:
    """Volume of the reference in mL."""
    return pair.expected * pair.voxel_volume_ml


def volume_similarity(pair: LabelPair) -> float:
    """1 − |difference| / sum of both volumes, 0–1."""
    if pair.in_neither:
        return math.nan
    return 1 - abs(pair.predicted - pair.expected) / (pair.predicted + pair.expected)


@dataclass(frozen=True)
class Metric:
    """A figure per label: how to compute it and how to show it."""

    title: str
    compute: Callable[[LabelPair], float]
    digits: int
    averaged: bool = True

    def show(self, value: float) -> str:
        """The figure as people read it; a dash where it is not defined."""
        return "–" if math.isnan(value) else f"{value:.{self.digits}f}"


METRICS: dict[str, Metric] = {
    "dice": Metric("Dice", dice, 3),
    "hd95_mm": Metric("HD95 mm", hd95_mm, 2),
    "assd_mm": Metric("ASSD mm", assd_mm, 2),
    "nsd": Metric("NSD", nsd, 3),
    "volume_ml": Metric("Volume mL", volume_ml, 2, averaged=False),
    "reference_volume_ml": Metric("Reference mL", reference_volume_ml, 2, averaged=False),
    "volume_similarity": Metric("Vol. sim.", volume_similarity, 3),
}
"""Every metric by the name of its field in `LabelScore`; the averaged ones are fields of `LabelMean`."""
