"""Overlapping tiles, blended so that an identity network gives its input back.

Tiles are laid out by what the network answers for: one of valid convolutions sees a `margin` more on every side, and
neighbouring inputs then overlap by twice that, whatever the overlap of the answers.

Along each axis the tiles' weights are scaled to add up to one at every voxel; the weight of a voxel in a tile is the
product over the three axes. So blended logits need no division and no second volume, and a voxel that only one tile
covers keeps its logits to the last bit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_medzoo.inference.background import in_background
from napari_medzoo.models.geometry import Size
from napari_medzoo.progress import Progress, Steps

SIGMA = 1 / 8
"""Standard deviation of the Gaussian weight as a share of the patch (nnU-Net's; Isensee 2021)."""


def fitting_patch(patch: Size, shape: Size) -> Size:
    """`patch`, no larger than the (padded) volume on any axis."""
    x, y, z = (min(p, s) for p, s in zip(patch, shape, strict=True))
    return x, y, z


def tile_starts(size: int, patch: int, overlap: float) -> list[int]:
    """First voxels of the tiles along one axis: evenly spread, the last ends with the axis.

    Parameters
    ----------
    size, patch : int
        Voxels; ``patch <= size``.
    overlap : float
        Neighbours share at least this part of the patch.
    """
    step = max(int(patch * (1 - overlap)), 1)
    count = -(-(size - patch) // step) + 1
    return [round(start) for start in np.linspace(0, size - patch, count)]


def blend_weights(size: int, patch: int, starts: list[int]) -> NDArray[np.float32]:
    """Weights of each tile along one axis, ``(len(starts), patch)``; at every voxel they add up to 1."""
    positions = (np.arange(patch) - (patch - 1) / 2) / patch
    gaussian = np.exp(-0.5 * (positions / SIGMA) ** 2)
    total = np.zeros(size)
    for start in starts:
        total[start : start + patch] += gaussian
    return np.stack([gaussian / total[start : start + patch] for start in starts]).astype(np.float32)


def pad(data: NDArray[Any], shape: Size, margin: Size = (0, 0, 0)) -> tuple[NDArray[Any], tuple[slice, ...]]:
    """Surround `data` ``(C, X, Y, Z)`` with zeros, the value of air, to `shape`.

    Parameters
    ----------
    margin : tuple of int
        What the logits will lack on every side; `shape` is at least twice that larger than `data`.

    Returns
    -------
    padded : numpy.ndarray
        ``(C, *shape)``, contiguous.
    inner : tuple of slice
        Where `data` lies in the logits ``(K, X, Y, Z)`` of `padded`.
    """
    starts = [(new - old) // 2 for new, old in zip(shape, data.shape[1:], strict=True)]
    padded = np.zeros((data.shape[0], *shape), dtype=data.dtype)
    padded[_box(starts, data.shape[1:])] = data
    return padded, _box([start - lost for start, lost in zip(starts, margin, strict=True)], data.shape[1:])


def _box(starts: Sequence[int], size: Sequence[int]) -> tuple[slice, ...]:
    """All channels of the voxels from `starts` on, as many as `size`."""
    return (slice(None), *(slice(start, start + length) for start, length in zip(starts, size, strict=True)))


def tiled(
    run: Callable[[NDArray[Any]], NDArray[Any]],
    data: NDArray[np.float32],
    patch: Size,
    overlap: float,
    margin: Size = (0, 0, 0),
    clean_up: Callable[[], object] = lambda: None,
) -> Steps[NDArray[np.float32]]:
    """Run a network tile by tile.

    Parameters
    ----------
    run : callable
        ``(C, *patch) float32`` → logits ``(K, *patch) float32``, less the margin on every side.
    data : numpy.ndarray
        ``(C, X, Y, Z) float32``, no axis shorter than `patch`.
    patch : tuple of int
        Voxels that the network is given.
    overlap : float
        Share of a tile's answer that neighbours have in common.
    margin : tuple of int
        Voxels that the answer lacks on every side of the patch.
    clean_up : callable
        See `in_background`.

    Returns
    -------
    numpy.ndarray
        Blended logits ``(K, X, Y, Z) float32``, less the margin on every side of `data`. Yields `Progress` at every
        tile, and while one runs.
    """
    size, answer = (
        [length - 2 * lost for length, lost in zip(whole, margin, strict=True)] for whole in (data.shape[1:], patch)
    )
    starts = [tile_starts(s, p, overlap) for s, p in zip(size, answer, strict=True)]
    weights = [blend_weights(s, p, a) for s, p, a in zip(size, answer, starts, strict=True)]
    tiles = list(product(*(range(len(a)) for a in starts)))
    result: NDArray[np.float32] | None = None
    for done, (i, j, k) in enumerate(tiles):
        corner = starts[0][i], starts[1][j], starts[2][k]
        # An answer lies the margin further in than its patch, as the result than the data: one corner serves both.
        tile = np.ascontiguousarray(data[_box(corner, patch)])
        logits = yield from in_background(
            lambda tile=tile: run(tile),  # type: ignore[misc]
            Progress("Segmenting", done, len(tiles)),
            clean_up,
        )
        if result is None:
            result = np.zeros((logits.shape[0], *size), dtype=np.float32)
        weight = weights[0][i][:, None, None] * weights[1][j][:, None] * weights[2][k]
        result[_box(corner, answer)] += logits * weight
    assert result is not None  # an axis has at least one tile
    return result
