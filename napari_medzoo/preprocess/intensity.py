"""What preparation does to intensities: the bias field and the scale."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_medzoo.errors import MedzooError
from napari_medzoo.preprocess.itk import native
from napari_medzoo.preprocess.recipe import BiasCorrection, Normalise
from napari_medzoo.study import Volume


def require_contrast(volume: Volume) -> None:
    """Refuse a volume whose voxels are all alike.

    Raises
    ------
    MedzooError
        Naming the volume and its value.
    """
    first = volume.data.flat[0]
    if (volume.data == first).all():
        raise MedzooError(f"{volume.name}: every voxel is {first:g}; choose a scan that shows something.")


def normalise(array: NDArray[Any], settings: Normalise | None = None, name: str = "The volume") -> NDArray[np.float32]:
    """Scale intensities; see `Normalise` for the methods.

    Parameters
    ----------
    array : numpy.ndarray
        Any shape and real type. It is not changed.
    settings : Normalise
    name : str
        What the error calls the array.

    Returns
    -------
    numpy.ndarray
        float32 of the same shape. Percentiles that fall together (a volume with hardly any structure) are replaced by
        the smallest and largest non-zero value.

    Raises
    ------
    MedzooError
        If there is nothing to scale: all (or all non-zero) voxels have one value.
    """
    settings = settings or Normalise()
    result = np.array(array, dtype=np.float32)  # a copy
    if result.size == 0 or result.min() == result.max():
        value = f"every voxel is {result.flat[0]:g}" if result.size else "there are no voxels"
        raise MedzooError(f"{name}: {value}, so it cannot be scaled; choose a scan that shows something.")
    if settings.method == "minmax":
        low, high = float(result.min()), float(result.max())
        return (result - np.float32(low)) / np.float32(high - low)
    present = result != 0
    values = result[present]
    if settings.method == "zscore":
        mean, spread = values.mean(dtype=np.float64), values.std(dtype=np.float64)
        if not spread > 0:
            raise MedzooError(
                f"{name}: every non-zero voxel is {values[0]:g}, so it has no standard deviation; "
                "choose a scan that shows something, or scale by minmax."
            )
        return np.where(present, (result - np.float32(mean)) / np.float32(spread), np.float32(0))
    low, high = (float(value) for value in np.percentile(values, (settings.lower, settings.upper)))
    if high <= low:
        low, high = float(values.min()), float(values.max())
    if high <= low:  # one non-zero value: a mask; its zeros are the other end
        low, high = min(low, 0.0), max(high, 0.0)
    result -= np.float32(low)
    result /= np.float32(high - low)
    return np.clip(result, 0, 1, out=result)


def correct_bias(volume: Volume, settings: BiasCorrection | None = None) -> Volume:
    """Divide out the slow shading of a scan by N4 (Tustison 2010).

    The field is estimated over the head on a grid shrunken by `settings.shrink_factor` in the finest axis, and less in
    coarser ones, and applied at full resolution: 70 times faster than at full resolution, with the same effect.

    Returns
    -------
    Volume
        float32 on the same grid. Voxels that are 0 stay 0.

    Raises
    ------
    MedzooError
        For a volume without contrast, without a head, or of one slice.
    """
    import SimpleITK as sitk

    from napari_medzoo.preprocess.masks import head_mask

    settings = settings or BiasCorrection()
    require_contrast(volume)
    if min(volume.grid.shape) < 2:
        raise MedzooError(
            f"{volume.name}: {volume.grid} is too thin for a bias field (two voxels along each axis are needed); "
            "switch the correction off."
        )
    data = native(volume.data).astype(np.float32)
    lowest = min(float(data.min()), 0.0)
    image = sitk.GetImageFromArray(data - np.float32(lowest) if lowest < 0 else data)  # N4 takes logarithms
    image.SetSpacing(volume.grid.spacing[::-1])
    mask = sitk.GetImageFromArray((head_mask(volume) & (data != 0)).astype(np.uint8))
    mask.CopyInformation(image)
    finest = min(volume.grid.spacing)
    factors = [
        max(min(round(settings.shrink_factor * finest / spacing), size // 4), 1)
        for spacing, size in zip(volume.grid.spacing[::-1], volume.grid.shape[::-1], strict=True)
    ]
    corrector = sitk.N4BiasFieldCorrectionImageFilter()
    corrector.SetMaximumNumberOfIterations(list(settings.iterations))
    corrector.SetConvergenceThreshold(settings.convergence)
    small_mask = sitk.Shrink(mask, factors)
    if not sitk.GetArrayViewFromImage(small_mask).any():
        raise MedzooError(f"{volume.name}: no head was found to estimate the bias field on; switch the correction off.")
    corrector.Execute(sitk.Shrink(image, factors), small_mask)
    field = sitk.GetArrayFromImage(corrector.GetLogBiasFieldAsImage(image))
    corrected = np.where(data == 0, np.float32(0), data / np.exp(field).astype(np.float32))
    return replace(volume, data=corrected)
