"""`prepare`: from a study to the array that a network takes."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_medzoo.errors import MedzooError
from napari_medzoo.preprocess.alignment import Alignment
from napari_medzoo.preprocess.intensity import correct_bias, normalise, require_contrast
from napari_medzoo.preprocess.masks import brain_mask, head_box
from napari_medzoo.preprocess.prepared import Prepared
from napari_medzoo.preprocess.recipe import HeadCrop, Preprocessing
from napari_medzoo.preprocess.spatial import reorient, resample
from napari_medzoo.progress import Progress, Steps
from napari_medzoo.space import Grid
from napari_medzoo.study import MODALITIES, Study, Volume

SAME_SPACING_MM = 1e-3
"""A spacing that differs by less than this counts as the wanted one, so that nothing is interpolated for it."""


def prepare(
    study: Study,
    recipe: Preprocessing,
    modalities: Sequence[str],
    reference: str | None = None,
    transforms: Mapping[str, ArrayLike] | None = None,
) -> Steps[Prepared]:
    """Prepare a study for a network.

    The prepared grid is the reference volume's, its axes permuted and flipped to point nearest to `recipe.orientation`,
    with `recipe.spacing`, cut to the head. Everything is worked out along those axes, so that the way in which a file
    stores its axes changes no voxel. Each volume is interpolated at most once; the reference volume not at all where
    its spacing is the wanted one.

    Parameters
    ----------
    study : Study
    recipe : Preprocessing
    modalities : sequence of str
        The channels in order.
    reference : str, optional
        The modality (any of the study) that the others are aligned to; the first of `modalities` by default.
    transforms : mapping of str to array_like, optional
        Known ``(4, 4)`` transforms, RAS+ mm of the reference to RAS+ mm of the modality; these are not searched for.

    Yields
    ------
    Progress
        Before each step.

    Returns
    -------
    Prepared

    Raises
    ------
    MedzooError
        For a modality the study lacks, or a volume without contrast.
    """
    if not modalities:
        raise MedzooError("No modality was named to prepare; name at least one of the study's.")
    reference = reference or modalities[0]
    clock = _Clock()
    warnings: list[str] = []
    fixed = reorient(study[reference], recipe.orientation)
    moving = {key: reorient(study[key], recipe.orientation) for key in modalities}
    for volume in (fixed, *moving.values()):
        require_contrast(volume)

    found, alignments = yield from _align_all(fixed, moving, reference, recipe, transforms or {}, clock, warnings)

    if recipe.bias_correction is not None:
        for done, key in enumerate(moving):
            yield Progress("Correcting bias", done, len(moving))
            with clock.step("bias_correction"):
                moving[key] = correct_bias(moving[key], recipe.bias_correction)

    fixed = moving.get(reference, fixed)
    grid = _wanted_grid(fixed.grid, recipe.spacing)
    if recipe.head_crop is not None:
        yield Progress("Finding the head", 0, 1)
        with clock.step("head_crop"):
            grid = _cut_to_head(grid, fixed, recipe.head_crop)

    data = np.empty((len(moving), *grid.shape), dtype=np.float32)
    for channel, (key, volume) in enumerate(moving.items()):
        yield Progress("Resampling", channel, len(moving))
        with clock.step("resample"):
            data[channel] = resample(volume, grid, found[key]).data
        if not data[channel].any() and volume.data.any():
            raise MedzooError(
                f"{volume.name} does not overlap with {fixed.name} ({volume.grid} and {fixed.grid}); "
                "switch alignment on, or check that both are of one person."
            )

    if recipe.brain_mask is not None:
        yield Progress("Masking the brain", 0, 1)
        with clock.step("brain_mask"):
            seen = data[list(moving).index(reference)] if reference in moving else resample(fixed, grid).data
            mask = brain_mask(Volume(seen, grid, reference, fixed.file), recipe.brain_mask)
            if not mask.any():
                warnings.append(f"{fixed.name}: no brain was found, so nothing was masked.")
            else:
                data[:, ~mask] = 0

    if recipe.normalise is not None:
        for channel, volume in enumerate(moving.values()):
            yield Progress("Normalising", channel, len(moving))
            with clock.step("normalise"):
                data[channel] = normalise(data[channel], recipe.normalise, volume.name)

    return Prepared(
        data=data,
        grid=grid,
        modalities=tuple(moving),
        reference=reference,
        target=study[reference].grid,
        transforms=found,
        alignments=alignments,
        timings=clock.seconds,
        warnings=tuple(warnings),
    )


def _align_all(
    fixed: Volume,
    moving: Mapping[str, Volume],
    reference: str,
    recipe: Preprocessing,
    known: Mapping[str, ArrayLike],
    clock: _Clock,
    warnings: list[str],
) -> Steps[tuple[dict[str, NDArray[np.float64]], dict[str, Alignment]]]:
    """The transform of every modality (the known one, the one found, or none), and what was found."""
    found = {key: np.array(known.get(key, np.eye(4)), dtype=np.float64) for key in (*moving, reference)}
    for key, matrix in found.items():
        if matrix.shape != (4, 4) or not np.isfinite(matrix).all() or abs(np.linalg.det(matrix)) < 1e-6:
            raise MedzooError(f"The transform of {key!r} must be 4×4 finite numbers that can be inverted.")
    alignments: dict[str, Alignment] = {}
    searched = [key for key in moving if key != reference and key not in known] if recipe.align is not None else []
    for done, key in enumerate(searched):
        yield Progress(f"Aligning {MODALITIES.get(key, moving[key].name)}", done, len(searched))
        with clock.step("align"):
            from napari_medzoo.preprocess.registration import find_alignment

            result = find_alignment(moving[key], fixed, recipe.align)
        found[key], alignments[key] = result.transform, result
        if result.note and not moving[key].grid.same_as(fixed.grid):  # on one grid it was to be expected
            warnings.append(f"{moving[key].name}: {result.note}.")
    return found, alignments


def _wanted_grid(grid: Grid, spacing: tuple[float, float, float] | None) -> Grid:
    if spacing is None:
        return grid
    wanted = [own if abs(own - new) < SAME_SPACING_MM else new for own, new in zip(grid.spacing, spacing, strict=True)]
    return grid if tuple(wanted) == grid.spacing else grid.with_spacing(wanted)


def _cut_to_head(grid: Grid, reference: Volume, settings: HeadCrop) -> Grid:
    """The part of `grid` (along the reference's axes) that covers the reference volume's head box."""
    box = head_box(reference, settings)
    ratio = np.array(reference.grid.spacing) / np.array(grid.spacing)
    offset = (np.array(grid.shape) - 1) / 2 - ratio * (np.array(reference.grid.shape) - 1) / 2  # centres coincide
    low = ratio * (np.array(box.start) - 0.5) + offset + 0.5
    high = ratio * (np.array(box.start) + box.shape - 0.5) + offset + 0.5
    start = np.maximum(np.floor(low + 1e-4), 0).astype(int)
    stop = np.minimum(np.ceil(high - 1e-4), grid.shape).astype(int)
    return grid.cropped(start.tolist(), (stop - start).tolist())


class _Clock:
    """Seconds per step, added up over the volumes."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        begin = time.perf_counter()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - begin
