"""Rigid co-registration of a study's volumes by mutual information."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from napari_medzoo.preprocess.check import displacement_mm
from napari_medzoo.preprocess.itk import lps_to_ras, matrix_of, orthogonal_grid, to_itk
from napari_medzoo.preprocess.masks import head_box, head_mask
from napari_medzoo.preprocess.recipe import Align, HeadCrop
from napari_medzoo.preprocess.similarity import mutual_information
from napari_medzoo.preprocess.spatial import resample
from napari_medzoo.study import Volume

if TYPE_CHECKING:
    import SimpleITK as sitk

TURNS_DEGREES = (-15.0, 0.0, 15.0)
"""First guesses about each axis, in all combinations."""

STARTS = 3
"""How many of the best first guesses are followed at the coarsest level."""

HEAD_MARGIN_MM = 12.0
"""Air around the fixed head that takes part: without it the head's outline would say nothing."""

DECIMALS = 9
"""Digits of a transform that are kept: the last ones differ from run to run with the order of ITK's additions."""

JUDGED = 50_000
"""Voxels that two positions are compared on."""


@dataclass(frozen=True, eq=False)
class Alignment:
    """What `find_alignment` found.

    Attributes
    ----------
    transform : numpy.ndarray
        ``(4, 4)``: RAS+ mm of the fixed volume to RAS+ mm of the moving volume.
    before, after : float
        Normalised mutual information over the head with the header's position and with `transform`.
    note : str
        Why the header's position was kept, where it was; else empty.
    """

    transform: NDArray[np.float64]
    before: float
    after: float
    note: str = ""


def align(moving: Volume, fixed: Volume, settings: Align | None = None) -> NDArray[np.float64]:
    """The rigid ``(4, 4)`` matrix that takes RAS+ mm of `fixed` to RAS+ mm of `moving`; see `find_alignment`."""
    return find_alignment(moving, fixed, settings).transform


def find_alignment(moving: Volume, fixed: Volume, settings: Align | None = None) -> Alignment:
    """Find the rigid transform between two scans of one head, of any contrast.

    Mattes' mutual information (2003) over the head's box, optimised by regular steps from coarse to fine copies of both
    volumes. First guesses are the header's position, the heads' centres of mass and the grids' centres, each turned by
    `TURNS_DEGREES` about every axis; the best are followed at the coarsest level. The result is the same on every run
    and any number of cores: the metric runs on one thread, and digits beyond `DECIMALS` are dropped.

    The header's position is kept where nothing better is found, and where both volumes share one grid and the optimum
    lies within half a voxel of it on average (such data were co-registered before; interpolating would only blur them).

    Parameters
    ----------
    moving, fixed : Volume
        On any grids, sheared ones included.
    settings : Align
    """
    settings = settings or Align()
    levels = _pyramid(fixed, moving, settings.levels_mm)
    coarse = levels[0]
    starts = sorted(_first_guesses(coarse), key=lambda guess: -coarse.information(guess))[:STARTS]
    found = max((coarse.optimise(guess, settings) for guess in starts), key=coarse.information)
    for level in levels[1:]:
        found = level.optimise(found, settings)
    judge = levels[min(1, len(levels) - 1)]
    before, after = judge.information(np.eye(4)), judge.information(found)
    if after <= before:
        note = "no better position was found than the one in its header, which is kept"
        return Alignment(np.eye(4), before, before, note)
    moved = displacement_mm(found, np.eye(4), judge.points).mean()
    if moving.grid.same_as(fixed.grid) and moved <= min(fixed.grid.spacing) / 2:
        return Alignment(np.eye(4), before, before, "it lies within half a voxel already and is left as it is")
    return Alignment(found, before, after)


class _Level:
    """Both volumes at one resolution.

    Attributes
    ----------
    fixed, moving : Volume
        On isotropic grids with axes at right angles; the fixed one is cut to the head.
    head_only : bool
        Whether the optimiser leaves out the air (the finest level: the outline has done its work by then).
    points, values : numpy.ndarray
        RAS+ mm ``(N, 3)`` and intensities ``(N,)`` of at most `JUDGED` voxels of the fixed volume.
    """

    def __init__(self, fixed: Volume, moving: Volume, millimetres: float, head_only: bool = False) -> None:
        self.millimetres = millimetres
        self.head_only = head_only
        self.fixed = fixed
        self.moving = moving
        chosen = np.arange(0, fixed.data.size, max(fixed.data.size // JUDGED, 1))
        self.points = fixed.grid.to_world(np.stack(np.unravel_index(chosen, fixed.data.shape), axis=1))
        self.values = fixed.data.ravel()[chosen]

    def information(self, transform: NDArray[np.float64]) -> float:
        """Normalised mutual information where both scans overlap; 0 where that is less than a third of the box."""
        from scipy.ndimage import map_coordinates

        index = self.moving.grid.to_index(self.points @ transform[:3, :3].T + transform[:3, 3])
        inside = ((index >= 0) & (index <= np.array(self.moving.grid.shape) - 1)).all(axis=1)
        if inside.mean() < 1 / 3:
            return 0.0
        values = map_coordinates(self.moving.data, index[inside].T, order=1, mode="nearest")
        return mutual_information(self.values[inside], values)

    def optimise(self, start: NDArray[np.float64], settings: Align) -> NDArray[np.float64]:
        """Follow Mattes' mutual information from `start` to its next optimum."""
        import SimpleITK as sitk

        transform = _euler(start, self.fixed.grid.center_mm)
        method = sitk.ImageRegistrationMethod()
        method.SetNumberOfThreads(1)
        method.SetMetricAsMattesMutualInformation(settings.histogram_bins)
        looked_at = self.fixed.data.size
        if self.head_only:
            mask = head_mask(self.fixed)
            looked_at = max(int(mask.sum()), 1)
            method.SetMetricFixedMask(to_itk(replace(self.fixed, data=mask)))
        sampling = settings.samples / looked_at * (1.0 if self.head_only else 0.5)
        if sampling < 1:
            method.SetMetricSamplingStrategy(method.RANDOM)
            method.SetMetricSamplingPercentage(sampling, settings.seed)
        method.SetInterpolator(sitk.sitkLinear)
        method.SetOptimizerAsRegularStepGradientDescent(
            learningRate=self.millimetres / 3,
            minStep=self.millimetres / 1500,
            numberOfIterations=settings.iterations,
            relaxationFactor=0.5 if self.head_only else 0.8,  # patient where the way is still long
            gradientMagnitudeTolerance=1e-8,
        )
        method.SetOptimizerScalesFromPhysicalShift()
        method.SetInitialTransform(transform, True)
        try:
            method.Execute(to_itk(self.fixed), to_itk(self.moving))
        except RuntimeError:  # ITK's way to say that the scans came to overlap too little: not a position to go on from
            return start
        return np.round(matrix_of(transform), DECIMALS)


def _pyramid(fixed: Volume, moving: Volume, sizes_mm: tuple[float, ...]) -> list[_Level]:
    """Both volumes at every level, coarse first; each level is made from the next finer one.

    The finest is made by cubic splines, which between thick slices is worth a tenth of a millimetre.
    """
    around = fixed.grid.cropped(*head_box(fixed, HeadCrop(margin_mm=HEAD_MARGIN_MM)))
    levels: list[_Level] = []
    for size in reversed(sizes_mm):
        order = 3 if not levels and min(*fixed.grid.shape, *moving.grid.shape) >= 4 else 1
        fixed = resample(fixed, orthogonal_grid(around, size), order=order)
        moving = resample(moving, orthogonal_grid(moving.grid, size), order=order)
        levels.insert(0, _Level(fixed, moving, size, head_only=not levels))
    return levels


def _first_guesses(level: _Level) -> list[NDArray[np.float64]]:
    """Header, centres of mass and centres of the grids, each turned about the fixed head's centre."""
    from itertools import product

    from scipy.spatial.transform import Rotation

    center = _head_center_mm(level.fixed)
    shifts = (
        np.zeros(3),
        _head_center_mm(level.moving) - center,
        level.moving.grid.center_mm - level.fixed.grid.center_mm,
    )
    guesses = []
    for shift, angles in product(shifts, product(TURNS_DEGREES, repeat=3)):
        guess = np.eye(4)
        guess[:3, :3] = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
        guess[:3, 3] = center + shift - guess[:3, :3] @ center
        guesses.append(guess)
    return guesses


def _head_center_mm(volume: Volume) -> NDArray[np.float64]:
    """The head's centre of mass in RAS+ mm; the grid's centre where no head is found."""
    voxels = np.argwhere(head_mask(volume))
    return volume.grid.to_world(voxels).mean(axis=0) if len(voxels) else volume.grid.center_mm


def _euler(matrix: NDArray[np.float64], center: NDArray[np.float64]) -> sitk.Euler3DTransform:
    """A rigid matrix of RAS+ points as ITK's Euler transform about `center` (RAS+ mm)."""
    import SimpleITK as sitk

    lps = lps_to_ras(matrix)
    turn, shift = lps[:3, :3], lps[:3, 3]
    middle = center * (-1, -1, 1)
    transform = sitk.Euler3DTransform()
    transform.SetCenter(middle.tolist())
    angle_x = np.arcsin(np.clip(turn[2, 1], -1, 1))  # ITK turns by Z·X·Y
    angle_y = np.arctan2(-turn[2, 0], turn[2, 2])
    angle_z = np.arctan2(-turn[0, 1], turn[1, 1])
    transform.SetRotation(float(angle_x), float(angle_y), float(angle_z))
    transform.SetTranslation((shift - middle + turn @ middle).tolist())
    return transform
