"""The dock Labels: what the table shows, and what a person does in it."""

from __future__ import annotations

import numpy as np
import pytest
from napari.layers import Labels, Layer
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QColorDialog

from napari_medzoo.label_tables import LABEL_TABLES, read_label_table
from napari_medzoo.labels import Segmentation
from napari_medzoo.palette import OKABE_ITO
from napari_medzoo.widgets import label_display as display
from napari_medzoo.widgets.label_model import INDEX, NAME, OPACITY, SHOWN, SOLO, VOLUME
from napari_medzoo.widgets.layers import segmentation_layer
from napari_medzoo.widgets.legend import LabelLegend, count_voxels

PRESENT = {17: 18, 10: 2, 18: 1}


@pytest.fixture
def legend(make_napari_viewer, awkward_grids, qtbot):
    grid = awkward_grids["permuted"]
    data = np.zeros(grid.shape, dtype=np.uint16)
    data[1:4, 2:5, 1:3], data[5:7, 1, 3], data[8, 3, 4] = 17, 10, 18
    viewer = make_napari_viewer()
    labels = Segmentation(data, grid, LABEL_TABLES["aseg"])
    viewer.add_layer(Layer.create(*segmentation_layer(labels, "aseg")))
    widget = LabelLegend(viewer)
    viewer.window.add_dock_widget(widget, name="Labels")
    qtbot.waitUntil(lambda: widget.model.rows == sorted(PRESENT))
    yield widget
    qtbot.waitUntil(lambda: not widget.newest.busy)


def cell(legend, index: int, column: int):
    return legend.table.proxy.mapFromSource(legend.model.index(legend.model.rows.index(index), column))


def shown(legend, column: int) -> list:
    proxy = legend.table.proxy
    return [proxy.index(row, column).data() for row in range(proxy.rowCount())]


def click(legend, qtbot, index: int, column: int, double: bool = False) -> None:
    where = legend.table.visualRect(cell(legend, index, column)).center()
    qtbot.mouseClick(legend.table.viewport(), Qt.MouseButton.LeftButton, pos=where)
    if double:
        qtbot.mouseDClick(legend.table.viewport(), Qt.MouseButton.LeftButton, pos=where)


def test_present_classes_with_their_volumes_and_all_on_demand(legend, awkward_grids, qtbot):
    millilitres = awkward_grids["permuted"].voxel_volume_ml
    table = LABEL_TABLES["aseg"]
    assert shown(legend, INDEX) == [10, 17, 18]
    assert shown(legend, NAME) == [table[index].name for index in (10, 17, 18)]
    assert shown(legend, VOLUME) == [f"{PRESENT[index] * millilitres:.2f}" for index in (10, 17, 18)]
    legend.present.click()
    assert len(shown(legend, INDEX)) == len(table.foreground)


def test_sorting_is_by_value_and_filtering_by_text(legend):
    legend.table.sortByColumn(VOLUME, Qt.SortOrder.DescendingOrder)
    assert shown(legend, INDEX) == [17, 10, 18]
    legend.filter.setText("AMYG")
    assert shown(legend, INDEX) == [18]


def test_volumes_follow_the_brush_and_undo(legend, qtbot):
    layer = legend.layer
    layer.brush_size, layer.selected_label = 1, 53
    layer.paint((6, 8, 3), 53)
    qtbot.waitUntil(lambda: 53 in legend.model.rows)
    layer.undo()
    qtbot.waitUntil(lambda: 53 not in legend.model.rows)


def test_a_click_selects_the_class_and_goes_there(legend, qtbot):
    click(legend, qtbot, 18, NAME)
    assert legend.layer.selected_label == 18
    point = np.array(legend.viewer.dims.point)
    voxel = tuple(np.rint(legend.layer.world_to_data(point)).astype(int))
    assert legend.layer.data[voxel] == 18


def test_ticks_solo_opacity_and_names_reach_the_layer(legend, qtbot, notified):
    layer, model = legend.layer, legend.model
    proxy = legend.table.proxy
    proxy.setData(cell(legend, 17, SHOWN), Qt.CheckState.Unchecked.value, Qt.ItemDataRole.CheckStateRole)
    assert layer.colormap.map(17)[3] == 0
    click(legend, qtbot, 10, SOLO)
    assert display.display_of(layer).solo == 10
    assert layer.colormap.map(18)[3] == 0
    click(legend, qtbot, 10, SOLO)
    assert layer.colormap.map(18)[3] == 1
    assert layer.colormap.map(17)[3] == 0
    proxy.setData(cell(legend, 18, OPACITY), 40)
    assert layer.colormap.map(18)[3] == pytest.approx(0.4)
    proxy.setData(cell(legend, 18, NAME), "  left   amygdala ")
    assert layer.metadata["medzoo"]["table"][18].name == "left amygdala"
    assert not proxy.setData(cell(legend, 18, NAME), LABEL_TABLES["aseg"][17].name)
    assert any("twice" in text for text in notified)
    legend.none.click()
    assert {layer.colormap.map(index)[3] for index in model.rows} == {0}
    legend.all.click()
    assert layer.colormap.map(17)[3] == 1


def test_a_colour_is_chosen_by_double_click(legend, qtbot, monkeypatch):
    from qtpy.QtGui import QColor

    monkeypatch.setattr(QColorDialog, "getColor", lambda *arguments: QColor(9, 8, 7))
    click(legend, qtbot, 17, SHOWN, double=True)
    np.testing.assert_allclose(legend.layer.colormap.map(17)[:3] * 255, (9, 8, 7), atol=1e-3)


def test_outline_width_goes_both_ways(legend):
    legend.contour.setValue(2)
    assert legend.layer.contour == 2
    legend.layer.contour = 0
    assert legend.contour.value() == 0


@pytest.mark.parametrize(
    ("name", "form"), [("dseg.tsv", None), ("lut.txt", None), ("snap.label", None), ("plain.txt", "itksnap")]
)
def test_names_and_colours_go_out_and_come_back(legend, tmp_path, name, form):
    display.recolour(legend.layer, 17, (1, 2, 3))
    legend.export_table(tmp_path / name, form)
    assert read_label_table(tmp_path / name)[17].color == (1, 2, 3)
    display.recolour(legend.layer, 17, (99, 99, 99))
    legend.import_table(tmp_path / name)
    assert display.table_of(legend.layer)[17].color == (1, 2, 3)


def test_a_bad_file_is_one_sentence_and_missing_names_are_told(legend, tmp_path, notified):
    (tmp_path / "bad.txt").write_text("no table", encoding="utf-8")
    legend.import_table(tmp_path / "bad.txt")
    assert "not a label table" in notified[0]
    (tmp_path / "dataset.json").write_text('{"labels": {"background": 0, "hippocampus": 17}}', encoding="utf-8")
    legend.import_table(tmp_path / "dataset.json")
    assert "does not name 10, 18" in notified[1]
    np.testing.assert_allclose(legend.layer.colormap.map(10), (1, 0, 1, 1))


def test_safe_colours_are_put_on(legend, qtbot):
    legend.safe.click()
    expected = np.array(OKABE_ITO[0]) / 255
    qtbot.waitUntil(lambda: np.allclose(legend.layer.colormap.map(10)[:3], expected, atol=1e-3))


def test_any_labels_layer_can_be_chosen_and_may_go(legend, qtbot):
    foreign = Labels(np.eye(5, dtype=np.uint8)[None].repeat(4, 0) * 3, name="foreign", scale=(10, 10, 10))
    legend.viewer.add_layer(foreign)
    legend.viewer.layers.selection.active = foreign
    qtbot.waitUntil(lambda: shown(legend, VOLUME) == ["20.00"])
    legend.viewer.layers.remove(foreign)
    assert legend.layer is not None and legend.layer.name == "aseg"
    legend.viewer.layers.clear()
    assert legend.layer is None
    assert legend.model.rows == []


def test_counting_takes_negative_and_huge_values():
    data = np.array([[[0, -1], [5, 5]], [[2**40, 0], [0, 5]]])
    assert count_voxels(data) == {0: 3, -1: 1, 5: 3, 2**40: 1}
