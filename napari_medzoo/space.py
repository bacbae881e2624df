"""Where voxels lie in the world.

A *grid* is a shape and an affine. The affine takes a voxel index ``(i, j, k)`` to RAS+ millimetres:
x grows to the person's right, y to the front (anterior), z to the top (superior). Every array that came
from a scan carries its grid; two arrays are combined only when `Grid.same_as` says they may be.

*Reorient* permutes and flips voxel axes and loses nothing. *Resample* interpolates. They are different
words for different things throughout this package.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import nibabel as nib
import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_medzoo.errors import MedzooError

SAME_POSITION_MM = 0.01
"""Two grids are the same when no corner voxel lies further apart than this (headers round to float32)."""


@dataclass(frozen=True, eq=False)
class Grid:
    """The voxel lattice of a volume.

    Attributes
    ----------
    shape : tuple of int
        Number of voxels ``(X, Y, Z)``.
    affine : numpy.ndarray
        ``(4, 4) float64``, voxel index to RAS+ millimetres.

    Raises
    ------
    MedzooError
        For a shape that is not three positive sizes, or an affine that is not finite and invertible.
    """

    shape: tuple[int, int, int]
    affine: NDArray[np.float64]

    def __post_init__(self) -> None:
        shape = tuple(int(size) for size in self.shape)
        if len(shape) != 3 or min(shape) < 1:
            raise MedzooError(f"Expected a 3D volume, got shape {shape}.")
        affine = np.array(self.affine, dtype=np.float64)
        if affine.shape != (4, 4) or not np.isfinite(affine).all():
            raise MedzooError("Expected an affine of 4×4 finite numbers; export the scan again with its geometry.")
        lengths = np.linalg.norm(affine[:3, :3], axis=0)
        if (lengths < 1e-6).any() or abs(np.linalg.det(affine[:3, :3] / lengths)) < 1e-3:
            raise MedzooError(
                "The affine is singular (a voxel axis has no length or two axes coincide); "
                "export the scan again with its geometry."
            )
        if not np.allclose(affine[3], (0, 0, 0, 1)):
            raise MedzooError(f"Expected 0 0 0 1 as the affine's last row, got {affine[3]}.")
        affine.setflags(write=False)
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "affine", affine)

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Distance between neighbouring voxels along each axis, in mm."""
        x, y, z = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(x), float(y), float(z)

    @property
    def voxel_volume_ml(self) -> float:
        """Volume of one voxel in mL (1 mL = 1000 mm³)."""
        return float(abs(np.linalg.det(self.affine[:3, :3])) / 1000)

    @property
    def axis_codes(self) -> str:
        """Where each voxel axis points, for example ``"RAS"`` or ``"LIA"`` (nearest axes when oblique)."""
        return "".join(nib.aff2axcodes(self.affine))

    @property
    def center_mm(self) -> NDArray[np.float64]:
        """RAS+ millimetres of the middle of the grid, ``(3,)``."""
        return self.to_world([(np.array(self.shape) - 1) / 2])[0]

    def to_world(self, indices: ArrayLike) -> NDArray[np.float64]:
        """Take voxel indices ``(N, 3)`` to RAS+ millimetres ``(N, 3)``."""
        return np.asarray(indices, dtype=np.float64) @ self.affine[:3, :3].T + self.affine[:3, 3]

    def to_index(self, points_mm: ArrayLike) -> NDArray[np.float64]:
        """Take RAS+ millimetres ``(N, 3)`` to (fractional) voxel indices ``(N, 3)``."""
        inverse = np.linalg.inv(self.affine)
        return np.asarray(points_mm, dtype=np.float64) @ inverse[:3, :3].T + inverse[:3, 3]

    def corners_mm(self) -> NDArray[np.float64]:
        """RAS+ millimetres of the eight corner voxels' centres, ``(8, 3)``."""
        last = np.array(self.shape) - 1
        return self.to_world([[i, j, k] for i in (0, last[0]) for j in (0, last[1]) for k in (0, last[2])])

    def same_as(self, other: Grid, tolerance_mm: float = SAME_POSITION_MM) -> bool:
        """Whether both grids have the same shape and no corner lies further apart than `tolerance_mm`."""
        if self.shape != other.shape:
            return False
        apart = np.linalg.norm(self.corners_mm() - other.corners_mm(), axis=1).max()
        return bool(apart <= tolerance_mm)

    def cropped(self, start: Sequence[int], shape: Sequence[int]) -> Grid:
        """The sub-grid of `shape` voxels that begins at voxel `start` (which may be negative: padding)."""
        affine = np.array(self.affine)
        affine[:3, 3] = self.to_world([start])[0]
        return Grid((int(shape[0]), int(shape[1]), int(shape[2])), affine)

    def reoriented(self, axis_codes: str) -> Grid:
        """The same voxels with their axes permuted and flipped to point along `axis_codes`."""
        transform = self.orientation_to(axis_codes)
        shape = np.empty(3, dtype=int)
        shape[transform[:, 0].astype(int)] = self.shape
        affine = self.affine @ nib.orientations.inv_ornt_aff(transform, self.shape)
        return Grid((int(shape[0]), int(shape[1]), int(shape[2])), affine)

    def orientation_to(self, axis_codes: str) -> NDArray[np.float64]:
        """nibabel's orientation transform ``(3, 2)`` from this grid's axes to `axis_codes`.

        ``nibabel.orientations.apply_orientation(array, grid.orientation_to(codes))`` reorients an array;
        ``other.orientation_to(grid.axis_codes)`` is the exact way back.
        """
        if sorted(axis_codes.translate(str.maketrans("LPI", "RAS"))) != sorted("RAS"):
            raise MedzooError(f"Expected axis codes such as 'RAS' or 'LIA', got {axis_codes!r}.")
        wanted = nib.orientations.axcodes2ornt(axis_codes)
        return nib.orientations.ornt_transform(nib.io_orientation(self.affine), wanted)

    def with_spacing(self, spacing: Sequence[float]) -> Grid:
        """A grid along the same axes with another `spacing` (mm) that covers the same outer extent.

        The centres of both grids coincide, so that nothing shifts by part of a voxel.
        """
        old = np.array(self.spacing)
        new = np.array(spacing, dtype=np.float64)
        shape = np.maximum(np.ceil(np.array(self.shape) * old / new - 1e-4), 1).astype(int)
        affine = np.array(self.affine)
        affine[:3, :3] = affine[:3, :3] / old * new
        affine[:3, 3] = self.center_mm - affine[:3, :3] @ ((shape - 1) / 2)
        return Grid((int(shape[0]), int(shape[1]), int(shape[2])), affine)

    def __str__(self) -> str:
        size = "×".join(str(s) for s in self.shape)
        spacing = "×".join(f"{s:.3g}" for s in self.spacing)
        origin = ", ".join(f"{c:.1f}" for c in self.affine[:3, 3])
        return f"{size} voxels of {spacing} mm, {self.axis_codes}, origin ({origin}) mm"


def require_same_grid(first: Grid, second: Grid, first_name: str, second_name: str) -> None:
    """Refuse to combine arrays of different grids.

    Raises
    ------
    MedzooError
        Naming both volumes and both grids.
    """
    if not first.same_as(second):
        raise MedzooError(
            f"{first_name} ({first}) and {second_name} ({second}) lie on different grids; "
            "resample one onto the other first."
        )
