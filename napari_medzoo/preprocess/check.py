"""Measuring how well a study was co-registered."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_medzoo.errors import MedzooError
from napari_medzoo.preprocess.itk import lps_to_ras
from napari_medzoo.space import Grid
from napari_medzoo.study import Volume


@dataclass(frozen=True)
class AlignmentCheck:
    """Mean displacement over the head, in mm, from a published transform.

    Attributes
    ----------
    before : float
        Of the position in the file's header.
    after, after_max : float
        Of the transform that was found: mean and largest.
    floor : float
        Of the best rigid transform there is: the published one may hold scale.
    """

    before: float
    after: float
    after_max: float
    floor: float

    def __str__(self) -> str:
        return (
            f"before {self.before:6.2f} mm, after {self.after:5.2f} mm (largest {self.after_max:.2f}), "
            f"rigid floor {self.floor:.2f} mm"
        )


def check_alignment(found: ArrayLike, published: ArrayLike, points: ArrayLike) -> AlignmentCheck:
    """Compare a transform with a published one over `points` ``(N, 3)``, RAS+ mm of the reference."""
    after = displacement_mm(found, published, points)
    return AlignmentCheck(
        before=float(displacement_mm(np.eye(4), published, points).mean()),
        after=float(after.mean()),
        after_max=float(after.max()),
        floor=float(displacement_mm(rigid_floor(published, points), published, points).mean()),
    )


def displacement_mm(first: ArrayLike, second: ArrayLike, points: ArrayLike) -> NDArray[np.float64]:
    """How far apart two ``(4, 4)`` transforms put each of `points` ``(N, 3)`` → ``(N,)`` in mm."""
    difference = np.asarray(first, dtype=np.float64) - np.asarray(second, dtype=np.float64)
    return np.linalg.norm(np.asarray(points) @ difference[:3, :3].T + difference[:3, 3], axis=1)


def rigid_floor(transform: ArrayLike, points: ArrayLike) -> NDArray[np.float64]:
    """The rigid ``(4, 4)`` transform nearest to `transform` over `points` in the least-squares sense (Kabsch 1976)."""
    before = np.asarray(points, dtype=np.float64)
    matrix = np.asarray(transform, dtype=np.float64)
    after = before @ matrix[:3, :3].T + matrix[:3, 3]
    left, _, right = np.linalg.svd((before - before.mean(axis=0)).T @ (after - after.mean(axis=0)))
    handed = np.diag([1, 1, np.sign(np.linalg.det(right.T @ left.T))])
    rigid = np.eye(4)
    rigid[:3, :3] = right.T @ handed @ left.T
    rigid[:3, 3] = after.mean(axis=0) - rigid[:3, :3] @ before.mean(axis=0)
    return rigid


def head_points_mm(volume: Volume, step_mm: float = 6.0) -> NDArray[np.float64]:
    """RAS+ mm ``(N, 3)`` of points spread about `step_mm` apart over the head in a volume."""
    from napari_medzoo.preprocess.masks import head_mask

    mask = head_mask(volume)
    steps = np.maximum(np.round(step_mm / np.array(volume.grid.spacing)), 1).astype(int)
    thin = mask[:: steps[0], :: steps[1], :: steps[2]]
    return volume.grid.to_world(np.argwhere(thin) * steps)


def move(volume: Volume, translation_mm: ArrayLike, rotation_degrees: ArrayLike) -> tuple[Volume, NDArray[np.float64]]:
    """Move a scan by changing its affine alone, about the middle of its grid.

    Parameters
    ----------
    translation_mm : array_like
        ``(3,)``, RAS+.
    rotation_degrees : array_like
        ``(3,)``: an axis times an angle.

    Returns
    -------
    Volume, numpy.ndarray
        The moved volume, and the ``(4, 4)`` matrix from where a point was to where it is now.
    """
    from scipy.spatial.transform import Rotation

    center = volume.grid.center_mm
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_rotvec(np.asarray(rotation_degrees, dtype=float), degrees=True).as_matrix()
    matrix[:3, 3] = center + np.asarray(translation_mm, dtype=float) - matrix[:3, :3] @ center
    return replace(volume, grid=Grid(volume.grid.shape, matrix @ volume.grid.affine)), matrix


def read_itk_affine(path: Path) -> NDArray[np.float64]:
    """Read an "Insight Transform File" with one affine transform as a ``(4, 4)`` matrix of RAS+ points.

    Raises
    ------
    MedzooError
        If the file holds something else.
    """
    lines = dict(line.split(":", 1) for line in path.read_text().splitlines() if ":" in line)
    try:
        values = np.array(lines["Parameters"].split(), dtype=float)
        center = np.array(lines["FixedParameters"].split(), dtype=float)
        matrix = np.eye(4)
        matrix[:3, :3] = values[:9].reshape(3, 3)
        matrix[:3, 3] = values[9:12] + center - matrix[:3, :3] @ center
    except (KeyError, ValueError) as error:
        raise MedzooError(f"{path.name}: expected an ITK affine transform of 12 parameters and a centre.") from error
    return lps_to_ras(matrix)
