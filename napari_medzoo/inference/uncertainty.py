"""How sure a model is, voxel by voxel, from the probabilities of one prediction.

==============  =====================================================================================================
entropy         − Σ p ln p / ln K of the K classes' probabilities: 0 where one class has all, 1 where all are equal
margin          the largest probability minus the second largest: 0 where two classes tie, 1 where one has all
confidence      the largest probability
==============  =====================================================================================================

All lie on the grid of the study's chosen volume. Probabilities are interpolated there class by class, as
`Prepared.restore_scores` does, so that at no time more than a few volumes are in memory beside the logits.
What models make of a changed scan, and of each other, is in `napari_medzoo.inference.disagreement`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from napari_medzoo.cards import ModelCard
from napari_medzoo.inference.background import in_background
from napari_medzoo.inference.predict import adapt, scores_of
from napari_medzoo.inference.start import Run, begin, labels_in
from napari_medzoo.labels import Segmentation
from napari_medzoo.preprocess import Prepared
from napari_medzoo.preprocess.prepared import log_sum_exp
from napari_medzoo.preprocess.spatial import VOXEL_MEAN, index_map, interpolate, lattice_of, mean_reach, take
from napari_medzoo.progress import Progress, Steps
from napari_medzoo.space import Grid
from napari_medzoo.study import Study, Volume

LEAST = 1e-4
"""Where the background has all but this probability, a voxel counts as certain."""


@dataclass(frozen=True, eq=False)
class Uncertainty:
    """Maps of how sure the labels are, and the labels.

    Attributes
    ----------
    volumes : mapping of str to Volume
        ``(X, Y, Z) float32`` of 0–1 by name: those in the module's text, or ``disagreement``.
    segmentation : Segmentation
        What the maps speak of: the likeliest labels, or those that most runs or models gave. Without the tidying that
        `predict` does.
    notes : tuple of str
        What a person should know.
    """

    volumes: Mapping[str, Volume]
    segmentation: Segmentation
    notes: tuple[str, ...] = ()


def from_probabilities(
    study: Study,
    card: ModelCard,
    *,
    grid: str | None = None,
    device: str = "auto",
    backend: str = "auto",
    precision: str = "auto",
    threads: int | None = None,
    prepared: Prepared | None = None,
) -> Steps[Uncertainty]:
    """``entropy``, ``margin`` and ``confidence`` of one prediction.

    The parameters and errors are those of `napari_medzoo.inference.predict`.
    """
    run = yield from begin(study, card, grid, device, backend, precision, threads, prepared)
    scores = yield from scores_of(run.runner, run.data, run.plan)
    yield from adapt(scores, run.data, run)
    maps, channels = yield from in_background(lambda: _measure(scores, run), Progress("Measuring uncertainty"))
    volumes = {name: Volume(array, run.target) for name, array in maps.items()}
    return Uncertainty(volumes, labels_of(channels, card, run.target), run.prepared.warnings)


def labels_of(channels: NDArray[Any], card: ModelCard, grid: Grid) -> Segmentation:
    """Channel numbers as the card's labels."""
    return Segmentation(labels_in(channels, card), grid, card.label_table)


def _measure(scores: NDArray[np.float32], run: Run) -> tuple[dict[str, NDArray[np.float32]], NDArray[np.uint16]]:
    """The maps by name and the likeliest channel, on the run's target grid."""
    source, target = run.prepared.grid, run.target
    turned = target.reoriented(source.axis_codes)  # the frame of `Prepared.restore_scores`
    entropy, second = (np.zeros(turned.shape, dtype=np.float32) for _ in range(2))
    best = np.ones(turned.shape, dtype=np.float32)
    chosen = np.zeros(turned.shape, dtype=np.uint16)
    log_total = log_sum_exp(scores)
    unsure = np.argwhere(np.exp(scores[0] - log_total) < 1 - LEAST)
    back = None if run.transform is None else np.linalg.inv(run.transform)
    if len(unsure):
        reach = mean_reach(index_map(turned, source, back)).astype(int)
        low = np.maximum(unsure.min(axis=0) - reach, 0)
        high = np.minimum(unsure.max(axis=0) + 1 + reach, source.shape)
        box = tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
        inner = source.cropped(low, high - low)
        window = _seen_from(turned, inner, run.transform)
        part = turned.cropped([axis.start for axis in window], [axis.stop - axis.start for axis in window])
        matrix = index_map(part, inner, back)
        lattice = lattice_of(matrix, part.shape)
        rest = np.ones(part.shape, dtype=np.float32)
        first, next_best, sum_p_log_p = (np.zeros(part.shape, dtype=np.float32) for _ in range(3))
        likeliest = np.zeros(part.shape, dtype=np.uint16)
        for channel in [*range(1, len(scores)), 0]:
            if channel:
                share = np.exp(scores[channel][box] - log_total[box])
                here = (
                    take(share, lattice, part.shape)
                    if lattice
                    else interpolate(share, matrix, part.shape, width=VOXEL_MEAN)
                )
                rest -= here
            else:
                here = np.clip(rest, 0, 1)  # beyond the prepared field all is background
            sum_p_log_p += here * np.log(np.maximum(here, np.float32(1e-30)))
            np.maximum(next_best, np.minimum(first, here), out=next_best)
            likeliest[here > first] = channel
            np.maximum(first, here, out=first)
        entropy[window] = np.clip(-sum_p_log_p / np.float32(np.log(len(scores))), 0, 1)
        best[window], second[window], chosen[window] = np.clip(first, 0, 1), next_best, likeliest
    turn = turned.orientation_to(target.axis_codes)

    def turn_back(array: NDArray[Any]) -> NDArray[Any]:
        return np.ascontiguousarray(nib.orientations.apply_orientation(array, turn))

    maps = {"entropy": entropy, "margin": best - second, "confidence": best}
    return {name: turn_back(array) for name, array in maps.items()}, turn_back(chosen)


def _seen_from(grid: Grid, inner: Grid, transform: NDArray[np.float64] | None) -> tuple[slice, slice, slice]:
    """The voxels of `grid` that linear interpolation can reach from `inner`."""
    corners = np.array(
        [[i, j, k] for i in (-1, inner.shape[0]) for j in (-1, inner.shape[1]) for k in (-1, inner.shape[2])]
    )
    points = inner.to_world(corners)
    if transform is not None:
        points = points @ transform[:3, :3].T + transform[:3, 3]
    found = grid.to_index(points)
    start = np.clip(np.floor(found.min(axis=0)), 0, np.array(grid.shape) - 1).astype(int)
    stop = np.clip(np.ceil(found.max(axis=0)) + 1, start + 1, grid.shape).astype(int)
    x, y, z = (slice(int(a), int(b)) for a, b in zip(start, stop, strict=True))
    return x, y, z
