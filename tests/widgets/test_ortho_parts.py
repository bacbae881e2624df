"""The views' parts by themselves: keys, places on a canvas, read-out, strokes, straightened copies."""

from __future__ import annotations

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image, Labels, Layer
from napari.utils.shortcuts import default_shortcuts
from qtpy.QtCore import QEvent, Qt
from qtpy.QtGui import QKeyEvent, QKeySequence

from napari_medzoo.labels import Label, LabelTable, Segmentation
from napari_medzoo.progress import run
from napari_medzoo.space import Grid
from napari_medzoo.study import Volume
from napari_medzoo.widgets import view
from napari_medzoo.widgets.layers import grid_of, oblique_degrees, segmentation_layer, volume_layer
from napari_medzoo.widgets.ortho.geometry import on_canvas
from napari_medzoo.widgets.ortho.marks import side_and_distance
from napari_medzoo.widgets.ortho.painting import hand_over
from napari_medzoo.widgets.ortho.readout import read, readings
from napari_medzoo.widgets.ortho.straight import straight_grid, straighten, tilted
from napari_medzoo.widgets.shortcuts import SHORTCUTS, shortcut_of

TABLE = LabelTable("two", (Label(3, "left thing", (255, 0, 0)), Label(7, "right thing", (0, 255, 0))))


def test_no_two_shortcuts_are_the_same_and_none_is_taken_from_napari():
    ours = [(shortcut.where, QKeySequence(keys)) for shortcut in SHORTCUTS.values() for keys in shortcut.keys]
    assert len({(where, keys.toString()) for where, keys in ours}) == len(ours)
    arrows = {"Left", "Right"}  # napari steps its one view with them; we step the one under the mouse
    napari_keys = {str(key) for keys in default_shortcuts.values() for key in keys}
    taken = {keys for _, sequence in ours if (keys := sequence.toString()) in napari_keys}
    assert taken <= arrows, taken


def test_a_key_is_recognised_with_its_modifiers():
    def press(key, modifier=Qt.KeyboardModifier.NoModifier):
        return shortcut_of(QKeyEvent(QEvent.Type.KeyPress, key, modifier))

    assert press(Qt.Key.Key_Up) == press(Qt.Key.Key_Up, Qt.KeyboardModifier.KeypadModifier) == "next_slice"
    assert press(Qt.Key.Key_PageDown) == "ten_slices_back"
    assert press(Qt.Key.Key_Up, Qt.KeyboardModifier.ControlModifier) == ""


def test_a_coordinate_reads_as_a_side():
    assert [side_and_distance(axis, -12.04) for axis in range(3)] == ["L 12.0 mm", "P 12.0 mm", "I 12.0 mm"]
    assert side_and_distance(2, 3.0) == "S 3.0 mm"


@pytest.mark.parametrize("name", ["identity", "anisotropic", "flipped", "permuted", "oblique", "awkward"])
def test_the_read_out_counts_voxels_as_the_file_does(awkward_grids, name):
    grid = awkward_grids[name]
    data = np.arange(np.prod(grid.shape), dtype=np.int32).reshape(grid.shape)
    scan = Layer.create(*volume_layer(Volume(data, grid)))
    marked = np.where(data % 2, 3, 7).astype(np.uint8)
    labels = Layer.create(*segmentation_layer(Segmentation(marked, grid, TABLE)))
    for voxel in [(0, 0, 0), (10, 8, 6), (3, 7, 2)]:
        point = grid.to_world([voxel])[0]
        found = read(scan, point)
        assert (found.voxel, found.value) == (voxel, str(data[voxel]))
        assert read(labels, point).label == {3: "left thing", 7: "right thing"}[int(marked[voxel])]
    outside = read(scan, grid.to_world([(-2, 0, 0)])[0])
    assert (outside.voxel, outside.value) == (None, "outside")


def test_the_read_out_has_every_layer_and_says_background():
    model = ViewerModel()
    model.add_image(np.full((4, 4, 4), 1.25, np.float32), name="scan")
    model.add_labels(np.zeros((4, 4, 4), int), name="labels")
    model.add_points(np.zeros((1, 3)))
    assert [(r.layer, r.value, r.label) for r in readings(model, (1, 1, 1))] == [
        ("labels", "0", "background"),
        ("scan", "1.25", ""),
    ]


@pytest.mark.parametrize("paint", ["brush", "fill", "values"])
def test_a_stroke_handed_over_can_be_undone_where_it_belongs(paint):
    data = np.zeros((6, 7, 8), np.uint8)
    data[2, 1:4, 1:4] = 2
    before = data.copy()
    main, side = Labels(data), Labels(data)
    strokes = []
    side.events.paint.connect(lambda event: strokes.append(event.value))
    with side.block_history():
        if paint == "brush":
            side.brush_size = 3
            side.paint((0, 3, 3), 5)
            side.paint((0, 3, 4), 6)
        elif paint == "fill":
            side.fill((2, 2, 2), 5)
        else:
            side.data_setitem((np.array([1, 1]), np.array([1, 2]), np.array([1, 2])), 9)
    after = data.copy()
    assert (before != after).any()
    hand_over(strokes[0], main)
    np.testing.assert_array_equal(data, after)
    main.undo()
    np.testing.assert_array_equal(data, before)
    main.redo()
    np.testing.assert_array_equal(data, after)


@pytest.mark.parametrize("name", ["oblique", "awkward"])
def test_a_straightened_copy_lies_on_the_world_axes_and_keeps_every_voxel_in_its_place(awkward_grids, name):
    grid = awkward_grids[name]
    world = grid.to_world(np.argwhere(np.ones(grid.shape, bool))).reshape(*grid.shape, 3)
    ramp = (100 + world @ (1.0, 2.0, -0.5)).astype(np.float32)  # linear, so that linear resampling is exact
    layer = Layer.create(*volume_layer(Volume(ramp, grid)))
    tilt = tilted(layer)
    assert tilt.degrees == pytest.approx(oblique_degrees(grid))
    (copy,) = run(straighten([tilt]))
    assert copy.grid.axis_codes == "RAS"
    assert oblique_degrees(copy.grid) == 0
    np.testing.assert_allclose(copy.grid.spacing, min(grid.spacing))
    middle = np.rint(copy.grid.to_index([grid.center_mm])[0]).astype(int)
    place = copy.grid.to_world([middle])[0]
    assert copy.data[tuple(middle)] == pytest.approx(100 + place @ (1.0, 2.0, -0.5), abs=0.01)
    marks = np.where(world[..., 0] > grid.center_mm[0], 7, 3).astype(np.uint8)
    labels = Layer.create(*segmentation_layer(Segmentation(marks, grid, TABLE)))
    (copied,) = run(straighten([tilted(labels)]))
    assert set(np.unique(copied.data)) == {0, 3, 7}
    right = copied.grid.to_world(np.argwhere(copied.data == 7))[:, 0]
    assert right.min() > grid.center_mm[0] - max(grid.spacing)


def test_straight_layers_are_not_copied_and_moved_ones_are(awkward_grids):
    for name in ("identity", "anisotropic", "flipped", "permuted"):
        layer = Layer.create(*volume_layer(Volume(np.zeros(awkward_grids[name].shape, np.uint8), awkward_grids[name])))
        assert tilted(layer) is None
        assert grid_of(layer).same_as(awkward_grids[name].reoriented("RAS"))
    turned = Image(np.zeros((5, 6, 7)), rotate=[10, 0, 0])
    assert tilted(turned).degrees == pytest.approx(10, abs=0.1)


def test_a_straight_grid_of_a_large_scan_stays_small():
    angle = np.radians(20)
    affine = np.array([[np.cos(angle), -np.sin(angle), 0, 0], [np.sin(angle), np.cos(angle), 0, 0], [0, 0, 1, 0]])
    large = Grid((700, 700, 400), np.vstack([affine * 0.4, [0, 0, 0, 1]]))
    assert np.prod(straight_grid(large).shape) < 25e6


def test_places_on_a_canvas_follow_plane_and_convention():
    model = ViewerModel(ndisplay=3)
    model.dims.ndisplay = 2
    for convention, side in ((view.NEUROLOGICAL, 1), (view.RADIOLOGICAL, -1)):
        view.show_plane(model, "axial", convention)
        model.scene.camera.center, model.scene.camera.zoom = (0, 0, 0), 2
        middle, right, front = on_canvas(model, [(0, 0, 5), (10, 0, 5), (0, 10, 5)], (200, 100))
        np.testing.assert_allclose(middle, (100, 50))
        np.testing.assert_allclose(right, (100 + side * 20, 50))
        np.testing.assert_allclose(front, (100, 30))
