"""Both scans of a registration at several resolutions, and the search for the next optimum at each."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from napari_medzoo.preprocess.itk import lps_to_ras, matrix_of, orthogonal_grid, to_itk
from napari_medzoo.preprocess.masks import head_box, head_mask
from napari_medzoo.preprocess.recipe import Align, HeadCrop
from napari_medzoo.preprocess.similarity import mutual_information
from napari_medzoo.preprocess.spatial import resample
from napari_medzoo.study import Volume

if TYPE_CHECKING:
    import SimpleITK as sitk

HEAD_MARGIN_MM = 12.0
"""Air around the fixed head that takes part: without it the head's outline would say nothing."""

DECIMALS = 9
"""Digits of a transform that are kept: the last ones differ from run to run with the order of ITK's additions."""

JUDGED = 50_000
"""Voxels that two positions are compared on."""


class Level:
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
        self._chosen = np.arange(0, fixed.data.size, max(fixed.data.size // JUDGED, 1))
        self.points = fixed.grid.to_world(np.stack(np.unravel_index(self._chosen, fixed.data.shape), axis=1))
        self.values = fixed.data.ravel()[self._chosen]

    def information(self, transform: NDArray[np.float64]) -> float:
        """Normalised mutual information where both scans overlap; 0 where that is less than a third of the box."""
        from scipy.ndimage import map_coordinates

        index = self.moving.grid.to_index(self.points @ transform[:3, :3].T + transform[:3, 3])
        inside = ((index >= 0) & (index <= np.array(self.moving.grid.shape) - 1)).all(axis=1)
        if inside.mean() < 1 / 3:
            return 0.0
        values = map_coordinates(self.moving.data, index[inside].T, order=1, mode="nearest")
        return mutual_information(self.values[inside], values)

    def head_points(self) -> NDArray[np.float64]:
        """Those of `points` that lie in the fixed volume's head; all of them where no head is found."""
        inside = head_mask(self.fixed).ravel()[self._chosen]
        return self.points[inside] if inside.any() else self.points

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


def pyramid(fixed: Volume, moving: Volume, sizes_mm: tuple[float, ...]) -> list[Level]:
    """Both volumes at every level, coarse first; each level is made from the next finer one.

    The finest is made by cubic splines, which between thick slices is worth a tenth of a millimetre.
    """
    around = fixed.grid.cropped(*head_box(fixed, HeadCrop(margin_mm=HEAD_MARGIN_MM)))
    levels: list[Level] = []
    for size in reversed(sizes_mm):
        order = 3 if not levels and min(*fixed.grid.shape, *moving.grid.shape) >= 4 else 1
        fixed = resample(fixed, orthogonal_grid(around, size), order=order)
        moving = resample(moving, orthogonal_grid(moving.grid, size), order=order)
        levels.insert(0, Level(fixed, moving, size, head_only=not levels))
    return levels


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
