"""Overlapping tiles, blended so that an identity network gives its input back.

Along each axis the tiles' weights are scaled to add up to one at every voxel; the weight of a voxel in a tile is the
product over the three axes. So blended logits need no division and no second volume, and a voxel that only one tile
covers keeps its logits to the last bit.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_medzoo.inference.background import in_background
from napari_medzoo.progress import Progress, Steps

Size = tuple[int, int, int]

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


def pad(data: NDArray[Any], shape: Size) -> tuple[NDArray[Any], tuple[slice, ...]]:
    """Surround `data` ``(C, X, Y, Z)`` with zeros, the value of air, to `shape`.

    Returns
    -------
    padded : numpy.ndarray
        ``(C, *shape)``, contiguous.
    inner : tuple of slice
        ``padded[inner]`` is `data`; also valid for logits ``(K, *shape)``.
    """
    starts = [(new - old) // 2 for new, old in zip(shape, data.shape[1:], strict=True)]
    inner = (slice(None), *(slice(a, a + size) for a, size in zip(starts, data.shape[1:], strict=True)))
    padded = np.zeros((data.shape[0], *shape), dtype=data.dtype)
    padded[inner] = data
    return padded, inner


def tiled(
    run: Callable[[NDArray[Any]], NDArray[Any]],
    data: NDArray[np.float32],
    patch: Size,
    overlap: float,
    clean_up: Callable[[], object] = lambda: None,
) -> Steps[NDArray[np.float32]]:
    """Run a network tile by tile.

    Parameters
    ----------
    run : callable
        ``(C, *patch) float32`` → logits ``(K, *patch) float32``.
    data : numpy.ndarray
        ``(C, X, Y, Z) float32``, no axis shorter than `patch`.
    clean_up : callable
        See `in_background`.

    Returns
    -------
    numpy.ndarray
        Blended logits ``(K, X, Y, Z) float32``. Yields `Progress` at every tile, and while one runs.
    """
    size = data.shape[1:]
    starts = [tile_starts(s, p, overlap) for s, p in zip(size, patch, strict=True)]
    weights = [blend_weights(s, p, a) for s, p, a in zip(size, patch, starts, strict=True)]
    tiles = list(product(*(range(len(a)) for a in starts)))
    result: NDArray[np.float32] | None = None
    for done, (i, j, k) in enumerate(tiles):
        x, y, z = starts[0][i], starts[1][j], starts[2][k]
        place = (slice(None), slice(x, x + patch[0]), slice(y, y + patch[1]), slice(z, z + patch[2]))
        tile = np.ascontiguousarray(data[place])
        logits = yield from in_background(
            lambda tile=tile: run(tile),  # type: ignore[misc]
            Progress("Segmenting", done, len(tiles)),
            clean_up,
        )
        if result is None:
            result = np.zeros((logits.shape[0], *size), dtype=np.float32)
        weight = weights[0][i][:, None, None] * weights[1][j][:, None] * weights[2][k]
        result[place] += logits * weight
    assert result is not None  # an axis has at least one tile
    return result
