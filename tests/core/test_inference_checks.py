"""Warnings: each appears for its own reason, and none for a healthy brain."""

from __future__ import annotations

import numpy as np
import pytest

from napari_medzoo.inference.checks import plausibility
from napari_medzoo.label_tables import LABEL_TABLES
from napari_medzoo.labels import Segmentation
from napari_medzoo.space import Grid

HEMISPHERES = LABEL_TABLES["aseg"].subset((2, 3, 41, 42, 77))


def brain(codes: str = "RAS", spacing: float = 4.0) -> Segmentation:
    """A box of 40³ voxels with a symmetric brain of 1500 mL in it (at 4 mm); index 77 may be absent."""
    data = np.zeros((40, 40, 40), np.uint8)
    data[6:20, 6:36, 6:34] = 41
    data[20:34, 6:36, 6:34] = 2
    data[9:17, 9:33, 9:31] = 42
    data[23:31, 9:33, 9:31] = 3
    affine = np.diag([spacing, spacing, spacing, 1.0])
    affine[:3, 3] = 3, -5, 7
    grid = Grid((40, 40, 40), affine)
    from nibabel.orientations import apply_orientation

    return Segmentation(apply_orientation(data, grid.orientation_to(codes)), grid.reoriented(codes), HEMISPHERES)


def changed(segmentation: Segmentation, data: np.ndarray) -> Segmentation:
    return Segmentation(data, segmentation.grid, segmentation.table)


def test_a_healthy_brain_has_no_warnings() -> None:
    assert sum(brain().volumes_ml().values()) == pytest.approx(1505, abs=1)
    assert plausibility(brain()) == ()


def test_nothing_labelled() -> None:
    (warning,) = plausibility(changed(brain(), np.zeros((40, 40, 40), np.uint8)))
    assert "No voxel was labelled" in warning


@pytest.mark.parametrize(("spacing", "volume"), [(2.0, "188 mL"), (5.0, "2940 mL")])
def test_implausible_size(spacing: float, volume: str) -> None:
    (warning,) = plausibility(brain(spacing=spacing))
    assert volume in warning
    assert "400 to 2500 mL" in warning


def test_empty_class_is_named_and_optional_ones_are_not() -> None:
    data = np.where(brain().data == 3, 2, brain().data).astype(np.uint8)
    (warning,) = plausibility(changed(brain(), data))
    assert "Left-Cerebral-Cortex" in warning
    assert "hypointens" not in warning


def test_one_side_missing() -> None:
    data = brain().data.copy()
    data[:12] = 0
    (warning,) = plausibility(changed(brain(), data))
    assert "one side may be cut off" in warning


@pytest.mark.parametrize("codes", ["RAS", "LIA", "PSR", "SAL"])
@pytest.mark.parametrize(
    ("side", "anatomical"),
    [
        ((slice(None), slice(None), slice(20, None)), "top"),
        ((slice(None), slice(None), slice(None, 20)), "bottom"),
        ((slice(None), slice(None, 20)), "back"),
        ((slice(None), slice(20, None)), "front"),
    ],
)
def test_cut_field_of_view_names_the_side(side: tuple, anatomical: str, codes: str) -> None:
    """Cropping the box through the brain: the side that is cut is told in the person's terms, on any axes."""
    whole = brain()
    kept = tuple(range(*s.indices(40)) for s in (*side, slice(None), slice(None))[:3])
    opposite = {"top": "bottom", "bottom": "top", "front": "back", "back": "front"}[anatomical]
    start = [k[0] for k in kept]
    cropped = Segmentation(whole.data[np.ix_(*kept)], whole.grid.cropped(start, [len(k) for k in kept]), HEMISPHERES)
    from nibabel.orientations import apply_orientation

    turned = Segmentation(
        apply_orientation(cropped.data, cropped.grid.orientation_to(codes)), cropped.grid.reoriented(codes), HEMISPHERES
    )
    (warning,) = plausibility(turned)
    # Keeping the upper half cuts the bottom.
    assert f"edge of the scan ({opposite})" in warning
    assert anatomical not in warning


def test_stray_voxels_at_the_border_are_not_a_cut() -> None:
    data = brain().data.copy()
    data[0, 20, 20:22] = 2
    assert plausibility(changed(brain(), data)) == ()


def test_lesion_models_are_not_judged_by_brain_size() -> None:
    data = np.zeros((20, 20, 20), np.uint8)
    data[8:12, 8:12, 8:12] = 2
    lesions = Segmentation(data, Grid((20, 20, 20), np.eye(4)), LABEL_TABLES["brats"])
    assert plausibility(lesions) == ()
