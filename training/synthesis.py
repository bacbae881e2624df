"""Scans made from label maps: a random deformation, a random contrast, then the faults of a real scanner.

The recipe of SynthSeg (Billot et al. 2023, doi:10.1016/j.media.2023.102789) in plain torch, on whatever device the
label maps lie. One deformation serves the scan and its labels; the labels are taken by nearest neighbour.
Departure: the deformation is one smooth displacement field, not the integral of a velocity field.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from napari_medzoo.preprocess import normalise

from .config import Recipe, Stage, Synthesis
from .labelmaps import LabelMaps

CSF_TISSUE = 1  # number of the fluid's intensity class in the label maps' table
EXTRACEREBRAL = (0, 30, 62, 72, 85)  # and everything from 500 on


def synthesise(
    maps: LabelMaps, recipe: Recipe, stage: Stage, channel_of: Tensor, random: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """One training pair.

    Returns
    -------
    scan : torch.Tensor
        ``(1, X, Y, Z) float32``, prepared as the recipe prepares a real scan.
    target : torch.Tensor
        ``(X, Y, Z) int64`` output channel of every voxel.
    """
    settings = recipe.synthesis
    device = maps.indices.device
    noise = torch.Generator(device).manual_seed(int(random.integers(2**62)))
    voxel_mm = random.uniform(*stage.voxel_mm)
    classes = deform(maps, stage.patch, voxel_mm, settings, random, noise)
    target = channel_of[classes]

    tissue = maps.tissue_of[classes]
    kind = random.choice(list(settings.contrasts), p=_shares(settings))
    means, stds = CONTRASTS[kind](maps, random)
    if random.random() < 0.5:  # real air is either noise or an exact zero
        means[0] = stds[0] = 0.0
    scan = means[tissue] + stds[tissue] * _normal(classes.shape, noise, device)

    kept = _kept(maps, classes, settings, random)
    scan = scan * _bias_field(classes.shape, settings, random, noise, device)
    scan = acquire(scan.clamp_(min=0), voxel_mm, settings, random)
    scan += random.uniform(*settings.noise) * scan.amax() * _normal(classes.shape, noise, device) * (scan > 0)
    scan = scan.clamp_(min=0) / scan.amax().clamp_min(1e-6)
    scan = scan ** math.exp(random.normal(0, settings.gamma))
    if kept is not None:
        scan = scan * kept
        target = target * kept
    if recipe.preprocessing.normalise and scan.any():  # a patch beside a stripped brain is empty
        prepared = normalise(scan.cpu().numpy(), recipe.preprocessing.normalise)
        scan = torch.from_numpy(prepared).to(device)
    return scan[None], target


def deform(
    maps: LabelMaps,
    patch: tuple[int, int, int],
    voxel_mm: float,
    settings: Synthesis,
    random: np.random.Generator,
    noise: torch.Generator,
) -> Tensor:
    """A random label map under a random affine and a smooth displacement: ``(X, Y, Z) int64`` class numbers.

    Half of the results are mirrored, with the classes of left and right exchanged.
    """
    labels = maps.maps[random.integers(len(maps.maps))]
    device = labels.device
    turn = _rotation(np.deg2rad(random.uniform(-1, 1, 3) * settings.rotation_deg))
    shear = np.eye(3) + np.triu(random.uniform(-1, 1, (3, 3)) * settings.shear, 1)
    scale = np.diag(random.uniform(1 - settings.scaling, 1 + settings.scaling, 3))
    mirror = random.random() < 0.5
    matrix = turn @ shear @ scale * voxel_mm @ np.diag([-1 if mirror else 1, 1, 1])

    centre = _centre(np.array(labels.shape), patch, voxel_mm, settings, random)
    axes = [torch.arange(n, device=device, dtype=torch.float32) - (n - 1) / 2 for n in patch]
    linear = torch.from_numpy(matrix).to(device, torch.float32)
    nodes = int(random.integers(*settings.elastic_nodes, endpoint=True))
    field = random.uniform(*settings.elastic_mm) * _normal((1, 3, nodes, nodes, nodes), noise, device)
    index = F.interpolate(field, size=patch, mode="trilinear", align_corners=True)[0]
    x, y, z = axes
    flat = torch.zeros(patch, dtype=torch.int64, device=device)
    inside = torch.ones(patch, dtype=torch.bool, device=device)
    for axis, length in enumerate(labels.shape):
        row = linear[axis]
        line = (row[0] * x)[:, None, None] + (row[1] * y)[:, None] + row[2] * z
        voxel = (index[axis].add_(line).add_(float(centre[axis]))).round_().to(torch.int64)
        inside &= (voxel >= 0) & (voxel < length)
        flat = flat * length + voxel.clamp_(0, length - 1)
    classes = labels.reshape(-1)[flat].long() * inside
    return maps.mirrored[classes] if mirror else classes


def _centre(
    size: NDArray[np.int64],
    patch: tuple[int, int, int],
    voxel_mm: float,
    settings: Synthesis,
    random: np.random.Generator,
) -> NDArray[np.float64]:
    """Where in the label map the middle of the patch lies: about the brain, sometimes anywhere in the head and neck."""
    if random.random() < settings.anywhere_share:
        return size * random.uniform(0.1, 0.9, 3)
    brain_mm = np.array([140.0, 180.0, 150.0])
    free = np.maximum(brain_mm - np.array(patch) * voxel_mm, 0) / 2 + settings.translation_mm
    return size * (0.5, 0.5, 0.58) + random.uniform(-1, 1, 3) * free  # the brain fills the upper part of the head


def _rotation(angles: NDArray[np.float64]) -> NDArray[np.float64]:
    (a, b, c), (s, t, u) = np.cos(angles), np.sin(angles)
    about_x = np.array([[1, 0, 0], [0, a, -s], [0, s, a]])
    about_y = np.array([[b, 0, t], [0, 1, 0], [-t, 0, b]])
    about_z = np.array([[c, -u, 0], [u, c, 0], [0, 0, 1]])
    return about_x @ about_y @ about_z


def _t1w(maps: LabelMaps, random: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Means and standard deviations per tissue, drawn from the T1w priors: ``(tissues,) float32`` twice."""
    draws = random.normal(size=(2, maps.t1w_means.shape[1])).clip(-2.5, 2.5)
    spread = torch.from_numpy(draws).to(maps.t1w_means)
    means = maps.t1w_means[0] + maps.t1w_means[1] * spread[0]
    stds = maps.t1w_stds[0] + maps.t1w_stds[1] * spread[1]
    return means.clamp(0, 255), stds.clamp(1, 60)


def _inverted(maps: LabelMaps, random: np.random.Generator) -> tuple[Tensor, Tensor]:
    """T2w-like: fluid brightest, grey matter brighter than white."""
    means, stds = _t1w(maps, random)
    means[1:] = 255 - means[1:] * random.uniform(0.8, 1.2)
    return means.clamp(0, 255), stds


def _flair(maps: LabelMaps, random: np.random.Generator) -> tuple[Tensor, Tensor]:
    """FLAIR-like: as T2w with the fluid's signal suppressed."""
    means, stds = _inverted(maps, random)
    means[CSF_TISSUE] = random.uniform(5, 60)
    return means, stds


def _random(maps: LabelMaps, random: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Any contrast at all: uniform means and standard deviations."""
    count = maps.t1w_means.shape[1]
    means = torch.from_numpy(random.uniform(10, 240, count)).to(maps.t1w_means)
    stds = torch.from_numpy(random.uniform(1, 25, count)).to(maps.t1w_means)
    means[0] = random.uniform(0, 20)
    return means, stds


CONTRASTS: dict[str, Callable[[LabelMaps, np.random.Generator], tuple[Tensor, Tensor]]] = {
    "t1w": _t1w,
    "t2w": _inverted,
    "flair": _flair,
    "random": _random,
}
"""How a scan weighs the tissues; a recipe gives the share of each."""


def _shares(settings: Synthesis) -> list[float]:
    total = sum(settings.contrasts.values())
    return [share / total for share in settings.contrasts.values()]


def _kept(maps: LabelMaps, classes: Tensor, settings: Synthesis, random: np.random.Generator) -> Tensor | None:
    """Where the scan is not cut away, ``(X, Y, Z) bool``: skull-stripping and missing slabs; None where all stays."""
    kept = None
    if random.random() < settings.stripped_share:
        outside = maps.indices >= 500
        for index in EXTRACEREBRAL:
            outside |= maps.indices == index
        if random.random() < 0.5:
            outside |= maps.indices == 24
        brain = (~outside)[classes]
        for _ in range(int(random.integers(0, 3))):
            brain = F.max_pool3d(brain[None].float(), 3, 1, 1)[0] > 0
        kept = brain
    if random.random() < settings.cut_share:
        kept = torch.ones_like(classes, dtype=torch.bool) if kept is None else kept
        axis = int(random.integers(3))
        width = int(random.uniform(0.05, 0.3) * classes.shape[axis])
        start = 0 if random.random() < 0.5 else classes.shape[axis] - width
        kept.narrow(axis, start, width).zero_()
    return kept


def _bias_field(
    shape: torch.Size, settings: Synthesis, random: np.random.Generator, noise: torch.Generator, device: torch.device
) -> Tensor:
    nodes = int(random.integers(2, 5))
    field = random.uniform(*settings.bias_field) * _normal((1, 1, nodes, nodes, nodes), noise, device)
    return F.interpolate(field, size=tuple(shape), mode="trilinear", align_corners=True)[0, 0].exp_()


def acquire(scan: Tensor, voxel_mm: float, settings: Synthesis, random: np.random.Generator) -> Tensor:
    """What a scanner of a coarser spacing would have measured, interpolated back to the patch.

    A slice profile is modelled as a Gaussian of full width at half maximum equal to the spacing.
    """
    spacing = np.full(3, voxel_mm)
    if random.random() < settings.coarse_share:
        spacing = np.maximum(spacing, random.uniform(*settings.coarse_mm))
    if random.random() < settings.slice_share:
        spacing[random.integers(3)] = max(random.uniform(*settings.slice_mm), voxel_mm)
    blur = random.uniform(*settings.blur_mm)
    for axis in range(3):
        width_mm = math.hypot(blur, spacing[axis] / 2.355 if spacing[axis] > voxel_mm else 0.0)
        scan = smooth(scan, axis, width_mm / voxel_mm)
    size = tuple(scan.shape)
    coarse = tuple(max(round(n * voxel_mm / mm), 8) for n, mm in zip(size, spacing, strict=True))
    if coarse != size:
        small = F.interpolate(scan[None, None], size=coarse, mode="trilinear", align_corners=False)
        scan = F.interpolate(small, size=size, mode="trilinear", align_corners=False)[0, 0]
    return scan


def smooth(scan: Tensor, axis: int, sigma: float) -> Tensor:
    """Gaussian smoothing of ``(X, Y, Z)`` along one axis; `sigma` in voxels."""
    radius = max(1, math.ceil(2.5 * sigma))
    offsets = torch.arange(-radius, radius + 1, dtype=scan.dtype, device=scan.device)
    weights = torch.exp(-0.5 * (offsets / max(sigma, 1e-3)) ** 2)
    weights /= weights.sum()
    padded = torch.cat([scan.narrow(axis, 0, 1)] * radius + [scan] + [scan.narrow(axis, -1, 1)] * radius, dim=axis)
    length = scan.shape[axis]
    result = torch.zeros_like(scan)
    for offset, weight in enumerate(weights.tolist()):
        result.add_(padded.narrow(axis, offset, length), alpha=weight)
    return result


def _normal(shape: tuple[int, ...] | torch.Size, noise: torch.Generator, device: torch.device) -> Tensor:
    return torch.randn(shape, generator=noise, device=device)
