"""What happens to a patch of a real case before the network sees it, on whatever device the patch lies.

One spatial transform serves every modality and the labels: affine and elastic displacement are added up and sampled
once. Then each modality gets the faults of its own scan. Air is 0 before and after, as preparation and inference have
it (see `napari_medzoo.preprocess.normalise`), and so is what a transform brings in from outside the patch.

Plain torch and not MONAI's array transforms: these resample once more for the elastic part, smooth with a dense
convolution (12 times slower on a CPU) and draw from a generator of their own.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation
from torch import Tensor
from torch.nn import functional as F

from napari_medzoo.errors import MedzooError
from napari_medzoo.sides import mirrored_name

from .acquisition import along, resampling, smoothing, upsample
from .config import Augmentation, Recipe

FOLDING = 0.2  # an elastic displacement of more than this share of its nodes' distance may fold space over itself


def mirrored_channels(recipe: Recipe) -> Tensor:
    """For each output channel the one of the same structure on the other side, by the labels' names.

    Returns
    -------
    torch.Tensor
        ``(256,) uint8``; unsided channels and numbers that are no channel (ignored voxels) are their own.

    Raises
    ------
    MedzooError
        If patches are to be mirrored left–right, and the first axis is another one, or a structure has no other side.
    """
    names = {label.name.lower(): recipe.channels.index(label.index) for label in recipe.label_table}
    mirrored = torch.arange(256, dtype=torch.uint8)
    for name, channel in names.items():
        other = mirrored_name(name)
        if other == name:
            continue
        if 0 in recipe.augmentation.flip_axes:
            if other not in names:
                raise MedzooError(
                    f"Recipe '{recipe.name}' mirrors left–right and learns '{name}' but not '{other}'; add the other "
                    "side to 'channels' or take 0 out of 'flip_axes'."
                )
            if (recipe.preprocessing.orientation or "RAS")[0] not in "RL":
                raise MedzooError(
                    f"Recipe '{recipe.name}' mirrors the first axis, which is not left–right in the orientation "
                    f"{recipe.preprocessing.orientation}; prepare to RAS or take 0 out of 'flip_axes'."
                )
        mirrored[channel] = names.get(other, channel)
    return mirrored


def augment(
    scan: Tensor,
    labels: Tensor,
    settings: Augmentation,
    mirrored: Tensor | None,
    random: np.random.Generator,
    voxel_mm: tuple[float, float, float],
) -> tuple[Tensor, Tensor]:
    """Change a patch at random; the same state of `random` gives the same change. The input stays as it is.

    Parameters
    ----------
    scan : torch.Tensor
        ``(C, X, Y, Z) float32``, prepared (air is 0), the first axis left–right.
    labels : torch.Tensor
        ``(X, Y, Z) uint8`` output channels, or 255 where ignored.
    settings : Augmentation
    mirrored : torch.Tensor, optional
        ``(256,) uint8`` from `mirrored_channels`, on the patch's device; absent: no label has a side.
    random : numpy.random.Generator
    voxel_mm : tuple of float

    Returns
    -------
    scan, labels : torch.Tensor
        Of the same shapes, types and device.
    """
    noise = torch.Generator(scan.device).manual_seed(int(random.integers(2**62)))
    grid = sampling_grid(tuple(labels.shape), settings, random, noise, voxel_mm)
    if grid is not None:
        scan = F.grid_sample(scan[None], grid, align_corners=False)[0]
        nearest = F.grid_sample(labels[None, None].float(), grid, mode="nearest", align_corners=False)
        labels = nearest[0, 0].to(torch.uint8)
    for axis in settings.flip_axes:
        if random.random() < 0.5:
            scan, labels = scan.flip(axis + 1), labels.flip(axis)
            if axis == 0 and mirrored is not None:
                labels = mirrored[labels.int()]
    scan = torch.stack([_rescanned(channel, settings, random, noise, voxel_mm) for channel in scan])
    kept = int(random.integers(len(scan)))
    for channel in range(len(scan)):
        if random.random() < settings.missing_share and channel != kept:
            scan[channel] = 0
    return scan, labels


def sampling_grid(
    shape: tuple[int, ...],
    settings: Augmentation,
    random: np.random.Generator,
    noise: torch.Generator,
    voxel_mm: tuple[float, float, float],
) -> Tensor | None:
    """Where each voxel of the new patch is taken from, about the patch's middle; None where nothing moves.

    Returns
    -------
    torch.Tensor
        ``(1, X, Y, Z, 3) float32`` as `torch.nn.functional.grid_sample` takes it without aligned corners.
    """
    affine, elastic = random.random() < settings.affine_share, random.random() < settings.elastic_share
    if not affine and not elastic:
        return None
    device = noise.device
    size_mm = np.array(shape) * voxel_mm
    matrix, shift = _affine(settings, random) if affine else (np.eye(3), np.zeros(3))
    field = _elastic(shape, size_mm, settings, random, noise) if elastic else None
    matrix = matrix * np.array(voxel_mm) * 2 / size_mm[:, None]  # from voxels to shares of half the patch, −1 to 1
    shift = shift * 2 / size_mm
    x, y, z = (torch.arange(n, device=device, dtype=torch.float32) - (n - 1) / 2 for n in shape)
    grid = torch.empty((1, *shape, 3), device=device)
    for axis in range(3):
        to_x, to_y, to_z = matrix[axis].tolist()
        plane = (to_x * x + float(shift[axis]))[:, None, None] + (to_y * y)[:, None]
        place = torch.add(plane, to_z * z, out=grid[0, ..., 2 - axis])  # grid_sample counts axes from the last
        if field is not None:
            place += field[axis]
    return grid


def _affine(settings: Augmentation, random: np.random.Generator) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """``(3, 3)`` from new mm to old mm, and mm to add."""
    angles = random.uniform(-1, 1, 3) * settings.rotation_deg
    turn = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
    shear = np.eye(3) + np.triu(random.uniform(-1, 1, (3, 3)) * settings.shear, 1)
    scale = np.diag(random.uniform(1 - settings.scaling, 1 + settings.scaling, 3))
    return turn @ shear @ scale, random.uniform(-1, 1, 3) * settings.translation_mm


def _elastic(
    shape: tuple[int, ...],
    size_mm: NDArray[np.float64],
    settings: Augmentation,
    random: np.random.Generator,
    noise: torch.Generator,
) -> Tensor:
    """Smooth displacement ``(3, X, Y, Z) float32`` in shares of half the patch."""
    nodes = int(random.integers(*settings.elastic_nodes, endpoint=True))
    spread_mm = min(random.uniform(*settings.elastic_mm), FOLDING * float(size_mm.min()) / (nodes - 1))
    coarse = torch.randn((1, 3, nodes, nodes, nodes), generator=noise, device=noise.device)
    coarse *= torch.tensor(spread_mm * 2 / size_mm, dtype=torch.float32, device=noise.device).view(1, 3, 1, 1, 1)
    return F.interpolate(coarse, size=shape, mode="trilinear", align_corners=True)[0]


def _rescanned(
    scan: Tensor,
    settings: Augmentation,
    random: np.random.Generator,
    noise: torch.Generator,
    voxel_mm: tuple[float, float, float],
) -> Tensor:
    """One modality ``(X, Y, Z)`` as another scanner might have given it: field, resolution, noise, then its scale."""
    air = scan == 0
    low = scan.amin()
    spread = _spread(scan, air)
    if random.random() < settings.bias_field_share:
        nodes = int(random.integers(2, 4, endpoint=True))
        coarse = torch.randn((nodes, nodes, nodes), generator=noise, device=scan.device)
        field = upsample((coarse * random.uniform(*settings.bias_field)).exp_(), scan.shape)
        scan = (scan - low).mul_(field).add_(low)
    if random.random() < settings.blur_share:
        sigma_mm = random.uniform(*settings.blur_mm)
        for axis, length in enumerate(scan.shape):
            scan = along(scan, axis, smoothing(length, sigma_mm / voxel_mm[axis]))
    if random.random() < settings.low_resolution_share:
        times = random.uniform(*settings.low_resolution)
        for axis, length in enumerate(scan.shape):
            scan = along(scan, axis, _coarser(length, times))
    if random.random() < settings.noise_share:
        grain = torch.randn(scan.shape, generator=noise, device=scan.device)
        scan = grain.mul_(spread * random.uniform(*settings.noise)).add_(scan)
    if random.random() < settings.gamma_share:
        lowest, highest = scan.aminmax()
        extent = (highest - lowest).clamp_min(1e-6)
        scan = ((scan - lowest) / extent).pow_(random.uniform(*settings.gamma)).mul_(extent).add_(lowest)
    if random.random() < settings.intensity_share:
        scale, shift = random.uniform(*settings.intensity_scale), random.uniform(*settings.intensity_shift)
        scan = scan * scale + spread * shift
    return scan.masked_fill(air, 0)


def _spread(scan: Tensor, air: Tensor) -> Tensor:
    """Standard deviation of what is not air."""
    count = (~air).sum().clamp_min(1)
    return ((scan.square().sum() / count) - (scan.sum() / count).square()).clamp_min(0).sqrt()


def _coarser(length: int, times: float) -> NDArray[np.float32]:
    """``(length, length)``: what `times` longer voxels would have measured, interpolated back.

    A voxel's profile is a Gaussian whose full width at half maximum is the voxel.
    """
    count = max(round(length / times), 1)
    there = resampling(length, count)
    if count < length:
        there = there @ smoothing(length, times / 2.355)
    return resampling(count, length) @ there
