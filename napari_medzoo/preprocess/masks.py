"""Where the head and the brain are, by classical means: thresholds, components, morphology.

Everything is found on a small copy of the scan (a few millimetres per voxel), which is fast and lets noise average out.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from napari_medzoo.preprocess.recipe import BrainMask, HeadCrop
from napari_medzoo.preprocess.spatial import interpolate
from napari_medzoo.study import Volume

HEAD_MM = 4.0
"""Voxel size of the copy on which the head is found."""

BRAIN_MM = 2.0
"""Voxel size of the copy on which the brain is found."""

STRIPPED_SHARE = 0.4
"""From this share of voxels that are exactly 0 on, a scan is taken to be skull-stripped: its head is the brain."""

TISSUE = 0.75
"""Share of Otsu's threshold between dark and bright parts of the head from which on a voxel counts as brain tissue:
grey matter lies below the threshold itself. (Dice .94 with DLMUSE's mask on a whole-head T1w, .86 with 1.)"""

CLOSING_MM = 8.0
"""Sulci narrower than twice this are filled."""


class Box(NamedTuple):
    """A part of a grid: its first voxel and its number of voxels, for `Grid.cropped`."""

    start: tuple[int, int, int]
    shape: tuple[int, int, int]


def head_box(volume: Volume, settings: HeadCrop | None = None) -> Box:
    """The box around the head with a margin, in voxels of the volume; the whole volume where no head is found.

    Works on skull-stripped, defaced and whole heads with noise in the air, and on thick slices.
    """
    settings = settings or HeadCrop()
    small, factors = _shrink(volume, HEAD_MM)
    mask = _head(small)
    if not mask.any():
        return Box((0, 0, 0), volume.grid.shape)
    start, shape = [], []
    for axis in range(3):
        (found,) = np.nonzero(mask.any(axis=tuple(other for other in range(3) if other != axis)))
        margin = settings.margin_mm / volume.grid.spacing[axis]
        first = max(int(np.floor(found[0] * factors[axis] - margin)), 0)
        stop = min(int(np.ceil((found[-1] + 1) * factors[axis] + margin)), volume.grid.shape[axis])
        start.append(first)
        shape.append(stop - first)
    return Box((start[0], start[1], start[2]), (shape[0], shape[1], shape[2]))


def head_mask(volume: Volume) -> NDArray[np.bool_]:
    """Roughly where the head is (`HEAD_MM` voxels), holes filled: ``(X, Y, Z) bool`` on the volume's grid."""
    small, factors = _shrink(volume, HEAD_MM)
    return _grow_back(_head(small), factors, volume.grid.shape)


def brain_mask(volume: Volume, settings: BrainMask | None = None) -> NDArray[np.bool_]:
    """A classical brain mask ``(X, Y, Z) bool`` on the volume's grid; finds also what is already skull-stripped.

    Otsu's threshold (1979), opening by `settings.opening_mm` so that the brain comes off the scalp, largest component,
    closing, holes filled. A rough tool (a learned mask is a model card like any other): look at the result.
    """
    from scipy import ndimage

    settings = settings or BrainMask()
    small, factors = _shrink(volume, BRAIN_MM)
    spacing: NDArray[np.float64] = np.array(volume.grid.spacing, dtype=np.float64) * factors
    if (volume.data == 0).mean() > STRIPPED_SHARE:
        brain = _head(small)
    else:
        head = _head(small)
        if not head.any():
            return np.zeros(volume.grid.shape, dtype=bool)
        values = np.minimum(small[head], np.percentile(small[head], 98))
        tissue = head & (small > TISSUE * _otsu(values))
        core = _largest(_shift_border(tissue, spacing, -settings.opening_mm))
        brain = _largest(_shift_border(core, spacing, settings.opening_mm + BRAIN_MM) & tissue)
    closed = _shift_border(_shift_border(brain, spacing, CLOSING_MM), spacing, -CLOSING_MM)
    return _grow_back(ndimage.binary_fill_holes(closed | brain), factors, volume.grid.shape)


def _head(small: NDArray[np.float32]) -> NDArray[np.bool_]:
    """The head in a small copy: Otsu on square roots (dark tissue counts too), largest component, holes filled."""
    from scipy import ndimage

    low, high = np.percentile(small, (1, 99.8))
    if high <= low:
        return np.zeros(small.shape, dtype=bool)
    rooted = np.sqrt(np.clip(small - low, 0, high - low))
    smooth = ndimage.gaussian_filter(rooted, 0.7, mode="nearest")
    mask = ndimage.binary_opening(smooth > _otsu(smooth)) | _largest(smooth > _otsu(smooth))
    return ndimage.binary_fill_holes(_largest(mask))


def _otsu(values: NDArray[np.floating[Any]], bins: int = 256) -> float:
    """The threshold that separates values best into two classes (Otsu 1979)."""
    counts, edges = np.histogram(values, bins=bins)
    centers = (edges[:-1] + edges[1:]) / 2
    below = np.cumsum(counts)[:-1].astype(float)
    above = counts.sum() - below
    sums = np.cumsum(counts * centers)
    with np.errstate(divide="ignore", invalid="ignore"):
        between = below * above * (sums[:-1] / below - (sums[-1] - sums[:-1]) / above) ** 2
    return float(edges[1 + int(np.nanargmax(between))]) if np.isfinite(between).any() else float(edges[0])


def _largest(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The largest of the mask's face-connected components."""
    from scipy import ndimage

    labels, count = ndimage.label(mask)
    if count < 2:
        return mask
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return labels == sizes.argmax()


def _shift_border(mask: NDArray[np.bool_], spacing: NDArray[np.float64], by_mm: float) -> NDArray[np.bool_]:
    """Grow a mask by a ball of `by_mm`, or shrink it by a negative one."""
    from scipy import ndimage

    if by_mm == 0 or not mask.any() or mask.all():
        return mask
    if by_mm > 0:
        return np.asarray(ndimage.distance_transform_edt(~mask, sampling=spacing) <= by_mm)
    return np.asarray(ndimage.distance_transform_edt(mask, sampling=spacing) > -by_mm)


def _shrink(volume: Volume, millimetres: float) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The means of blocks of about `millimetres`, and the blocks' sizes in voxels; the last blocks may be cut short."""
    factors = np.maximum(np.round(millimetres / np.array(volume.grid.spacing)), 1).astype(int)
    small = np.asarray(volume.data)
    for axis in np.argsort(-factors, kind="stable"):
        factor = int(factors[axis])
        if factor > 1:
            starts = np.arange(0, small.shape[axis], factor)
            lengths = np.diff(np.append(starts, small.shape[axis]))
            sums = np.add.reduceat(small, starts, axis=axis, dtype=np.float32)
            small = sums / lengths.reshape([-1 if other == axis else 1 for other in range(3)]).astype(np.float32)
    return small.astype(np.float32), factors


def _grow_back(mask: NDArray[np.bool_], factors: NDArray[np.int64], shape: tuple[int, int, int]) -> NDArray[np.bool_]:
    """A mask of blocks at full resolution, with linear borders between the blocks' centres."""
    matrix = np.eye(4)
    matrix[:3, :3] = np.diag(1 / factors)
    matrix[:3, 3] = (1 / factors - 1) / 2
    padded = np.pad(mask, 1, mode="edge").astype(np.float32)  # the last block may be cut short: look past its centre
    matrix[:3, 3] += 1
    return interpolate(padded, matrix, shape) >= 0.5
