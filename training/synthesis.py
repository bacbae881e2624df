"""Scans made from label maps: a random deformation, a random contrast, then the faults of a real scanner.

The recipe of SynthSeg (Billot et al. 2023, doi:10.1016/j.media.2023.102789) in plain torch, on whatever device the
label maps lie. One deformation serves all modalities and the labels; the labels are taken by nearest neighbour.
Departures: the deformation is one smooth displacement field, not the integral of a velocity field; a study of several
modalities is made of one head, see `contrasts`; face and neck get a texture, see `texture`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_medzoo.errors import MedzooError

from .acquisition import acquire, along, bias_field, draw_spacing, normalise, upsample
from .config import Recipe, Stage, Synthesis
from .contrasts import CONTRASTS, FIRST_OUTSIDE, Weights, class_weights, draw_tissues
from .labelmaps import LabelMaps, Placed
from .lesions import lesion_tissues, mark_lesions, mix_in, paint, without_lesions
from .texture import draw_bands, fold_texture

ANY_CONTRAST = ("any", "unknown")
"""Modalities whose contrast is drawn by the recipe's shares."""

FACE_AND_NECK = 507
"""Index of the class that the label maps draw nearly all of the face and neck in."""

EXTRACEREBRAL = (0, 30, 62, 72, 85)  # and everything from FIRST_OUTSIDE on


def synthesise(
    maps: LabelMaps, recipe: Recipe, stage: Stage, channel_of: Tensor, random: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """One training pair.

    Parameters
    ----------
    maps : LabelMaps
    recipe : Recipe
        Its modalities are made in their order: ``"any"`` (or ``"unknown"``) of a contrast drawn by the shares of
        ``synthesis.contrasts``, the others of the contrast of their name.
    stage : Stage
    channel_of : torch.Tensor
        ``(L,) int64``, `LabelMaps.channel_of` of the recipe.
    random : numpy.random.Generator
        Decides everything: the same state gives the same pair on the same device.

    Returns
    -------
    scan : torch.Tensor
        ``(C, X, Y, Z) float32``, prepared as the recipe prepares a real scan; a missing modality is 0.
    target : torch.Tensor
        ``(X, Y, Z) int64`` output channel of every voxel, 0 outside the label map and where the scan is cut away.

    Raises
    ------
    MedzooError
        For a modality without a contrast.
    """
    settings = recipe.synthesis
    assert settings is not None  # the recipe's own check; a recipe has label maps or real cases
    noise = torch.Generator(maps.device).manual_seed(int(random.integers(2**62)))
    voxel_mm = random.uniform(*stage.voxel_mm)
    placed = deform(maps, stage.patch, voxel_mm, settings, random, noise)
    classes, painted = placed.classes, None
    if settings.lesions:
        classes = _look_up(without_lesions(maps), classes).int()
        painted = paint(maps, placed, voxel_mm, settings.lesions, random, noise)
    kept = _kept(maps, classes, settings, random)
    target = _look_up(channel_of, classes)
    if painted is not None:
        target = mark_lesions(target, painted, maps, channel_of)

    count = len(recipe.modalities)
    tissues = draw_tissues(maps, random)
    if painted is not None:
        tissues = lesion_tissues(tissues, random)
    present = random.random(count) >= settings.missing_share
    present[random.integers(count)] = True
    thick_axis = int(random.integers(3)) if random.random() < settings.slice_share else None
    patches = _patches(stage.patch, voxel_mm, random, noise)
    folds = _folds(maps, classes, voxel_mm, random, noise) if random.random() < settings.texture_share else None
    scan = torch.zeros((count, *classes.shape), device=maps.device)
    for number, modality in enumerate(recipe.modalities):
        if present[number]:
            contrast = _contrast(modality, settings, random)
            weights = CONTRASTS[contrast](tissues, random)
            weights = weights[0], weights[1] * random.uniform(*settings.grain)
            mix = None if painted is None else partial(mix_in, painted=painted, maps=maps, flair=contrast == "flair")
            signal = _signal(maps, classes, patches, folds, weights, random, noise, mix)
            if settings.misaligned_mm and present[:number].any():
                signal = _moved(signal, random.uniform(-1, 1, 3) * settings.misaligned_mm / voxel_mm)
            spacing = draw_spacing(voxel_mm, settings, random, _thick_axis(thick_axis, count, random))
            measured = _measure(signal, voxel_mm, spacing, settings, random, noise)
            if kept is not None:
                measured = measured.mul_(kept)
            scan[number] = (
                normalise(measured, recipe.preprocessing.normalise) if recipe.preprocessing.normalise else measured
            )
    return scan, target if kept is None else target.mul_(kept)


def deform(
    maps: LabelMaps,
    patch: tuple[int, int, int],
    voxel_mm: float,
    settings: Synthesis,
    random: np.random.Generator,
    noise: torch.Generator,
) -> Placed:
    """A random label map under a random affine and a smooth displacement.

    Half of the results are mirrored, with the classes of left and right exchanged. Outside of the map is class 0.
    """
    number = int(random.integers(len(maps.maps)))
    labels = maps.maps[number]
    device = labels.device
    turn = _rotation(np.deg2rad(random.uniform(-1, 1, 3) * settings.rotation_deg))
    shear = np.eye(3) + np.triu(random.uniform(-1, 1, (3, 3)) * settings.shear, 1)
    scale = np.diag(random.uniform(1 - settings.scaling, 1 + settings.scaling, 3))
    mirror = random.random() < 0.5
    linear = turn @ shear @ scale * voxel_mm @ np.diag([-1 if mirror else 1, 1, 1])

    centre = _centre(np.array(labels.shape), patch, voxel_mm, settings, random)
    steps = [torch.arange(n, device=device, dtype=torch.float32) - (n - 1) / 2 for n in patch]
    nodes = int(random.integers(*settings.elastic_nodes, endpoint=True))
    field = torch.randn((3, nodes, nodes, nodes), generator=noise, device=device) * random.uniform(*settings.elastic_mm)
    flat = torch.zeros(patch, dtype=torch.int32, device=device)
    inside = torch.ones(patch, dtype=torch.bool, device=device)
    for axis, length in enumerate(labels.shape):
        x, y, z = (step * float(weight) for step, weight in zip(steps, linear[axis], strict=True))
        position = upsample(field[axis], patch).add_((x + float(centre[axis]))[:, None, None] + y[:, None]).add_(z)
        voxel = position.round_().to(torch.int32)
        nearest = voxel.clamp(0, length - 1)
        inside &= nearest == voxel
        flat.mul_(length).add_(nearest)
    classes = labels.reshape(-1).index_select(0, flat.reshape(-1)).reshape(patch).int().mul_(inside)
    return Placed(number, flat, _look_up(maps.mirrored, classes).int() if mirror else classes)


def _look_up(table: Tensor, classes: Tensor) -> Tensor:
    """``table[classes]``, four times as fast."""
    return table.index_select(0, classes.reshape(-1)).reshape(classes.shape)


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


def _kept(maps: LabelMaps, classes: Tensor, settings: Synthesis, random: np.random.Generator) -> Tensor | None:
    """Where the scan is not cut away, ``(X, Y, Z) bool``: skull-stripping and missing slabs; None where all stays."""
    kept = None
    if random.random() < settings.stripped_share:
        outside = (maps.indices >= FIRST_OUTSIDE) | torch.isin(maps.indices, torch.tensor(EXTRACEREBRAL))
        if random.random() < 0.5:
            outside |= maps.indices == 24
        kept = _look_up((~outside).to(classes.device), classes)
        for _ in range(int(random.integers(0, 3))):
            kept = _dilated(kept)
    if random.random() < settings.cut_share:
        kept = torch.ones_like(classes, dtype=torch.bool) if kept is None else kept
        axis = int(random.integers(3))
        width = int(random.uniform(0.05, 0.3) * classes.shape[axis])
        start = 0 if random.random() < 0.5 else classes.shape[axis] - width
        kept.narrow(axis, start, width).zero_()
    return kept


def _dilated(mask: Tensor) -> Tensor:
    """`mask` with its 26 neighbours."""
    for axis, length in enumerate(mask.shape):
        grown = mask.clone()
        grown.narrow(axis, 0, length - 1).logical_or_(mask.narrow(axis, 1, length - 1))
        grown.narrow(axis, 1, length - 1).logical_or_(mask.narrow(axis, 0, length - 1))
        mask = grown
    return mask


def _contrast(modality: str, settings: Synthesis, random: np.random.Generator) -> str:
    if modality in ANY_CONTRAST:
        kinds = sorted(settings.contrasts)  # a recipe means the same in whatever order its keys come
        shares = np.array([settings.contrasts[kind] for kind in kinds])
        return str(random.choice(kinds, p=shares / shares.sum()))
    if modality not in CONTRASTS:
        raise MedzooError(
            f"No synthetic scan of modality {modality!r} can be made; choose among 'any', {', '.join(CONTRASTS)}, "
            "or train on real cases."
        )
    return modality


def _thick_axis(studys: int | None, modalities: int, random: np.random.Generator) -> int | None:
    """Across which axis the slices of one modality are thick: mostly that of its study, if it has one."""
    if studys is None or (modalities > 1 and random.random() < 0.25):  # such as a 3D T1w beside thick slices
        return None
    return int(random.integers(3)) if modalities > 1 and random.random() < 0.1 else studys


def _patches(
    shape: tuple[int, int, int], voxel_mm: float, random: np.random.Generator, noise: torch.Generator
) -> Tensor:
    """Where the tissue is unlike the rest of its class: ``(X, Y, Z) float32`` of about unit variance, in patches."""
    size_mm = random.uniform(2.5, 7.0)
    nodes = [max(round(n * voxel_mm / size_mm), 2) for n in shape]
    field = torch.randn(nodes, generator=noise, device=noise.device)
    return upsample(field, shape).mul_(1.5**1.5)  # linear interpolation leaves 2/3 of the variance in each axis


def _folds(
    maps: LabelMaps, classes: Tensor, voxel_mm: float, random: np.random.Generator, noise: torch.Generator
) -> Tensor:
    """The bands of `texture` in face and neck and some of the other classes outside the brain, ``(X, Y, Z) int32``."""
    some = torch.from_numpy(random.random(len(maps.indices)) < 0.6)
    body = (maps.indices == FACE_AND_NECK) | (some & (maps.indices >= FIRST_OUTSIDE))
    return draw_bands(classes.shape, voxel_mm, random, noise).mul_(_look_up(body.to(classes.device), classes))


def _signal(
    maps: LabelMaps,
    classes: Tensor,
    patches: Tensor,
    folds: Tensor | None,
    weights: Weights,
    random: np.random.Generator,
    noise: torch.Generator,
    mix: Callable[..., Tensor] | None,
) -> Tensor:
    """What the tissues send before any fault of the scanner, ``(X, Y, Z) float32``, not negative."""
    table = np.stack(class_weights(maps, weights, random)).astype(np.float32)
    if random.random() < 0.5:  # real air is either noise or an exact zero
        table[:, 0] = 0
    means, grain, rough = torch.from_numpy(table).to(classes.device)
    even = _look_up(means, classes)
    if mix is not None:
        even = mix(even, means=means)
    signal = torch.randn(classes.shape, generator=noise, device=classes.device).mul_(_look_up(grain, classes))
    signal.add_(even if folds is None else fold_texture(even, folds, random))
    return signal.addcmul_(_look_up(rough, classes), patches).clamp_(min=0)


def _moved(signal: Tensor, shift: NDArray[np.float64]) -> Tensor:
    """`signal` ``(X, Y, Z)`` moved by up to a voxel in every axis, as registration leaves a modality beside the others.

    Over a patch the rest of a small rotation is hardly another thing.
    """
    for axis, part in enumerate(shift.clip(-1, 1)):
        size = signal.shape[axis]
        neighbours = (np.arange(size) + (1 if part > 0 else -1)).clip(0, size - 1)
        matrix = (1 - abs(part)) * np.eye(size) + abs(part) * np.eye(size)[neighbours]
        signal = along(signal, axis, matrix.astype(np.float32))
    return signal


def _measure(
    signal: Tensor,
    voxel_mm: float,
    spacing: NDArray[np.float64],
    settings: Synthesis,
    random: np.random.Generator,
    noise: torch.Generator,
) -> Tensor:
    """The scan of `signal`, ``(X, Y, Z) float32`` from 0 to 1; `signal` is overwritten."""
    signal.mul_(bias_field(signal.shape, settings, random, noise))
    blur_mm, level = random.uniform(*settings.blur_mm), random.uniform(*settings.noise)
    scan = acquire(signal, voxel_mm, spacing, blur_mm, level, noise)
    scan /= scan.amax().clamp_min(1e-6)
    return scan.pow_(math.exp(random.normal(0, settings.gamma)))
