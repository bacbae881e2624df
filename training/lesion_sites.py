"""Lesions of the white matter as shapes in a label map: where they lie, how large they are, which way they point.

Multiple sclerosis: ovoids whose long axis follows the veins away from the lateral ventricles (Dawson's fingers),
lesions under the cortex, in the cerebellum and the brain stem. Small-vessel disease: caps on the horns of the
ventricles, and points in the deep white matter that flow together as they grow.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .contrasts import LESION
from .labelmaps import LabelMaps
from .lesion_settings import Lesions, Place

CEREBRAL = (2, 41, *LESION)
"""White matter of the cerebrum, with what the label maps call lesion in it."""

INFRATENTORIAL = (7, 46, 16)
"""White matter of the cerebellum, brain stem."""

DEEP_GREY = (10, 11, 12, 13, 28, 49, 50, 51, 52, 60)
CORTEX = (3, 42)
LATERAL_VENTRICLES = ((4,), (43,))  # left, right

QUARTER_MM = 0.25
"""Unit of `Sites.distance`."""

LEVELS_PER_MM = 16
SURFACE = 128
"""`draw_lesions` stores a depth of 0 mm as this."""

Voxels = NDArray[np.int64]


@dataclass(frozen=True)
class Sites:
    """Where lesions of one label map may lie; voxels by their position in the flattened map.

    Attributes
    ----------
    distance : torch.Tensor
        ``(X, Y, Z) uint8``: quarters of a millimetre to the nearest lateral ventricle, 255 for all that is farther.
    white : numpy.ndarray
        ``(W,) int64``: white matter of the cerebrum, the nearest to the ventricles first.
    nearer : numpy.ndarray
        ``(257,) int64``: how many of `white` are nearer than so many quarters of a millimetre.
    juxtacortical, infratentorial, deep_grey, own : numpy.ndarray
        ``(N,) int64``: white matter within 3 mm of the cortex; that below the tentorium; deep grey matter; what the
        label map itself calls lesion.
    horns : numpy.ndarray
        ``(H,) int64``: the front and the back end of either lateral ventricle.
    """

    distance: Tensor
    white: Voxels
    nearer: Voxels
    juxtacortical: Voxels
    infratentorial: Voxels
    deep_grey: Voxels
    own: Voxels
    horns: Voxels


def sites_of(maps: LabelMaps, number: int) -> Sites:
    """The sites of label map `number`; found at its first use and kept (a tenth of a second, 16 MB)."""
    if number not in maps.lesion_sites:
        maps.lesion_sites[number] = _find_sites(maps, maps.maps[number])
    return maps.lesion_sites[number]


def _find_sites(maps: LabelMaps, labels: Tensor) -> Sites:
    import edt

    classes = labels.cpu().numpy()

    def where(*indices: int) -> NDArray[np.bool_]:
        return np.isin(maps.indices.numpy(), indices)[classes]

    white, cortex = where(*CEREBRAL), where(*CORTEX)
    ventricles = [where(*side) for side in LATERAL_VENTRICLES]
    quarters = np.full(classes.shape, 255, dtype=np.uint8)
    near_cortex = np.zeros(classes.shape, dtype=bool)
    if white.any():
        box = tuple(slice(int(axis.min()), int(axis.max()) + 1) for axis in np.nonzero(white))
        beside = ~(ventricles[0] | ventricles[1])[box]
        if not beside.all():
            quarters[box] = np.minimum(edt.edt(beside, parallel=1) / QUARTER_MM, 255).astype(np.uint8)
        if cortex[box].any():
            near_cortex[box] = edt.edt(~cortex[box], parallel=1) <= 3
    found = np.flatnonzero(white)
    order = np.argsort(quarters.ravel()[found], kind="stable")
    horns = []
    for ventricle in ventricles:
        voxels = np.stack(np.nonzero(ventricle), axis=1)
        if len(voxels):
            horns += [voxels[voxels[:, 1].argmax()], voxels[voxels[:, 1].argmin()]]
    return Sites(
        distance=torch.from_numpy(quarters).to(labels.device),
        white=found[order],
        nearer=np.searchsorted(quarters.ravel()[found[order]], np.arange(257)),
        juxtacortical=np.flatnonzero(white & near_cortex),
        infratentorial=np.flatnonzero(where(*INFRATENTORIAL)),
        deep_grey=np.flatnonzero(where(*DEEP_GREY)),
        own=np.flatnonzero(where(*LESION)),
        horns=np.array([np.ravel_multi_index(tuple(horn), classes.shape) for horn in horns], dtype=np.int64),
    )


def draw_lesions(
    sites: Sites, shape: tuple[int, ...], settings: Lesions, random: np.random.Generator
) -> NDArray[np.uint8]:
    """The lesions of one head.

    Parameters
    ----------
    sites : Sites
    shape : tuple of int
        Of the label map.
    settings : Lesions
    random : numpy.random.Generator

    Returns
    -------
    numpy.ndarray
        ``(X, Y, Z) uint8``: how deep a voxel lies below the surface of a lesion, `LEVELS_PER_MM` to the millimetre and
        `SURFACE` at 0 mm (less is outside, 0 far outside). It may reach beyond the white matter.
    """
    levels = np.zeros(shape, dtype=np.uint8)
    if random.random() < settings.own_share:
        levels.reshape(-1)[sites.own] = SURFACE + LEVELS_PER_MM
    fewest, most = settings.count
    count = round(np.exp(random.uniform(np.log(fewest), np.log(most))))
    names = sorted(settings.places)
    shares = np.array([settings.places[name] for name in names])
    chosen = random.choice(names, size=count, p=shares / shares.sum())
    touching = random.uniform(*settings.confluent)
    earlier: list[tuple[NDArray[np.float64], float, str]] = []
    for name in chosen:
        smallest, largest = settings.radius_mm
        radius = smallest * (largest / smallest) ** (random.random() ** 1.6)
        if earlier and random.random() < touching:
            centre, neighbour, name = earlier[random.integers(len(earlier))]
            centre = centre + random.normal(size=3) * 0.6 * (neighbour + radius)
        else:
            candidates = PLACES[name](sites, random)
            if not len(candidates):
                continue
            centre = _voxel(candidates, shape, random)
        if name in ("juxtacortical", "infratentorial"):
            radius = min(radius, 4.0)
        earlier.append((centre, radius, name))
        longest, along = 2.0, random.normal(size=3)
        if name == "periventricular":
            longest, along = 3.0, _away_from_ventricles(sites.distance, centre)
        _paint_ovoid(levels, centre, radius, random.uniform(1, longest), along, random)
    if random.random() < settings.band_share:  # caps; the bands follow the distance, voxel by voxel
        for horn in sites.horns:
            centre = np.array(np.unravel_index(horn, shape), dtype=float) + random.normal(size=3)
            radius = random.uniform(*settings.band_mm)
            _paint_ovoid(levels, centre, radius, random.uniform(1, 1.6), random.normal(size=3), random)
    return levels


def draw_spaces(sites: Sites, shape: tuple[int, ...], random: np.random.Generator) -> NDArray[np.uint8]:
    """Perivascular spaces, a few voxels in deep grey and white matter, and up to three lacunes, as `draw_lesions`."""
    levels = np.zeros(shape, dtype=np.uint8)
    perivascular = round(np.exp(random.uniform(0, np.log(60))))
    for number in range(perivascular + int(random.integers(4))):
        sizes, longest = ((0.5, 1.3), 3.0) if number < perivascular else ((1.5, 4.0), 1.6)
        candidates = sites.deep_grey if random.random() < 0.5 else sites.white
        if len(candidates):
            centre, radius = _voxel(candidates, shape, random), random.uniform(*sizes)
            _paint_ovoid(levels, centre, radius, random.uniform(1, longest), random.normal(size=3), random)
    return levels


def _periventricular(sites: Sites, random: np.random.Generator) -> Voxels:
    """White matter of one distance, which is drawn: mostly a few millimetres."""
    quarters = min(int(random.exponential(4.0) / QUARTER_MM), 250)
    first, last = sites.nearer[quarters], sites.nearer[min(quarters + 8, 255)]
    return sites.white[first:last]


PLACES: dict[Place, Callable[[Sites, np.random.Generator], Voxels]] = {
    "periventricular": _periventricular,
    "deep": lambda sites, random: sites.white[sites.nearer[32] :],  # 8 mm and more
    "juxtacortical": lambda sites, random: sites.juxtacortical,
    "infratentorial": lambda sites, random: sites.infratentorial,
}
"""Name of a place → the voxels that a lesion's middle is drawn from."""


def _voxel(candidates: Voxels, shape: tuple[int, ...], random: np.random.Generator) -> NDArray[np.float64]:
    return np.array(np.unravel_index(candidates[random.integers(len(candidates))], shape), dtype=float)


def _away_from_ventricles(distance: Tensor, centre: NDArray[np.float64]) -> NDArray[np.float64]:
    """Direction in which the distance grows at `centre`, ``(3,) float64``."""
    highest = np.array(distance.shape) - 1
    points = np.concatenate([centre + 3 * np.eye(3), centre - 3 * np.eye(3)]).round().astype(int).clip(0, highest)
    values = distance[tuple(torch.from_numpy(points.T).to(distance.device))].float().cpu().numpy()
    return values[:3] - values[3:] + 0.01  # never without a direction


def _paint_ovoid(
    levels: NDArray[np.uint8],
    centre: NDArray[np.float64],
    radius: float,
    longer: float,
    along: NDArray[np.float64],
    random: np.random.Generator,
) -> None:
    """Lay a dented ovoid into `levels`, of the volume of a ball of `radius` mm and `longer` times as long `along`."""
    radii = radius * np.array([longer, 1.0, 1.0]) / longer ** (1 / 3)
    jitter = 0.15 * np.linalg.norm(along) * random.normal(size=3)
    frame = np.linalg.qr(np.stack([along + jitter, *random.normal(size=(2, 3))], axis=1))[0]
    reach = np.abs(frame) @ radii + 3.0
    low = np.maximum(np.floor(centre - reach), 0).astype(int)
    high = np.minimum(np.ceil(centre + reach) + 1, levels.shape).astype(int)
    if (high <= low).any():
        return
    steps = [np.arange(*ends, dtype=np.float32) - middle for *ends, middle in zip(low, high, centre, strict=True)]
    frame = (frame / radii).astype(np.float32)
    x, y, z = (
        steps[0][:, None, None] * first + steps[1][:, None] * second + steps[2] * third
        for first, second, third in frame.T
    )
    dents = random.uniform(-0.35, 0.35, 3) * min(radius / 3, 1)
    phases, waves = random.uniform(0, 2 * np.pi, 3), random.uniform(1.5, 4.0, 3)
    x = x + dents[0] * np.sin(waves[0] * y + phases[0])
    y = y + dents[1] * np.sin(waves[1] * z + phases[1])
    z = z + dents[2] * np.sin(waves[2] * x + phases[2])
    depth_mm = (1 - np.sqrt(x * x + y * y + z * z)) * radius
    box = tuple(slice(first, last) for first, last in zip(low, high, strict=True))
    painted = np.clip(SURFACE + LEVELS_PER_MM * depth_mm, 0, 255).astype(np.uint8)
    np.maximum(levels[box], painted, out=levels[box])
