"""Distances within a target: where objects nearly touch, and how far a voxel lies from each class's surface."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_medzoo.errors import MedzooError

from .config import IGNORED

REACH = 5.0  # in σ: beyond it the border map is below 4e-6 of its peak


def border_weights(target: Tensor, peak: float, sigma: float, spacing: Sequence[float] | None = None) -> Tensor:
    """The second term of the U-Net's weight map, w₀ · exp(−(d₁ + d₂)² / 2σ²) (Ronneberger 2015, eq. 2).

    d₁ and d₂ are the distances from a voxel to the nearest and the second nearest object, 0 within. An object is a
    connected part of one foreground class; two that touch are two where their classes differ.

    Parameters
    ----------
    target : torch.Tensor
        ``(B, *spatial) int64`` of one to three spatial dimensions; ignored voxels belong to no object.
    peak, sigma : float
        w₀ and σ; the paper's are 10 and 5.
    spacing : sequence of float, optional
        Lengths of a voxel, in the unit of σ; 1 where absent.

    Returns
    -------
    torch.Tensor
        ``(B, *spatial) float32`` on the target's device.
    """
    lengths = _lengths(target, spacing)
    maps = [_border_map(labels, sigma, lengths) for labels in _volumes(target)]
    return peak * torch.from_numpy(np.stack(maps)).view(target.shape).to(target.device)


def _border_map(labels: NDArray[np.uint8], sigma: float, lengths: tuple[float, ...]) -> NDArray[np.float32]:
    import cc3d
    import edt
    from scipy import ndimage

    objects = cc3d.connected_components(np.where(labels == IGNORED, 0, labels), connectivity=26)
    nearest = np.full(labels.shape, np.inf, dtype=np.float32)
    second = nearest.copy()
    margin = [int(np.ceil(REACH * sigma / length)) for length in lengths]
    for number, tight in enumerate(ndimage.find_objects(objects), start=1):
        box = tuple(
            slice(max(part.start - more, 0), part.stop + more) for part, more in zip(tight, margin, strict=True)
        )
        outside = np.ascontiguousarray(objects[box] != number)
        distance = edt.edt(outside, anisotropy=lengths, black_border=False, parallel=1)
        # The edt of a box that is all outside does not occur: the object itself lies in it.
        np.minimum(second[box], np.maximum(nearest[box], distance), out=second[box])
        np.minimum(nearest[box], distance, out=nearest[box])
    return np.exp(-((nearest + second) ** 2) / (2 * sigma**2))


def signed_distances(target: Tensor, classes: int, spacing: Sequence[float] | None = None) -> tuple[Tensor, Tensor]:
    """For each class, how far every voxel's centre lies from its surface: negative within, positive outside.

    The surface runs half-way between a voxel of the class and one that is not (half of the shortest length is taken off
    the distance between the two). Background, classes that are absent from a volume or fill it, and ignored voxels
    have 0; a class has no surface where it meets ignored voxels.

    Parameters
    ----------
    target : torch.Tensor
        ``(B, *spatial) int64`` of one to three spatial dimensions.
    classes : int
    spacing : sequence of float, optional
        Lengths of a voxel; 1 where absent.

    Returns
    -------
    distances : torch.Tensor
        ``(B, classes, *spatial) float32`` on the target's device.
    present : torch.Tensor
        ``(classes,) bool``: which have a surface in the batch.
    """
    import edt

    lengths = _lengths(target, spacing)
    volumes = _volumes(target)
    result = np.zeros((len(volumes), classes, *volumes[0].shape), dtype=np.float32)
    half = min(lengths[: target.ndim - 1]) / 2
    present = torch.zeros(classes, dtype=torch.bool)
    for labels, distances in zip(volumes, result, strict=True):
        unknown = labels == IGNORED
        # One call gives every voxel's distance to the nearest of another label, for all labels.
        within = edt.edt(labels + np.uint8(1), anisotropy=lengths, black_border=False, parallel=1)
        for number in np.unique(labels[~unknown]):
            mask = labels == number
            if number == 0 or (mask | unknown).all():
                continue
            present[int(number)] = True
            if unknown.any():  # where it meets the unknown, a class has no surface
                within = edt.edt(mask | unknown, anisotropy=lengths, black_border=False, parallel=1)
            outside = edt.edt(~mask, anisotropy=lengths, black_border=False, parallel=1)
            distances[number] = np.where(mask, half - within, outside - half) * ~unknown
    result_shape = (len(target), classes, *target.shape[1:])
    return torch.from_numpy(result).view(result_shape).to(target.device), present.to(target.device)


def _lengths(target: Tensor, spacing: Sequence[float] | None) -> tuple[float, ...]:
    """Spacing of the volumes that `_volumes` gives."""
    axes = target.ndim - 1
    if not 1 <= axes <= 3:
        raise MedzooError(
            f"Distances need targets of one to three dimensions, got {axes}; 'sampled_voxels' leaves out the "
            "neighbours that distances are measured over: take it from the recipe, or the loss that needs them."
        )
    if spacing is not None and len(spacing) != axes:
        raise MedzooError(f"spacing needs {axes} lengths, one per axis, got {len(spacing)}.")
    return (*(spacing or [1.0] * axes), *[1.0] * (2 - axes))


def _volumes(target: Tensor) -> list[NDArray[Any]]:
    """Each item of the batch as uint8, of at least two dimensions, which the libraries want."""
    array = target.cpu().numpy().astype(np.uint8)
    return [item[:, None] if item.ndim == 1 else np.ascontiguousarray(item) for item in array]
