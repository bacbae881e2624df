"""What label maps leave out of the head: the muscle bundles, fat, glands and vessels of face and neck.

The SynthSeg label maps draw nearly all of the face and neck as one class. A network that has only seen it smooth takes
the folds of real muscle and fat for cortex, so a random, folded texture is laid over it. Not part of the published
recipe.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .acquisition import upsample

BANDS = 5
"""At most so many signals alternate."""


def draw_bands(shape: Sequence[int], voxel_mm: float, random: np.random.Generator, noise: torch.Generator) -> Tensor:
    """The texture of one head: which of `BANDS` signals a voxel has.

    A smooth random field runs through the numbers again and again as it rises, which gives folded bands, or blobs
    where it rises little. Elsewhere, in patches of a few centimetres, there is none.

    Parameters
    ----------
    shape : sequence of int
        Of the patch.
    voxel_mm : float
        Its spacing.
    random, noise
        Sources of randomness; the result lies on the device of `noise`.

    Returns
    -------
    torch.Tensor
        ``(X, Y, Z) int32``: 0 where there is no texture, else 1 to `BANDS`.
    """
    grain_mm = np.exp(random.uniform(np.log(4), np.log(16))) * np.exp(random.uniform(-0.5, 0.5, 3))  # bundles are long
    field = _smooth(shape, voxel_mm, grain_mm, noise).mul_(random.uniform(0.8, 3.0))
    covered = _smooth(shape, voxel_mm, np.full(3, random.uniform(20, 60)), noise) < random.uniform(-0.2, 1.5)
    bands = field.floor_().int().remainder_(int(random.integers(2, BANDS, endpoint=True))).add_(1)
    return bands.mul_(covered)


def fold_texture(signal: Tensor, bands: Tensor, random: np.random.Generator) -> Tensor:
    """Replace the signal by that of the bands.

    Parameters
    ----------
    signal : torch.Tensor
        ``(X, Y, Z) float32``, 0–255.
    bands : torch.Tensor
        ``(X, Y, Z) int32`` of `draw_bands`; where it is 0 the signal stays.
    random : numpy.random.Generator
        Draws one signal for each band, sometimes air's for one of them.

    Returns
    -------
    torch.Tensor
        ``(X, Y, Z) float32``.
    """
    values = random.uniform(5, 230, BANDS + 1).astype(np.float32)
    if random.random() < 0.4:
        values[1] = random.uniform(0, 10)
    textured = torch.from_numpy(values).to(signal.device).index_select(0, bands.reshape(-1)).reshape(bands.shape)
    return torch.where(bands > 0, textured, signal)


def _smooth(shape: Sequence[int], voxel_mm: float, grain_mm: NDArray[np.float64], noise: torch.Generator) -> Tensor:
    nodes = [max(2, round(n * voxel_mm / grain)) for n, grain in zip(shape, grain_mm, strict=True)]
    return upsample(torch.randn(nodes, generator=noise, device=noise.device), shape)
