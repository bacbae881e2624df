"""The Lesions dock: every lesion in its place, the way there in every view, and what a reference and a brush change."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from napari.layers import Labels, Layer
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication

from napari_medzoo.label_tables import LABEL_TABLES
from napari_medzoo.labels import Label, LabelTable, Segmentation
from napari_medzoo.lesions import compare_lesions, find_lesions
from napari_medzoo.space import Grid
from napari_medzoo.state import State
from napari_medzoo.widgets import menu_commands
from napari_medzoo.widgets.dock_body import WIDTH
from napari_medzoo.widgets.docks import open_dock
from napari_medzoo.widgets.label_display import display_of
from napari_medzoo.widgets.layers import segmentation_from_layer, segmentation_layer
from napari_medzoo.widgets.lesion_tasks import FALSE, FOUND, MISSED
from napari_medzoo.widgets.lesions_dock import NO_CLASS, NO_LABELS, STALE, LesionsDock
from napari_medzoo.widgets.lesions_parts import EDGE, HEADINGS, MARKS, REGION, VERDICT
from napari_medzoo.widgets.ortho.geometry import on_canvas
from napari_medzoo.widgets.result_views import ResultView
from tests.widgets.conftest import close_views

BRAIN = LABEL_TABLES["mrbrains"]
WM, LESION, VENTRICLE = 3, 4, 6
GRIDS = {
    "flipped": np.diag([-1.0, 1.0, 1.5, 1.0]),
    "permuted": np.array([[0, 0, 1.5, 3], [-1.0, 0, 0, 0], [0, -1.0, 0, 7], [0, 0, 0, 1]]),
}
SHAPE = (24, 26, 22)
BOXES = {"large": np.s_[4:8, 4:9, 4:7], "middle": np.s_[14:17, 5:8, 8:10], "small": np.s_[18:20, 18:20, 15:16]}
"""Lesions of 60, 18 and 4 voxels; a voxel has 1.5 mm³."""


def labels(*names: str, affine=GRIDS["flipped"], speck: bool = False) -> Segmentation:
    data = np.full(SHAPE, WM, np.uint8)
    data[10:13, 10:13, 10:13], data[:1] = VENTRICLE, 1
    for name in names:
        data[BOXES[name]] = LESION
    if speck:
        data[21, 3, 18] = LESION
    return Segmentation(data, Grid(SHAPE, affine), BRAIN)


def mask_of(segmentation: Segmentation) -> Segmentation:
    """As a rater's mask comes: one class without a telling name."""
    table = LabelTable("mask", (Label(1, "label 1", (255, 200, 0)),))
    return Segmentation((segmentation.data == LESION).astype(np.uint8), segmentation.grid, table)


def add(viewer, segmentation: Segmentation, name: str) -> Labels:
    return viewer.add_layer(Layer.create(*segmentation_layer(segmentation, name)))


def idle(dock) -> bool:
    return not (dock.state.work or dock.state.releasing or dock.newest.busy or dock._settle.isActive())


@pytest.fixture
def settle(qtbot):
    """``settle(dock, request)``: make a request and wait until nothing runs for it any more."""

    def wait(dock, request=lambda: None) -> None:
        request()
        qtbot.waitUntil(lambda: idle(dock), timeout=60_000)

    return wait


@pytest.fixture
def opened(make_napari_viewer, qtbot, settle):
    """``opened(segmentation)``: the dock in a viewer with these labels, listed."""
    docks = []

    def make(*segmentations: Segmentation) -> LesionsDock:
        viewer = make_napari_viewer(show=True)
        for number, segmentation in enumerate(segmentations):
            add(viewer, segmentation, f"labels {number}" if number else "labels")
        docks.append(open_dock(viewer, "lesions"))
        settle(docks[-1])
        return docks[-1]

    yield make
    for dock in docks:
        dock.jobs.cancel()
        dock.newest.forget()
        qtbot.waitUntil(lambda dock=dock: not dock.state.releasing, timeout=30_000)


def numbers(dock) -> list[int]:
    return [row[0] for row in dock.table.values()]


def under_the_crosshair(dock, name: str = "labels") -> int:
    layer = dock.viewer.layers[name]
    return int(layer.data[tuple(np.rint(layer.world_to_data(dock.viewer.dims.point)).astype(int))])


@pytest.mark.parametrize("affine", GRIDS.values(), ids=GRIDS)
def test_the_table_shows_what_find_lesions_finds(opened, affine):
    made = labels("large", "middle", "small", affine=affine, speck=True)
    dock = opened(made)
    expected = find_lesions(made)
    for row, one in zip(dock.table.values(), expected.lesions, strict=True):
        assert row[:2] == [one.number, one.region]
        np.testing.assert_allclose(row[2:4], (one.volume_ml, one.extent_mm))
        assert row[5:] == [round(mm) for mm in one.centre_mm]
    assert dock.summary.text() == "3 lesions, 0.12 mL in all; 1 smaller than 3 mm³ left out."
    assert dock.table.isColumnHidden(VERDICT) and not dock.agreement.isVisible()


def test_all_columns_stand_side_by_side_with_their_figures_whole(opened, settle):
    dock = opened(labels("large", "middle"), mask_of(labels("middle", "small")))
    settle(dock, lambda: setattr(dock.reference, "value", dock.viewer.layers["labels 1"]))
    table = dock.table
    assert not table.isColumnHidden(VERDICT) and dock.width() >= WIDTH
    assert table.horizontalHeader().length() <= table.viewport().width(), "it scrolls sideways"
    letters = table.fontMetrics()
    for column in set(range(len(HEADINGS))) - {REGION}:
        widest = max(letters.horizontalAdvance(table.item(row, column).text()) for row in range(table.rowCount()))
        assert table.columnWidth(column) >= widest + 6, HEADINGS[column]


@pytest.mark.parametrize("affine", GRIDS.values(), ids=GRIDS)
def test_a_row_leads_to_its_lesion_by_mouse_and_by_keys(opened, affine, qtbot):
    dock = opened(labels("large", "middle", "small", affine=affine))
    window, table = dock.window(), dock.table
    with qtbot.waitActive(window):  # keys are heard in the window that the person works in
        window.activateWindow()
    places = {one.number: one.centre_mm for one in dock.listing.lesions}

    def arrived(number: int) -> None:
        assert table.number == number
        reach = max(axis.step for axis in dock.viewer.dims.range) / 2 + 1e-6
        np.testing.assert_allclose(dock.viewer.dims.point, places[number], atol=reach)
        assert under_the_crosshair(dock) == LESION

    cell = table.visualItemRect(table.item(table.row_of(2), 2)).center()
    qtbot.mouseClick(table.viewport(), Qt.MouseButton.LeftButton, pos=cell)
    arrived(2)
    qtbot.keyClick(table, Qt.Key.Key_Up)
    arrived(1)
    for key, modifier, number in (
        (Qt.Key.Key_F3, Qt.KeyboardModifier.NoModifier, 2),
        (Qt.Key.Key_PageDown, Qt.KeyboardModifier.AltModifier, 3),
        (Qt.Key.Key_F3, Qt.KeyboardModifier.NoModifier, 3),
        (Qt.Key.Key_F3, Qt.KeyboardModifier.ShiftModifier, 2),
    ):
        qtbot.keyClick(window, key, modifier)
        arrived(number)
    table.sortByColumn(2, Qt.SortOrder.AscendingOrder)
    assert numbers(dock) == [3, 2, 1]
    dock.next.click()
    arrived(1)


def test_every_view_goes_there_and_a_view_that_is_zoomed_in_is_panned(opened, qtbot):
    dock = opened(labels("large", "middle", "small"))
    views = open_dock(dock.viewer, "views")
    qtbot.waitUntil(lambda: views.desk is not None and all(len(pane.model.layers) for pane in views.desk.panes))
    dock.viewer.scene.camera.zoom *= 6
    for number, lesion in enumerate(dock.listing.lesions, start=1):
        dock.table.step(1)
        assert dock.table.number == number
        for frame in views.desk.frames:
            if frame.model.dims.ndisplay == 2:
                assert frame.model.dims.point[frame.axis] == pytest.approx(lesion.centre_mm[frame.axis], abs=0.75)
                size = (frame.canvas.width(), frame.canvas.height())
                place = on_canvas(frame.model, [lesion.centre_mm], size)[0] / size
                assert (place > EDGE).all() and (place < 1 - EDGE).all()
    close_views(views, qtbot)


def test_the_minimum_and_the_class_can_be_changed(opened, settle):
    dock = opened(labels("large", "middle", "small", speck=True))
    settle(dock, lambda: dock.minimum.setValue(20))
    assert len(dock.table.values()) == 2 and "2 smaller than 20 mm³" in dock.summary.text()
    settle(dock, lambda: dock.minimum.setValue(0))
    assert len(dock.table.values()) == 4 and "left out" not in dock.summary.text()
    settle(dock, lambda: setattr(dock.classes, "value", "ventricles"))
    assert [row[2] for row in dock.table.values()] == [pytest.approx(27 * 0.0015)]


def test_a_reference_says_which_are_found_false_and_missed(opened, settle, tmp_path):
    ours, theirs = labels("large", "middle"), labels("large", "small")
    dock = opened(mask_of(theirs), ours)
    assert dock.layer is dock.viewer.layers["labels 1"], "the layer with a class called lesion is guessed"
    settle(dock, lambda: setattr(dock.reference, "value", dock.viewer.layers["labels"]))
    assert {row[0]: row[VERDICT] for row in dock.table.values()} == {1: FOUND, 2: FALSE, 3: MISSED}
    agreement = compare_lesions(ours, mask_of(theirs))
    assert dock.listing.agreement == agreement and (agreement.found, agreement.lesions, agreement.false) == (1, 2, 1)
    assert "1 of 2 lesions found (sensitivity 0.50), 1 false" in dock.agreement.text()
    assert dock.table.values()[2][1] == "deep", "the labels' anatomy tells where a lesion of a mask lies"
    dock.table.step(3)
    dock.table.step(1)
    dock.table.step(1)
    assert dock.table.number == 3 and under_the_crosshair(dock) == 1 and under_the_crosshair(dock, "labels 1") == WM

    settle(dock, lambda: dock.save(tmp_path / "list.csv"))
    with (tmp_path / "list.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["lesion"], row["reference"]) for row in rows] == [("1", FOUND), ("2", FALSE), ("3", MISSED)]
    np.testing.assert_allclose([float(row["volume_ml"]) for row in rows], (0.09, 0.027, 0.006))
    settle(dock, lambda: dock.save(tmp_path / "list.tsv"))
    assert (tmp_path / "list.tsv").read_text(encoding="utf-8").startswith("lesion\tvolume_ml\t")
    dock.table.clearSelection()
    dock.copy.click()
    assert QApplication.clipboard().text().splitlines()[0].split("\t") == list(HEADINGS)


def test_after_an_edit_the_list_is_out_of_date_until_it_is_undone_or_made_again(opened, settle, qtbot):
    dock = opened(labels("large", "middle"))
    layer = dock.layer
    layer.mode, layer.selected_label, layer.brush_size = "paint", LESION, 4
    assert not dock.stale
    layer.paint(layer.world_to_data(dock.listing.numbered.grid.to_world([[18, 18, 15]])[0]), LESION)
    qtbot.waitUntil(lambda: dock.stale, timeout=30_000)
    assert dock.text.text() == STALE and dock.text.isVisible() and dock.renew.text() == "Refresh the list"
    layer.undo()
    qtbot.waitUntil(lambda: not dock.stale, timeout=30_000)
    layer.redo()
    qtbot.waitUntil(lambda: dock.stale, timeout=30_000)
    settle(dock, dock.renew.click)
    assert len(dock.table.values()) == 3 and not dock.stale and not dock.text.isVisible()


def test_the_chosen_lesion_is_outlined_alone(opened):
    dock = opened(labels("large", "middle"))
    dock.mark.setChecked(True)
    dock.table.step(1)
    dock.table.step(1)
    marks = dock.viewer.layers[MARKS]
    inside = segmentation_from_layer(marks).data
    np.testing.assert_array_equal(inside > 0, labels("large", "middle").data == LESION)
    assert (inside[BOXES["middle"]] == 2).all() and marks.contour == 1
    assert display_of(marks).solo == 2
    assert dock.layer.name == "labels" and MARKS not in [name for name, _ in dock._choices()]
    dock.mark.setChecked(False)
    assert MARKS not in dock.viewer.layers


def test_what_is_missing_is_said(opened, settle, notified):
    dock = opened()
    assert dock.text.text() == NO_LABELS and not dock.renew.isEnabled()
    tissue = LABEL_TABLES["tissue"]
    data = np.ones(SHAPE, np.uint8)
    settle(dock, lambda: add(dock.viewer, Segmentation(data, Grid(SHAPE, np.eye(4)), tissue), "tissue"))
    assert dock.text.text() == NO_CLASS and dock.listing is None
    settle(dock, lambda: add(dock.viewer, labels("large"), "other"))
    settle(dock, lambda: dock.use(dock.viewer.layers["other"]))
    assert numbers(dock) == [1]
    settle(dock, lambda: setattr(dock.reference, "value", dock.viewer.layers["tissue"]))
    assert "'other'" in notified[-1] and "the reference 'tissue'" in notified[-1] and "different grids" in notified[-1]
    settle(dock, lambda: dock.viewer.layers.remove("other"))
    assert dock.listing is None and dock.layer is dock.viewer.layers["tissue"] and not dock.table.values()


def test_the_menu_lists_the_selected_labels_and_a_result_with_lesions_has_a_button(opened, settle, qtbot):
    dock = opened(labels("large"), labels("large", "middle"))
    dock.viewer.layers.selection = {dock.viewer.layers["labels"]}
    settle(dock, menu_commands.list_lesions)
    assert dock.layer is dock.viewer.layers["labels"] and numbers(dock) == [1]
    view = ResultView()
    qtbot.addWidget(view)
    for made, seen in ((labels("large"), True), (mask_of(labels("large")), False)):
        view.refresh(State(segmentation=made))
        assert view.lesions.isHidden() is not seen
    with qtbot.waitSignal(view.lesions_wanted):
        view.lesions.click()
