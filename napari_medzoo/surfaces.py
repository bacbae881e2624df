"""Surfaces of label masks and the distances between them, in mm.

The surface of a mask is its *boundary voxels*: voxels of the mask with at least one of the six face
neighbours outside it (what lies beyond the edge of the grid counts as outside). Distances run between voxel
centres and respect the spacing; only the spacing matters, so that oblique and flipped grids need no care.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import edt
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage


@dataclass(frozen=True, eq=False)
class SurfaceDistances:
    """Distances between two surfaces.

    Attributes
    ----------
    prediction_to_reference : numpy.ndarray
        ``(N,) float32`` mm, from every boundary voxel of the prediction to the nearest one of the reference.
    reference_to_prediction : numpy.ndarray
        ``(M,) float32`` mm, the other way round.
    """

    prediction_to_reference: NDArray[np.float32]
    reference_to_prediction: NDArray[np.float32]


def boundary(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Boundary voxels of a mask ``(X, Y, Z) bool``; the same shape."""
    inside = np.ones_like(mask)
    for axis in range(mask.ndim):
        here = np.moveaxis(inside, axis, 0)
        there = np.moveaxis(mask, axis, 0)
        here[1:] &= there[:-1]
        here[:-1] &= there[1:]
        here[0] = here[-1] = False
    return mask & ~inside


def surface_distances(
    prediction: NDArray[np.bool_], reference: NDArray[np.bool_], spacing: Sequence[float]
) -> SurfaceDistances:
    """Distances between the surfaces of two masks, by an exact distance transform inside their common box.

    Parameters
    ----------
    prediction, reference : numpy.ndarray
        ``(X, Y, Z) bool`` on the same grid, neither of them empty.
    spacing : sequence of float
        mm along each axis.

    Returns
    -------
    SurfaceDistances
    """
    box = ndimage.find_objects((prediction | reference).astype(np.uint8))[0]
    # Masks that touch the edge of their array are handled by `boundary`; the box needs no margin, because
    # every boundary voxel of both lies inside it and distances are taken to voxels, not to the outside.
    ours = boundary(np.ascontiguousarray(prediction[box]))
    theirs = boundary(np.ascontiguousarray(reference[box]))
    return SurfaceDistances(_distance_to(theirs, spacing)[ours], _distance_to(ours, spacing)[theirs])


def _distance_to(surface: NDArray[np.bool_], spacing: Sequence[float]) -> NDArray[np.float32]:
    return edt.edt(~surface, anisotropy=tuple(float(mm) for mm in spacing), black_border=False, parallel=1)
