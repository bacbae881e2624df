"""What the menus run off the main thread on layers: generators of `Progress` over the core."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_medzoo.errors import MedzooError
from napari_medzoo.labels import Label, LabelTable, Segmentation
from napari_medzoo.progress import Progress, Steps
from napari_medzoo.study import Volume
from napari_medzoo.widgets.layers import segmentation_from_layer, volume_from_layer

if TYPE_CHECKING:
    from napari.layers import Image, Labels

BRAIN = LabelTable("brain", (Label(1, "Brain", (120, 190, 60)),))


def correct_bias(scan: Image) -> Steps[Volume]:
    """Divide out the slow shading of a scan by N4.

    Raises
    ------
    MedzooError
        As `napari_medzoo.preprocess.correct_bias`.
    """
    yield Progress("Correcting bias field")
    from napari_medzoo.preprocess import correct_bias

    return correct_bias(volume_from_layer(scan))


def register(moving: Image, fixed: Image) -> Steps[Volume]:
    """Turn and shift one scan onto another of the same head, and interpolate it linearly on the other's grid.

    Returns
    -------
    Volume
        With a warning where the header's position was kept.

    Raises
    ------
    MedzooError
        If both do not overlap.
    """
    yield Progress("Registering")
    from napari_medzoo.preprocess.registration import find_alignment
    from napari_medzoo.preprocess.spatial import resample

    from_layer, onto = volume_from_layer(moving), volume_from_layer(fixed)
    found = find_alignment(from_layer, onto)
    yield Progress("Resampling")
    made = resample(from_layer, onto.grid, found.transform)
    if not made.data.any():
        raise MedzooError(f"'{moving.name}' and '{fixed.name}' do not overlap; check that both are of one person.")
    notes = (f"{moving.name}: {found.note}.",) if found.note else ()
    return Volume(made.data, onto.grid, from_layer.modality, None, notes)


def mask_brain(scan: Image) -> Steps[Segmentation]:
    """Find the brain by the classical mask, on the scan's grid.

    Raises
    ------
    MedzooError
        If none is found.
    """
    yield Progress("Finding the brain")
    from napari_medzoo.preprocess import brain_mask

    volume = volume_from_layer(scan)
    mask = brain_mask(volume)
    if not mask.any():
        raise MedzooError(f"No brain was found in '{scan.name}'; choose a scan of a whole head.")
    return Segmentation(mask.astype(np.uint8), volume.grid, BRAIN)


def compare(prediction: Labels, reference: Labels) -> Steps[Segmentation]:
    """Where two labels layers agree, and which of their labels are confused.

    Raises
    ------
    MedzooError
        As `napari_medzoo.evaluate.comparable`.
    """
    yield Progress("Comparing")
    from napari_medzoo.error_maps import agreement_map
    from napari_medzoo.evaluate import comparable

    return agreement_map(*comparable(segmentation_from_layer(prediction), segmentation_from_layer(reference)))
