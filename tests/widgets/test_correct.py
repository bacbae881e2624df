"""The dock Correct: painting by name, tools, the log, the original, and a killed window."""

from __future__ import annotations

import json
import signal
import subprocess
import sys

import numpy as np
import pytest
from napari.layers import Labels, Layer

from napari_medzoo.io import read_segmentation, write_segmentation
from napari_medzoo.labels import Label, LabelTable, Segmentation
from napari_medzoo.space import Grid
from napari_medzoo.widgets.brush import make_brush_round, radius_mm, set_radius
from napari_medzoo.widgets.correct import Corrections
from napari_medzoo.widgets.layers import grid_of, segmentation_from_layer, segmentation_layer

WHITE, CORTEX, LESION = 2, 3, 77
TABLE = LabelTable(
    "test",
    (
        Label(WHITE, "White matter", (250, 250, 250)),
        Label(CORTEX, "Cortex", (200, 60, 80)),
        Label(LESION, "Lesion", (255, 200, 0)),
    ),
)


def brain(grid: Grid) -> Segmentation:
    """White matter in cortex on any grid, an island and a hole."""
    data = np.zeros(grid.shape, dtype=np.uint8)
    data[2:-2, 1:-1, 1:-1] = CORTEX
    data[3:-3, 2:-2, 2:-2] = WHITE
    data[5, 4, 3] = 0
    data[0, 0, 0] = WHITE
    return Segmentation(data, grid, TABLE)


@pytest.fixture
def dock(make_napari_viewer, awkward_grids, qtbot):
    viewer = make_napari_viewer()
    viewer.add_layer(Layer.create(*segmentation_layer(brain(awkward_grids["awkward"]), "brain")))
    widget = Corrections(viewer)
    viewer.window.add_dock_widget(widget, name="Correct")
    yield widget
    widget.jobs.cancel()
    qtbot.waitUntil(lambda: not widget.state.releasing)
    widget.use(None)


def run_tool(dock, qtbot, key: str, label: int) -> None:
    dock.layer.selected_label = label
    dock.tools.tool.setCurrentIndex(dock.tools.tool.findData(key))
    dock.run()
    qtbot.waitUntil(lambda: not dock.state.work)


def paint(layer: Labels, at: tuple[int, int, int]) -> None:
    layer.mode = "paint"
    layer.paint(at, layer.selected_label)


def test_the_class_is_chosen_by_name_and_the_modes_are_naparis(dock):
    layer = dock.layer
    dock.classes.setCurrentIndex(dock.classes.findText("Lesion"))
    assert layer.selected_label == LESION
    layer.selected_label = WHITE
    assert dock.classes.currentText() == "White matter"
    dock.brush.modes["erase"].click()
    assert layer.mode == "erase"
    layer.mode = "fill"
    assert dock.brush.modes["fill"].isChecked()
    assert not dock.brush.modes["erase"].isChecked()
    dock.brush.preserve.setChecked(True)
    assert layer.preserve_labels
    dock.brush.dimensions.setCurrentIndex(dock.brush.dimensions.findData(3))
    assert layer.n_edit_dimensions == 3


def test_the_brush_is_round_in_mm_and_no_voxel_moves_for_it():
    grid = Grid((40, 40, 30), np.array([[0, 0, 3.0, -60], [-1.0, 0, 0, 20], [0, -1.5, 0, 50], [0, 0, 0, 1]]))
    layer = Layer.create(*segmentation_layer(Segmentation(np.zeros(grid.shape, np.uint8), grid, TABLE)))
    before = grid_of(layer)
    make_brush_round(layer)
    assert grid_of(layer).same_as(before, tolerance_mm=1e-6)
    np.testing.assert_array_equal(segmentation_from_layer(layer).grid.affine, grid.affine)
    layer.n_edit_dimensions = 3
    set_radius(layer, (0, 1, 2), 6.5)
    assert radius_mm(layer, (0, 1, 2)) == pytest.approx(6.5)
    middle = tuple(size // 2 for size in layer.data.shape)
    layer.paint(middle, LESION)
    painted = np.argwhere(layer.data == LESION)
    apart = np.linalg.norm((painted - middle) * np.array(grid_of(layer).spacing), axis=1)
    assert apart.max() <= 6.5
    assert len(painted) * grid.voxel_volume_ml == pytest.approx(4 / 3 * np.pi * 0.65**3, rel=0.1)


def test_a_tool_is_one_step_of_naparis_undo_and_stands_in_the_log(dock, qtbot):
    layer, original = dock.layer, dock.layer.data.copy()
    run_tool(dock, qtbot, "largest", WHITE)
    assert np.count_nonzero(layer.data != original) == 1
    run_tool(dock, qtbot, "grow", WHITE)
    grown = layer.data.copy()
    assert np.count_nonzero(grown == WHITE) > np.count_nonzero(original == WHITE)
    assert "Grow by 1 mm" in dock.last.text()
    assert "White matter +" in dock.last.text()
    layer.undo()  # as Ctrl+Z on the picture does
    layer.undo()
    np.testing.assert_array_equal(layer.data, original)
    layer.redo()
    dock.editing.compare()
    assert [edit.action for edit in dock.editing.edits][:2] == ["Keep the largest piece", "Grow by 1 mm"]
    dock.undo.click()
    np.testing.assert_array_equal(layer.data, original)
    dock.redo.click()
    dock.redo.click()
    np.testing.assert_array_equal(layer.data, grown)
    assert [edit.action for edit in dock.editing.edits][-2:] == ["Redo keep the largest piece", "Redo grow by 1 mm"]


def test_undo_from_the_keyboard_is_noticed_when_things_have_settled(dock, qtbot):
    dock.layer.selected_label = LESION
    with qtbot.waitSignal(dock.editing.edited):
        paint(dock.layer, (4, 3, 5))
    with qtbot.waitSignal(dock.editing.edited) as seen:
        dock.layer.undo()
    assert seen.args[0].action == "Undo paint"
    assert len(dock.editing.change()) == 0


def test_strokes_are_logged_with_who_and_how_many_voxels_of_each_class(dock):
    dock.who.setText("Dr. Özil")
    layer = dock.layer
    layer.selected_label, layer.brush_size = LESION, 3
    before = layer.data.copy()
    with layer.block_history():  # one drag of the mouse
        paint(layer, (4, 3, 5))
        paint(layer, (5, 4, 5))
    (edit,) = dock.editing.edits
    assert (edit.who, edit.action) == ("Dr. Özil", "Paint")
    assert edit.voxels == np.count_nonzero(before != layer.data)
    gained = {one.name: one.gained for one in edit.classes}
    assert gained["Lesion"] == np.count_nonzero(layer.data == LESION)


def test_preserved_labels_are_safe_from_tools(dock, qtbot):
    before = dock.layer.data.copy()
    dock.brush.preserve.setChecked(True)
    run_tool(dock, qtbot, "grow", WHITE)
    np.testing.assert_array_equal(dock.layer.data == CORTEX, before == CORTEX)
    assert np.count_nonzero(dock.layer.data != before)


def test_tools_say_what_they_lack(dock, qtbot, notified):
    run_tool(dock, qtbot, "grow", 0)
    run_tool(dock, qtbot, "inside", WHITE)
    other = Labels(np.ones((4, 4, 4), dtype=np.uint8), name="mask")
    dock.viewer.add_layer(other)
    run_tool(dock, qtbot, "inside", WHITE)
    for words in ("Choose a class", "another layer", "different grids"):
        assert any(words in text for text in notified)
    assert dock.editing.edits == []


def test_keep_inside_and_replace_take_their_answers(dock, qtbot):
    layer = dock.layer
    mask = Labels(np.zeros_like(layer.data), name="mask", scale=layer.scale, affine=layer.affine)
    last, before = np.unique(np.nonzero(layer.data == WHITE)[0])[[-1, -2]]
    mask.data[:last] = 1
    dock.viewer.add_layer(mask)
    assert dock.layer is layer, "a new layer does not take the brush away"
    run_tool(dock, qtbot, "inside", WHITE)
    assert (layer.data[:last] == WHITE).any() and not (layer.data[last:] == WHITE).any()
    mask.data[:before] = 2
    mask.features = {"index": [1, 2], "name": ["outer", "inner"]}
    dock.tools.mask.setCurrentIndex(-1)  # as if chosen anew: the names are read then
    dock.tools.mask.setCurrentIndex(0)
    assert [dock.tools.part.itemText(i) for i in range(3)] == ["any class", "outer", "inner"]
    dock.tools.part.setCurrentIndex(2)
    run_tool(dock, qtbot, "inside", WHITE)
    assert (layer.data[:before] == WHITE).any() and not (layer.data[before:] == WHITE).any()
    assert [edit.action for edit in dock.editing.edits] == ["Keep inside mask", "Keep inside inner of mask"]
    dock.tools.tool.setCurrentIndex(dock.tools.tool.findData("replace"))
    dock.tools.other.setCurrentIndex(dock.tools.other.findText("Lesion"))
    run_tool(dock, qtbot, "replace", WHITE)
    assert (layer.data == LESION).any()
    assert not (layer.data == WHITE).any()


def test_changes_are_shown_where_they_are_and_the_original_comes_back(dock, qtbot):
    layer, original = dock.layer, dock.layer.data.copy()
    run_tool(dock, qtbot, "shrink", WHITE)
    dock.changes.click()
    shown = dock.viewer.layers[-1]
    np.testing.assert_array_equal(shown.data > 0, layer.data != original)
    assert grid_of(shown).same_as(grid_of(layer))
    assert dock.layer is layer
    dock.back.click()
    np.testing.assert_array_equal(layer.data, original)
    layer.undo()
    assert (layer.data != original).any()


def test_saving_keeps_the_replaced_file_continues_the_log_and_drops_the_journal(dock, qtbot, tmp_path, journals):
    path = tmp_path / "brain.nii.gz"
    first = brain(segmentation_from_layer(dock.layer).grid)
    write_segmentation(first, path)
    run_tool(dock, qtbot, "largest", WHITE)
    dock.editing.flush()
    assert len(list(journals.iterdir())) == 1
    dock.save(path)
    qtbot.waitUntil(lambda: not dock.state.work)
    assert list(journals.iterdir()) == []
    run_tool(dock, qtbot, "grow", WHITE)
    dock.save(path)
    qtbot.waitUntil(lambda: not dock.state.work)
    np.testing.assert_array_equal(read_segmentation(path).data, segmentation_from_layer(dock.layer).data)
    np.testing.assert_array_equal(read_segmentation(tmp_path / "brain_original.nii.gz").data, first.data)
    log = json.loads((tmp_path / "brain_edits.json").read_text(encoding="utf-8"))["edits"]
    assert [edit["action"] for edit in log] == ["Keep the largest piece", "Grow by 1 mm"]


def test_what_was_not_saved_is_offered_again(dock, qtbot, journals):
    original = dock.layer.data.copy()
    run_tool(dock, qtbot, "grow", WHITE)
    dock.layer.selected_label = LESION
    paint(dock.layer, (4, 3, 5))
    corrected = dock.layer.data.copy()
    layer = Labels(original, name="opened again")
    dock.viewer.layers.clear()
    assert dock.layer is None
    assert not dock.store.isEnabled()
    dock.viewer.add_layer(layer)
    qtbot.waitUntil(lambda: bool(dock.restoring.unsaved))
    assert "2 corrections were not saved" in dock.restoring.text.text()
    dock.restoring.restore.click()
    np.testing.assert_array_equal(layer.data, corrected)
    assert [edit.action for edit in dock.editing.edits] == ["Grow by 1 mm", "Paint"]
    assert len(list(journals.iterdir())) == 1, "the new journal has it, the old one is gone"
    layer.undo()
    np.testing.assert_array_equal(layer.data, original)


CHILD = """
import sys
import napari, numpy as np
from napari.layers import Labels
from napari_medzoo.widgets.correct import Corrections

viewer = napari.Viewer()
layer = viewer.add_layer(Labels(np.load(sys.argv[1]), name="brain"))
dock = Corrections(viewer)
viewer.window.add_dock_widget(dock, name="Correct")
layer.brush_size = 5
layer.mode = "paint"
for step in range(1000):
    layer.selected_label = (2, 3, 77)[step % 3]
    layer.paint((step % 11, step * 3 % 9, step * 5 % 7), layer.selected_label)
    np.save(sys.argv[2], layer.data)  # what the person saw
    print(len(dock.editing.edits), flush=True)
    dock.editing.flush()
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL on this system")
def test_a_killed_window_loses_at_most_its_last_stroke(make_napari_viewer, qtbot, tmp_path):
    original = np.zeros((11, 9, 7), dtype=np.uint16)
    np.save(tmp_path / "original.npy", original)
    arguments = [str(tmp_path / "original.npy"), str(tmp_path / "seen.npy")]
    child = subprocess.Popen([sys.executable, "-c", CHILD, *arguments], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    while int(child.stdout.readline()) < 7:
        pass
    child.send_signal(signal.SIGKILL)
    made = max([7, *map(int, child.stdout.read().split())])
    child.wait(30)
    viewer = make_napari_viewer()
    layer = viewer.add_layer(Labels(original.copy(), name="brain"))
    dock = Corrections(viewer)
    qtbot.addWidget(dock)
    qtbot.waitUntil(lambda: bool(dock.restoring.unsaved), timeout=30_000)
    dock.restoring.bring_back()
    restored = len(dock.editing.edits)
    assert made - 1 <= restored <= made + 1  # the stroke after the last line may have been written too
    expected = Labels(original.copy())
    expected.brush_size, steps, done = 5, 0, 0
    while done < restored:
        before = expected.data.copy()
        expected.paint((steps % 11, steps * 3 % 9, steps * 5 % 7), (2, 3, 77)[steps % 3])
        done += bool((expected.data != before).any())
        steps += 1
    np.testing.assert_array_equal(layer.data, expected.data)
    dock.use(None)
