"""What a scanner makes of the true signal: shading, blur, voxels of its own size, noise; and the card's normalisation.

Everything that is linear and acts along single axes (smoothing, resampling, interpolation of a coarse field) is one
small matrix per axis: on a CPU several times faster than shifted sums or `torch.nn.functional.interpolate`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_medzoo.preprocess.recipe import Normalise

from .config import Synthesis

FWHM = 2.355
"""Full width at half maximum of a Gaussian, in standard deviations."""


def draw_spacing(
    voxel_mm: float, settings: Synthesis, random: np.random.Generator, thick_axis: int | None
) -> NDArray[np.float64]:
    """The voxel size of one acquisition, ``(3,) float64`` mm, nowhere finer than `voxel_mm`."""
    spacing = np.full(3, voxel_mm)
    if random.random() < settings.coarse_share:
        spacing = np.maximum(spacing, random.uniform(*settings.coarse_mm))
    if thick_axis is not None:
        spacing[thick_axis] = max(random.uniform(*settings.slice_mm), voxel_mm)
    return spacing


def acquire(
    scan: Tensor,
    voxel_mm: float,
    spacing: Sequence[float] | NDArray[np.float64],
    blur_mm: float,
    noise: float,
    generator: torch.Generator,
) -> Tensor:
    """What a scanner with voxels of `spacing` would have measured, interpolated back to the patch.

    A slice profile is modelled as a Gaussian of full width at half maximum equal to the spacing. Noise is added to the
    voxels that are measured, so that interpolation smooths it as it does in a real scan; where nothing is measured (a
    signal of exactly 0) there is none.

    Parameters
    ----------
    scan : torch.Tensor
        ``(X, Y, Z) float32``, not negative.
    voxel_mm : float
        Spacing of `scan`.
    spacing : sequence of float
        Spacing of the acquisition in each axis, mm.
    blur_mm : float
        Standard deviation of the blur of every axis.
    noise : float
        Standard deviation of the noise as a share of the brightest voxel.
    generator : torch.Generator
        On the scan's device.

    Returns
    -------
    torch.Tensor
        ``(X, Y, Z) float32``, not negative: the magnitude of signal and noise.
    """
    size = tuple(scan.shape)
    coarse = [n if mm <= voxel_mm else max(round(n * voxel_mm / mm), 8) for n, mm in zip(size, spacing, strict=True)]
    for axis, (length, count, mm) in enumerate(zip(size, coarse, spacing, strict=True)):
        width_mm = math.hypot(blur_mm, mm / FWHM if mm > voxel_mm else 0.0)
        profile = smoothing(length, width_mm / voxel_mm)
        scan = along(scan, axis, profile if count == length else resampling(length, count) @ profile)
    if noise > 0:
        drawn = torch.randn(scan.shape, generator=generator, device=scan.device)
        scan = scan.addcmul_(drawn.masked_fill_(scan == 0, 0), noise * scan.amax()).abs_()
    for axis, (length, count) in enumerate(zip(size, coarse, strict=True)):
        if count != length:
            scan = along(scan, axis, resampling(count, length))
    return scan


def bias_field(
    shape: Sequence[int], settings: Synthesis, random: np.random.Generator, generator: torch.Generator
) -> Tensor:
    """The shading by the coils, ``(X, Y, Z) float32`` about 1, on the generator's device."""
    nodes = int(random.integers(2, 5))
    field = torch.randn((nodes, nodes, nodes), generator=generator, device=generator.device)
    return upsample((field * random.uniform(*settings.bias_field)).exp_(), shape)


def upsample(field: Tensor, shape: Sequence[int]) -> Tensor:
    """``(n, n, n)`` interpolated linearly to `shape`, corners on corners."""
    for axis in (2, 1, 0):  # the last step is the large one, and the first axis the fastest to multiply
        positions = np.linspace(0, field.shape[axis] - 1, shape[axis])
        field = along(field, axis, _linear(positions, field.shape[axis]))
    return field


def along(scan: Tensor, axis: int, matrix: NDArray[np.float32]) -> Tensor:
    """`matrix` ``(m, n)`` times one axis of `scan` ``(X, Y, Z)`` of length n."""
    weights = torch.from_numpy(matrix).to(scan.device)
    if axis == 0:
        return (weights @ scan.reshape(scan.shape[0], -1)).reshape(-1, *scan.shape[1:])
    return weights @ scan if axis == 1 else scan @ weights.T


def smoothing(size: int, sigma: float) -> NDArray[np.float32]:
    """Gaussian smoothing as ``(size, size) float32``; `sigma` in voxels. The border is continued."""
    sigma = max(sigma, 1e-3)
    radius = max(1, math.ceil(2.5 * sigma))
    offsets = np.arange(-radius, radius + 1)
    weights = np.exp(-0.5 * (offsets / sigma) ** 2)
    matrix = np.zeros((size, size))
    rows = np.arange(size)
    for offset, weight in zip(offsets, weights / weights.sum(), strict=True):
        matrix[rows, (rows + offset).clip(0, size - 1)] += weight  # one entry per row: no collisions
    return matrix.astype(np.float32)


def resampling(size: int, count: int) -> NDArray[np.float32]:
    """Linear interpolation from `size` to `count` voxels over the same extent, ``(count, size) float32``."""
    return _linear((np.arange(count) + 0.5) * size / count - 0.5, size)


def _linear(positions: NDArray[np.float64], size: int) -> NDArray[np.float32]:
    positions = positions.clip(0, size - 1)
    below = np.floor(positions).astype(int)
    rows = np.arange(len(positions))
    matrix = np.zeros((len(positions), size), dtype=np.float32)
    matrix[rows, below] = 1 - (positions - below)
    matrix[rows, (below + 1).clip(0, size - 1)] += positions - below
    return matrix


def normalise(scan: Tensor, settings: Normalise) -> Tensor:
    """The same as `napari_medzoo.preprocess.normalise`, for a scan without negative values, on its own device.

    Nothing waits for a GPU. A scan in which nothing can be scaled (a patch beside a stripped brain) becomes 0 instead
    of an error.
    """
    if settings.method == "zscore":
        present = scan != 0
        count = present.sum().clamp(min=1)
        mean = scan.sum(dtype=torch.float64) / count
        spread = (((scan.double() - mean) * present) ** 2).sum().div(count).sqrt()
        scaled = (scan - mean.float()) / spread.float()
        return torch.where(present & (spread > 0), scaled, 0.0)
    if settings.method == "minmax":
        low, high = scan.aminmax()
    else:
        low, high, smallest, largest = _percentiles(scan, (settings.lower, settings.upper))
        flat = high <= low
        low, high = torch.where(flat, smallest, low), torch.where(flat, largest, high)
        low = torch.where(high <= low, 0.0, low)
    width = torch.where(high > low, (high.double() - low.double()).float(), 1.0)
    return ((scan - low.float()) / width).clamp_(0, 1)


def _percentiles(scan: Tensor, percentages: tuple[float, float]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Two percentiles as by ``numpy.percentile``, smallest and largest of the positive values.

    Zeros come first in order, so they only shift the rank.
    """
    flat = scan.reshape(-1)
    count = torch.count_nonzero(flat)
    share = torch.tensor(percentages, dtype=torch.float64, device=scan.device) / 100
    last = (count - 1).clamp(min=0)
    position = share * last
    below = position.floor()
    ends = torch.stack([torch.zeros_like(last), last])
    ranks = torch.cat([below, torch.minimum(below + 1, last), ends]).long() + len(flat) - count
    ranks = ranks.clamp(max=len(flat) - 1)
    if scan.device.type == "cpu":  # numpy selects a hundred times faster than torch sorts
        wanted = ranks.numpy()
        values = torch.from_numpy(np.partition(flat.numpy(), np.unique(wanted))[wanted])
    else:
        values = flat.sort().values[ranks]
    lower, upper = values[:2], values[2:4]
    step, part = (upper - lower).double(), position - below
    limits = torch.where(part >= 0.5, upper - step * (1 - part), lower + step * part)
    return limits[0], limits[1], values[4], values[5]
