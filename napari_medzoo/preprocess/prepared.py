"""`Prepared`: a study as a network sees it, and the way back to the scanner's grids."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_medzoo.errors import MedzooError
from napari_medzoo.preprocess.alignment import Alignment
from napari_medzoo.preprocess.spatial import VOXEL_MEAN, index_map, interpolate, lattice_of, mean_reach, nearest, take
from napari_medzoo.space import Grid
from napari_medzoo.study import Volume


@dataclass(frozen=True, eq=False)
class Prepared:
    """The prepared volumes of a study on one grid.

    Attributes
    ----------
    data : numpy.ndarray
        ``(C, X, Y, Z) float32``, C-contiguous, one channel per modality.
    grid : Grid
        Of the prepared data.
    modalities : tuple of str
        The channels in order.
    reference : str
        The modality that the others were aligned to.
    target : Grid
        The reference volume's own grid, where `restore` puts labels.
    transforms : mapping of str to numpy.ndarray
        ``(4, 4)`` per modality: RAS+ mm of the reference to RAS+ mm of that modality's file.
    alignments : mapping of str to Alignment
        What was found for each modality that was searched for.
    timings : mapping of str to float
        Seconds per step: ``align``, ``bias_correction``, ``head_crop``, ``resample``, ``brain_mask``, ``normalise``.
    warnings : tuple of str
        What a person should know.
    """

    data: NDArray[np.float32]
    grid: Grid
    modalities: tuple[str, ...]
    reference: str
    target: Grid
    transforms: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    alignments: Mapping[str, Alignment] = field(default_factory=dict)
    timings: Mapping[str, float] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        expected = (len(self.modalities), *self.grid.shape)
        if tuple(self.data.shape) != expected:
            raise MedzooError(f"Prepared data of shape {self.data.shape}, expected {expected}.")

    def volume(self, modality: str) -> Volume:
        """One channel as a volume on the prepared grid."""
        if modality not in self.modalities:
            raise MedzooError(f"{modality!r} was not prepared; choose one of: {', '.join(self.modalities)}.")
        return Volume(self.data[self.modalities.index(modality)], self.grid, modality)

    def stack(self, modalities: Sequence[str | None]) -> NDArray[np.float32]:
        """``(C, X, Y, Z) float32``: the channels in this order, 0 for None; not a copy where they are as they lie."""
        if tuple(modalities) == self.modalities:
            return self.data
        stacked = np.zeros((len(modalities), *self.grid.shape), dtype=np.float32)
        for channel, key in enumerate(modalities):
            if key is not None:
                stacked[channel] = self.volume(key).data
        return stacked

    def restore(
        self, labels: NDArray[Any], target: Grid | None = None, transform: ArrayLike | None = None
    ) -> NDArray[Any]:
        """Take labels from the prepared grid to a volume's grid.

        Exact where the grids differ by reorientation and crop only; else each voxel gets the nearest label (halves of a
        voxel go to the higher index of the prepared grid, whichever way the target is stored).

        Parameters
        ----------
        labels : numpy.ndarray
            ``(X, Y, Z)`` integers on `grid`.
        target : Grid, optional
            The reference volume's grid by default. For another volume of the study, its grid together with
            `transform` = ``transforms[modality]``.
        transform : array_like, optional
            ``(4, 4)``: RAS+ mm of the reference to RAS+ mm of `target`.

        Returns
        -------
        numpy.ndarray
            The type of `labels`, on `target`; 0 where nothing was prepared.
        """
        self._require_shape(labels.shape)
        way = self._way_to(target, transform)
        lattice = lattice_of(way.matrix, way.turned.shape)
        if lattice is not None:
            return way.turn_back(take(labels, lattice, way.turned.shape))
        return way.turn_back(nearest(labels, way.matrix, way.turned.shape))

    def restore_scores(
        self, scores: NDArray[np.float32], target: Grid | None = None, transform: ArrayLike | None = None
    ) -> NDArray[np.uint16]:
        """Take a network's scores from the prepared grid to a volume's grid and choose the likeliest class there.

        The soft-max probabilities are interpolated linearly, class by class with a running maximum, so that at no time
        more than a few volumes are in memory; a class is only looked at where it can win (somewhere near at least 1/K).
        Along axes on which the target is coarser they are averaged over its voxel first: a large voxel is called what
        fills most of it, not what lies at its centre. Where the grids differ by reorientation and crop
        only, the arg-max is taken as it is, without interpolation.

        Parameters
        ----------
        scores : numpy.ndarray
            ``(K, X, Y, Z) float32`` logits on `grid`.
        target, transform
            As for `restore`.

        Returns
        -------
        numpy.ndarray
            ``uint16`` channel numbers on `target`; 0 where nothing was prepared.
        """
        self._require_shape(scores.shape[1:])
        way = self._way_to(target, transform)
        lattice = lattice_of(way.matrix, way.turned.shape)
        if lattice is not None:
            return way.turn_back(take(_winners(scores), lattice, way.turned.shape))
        log_total = log_sum_exp(scores)
        reach = mean_reach(way.matrix) + 1
        best = np.zeros(way.turned.shape, dtype=np.float32)
        chosen = np.zeros(way.turned.shape, dtype=np.uint16)
        least = np.float32(1 / len(scores) - 1e-5)
        for channel, logits in enumerate(scores):
            share = np.exp(logits - log_total)
            box = _bounding_box(share >= least)
            window = None if box is None else _image_of(box, reach, way.matrix, way.turned.shape)
            if window is None:
                continue
            matrix = way.matrix.copy()
            matrix[:3, 3] += matrix[:3, :3] @ [part.start for part in window]
            shape = tuple(part.stop - part.start for part in window)
            here = interpolate(share, matrix, (shape[0], shape[1], shape[2]), width=VOXEL_MEAN)
            better = here > best[window]
            best[window][better] = here[better]
            chosen[window][better] = channel
        return way.turn_back(chosen)

    def _way_to(self, target: Grid | None, transform: ArrayLike | None) -> _Way:
        target = target or self.target
        turned = target.reoriented(self.grid.axis_codes)  # one frame for every orientation that the file may have
        back = None if transform is None else np.linalg.inv(np.asarray(transform, dtype=np.float64))
        return _Way(target, turned, index_map(turned, self.grid, back))

    def _require_shape(self, shape: tuple[int, ...]) -> None:
        if tuple(shape) != self.grid.shape:
            raise MedzooError(f"Expected labels of the prepared shape {self.grid.shape}, got {tuple(shape)}.")


@dataclass(frozen=True, eq=False)
class _Way:
    """From the prepared grid to `target` by way of `turned`, the target with the prepared axes.

    `matrix` takes indices of `turned` to indices of the prepared grid.
    """

    target: Grid
    turned: Grid
    matrix: NDArray[np.float64]

    def turn_back(self, array: NDArray[Any]) -> NDArray[Any]:
        turn = self.turned.orientation_to(self.target.axis_codes)
        return np.ascontiguousarray(nib.orientations.apply_orientation(array, turn))


def _winners(scores: NDArray[np.float32]) -> NDArray[np.uint16]:
    """The channel with the highest score, the first of equals; ten times faster than `numpy.argmax` over axis 0."""
    best = np.array(scores[0])
    winners = np.zeros(best.shape, dtype=np.uint16)
    for channel in range(1, len(scores)):
        winners[scores[channel] > best] = channel
        np.maximum(best, scores[channel], out=best)
    return winners


def log_sum_exp(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """``log Σ exp`` over the channels without overflow, one channel at a time."""
    highest = np.array(scores[0])
    for logits in scores[1:]:
        np.maximum(highest, logits, out=highest)
    total = np.zeros_like(highest)
    for logits in scores:
        total += np.exp(logits - highest)
    return highest + np.log(total)


def _bounding_box(mask: NDArray[np.bool_]) -> tuple[tuple[int, int], ...] | None:
    """First and last index of the mask along each axis, or None if it is empty."""
    box = []
    for axis in range(3):
        (found,) = np.nonzero(mask.any(axis=tuple(other for other in range(3) if other != axis)))
        if found.size == 0:
            return None
        box.append((int(found[0]), int(found[-1])))
    return tuple(box)


def _image_of(
    box: tuple[tuple[int, int], ...],
    reach: NDArray[np.float64],
    matrix: NDArray[np.float64],
    shape: tuple[int, int, int],
) -> tuple[slice, slice, slice] | None:
    """The voxels of the result (of `shape`) that see `box` from at most `reach` voxels away; None if there are none."""
    (a, b), (c, d), (e, f) = ((low - far, high + far) for (low, high), far in zip(box, reach, strict=True))
    corners = np.array([[x, y, z, 1] for x in (a, b) for y in (c, d) for z in (e, f)])
    seen = (corners @ np.linalg.inv(matrix).T)[:, :3]
    start = np.clip(np.floor(seen.min(axis=0)), 0, shape).astype(int)
    stop = np.clip(np.ceil(seen.max(axis=0)) + 1, 0, shape).astype(int)
    if (stop <= start).any():
        return None
    x, y, z = (slice(int(low), int(high)) for low, high in zip(start, stop, strict=True))
    return x, y, z
