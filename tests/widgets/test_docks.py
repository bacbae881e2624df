"""Opening docks, and one log for labels whoever corrects and whoever saves them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from napari.layers import Layer
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QDockWidget

import napari_medzoo
from napari_medzoo.io import read_segmentation
from napari_medzoo.journal import find_unsaved
from napari_medzoo.labels import Segmentation
from napari_medzoo.widgets import view
from napari_medzoo.widgets.docks import DOCKS, NAME, dock_class, open_dock
from napari_medzoo.widgets.layers import segmentation_from_layer

MANIFEST = yaml.safe_load((Path(napari_medzoo.__path__[0]) / "napari.yaml").read_text(encoding="utf-8"))


def test_the_docks_are_those_of_the_manifest_under_its_names():
    commands = {command["id"]: command["python_name"] for command in MANIFEST["contributions"]["commands"]}
    widgets = {widget["display_name"]: commands[widget["command"]] for widget in MANIFEST["contributions"]["widgets"]}
    assert {dock.title: dock.where for dock in DOCKS.values()} == widgets
    assert MANIFEST["display_name"] == NAME


@pytest.mark.parametrize("key", [key for key in DOCKS if key != "views"])  # those have a module of their own
def test_a_dock_opens_once_and_comes_forward_again(make_napari_viewer, tiny_card, key):
    viewer = make_napari_viewer(show=True)
    widget = open_dock(viewer, key)
    assert isinstance(widget, dock_class(key))
    frame = next(one for one in widget.window().findChildren(QDockWidget) if one.isAncestorOf(widget))
    assert frame.windowTitle().startswith(DOCKS[key].title)
    frame.hide()
    assert open_dock(viewer, key) is widget
    assert frame.isVisible()
    assert len(viewer.window.dock_widgets) == 1


def test_a_button_of_the_panel_opens_a_dock_behind_the_panel_as_a_tab(panel, qtbot):
    qtbot.mouseClick(panel.dock_view.buttons["labels"], Qt.MouseButton.LeftButton)
    kind = dock_class("labels")
    legend = next(widget for widget in panel.viewer.window.dock_widgets.values() if isinstance(widget, kind))
    window = legend.window()
    frame = next(one for one in window.findChildren(QDockWidget) if one.isAncestorOf(legend))
    assert any(other.isAncestorOf(panel) for other in window.tabifiedDockWidgets(frame))


def test_the_convention_is_one_for_panel_and_views(panel):
    panel.viewer.add_image(np.zeros((4, 5, 6)))
    panel.shown.turn_to("axial")
    panel.plane_view.convention.value = view.RADIOLOGICAL
    assert view.LOOK.convention == view.RADIOLOGICAL
    assert panel.viewer.scene.camera.orientation[2] == "left"
    view.LOOK.convention = view.NEUROLOGICAL
    assert panel.plane_view.convention.value == view.NEUROLOGICAL
    assert panel.viewer.scene.camera.orientation[2] == "right"


@pytest.fixture
def painted(panel, awkward_grids):
    """The panel with a result on which somebody painted with napari's brush alone."""
    grid = awkward_grids["awkward"]
    data = np.zeros(grid.shape, np.uint8)
    data[2:6, 2:6, 2:5] = 10
    table = next(iter(panel.state.cards.values())).label_table
    panel._show_segmentation(Segmentation(data, grid, table), "labels", None)
    layer = panel.shown.result
    layer.mode, layer.selected_label, layer.brush_size = "paint", 16, 1
    stroke(panel, (1, 1, 1))
    return panel


def stroke(panel, voxel: tuple[int, int, int]) -> None:
    """One dab of the brush, seen before the next: a program paints faster than a hand."""
    panel.shown.result.paint(voxel, 16)
    panel.shown.editing().compare()


def actions(path: Path) -> list[str]:
    return [edit["action"] for edit in json.loads(path.read_text(encoding="utf-8"))["edits"]]


def test_the_panel_saves_the_log_of_strokes_that_nobody_announced_and_ends_the_journal(
    painted, finish, tmp_path, journals
):
    editing = painted.shown.editing()
    editing.flush()
    original = segmentation_from_layer(Layer.create(editing.original, {}, "labels")).data
    assert len(find_unsaved(original, journals)) == 0, "this program still writes it"
    assert len(list(journals.iterdir())) == 1
    path = tmp_path / "labels.nii.gz"
    finish(painted, lambda: painted.save(path))
    assert list(journals.iterdir()) == []
    assert actions(tmp_path / "labels_edits.json") == ["Paint"]
    np.testing.assert_array_equal(read_segmentation(path).data, segmentation_from_layer(painted.shown.result).data)
    stroke(painted, (2, 1, 1))
    finish(painted, lambda: painted.save(path))
    assert actions(tmp_path / "labels_edits.json") == ["Paint", "Paint"]
    assert (tmp_path / "labels_original.nii.gz").exists()


def test_a_result_that_nobody_corrected_is_saved_without_a_log(painted, finish, tmp_path):
    painted.shown.result.undo()
    plain = painted.state.segmentation
    painted._show_segmentation(plain, "once more", None)
    finish(painted, lambda: painted.save(tmp_path / "plain.nii.gz"))
    finish(painted, lambda: painted.save(tmp_path / "plain.nii.gz"))
    assert sorted(file.name for file in tmp_path.glob("plain*")) == ["plain.nii.gz", "plain.tsv"]


def test_dock_and_panel_share_one_log_and_either_saves_all_of_it(painted, finish, tmp_path, qtbot):
    correct = open_dock(painted.viewer, "correct")
    assert correct.editing is painted.shown.editing()
    correct.who.setText("Dr. Özil")
    stroke(painted, (3, 1, 1))
    finish(painted, lambda: painted.save(tmp_path / "one.nii.gz"))
    assert actions(tmp_path / "one_edits.json") == ["Paint", "Paint"]
    assert correct.editing.source == tmp_path / "one.nii.gz", "the dock knows the file"
    stroke(painted, (4, 1, 1))
    finish(correct, lambda: correct.save(tmp_path / "two.nii.gz"))
    assert actions(tmp_path / "two_edits.json") == ["Paint"] * 3, "the log goes with the labels"
    who = [edit["who"] for edit in json.loads((tmp_path / "two_edits.json").read_text(encoding="utf-8"))["edits"]]
    assert who[1:] == ["Dr. Özil"] * 2
    correct.use(None)


def test_the_log_of_a_file_that_the_panel_opened_goes_on_under_another_name(painted, finish, tmp_path):
    finish(painted, lambda: painted.save(tmp_path / "first_seg.nii.gz"))
    painted.clear()
    finish(painted, lambda: painted.open_paths([tmp_path / "first_seg.nii.gz"]))
    (layer,) = painted.shown.label_layers()
    layer.mode = "paint"
    layer.paint((6, 1, 1), 16)
    correct = open_dock(painted.viewer, "correct")
    finish(correct, lambda: correct.save(tmp_path / "second_seg.nii.gz"))
    assert actions(tmp_path / "second_seg_edits.json") == ["Paint", "Paint"]
    correct.use(None)


def test_naparis_own_save_writes_the_log_too(painted, tmp_path, journals):
    from napari_medzoo.widgets.plugin import write_labels

    data, meta, _ = painted.shown.result.as_layer_data_tuple()
    write_labels(str(tmp_path / "napari.nii.gz"), data, meta)
    assert actions(tmp_path / "napari_edits.json") == ["Paint"]
    assert list(journals.iterdir()) == []


def test_saving_labels_that_were_taken_away_is_refused_in_a_sentence(painted, notified, tmp_path):
    painted.viewer.layers.remove(painted.shown.result)
    painted.save(tmp_path / "gone.nii.gz")
    assert "no longer among the layers" in notified[-1]
    assert not (tmp_path / "gone.nii.gz").exists()
