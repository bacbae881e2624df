"""Where a segmentation errs, on grids with flipped, anisotropic, oblique and permuted axes."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial import cKDTree

from napari_medzoo.confusion import count_confusions
from napari_medzoo.error_maps import (
    COMMON,
    CORRECT,
    EXPECTED,
    EXTRA,
    MISSED,
    PREDICTED,
    agreement_map,
    confusion_place,
    contours,
    error_map,
    worst_place,
)
from napari_medzoo.errors import MedzooError
from napari_medzoo.evaluate import evaluate
from napari_medzoo.label_tables import LABEL_TABLES
from napari_medzoo.labels import Segmentation
from napari_medzoo.surfaces import boundary

TISSUE = LABEL_TABLES["tissue"]
GRIDS = ("identity", "anisotropic", "flipped", "permuted", "oblique", "awkward")


def random_pair(grid, seed: int = 0) -> tuple[Segmentation, Segmentation]:
    """Two blocky segmentations in tissue's numbering that agree in part."""
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 4, [-(-size // 3) for size in grid.shape])
    data = coarse.repeat(3, 0).repeat(3, 1).repeat(3, 2)[tuple(slice(size) for size in grid.shape)].astype(np.uint8)
    other = data.copy()
    noisy = random.random(grid.shape) < 0.1
    other[noisy] = random.integers(0, 4, int(noisy.sum()))
    return Segmentation(other, grid, TISSUE), Segmentation(data, grid, TISSUE)


def boxes(grid, ours, theirs, index: int = 2) -> tuple[Segmentation, Segmentation]:
    made = []
    for box in (ours, theirs):
        data = np.zeros(grid.shape, np.uint8)
        if box:
            data[box] = index
        made.append(Segmentation(data, grid, TISSUE))
    return made[0], made[1]


@pytest.mark.parametrize("name", GRIDS)
def test_the_worst_place_is_where_brute_force_finds_it(awkward_grids, name):
    grid = awkward_grids[name]
    prediction, reference = random_pair(grid)
    for index in (1, 2, 3):
        place = worst_place(prediction, reference, index)
        sides = [grid.to_world(np.argwhere(boundary(one.data == index))) for one in (prediction, reference)]
        hausdorff = max(cKDTree(sides[1 - i]).query(sides[i])[0].max() for i in (0, 1))
        assert place.distance_mm == pytest.approx(hausdorff, abs=1e-3)
        here = [cKDTree(side).query(place.point_mm)[0] for side in sides]
        assert min(here) < 1e-6, "it lies on a surface"
        assert max(here) == pytest.approx(hausdorff, abs=1e-3), "and that far from the other"


@pytest.mark.parametrize("name", GRIDS)
def test_the_worst_place_of_a_moved_corner_is_that_corner(awkward_grids, name):
    """One voxel sticks out of a box: whatever the affine, the crosshair must land in it."""
    grid = awkward_grids[name]
    prediction, reference = boxes(grid, np.s_[2:5, 2:5, 1:4], np.s_[2:5, 2:5, 1:4])
    prediction.data[9, 3, 2] = 2
    place = worst_place(prediction, reference, 2)
    np.testing.assert_allclose(grid.to_index([place.point_mm])[0], (9, 3, 2), atol=1e-6)
    assert place.distance_mm == pytest.approx(5 * grid.spacing[0], rel=1e-5)
    assert "prediction's surface" in place.note
    assert "the reference's surface lies" in worst_place(reference, prediction, 2).note


def test_the_worst_distance_bounds_the_scores(awkward_grids):
    prediction, reference = random_pair(awkward_grids["anisotropic"], seed=3)
    for score in evaluate(prediction, reference).labels:
        assert worst_place(prediction, reference, score.index).distance_mm >= score.hd95_mm


@pytest.mark.parametrize(
    ("ours", "theirs", "absent"),
    [(np.s_[3:8, 3:8, 2:7], None, "reference"), (None, np.s_[3:8, 3:8, 2:7], "prediction")],
)
def test_an_absent_label_leads_to_the_middle_of_the_other_side(awkward_grids, ours, theirs, absent):
    grid = awkward_grids["awkward"]
    place = worst_place(*boxes(grid, ours, theirs), 2)
    np.testing.assert_allclose(grid.to_index([place.point_mm])[0], (5, 5, 4), atol=1e-6)
    assert math.isnan(place.distance_mm)
    assert f"absent from the {absent}" in place.note


def test_what_cannot_be_shown_is_said(awkward_grids):
    grid = awkward_grids["identity"]
    prediction, reference = boxes(grid, None, None)
    with pytest.raises(MedzooError, match="GM is absent from the prediction and from the reference"):
        worst_place(prediction, reference, 2)
    with pytest.raises(MedzooError, match="background"):
        error_map(prediction, reference, 0)
    with pytest.raises(MedzooError, match="no index 9"):
        error_map(prediction, reference, 9)
    with pytest.raises(MedzooError, match="No voxel of GM"):
        confusion_place(prediction, reference, 2, 3)
    with pytest.raises(MedzooError, match="comparable"):
        worst_place(replace(prediction, table=TISSUE.subset([1])), reference, 1)
    with pytest.raises(MedzooError, match="grid"):
        worst_place(prediction, replace(reference, grid=awkward_grids["flipped"]), 2)


def test_error_map_voxel_by_voxel(awkward_grids):
    prediction, reference = random_pair(awkward_grids["oblique"])
    found = error_map(prediction, reference, 2)
    assert found.grid is reference.grid
    ours, theirs = prediction.data == 2, reference.data == 2
    np.testing.assert_array_equal(found.data == CORRECT, ours & theirs)
    np.testing.assert_array_equal(found.data == MISSED, theirs & ~ours)
    np.testing.assert_array_equal(found.data == EXTRA, ours & ~theirs)
    assert found.table[MISSED].name == "GM, missed"


def test_agreement_map_names_every_confusion_and_counts_it_right(awkward_grids):
    prediction, reference = random_pair(awkward_grids["permuted"])
    found = agreement_map(prediction, reference)
    np.testing.assert_array_equal(found.data == 1, (prediction.data == reference.data) & (reference.data > 0))
    np.testing.assert_array_equal(found.data == 0, (prediction.data == 0) & (reference.data == 0))
    called = found.table.by_name("GM called WM").index
    np.testing.assert_array_equal(found.data == called, (reference.data == 2) & (prediction.data == 3))
    missed = found.table.by_name("CSF missed").index
    np.testing.assert_array_equal(found.data == missed, (reference.data == 1) & (prediction.data == 0))
    extra = found.table.by_name("CSF too much").index
    np.testing.assert_array_equal(found.data == extra, (reference.data == 0) & (prediction.data == 1))
    sizes = [np.count_nonzero(found.data == label.index) for label in found.table.foreground[1:]]
    assert sizes == sorted(sizes, reverse=True)
    assert len({found.table.by_name(name).color for name in ("GM called WM", "CSF missed", "CSF too much")}) == 3


def test_contours_are_the_boundaries_in_space_and_in_slices(awkward_grids):
    prediction, reference = boxes(awkward_grids["identity"], np.s_[2:6, 2:6, 2:6], np.s_[3:7, 2:6, 2:6])
    surface = contours(prediction, reference, 2)
    np.testing.assert_array_equal(np.isin(surface.data, (PREDICTED, COMMON)), boundary(prediction.data == 2))
    np.testing.assert_array_equal(np.isin(surface.data, (EXPECTED, COMMON)), boundary(reference.data == 2))
    across = contours(prediction, reference, 2, axis=0)
    assert np.count_nonzero(across.data[2] == PREDICTED) == 12, "the outline of a 4×4 square, its inside left out"
    assert across.data[2, 3, 3] == 0 and surface.data[2, 3, 3] == PREDICTED
    assert np.count_nonzero(across.data[4] == COMMON) == 12


@pytest.mark.parametrize("name", GRIDS)
def test_a_confusion_is_shown_inside_its_largest_part(awkward_grids, name):
    grid = awkward_grids[name]
    prediction, reference = boxes(grid, np.s_[4:9, 3:8, 1:6], np.s_[0:11, 0:9, 0:7])
    prediction.data[prediction.data == 2] = 3
    prediction.data[0, 0, 0] = 3
    place = confusion_place(prediction, reference, 2, 3)
    np.testing.assert_allclose(grid.to_index([place.point_mm])[0], (6, 5, 3), atol=1e-6)
    assert "GM in the reference and WM in the prediction" in place.note


def test_the_confusion_matrix_has_names_shares_and_dice(awkward_grids):
    prediction, reference = random_pair(awkward_grids["flipped"])
    table = count_confusions(prediction, reference)
    assert table.voxels[2, 3] == np.count_nonzero((reference.data == 2) & (prediction.data == 3))
    np.testing.assert_allclose(table.shares.sum(axis=1), 1)
    for score in evaluate(prediction, reference).labels:
        assert table.dice(score.index) == pytest.approx(score.dice)
    assert "GM was called WM" in table.describe(2, 3)
    lacking = count_confusions(*boxes(awkward_grids["flipped"], None, np.s_[1:2, 1:2, 1:2]))
    assert lacking.present() == (0, 2)
    assert np.isnan(lacking.shares[1]).all() and math.isnan(lacking.dice(1))
