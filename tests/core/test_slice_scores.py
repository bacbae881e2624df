"""Dice along slices, and scores that follow a brush."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest

from napari_medzoo.comparison import comparable
from napari_medzoo.confusion import count_confusions
from napari_medzoo.errors import MedzooError
from napari_medzoo.label_tables import LABEL_TABLES
from napari_medzoo.labels import Label, LabelTable, Segmentation
from napari_medzoo.live_scores import LiveScores
from napari_medzoo.slice_scores import plane_axis, slice_scores
from tests.core.test_error_maps import GRIDS, TISSUE, random_pair

ASEG = LABEL_TABLES["aseg"]
PLACES = LabelTable("mine", (Label(3, "one", (1, 2, 3)), Label(7, "other", (4, 5, 6))))


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_slices_are_counted_to_the_voxel(awkward_grids, axis):
    prediction, reference = random_pair(awkward_grids["awkward"])
    prediction.data[(slice(None),) * axis + (3,)] = 0
    reference.data[(slice(None),) * axis + (3,)] = 0
    found = slice_scores(prediction, reference, 2, axis)
    for k in range(prediction.grid.shape[axis]):
        ours, theirs = (np.take(one.data, k, axis) == 2 for one in (prediction, reference))
        assert (found.predicted[k], found.expected[k]) == (ours.sum(), theirs.sum())
        expected = 2 * (ours & theirs).sum() / (ours.sum() + theirs.sum()) if k != 3 else np.nan
        np.testing.assert_equal(found.dice[k], expected)
    assert found.predicted.sum() == np.count_nonzero(prediction.data == 2)


@pytest.mark.parametrize("name", GRIDS)
def test_slices_and_points_lead_to_each_other(awkward_grids, name):
    grid = awkward_grids[name]
    prediction, reference = random_pair(grid)
    for axis in range(3):
        found = slice_scores(prediction, reference, 1, axis)
        here = grid.to_world([(4, 3, 2)])[0]
        assert found.position_of(here) == (4, 3, 2)[axis]
        there = found.point_in(5, here)
        expected = [4, 3, 2]
        expected[axis] = 5
        np.testing.assert_allclose(grid.to_index([there])[0], expected, atol=1e-6)
        assert found.position_of(grid.to_world([(-50, -50, -50)])[0]) == 0


def test_planes_find_their_axis_however_the_voxels_are_stored(awkward_grids):
    assert [plane_axis(awkward_grids["identity"], plane) for plane in ("sagittal", "coronal", "axial")] == [0, 1, 2]
    for grid in awkward_grids.values():
        for plane, direction in (("sagittal", 0), ("coronal", 1), ("axial", 2)):
            along = grid.affine[:3, plane_axis(grid, plane)] / grid.spacing[plane_axis(grid, plane)]
            assert np.abs(along).argmax() == direction


def test_what_is_not_there_is_refused(awkward_grids):
    prediction, reference = random_pair(awkward_grids["identity"])
    with pytest.raises(MedzooError, match="axis 0, 1 or 2"):
        slice_scores(prediction, reference, 1, 3)
    with pytest.raises(MedzooError, match="no index 77"):
        slice_scores(prediction, reference, 77, 0)


def aseg_like(grid, values, seed) -> Segmentation:
    random = np.random.default_rng(seed)
    return Segmentation(random.choice(values, grid.shape).astype(np.uint16), grid, ASEG)


PAIRS = {
    "one numbering": lambda grid: random_pair(grid),
    "one of a person's own": lambda grid: (
        Segmentation(np.random.default_rng(1).choice([0, 3, 7], grid.shape).astype(np.uint8), grid, PLACES),
        Segmentation(np.random.default_rng(2).choice([0, 3, 7], grid.shape).astype(np.uint8), grid, PLACES),
    ),
    "optional labels on one side": lambda grid: (
        aseg_like(grid, [0, 2, 3, 41, 77], 1),
        aseg_like(grid, [0, 2, 3, 41, 24, 251, 1002], 2),
    ),
    "little CSF in the reference": lambda grid: (
        aseg_like(grid, [0, 2, 3, 24], 1),
        aseg_like(grid, [0, 2, *[3] * 40, 24], 2),
    ),
    "much CSF in the reference": lambda grid: (aseg_like(grid, [0, 2, 3, 24], 1), aseg_like(grid, [0, 3, 24], 2)),
    "another numbering": lambda grid: (
        aseg_like(grid, [0, 2, 3, 17, 24, 85], 1),
        Segmentation(np.random.default_rng(2).integers(0, 4, grid.shape).astype(np.uint8), grid, TISSUE),
    ),
}


@pytest.mark.parametrize("kind", PAIRS)
@pytest.mark.parametrize("name", ["identity", "awkward"])
def test_after_every_edit_live_scores_equal_scoring_again(awkward_grids, kind, name):
    prediction, reference = PAIRS[kind](awkward_grids[name])
    live = LiveScores(prediction, reference)
    random = np.random.default_rng(5)
    values = np.unique(prediction.data)
    slices = {}
    for step in range(6):
        if step:
            axis, at = int(random.integers(3)), int(random.integers(7))
            window = [slice(int(random.integers(3)), int(random.integers(4, 7))) for _ in range(3)]
            window[axis] = slice(at, at + 1)
            prediction.data[tuple(window)] = values[step % len(values)]
            window[axis] = slice(None)  # where the brush was, roughly
            box = live.update(prediction.data, tuple(window) if step % 2 else (slice(None),) * 3)
        pair = comparable(prediction, reference)
        again = count_confusions(*pair)
        assert live.confusion.table.indices == again.table.indices
        np.testing.assert_array_equal(live.confusion.voxels, again.voxels)
        for mine, theirs, raw, side in zip(live.pair(), pair, (prediction, reference), (0, 1), strict=True):
            np.testing.assert_array_equal(mine.data, theirs.data)
            for index in again.table.indices[1:]:
                assert set(live.members(index)[side]) == set(np.unique(raw.data[theirs.data == index]))
        for index in again.table.indices[1:]:
            known = slices.get(index)
            slices[index] = live.slices(index, 1, known, box) if known and box else known or live.slices(index, 1)
            np.testing.assert_array_equal(slices[index].dice, slice_scores(*pair, index, 1).dice)


def test_labels_that_appear_and_vanish_are_followed(awkward_grids):
    prediction, reference = PAIRS["optional labels on one side"](awkward_grids["flipped"])
    live = LiveScores(prediction, reference)
    for old, new in ((0, 17), (77, 2), (2, 251), (17, 0), (41, 41)):
        prediction.data[prediction.data == old] = new
        box = live.update(prediction.data)
        assert (box is None) == (old == new)
        again = count_confusions(*comparable(prediction, reference))
        assert live.confusion.table.indices == again.table.indices
        np.testing.assert_array_equal(live.confusion.voxels, again.voxels)


def test_the_changed_box_is_tight_and_a_value_without_a_name_changes_nothing(awkward_grids):
    prediction, reference = random_pair(awkward_grids["identity"])
    live = LiveScores(prediction, reference)
    before = live.confusion.voxels
    data = prediction.data.copy()
    data[4, 5, 6] = 99
    with pytest.raises(MedzooError, match="99"):
        live.update(data)
    np.testing.assert_array_equal(live.confusion.voxels, before)
    data[4, 5, 6] = (prediction.data[4, 5, 6] + 1) % 4
    assert live.update(data, np.s_[3:8, 2:8, 6:7]) == np.s_[4:5, 5:6, 6:7]
    assert live.update(data) is None


def test_a_reference_stored_the_other_way_round_is_turned(awkward_grids):
    prediction, reference = random_pair(awkward_grids["awkward"])
    data = nib.orientations.apply_orientation(reference.data, reference.grid.orientation_to("RAS"))
    turned = Segmentation(np.asarray(data), reference.grid.reoriented("RAS"), reference.table)
    live = LiveScores(prediction, turned)
    np.testing.assert_array_equal(live.confusion.voxels, count_confusions(prediction, reference).voxels)
