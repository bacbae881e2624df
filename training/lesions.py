"""White-matter lesions in synthetic studies: bright in T2w and FLAIR, grey or dark in T1w, with soft, ragged borders.

The shapes come from `lesion_sites`, as depths in the label map; here they are laid into a patch, where smooth noise
frays them, and mixed into the signal of every modality. What radiologists do not count is painted too and stays what it
was in the target: a thin bright rim of the ventricles, white matter that is a little too bright, wide perivascular
spaces and lacunes, and fluid that flows and is bright in a FLAIR.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from napari_medzoo.errors import MedzooError

from .acquisition import upsample
from .contrasts import LESION, WHITE, Tissues
from .labelmaps import LabelMaps, Placed
from .lesion_settings import Lesions
from .lesion_sites import (
    CEREBRAL,
    CORTEX,
    DEEP_GREY,
    INFRATENTORIAL,
    LATERAL_VENTRICLES,
    LEVELS_PER_MM,
    QUARTER_MM,
    SURFACE,
    draw_lesions,
    draw_spaces,
    sites_of,
)

FLUID = (4, 43, 14, 15, 24)
"""Where fluid flows: the ventricles and around the brain."""

NEEDED = (2, 3, 4, 25)
"""White matter, cortex, ventricle and lesion, whose signals are mixed."""

THIN_MM = 1.5
"""A bright rim of the ventricles up to here is normal in most brains."""


@dataclass(frozen=True)
class Painted:
    """What is painted into one patch, by voxels of the flattened patch.

    Attributes
    ----------
    voxels : torch.Tensor
        ``(K,) int64``: the voxels whose signal changes.
    mix, hole, space : torch.Tensor
        ``(K,) float32`` from 0 to 1: how much of a voxel is lesion, how near to fluid that lesion is, and how much of
        the voxel is fluid.
    lesion : torch.Tensor
        ``(N,) int64``: the voxels that are lesion in the target.
    flowing : torch.Tensor
        ``(F,) int64``: voxels of fluid that flows.
    flow : torch.Tensor
        ``(F,) float32``: how bright it is in a FLAIR, from fluid (0) to white matter (1) and beyond.
    """

    voxels: Tensor
    mix: Tensor
    hole: Tensor
    space: Tensor
    lesion: Tensor
    flowing: Tensor
    flow: Tensor


def paint(
    maps: LabelMaps,
    placed: Placed,
    voxel_mm: float,
    settings: Lesions,
    random: np.random.Generator,
    noise: torch.Generator,
) -> Painted:
    """Draw the lesions of one head, and what looks like one, where the patch lies.

    Parameters
    ----------
    maps : LabelMaps
    placed : Placed
        One of them in the patch.
    voxel_mm : float
        Spacing of the patch.
    settings : Lesions
    random, noise
        Sources of randomness; the result lies on the device of `noise`.

    Returns
    -------
    Painted

    Raises
    ------
    MedzooError
        If the label maps lack a class whose signal is needed.
    """
    missing = set(NEEDED) - set(maps.indices.tolist())
    if missing:
        raise MedzooError(
            f"Lesions cannot be painted into label maps without FreeSurfer's class {min(missing)}; "
            f"they need the classes {', '.join(map(str, NEEDED))}, or leave out 'lesions'."
        )
    shape, device = tuple(placed.classes.shape), placed.classes.device
    labels, sites = maps.maps[placed.number], sites_of(maps, placed.number)

    def field(mm: float) -> Tensor:
        nodes = [max(round(n * voxel_mm / mm), 2) for n in shape]
        return upsample(torch.randn(nodes, generator=noise, device=device), shape).reshape(-1)

    voxels = _voxels_of(maps, placed.classes, (*CEREBRAL, *INFRATENTORIAL, *DEEP_GREY))
    classes = placed.classes.reshape(-1)[voxels]
    source = placed.voxels.reshape(-1)[voxels]
    white = ~_among(maps, classes, DEEP_GREY)
    distance_mm = sites.distance.reshape(-1)[source] * QUARTER_MM
    broad = field(random.uniform(7, 20))[voxels]
    empty = torch.zeros(0, dtype=torch.int64, device=device)

    lesion, mix, hole = empty, torch.zeros(len(voxels), device=device), torch.zeros(len(voxels), device=device)
    if random.random() >= settings.none_share:
        levels = torch.from_numpy(draw_lesions(sites, tuple(labels.shape), settings, random)).to(device)
        depth = (levels.reshape(-1)[source].float() - SURFACE) / LEVELS_PER_MM
        if random.random() < settings.band_share:
            width = (random.uniform(-0.5, 0.7) + 0.7 * broad).clamp_(0, 1.2) * random.uniform(*settings.band_mm)
            depth = torch.maximum(depth, torch.where(width > THIN_MM, width - distance_mm, depth))
        depth += random.uniform(0.1, 0.6) * field(random.uniform(2.5, 5.0))[voxels]
        depth[~white] = -100.0
        mix = (0.5 + depth / random.uniform(*settings.edge_mm)).clamp_(0, 1)
        lesion = voxels[mix >= 0.5]
        mix *= (1 - random.uniform(0, 0.4) * broad.abs()).clamp_(0.6, 1)
        if random.random() < settings.hole_share:
            hole = (depth - random.uniform(0.5, 2)).clamp_(0, 1) * broad.clamp(0, 1) * random.uniform(0.3, 1.0)
    likeness = random.uniform(*settings.dirty) * (broad + 0.5).clamp(0, 1) * white
    if random.random() < settings.rim_share:
        rim = (random.uniform(1.0, 2.2) - distance_mm).clamp_(0, 1) * white
        likeness = torch.maximum(likeness, random.uniform(0.1, 0.6) * rim)
    mix = torch.maximum(mix, likeness)
    space = torch.zeros(len(voxels), device=device)
    if random.random() < settings.spaces_share:
        levels = torch.from_numpy(draw_spaces(sites, tuple(labels.shape), random)).to(device)
        space = (0.5 + (levels.reshape(-1)[source].float() - SURFACE) / LEVELS_PER_MM).clamp_(0, 1)
    kept = (mix > 0.01) | (space > 0.01)
    flowing, flow = empty, torch.zeros(0, device=device)
    if random.random() < settings.flow_share:
        flowing = _voxels_of(maps, placed.classes, FLUID)
        flow = (field(random.uniform(5, 15))[flowing] - random.uniform(0.5, 1.5)).clamp_(0, 1.5) * random.uniform(
            0.3, 1
        )
    return Painted(voxels[kept], mix[kept], hole[kept], space[kept], lesion, flowing, flow)


def lesion_tissues(tissues: Tissues, random: np.random.Generator) -> Tissues:
    """`tissues` with lesions that differ from this head's white matter as lesions do, never less bright in T2w."""
    lesion, white, grey = tissues.among(LESION), tissues.among(WHITE[:1]), tissues.among(CORTEX)
    density, t1_ms, t2_ms, means = (
        values.copy() for values in (tissues.density, tissues.t1_ms, tissues.t2_ms, tissues.t1w_means)
    )
    damage = random.random()  # water and both relaxation times rise together, so that a FLAIR shows every lesion
    density[lesion] = density[white][0] + 0.02 + 0.08 * damage
    t1_ms[lesion] = t1_ms[white][0] * (1.25 + 0.35 * damage + random.uniform(0, 0.15))
    t2_ms[lesion] = t2_ms[white][0] * (1.4 + 0.9 * damage + random.uniform(0, 0.3))
    towards_grey = 0.2 + damage + random.uniform(0, 0.2)
    means[lesion] = means[white][0] + (means[grey][0] - means[white][0]) * towards_grey
    return replace(tissues, density=density, t1_ms=t1_ms, t2_ms=t2_ms, t1w_means=means)


def without_lesions(maps: LabelMaps) -> Tensor:
    """``(L,) int64``: for the label maps' own lesions the class number of their side's white matter, else its own."""
    numbers = maps.indices.tolist()
    table = torch.arange(len(numbers))
    for own, white in zip(LESION, CEREBRAL[:2], strict=True):
        if own in numbers and white in numbers:
            table[numbers.index(own)] = numbers.index(white)
    return table.to(maps.device)


def mark_lesions(target: Tensor, painted: Painted, maps: LabelMaps, channel_of: Tensor) -> Tensor:
    """Write the channel of lesions into `target` ``(X, Y, Z) int64`` where a recipe learns them; returns it."""
    lesion, white = (channel_of[(maps.indices == own).nonzero()[0, 0]] for own in (LESION[0], WHITE[0]))
    if lesion != white:
        target.view(-1)[painted.lesion] = lesion
    return target


def mix_in(signal: Tensor, painted: Painted, maps: LabelMaps, means: Tensor, flair: bool) -> Tensor:
    """Mix what is painted into the signal of one modality.

    Parameters
    ----------
    signal : torch.Tensor
        ``(X, Y, Z) float32``; overwritten.
    painted : Painted
    maps : LabelMaps
    means : torch.Tensor
        ``(L,) float32``: the modality's signal of every class.
    flair : bool
        Whether flowing fluid is bright.

    Returns
    -------
    torch.Tensor
        `signal`.
    """
    lesion, fluid, white = (_mean_of(maps, means, indices) for indices in (LESION, LATERAL_VENTRICLES[0], WHITE[:1]))
    flat = signal.view(-1)
    values = flat[painted.voxels]
    values += painted.mix * (lesion + painted.hole * (fluid - lesion) - values)
    values += painted.space * (fluid - values)
    flat[painted.voxels] = values
    if flair:
        flat[painted.flowing] += painted.flow * (white - fluid)
    return signal


def _mean_of(maps: LabelMaps, means: Tensor, indices: tuple[int, ...]) -> Tensor:
    return means[(maps.indices == indices[0]).to(means.device)].mean()


def _among(maps: LabelMaps, classes: Tensor, indices: tuple[int, ...]) -> Tensor:
    table = torch.isin(maps.indices, torch.tensor(indices)).to(classes.device)
    return table.index_select(0, classes)


def _voxels_of(maps: LabelMaps, classes: Tensor, indices: tuple[int, ...]) -> Tensor:
    """``(K,) int64``: the voxels of the flattened patch that are of one of the classes."""
    mask = _among(maps, classes.reshape(-1), indices)
    if mask.device.type == "cpu":  # numpy finds them eight times as fast
        return torch.from_numpy(np.flatnonzero(mask.numpy()))
    return mask.nonzero()[:, 0]
