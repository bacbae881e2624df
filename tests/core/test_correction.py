"""Tools on one class: in mm on awkward grids, exact about every other class."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest

from napari_medzoo import correction
from napari_medzoo.errors import MedzooError
from napari_medzoo.space import Grid

CORTEX, WHITE, LESION = 3, 2, 77
SHAPE = (24, 20, 16)


def grid_of(spacing=(1.0, 1.0, 1.0), shape=SHAPE) -> Grid:
    return Grid(shape, np.diag([*spacing, 1.0]))


def ball(shape, center, radius_mm: float, spacing=(1.0, 1.0, 1.0)) -> np.ndarray:
    place = (np.moveaxis(np.indices(shape), 0, -1) - np.array(center)) * np.array(spacing)
    return np.linalg.norm(place, axis=-1) <= radius_mm


def brain() -> np.ndarray:
    """White matter in cortex in air, with a lesion in the white matter."""
    data = np.zeros(SHAPE, dtype=np.uint16)
    data[ball(SHAPE, (11, 10, 8), 7)] = CORTEX
    data[ball(SHAPE, (11, 10, 8), 5)] = WHITE
    data[11:13, 10, 8] = LESION
    return data


TOOLS = {
    "islands": lambda data, grid, protected: correction.remove_islands(data, grid, WHITE, protected=protected),
    "holes": lambda data, grid, protected: correction.fill_holes(data, grid, WHITE, protected=protected),
    "slice holes": lambda data, grid, protected: correction.fill_holes(data, grid, WHITE, 1, protected),
    "smooth": lambda data, grid, protected: correction.smooth(data, grid, WHITE, 1.7, protected),
    "grow": lambda data, grid, protected: correction.grow(data, grid, WHITE, 3.1, protected),
    "shrink": lambda data, grid, protected: correction.shrink(data, grid, WHITE, 2.0, protected),
    "keep inside": lambda data, grid, protected: correction.keep_inside(data, grid, WHITE, data != WHITE, protected),
    "interpolate": lambda data, grid, protected: correction.interpolate_slices(data, grid, WHITE, 2, protected),
}


def scattered(shape, seed=0) -> np.ndarray:
    random = np.random.default_rng(seed)
    data = random.choice([0, CORTEX, WHITE, LESION], size=shape, p=[0.3, 0.2, 0.4, 0.1]).astype(np.int16)
    data[:, :, 2:4] = 0
    return data


@pytest.mark.parametrize("protected", [(), (LESION,), (CORTEX, LESION), (0, CORTEX, LESION), (WHITE,)])
@pytest.mark.parametrize("tool", TOOLS)
@pytest.mark.parametrize("name", ["anisotropic", "awkward"])
def test_no_tool_invents_a_class_touches_a_protected_one_or_its_input(awkward_grids, name, tool, protected):
    grid = awkward_grids[name]
    data = scattered(grid.shape)
    kept = data.copy()
    result = TOOLS[tool](data, grid, protected)
    np.testing.assert_array_equal(data, kept, "the array given was changed")
    assert result.data.shape == data.shape
    assert result.data.dtype == data.dtype
    assert result.changed == np.count_nonzero(result.data != data)
    assert set(np.unique(result.data)) <= set(np.unique(data))
    for label in protected:
        np.testing.assert_array_equal(result.data == label, data == label)
    moved = result.data != data
    assert ((data == WHITE) | (result.data == WHITE))[moved].all(), "only this class gains or loses"


@pytest.mark.parametrize("tool", TOOLS)
@pytest.mark.parametrize("codes", ["LIA", "PSR"])
def test_a_tool_does_not_depend_on_the_voxel_order(tool, codes):
    """Permuted and flipped voxels of the same person give the same labels, permuted and flipped."""
    grid = grid_of((0.9, 1.3, 2.2))
    data = brain()
    turned_grid = grid.reoriented(codes)
    turned = np.ascontiguousarray(nib.orientations.apply_orientation(data, grid.orientation_to(codes)))
    if tool in ("slice holes", "interpolate"):
        axis = 1 if tool == "slice holes" else 2
        there = int(grid.orientation_to(codes)[axis, 0])
        function = correction.fill_holes if tool == "slice holes" else correction.interpolate_slices
        here, moved = function(data, grid, WHITE, axis), function(turned, turned_grid, WHITE, there)
    else:
        here, moved = TOOLS[tool](data, grid, ()), TOOLS[tool](turned, turned_grid, ())
    back = nib.orientations.apply_orientation(moved.data, turned_grid.orientation_to(grid.axis_codes))
    assert here.changed == moved.changed
    # Between two takers at the same distance the order may decide; which voxels the class has must not depend on it.
    np.testing.assert_array_equal(back == WHITE, here.data == WHITE)


def test_islands_go_by_volume_to_what_surrounds_them():
    grid = grid_of((1.0, 1.0, 2.0))  # 0.002 mL a voxel
    data = brain()
    data[0, 0, 0] = WHITE  # in the air
    data[4:6, 10, 8] = WHITE  # two voxels, mostly in the cortex, touching the rest by nothing
    data[6, 10, 8] = CORTEX
    result = correction.remove_islands(data, grid, WHITE, smaller_than_ml=0.0021)
    assert result.changed == 1
    assert result.data[0, 0, 0] == 0
    result = correction.remove_islands(data, grid, WHITE)
    assert result.data[0, 0, 0] == 0
    assert result.data[5, 10, 8] == CORTEX
    assert result.changed == 3
    protected = correction.remove_islands(data, grid, WHITE, protected=[0, CORTEX, LESION])
    assert protected.changed == 0, "nobody may have the voxels"


def test_a_lost_voxel_goes_to_the_truly_nearest_taker_however_far():
    data = np.full((31, 9, 9), CORTEX, dtype=np.uint8)
    data[2, 4, 4], data[28, 4, 4] = WHITE, WHITE
    data[28, 4, 5] = WHITE
    data[20, 4, 4], data[0, 0, 0] = LESION, LESION
    data[30] = 0
    result = correction.remove_islands(data, grid_of(shape=data.shape), WHITE, protected=[CORTEX, 0])
    assert result.data[2, 4, 4] == LESION
    assert result.changed == 1


def test_holes_in_3d_and_in_slices():
    shell = ball(SHAPE, (11, 10, 8), 6) & ~ball(SHAPE, (11, 10, 8), 3)
    data = np.where(shell, WHITE, 0).astype(np.uint8)
    data[11, 10, 8] = LESION
    closed = correction.fill_holes(data, grid_of(), WHITE)
    np.testing.assert_array_equal(closed.data == WHITE, ball(SHAPE, (11, 10, 8), 6))
    kept = correction.fill_holes(data, grid_of(), WHITE, protected=[LESION])
    assert kept.data[11, 10, 8] == LESION
    assert kept.changed == closed.changed - 1
    data[11, 10, 8:16] = 0  # a channel to the air: no hole in 3D, still one in slices across z
    assert correction.fill_holes(data, grid_of(), WHITE).changed == 0
    sliced = correction.fill_holes(data, grid_of(), WHITE, axis=2)
    assert sliced.data[11, 10, 8] == WHITE
    assert sliced.data[11, 10, 15] == 0
    assert correction.fill_holes(data, grid_of(), WHITE, axis=0).data[11, 10, 8] == 0


@pytest.mark.parametrize(("mm", "along"), [(2.9, (2, 1, 0)), (3.0, (3, 2, 1)), (6.5, (6, 4, 2))])
def test_growing_goes_as_many_mm_in_every_direction_and_shrinking_takes_as_many_back(mm, along):
    grid = grid_of((1.0, 1.5, 3.0))
    data = np.zeros(SHAPE, dtype=np.uint8)
    data[11, 10, 8] = WHITE
    grown = correction.grow(data, grid, WHITE, mm).data == WHITE
    np.testing.assert_array_equal(grown, ball(SHAPE, (11, 10, 8), mm, grid.spacing))
    assert tuple(np.ptp(np.argwhere(grown), axis=0) // 2) == along
    hole = np.full(SHAPE, WHITE, dtype=np.uint8)
    hole[11, 10, 8] = 0
    shrunk = correction.shrink(hole, grid, WHITE, mm).data != WHITE
    np.testing.assert_array_equal(shrunk, grown, "shrinking a class is growing what is around it")


def test_growing_stops_at_protected_classes():
    data = brain()
    grown = correction.grow(data, grid_of(), WHITE, 2.5, protected=[LESION])
    assert (grown.data[data == LESION] == LESION).all()
    assert np.count_nonzero(grown.data == CORTEX) < np.count_nonzero(data == CORTEX)
    assert correction.grow(data, grid_of(), WHITE, 1.0, protected=[0, CORTEX, LESION]).changed == 0


def test_smoothing_takes_spikes_and_keeps_the_body():
    grid = grid_of((1.0, 1.0, 2.0))
    round_one = ball(SHAPE, (11, 10, 8), 7, grid.spacing)
    data = np.where(round_one, WHITE, CORTEX).astype(np.uint8)
    data[19:24, 10, 8] = WHITE
    data[11, 10, 8] = CORTEX
    result = correction.smooth(data, grid, WHITE, 1.0)
    assert (result.data[20:24, 10, 8] == CORTEX).all()
    assert result.data[11, 10, 8] == WHITE
    volume = np.count_nonzero(result.data == WHITE) / round_one.sum()
    assert 0.93 < volume < 1.03


def test_keeping_inside_and_replacing():
    data = brain()
    inside = np.zeros(SHAPE, dtype=bool)
    inside[:12] = True
    result = correction.keep_inside(data, grid_of(), WHITE, inside)
    assert not (result.data[12:] == WHITE).any()
    np.testing.assert_array_equal(result.data[:12], data[:12])
    swapped = correction.replace_class(data, grid_of(), LESION, WHITE)
    assert swapped.changed == 2
    np.testing.assert_array_equal(swapped.data == WHITE, (data == WHITE) | (data == LESION))
    with pytest.raises(MedzooError, match="shape"):
        correction.keep_inside(data, grid_of(), WHITE, inside[:5])
    with pytest.raises(MedzooError, match="protected"):
        correction.replace_class(data, grid_of(), LESION, WHITE, protected=[WHITE])


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_interpolation_runs_linearly_between_painted_slices(axis):
    """Squares of half-width 7 and 3, four slices apart: 6, 5 and 4 between them (Raya & Udupa)."""
    shape = [20, 20, 20]
    shape[axis] = 9
    data = np.zeros(shape, dtype=np.uint8)
    view = np.moveaxis(data, axis, 0)
    for at, half in ((2, 7), (6, 3)):
        view[at, 10 - half : 10 + half, 10 - half : 10 + half] = LESION
    result = correction.interpolate_slices(data, grid_of(shape=tuple(shape)), LESION, axis)
    slices = np.moveaxis(result.data == LESION, axis, 0)
    widths = [int(np.ptp(np.flatnonzero(cut.any(axis=0)))) + 1 if cut.any() else 0 for cut in slices]
    assert widths == [0, 0, 14, 12, 10, 8, 6, 0, 0]


def test_interpolation_leaves_painted_slices_alone_and_protects():
    data = np.zeros(SHAPE, dtype=np.uint8)
    data[5:15, 5:15, 2] = WHITE
    data[5:15, 5:15, 8] = WHITE
    data[5, 5, 5] = WHITE  # somebody painted here: both gaps are interpolated towards it
    data[10, 10, 3] = CORTEX
    result = correction.interpolate_slices(data, grid_of(), WHITE, 2, protected=[CORTEX])
    np.testing.assert_array_equal(result.data[:, :, [2, 5, 8]], data[:, :, [2, 5, 8]])
    assert result.data[10, 10, 3] == CORTEX
    assert np.count_nonzero(result.data[:, :, 3] == WHITE) > np.count_nonzero(result.data[:, :, 4] == WHITE)


@pytest.mark.parametrize("tool", TOOLS)
def test_an_absent_class_and_one_that_fills_the_scan_are_no_trouble(tool):
    grid = grid_of((1.0, 1.5, 3.0))
    assert TOOLS[tool](np.zeros(SHAPE, dtype=np.uint8), grid, ()).changed == 0
    assert TOOLS[tool](np.full(SHAPE, WHITE, dtype=np.uint8), grid, ()).changed == 0


@pytest.mark.parametrize("function", [correction.smooth, correction.grow, correction.shrink])
def test_lengths_of_nothing_are_refused(function):
    with pytest.raises(MedzooError, match="above 0"):
        function(brain(), grid_of(), WHITE, 0.0)
