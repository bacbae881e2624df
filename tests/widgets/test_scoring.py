"""The Scoring dock: from a table to the worst place, error layers, slices and confusions."""

from __future__ import annotations

import numpy as np
import pytest
from napari.layers import Labels
from qtpy.QtCore import QPoint, Qt
from qtpy.QtWidgets import QApplication

from napari_medzoo.error_maps import CORRECT, EXTRA, MISSED, worst_place
from napari_medzoo.evaluate import METRICS, comparable, evaluate
from napari_medzoo.label_tables import LABEL_TABLES
from napari_medzoo.labels import Segmentation
from napari_medzoo.slice_scores import plane_axis, slice_scores
from napari_medzoo.widgets.label_display import display_of
from napari_medzoo.widgets.layers import segmentation_from_layer, segmentation_layer
from napari_medzoo.widgets.scoring.colors import cividis, shade
from napari_medzoo.widgets.scoring.dock import ScoringDock
from napari_medzoo.widgets.scoring.pair import ERRORS, EXPECTED_CONTOUR, PREDICTED_CONTOUR
from napari_medzoo.widgets.tables import ink_on

ASEG = LABEL_TABLES["aseg"]
THALAMUS, OTHER, STEM = 10, 49, 16


def two_sides(grid) -> tuple[Segmentation, Segmentation]:
    """Three structures; the prediction's right thalamus is shifted and the stem is missing."""
    reference = np.zeros(grid.shape, np.uint8)
    reference[1:4, 2:7, 1:6], reference[6:9, 2:7, 1:6], reference[4:6, 0:2, 0:3] = THALAMUS, OTHER, STEM
    prediction = np.zeros(grid.shape, np.uint8)
    prediction[1:4, 2:7, 1:6], prediction[6:10, 2:7, 1:6] = THALAMUS, OTHER
    prediction[1, 2:7, 1:6] = OTHER
    return Segmentation(prediction, grid, ASEG), Segmentation(reference, grid, ASEG)


@pytest.fixture(params=["identity", "awkward"])
def dock(make_napari_viewer, awkward_grids, qtbot, request):
    viewer = make_napari_viewer()
    for segmentation, name in zip(two_sides(awkward_grids[request.param]), ("labels", "reference"), strict=True):
        data, arguments, _ = segmentation_layer(segmentation, name)
        viewer.add_layer(Labels(data, **arguments))
    made = ScoringDock(viewer)
    viewer.window.add_dock_widget(made, name="Scoring")
    made.form.prediction.value, made.form.reference.value = viewer.layers["labels"], viewer.layers["reference"]
    yield made
    made.follower.follow(None)
    made.newest.forget()
    made.jobs.cancel()
    qtbot.waitUntil(lambda: not made.state.releasing, timeout=30_000)


@pytest.fixture
def settle(qtbot):
    """``settle(dock, request)``: make a request and wait until nothing runs for it any more."""

    def wait(dock, request=lambda: None) -> None:
        request()
        qtbot.waitUntil(lambda: not dock.state.work and not dock.newest.busy, timeout=60_000)

    return wait


@pytest.fixture
def scored(dock, settle):
    settle(dock, dock.score.click)
    return dock


def click(qtbot, dock, index: int) -> None:
    """A real click on the row of a class."""
    table = dock.table
    cell = table.visualItemRect(table.item(table.row_of(index), 1)).center()
    qtbot.mouseClick(table.viewport(), Qt.MouseButton.LeftButton, pos=cell)


def pair_of(dock) -> tuple[Segmentation, Segmentation]:
    return comparable(*(segmentation_from_layer(dock.viewer.layers[name]) for name in ("labels", "reference")))


def test_the_table_shows_what_evaluate_computes_and_colours_it(scored):
    report = evaluate(*pair_of(scored))
    rows = {row[0]: row for row in scored.table.values()}
    assert set(rows) == {score.index for score in report.labels if score.present} == {THALAMUS, OTHER, STEM}
    for score in report.labels:
        if score.present:
            np.testing.assert_equal(rows[score.index][2:], [getattr(score, key) for key in METRICS])
    row = scored.table.row_of(OTHER)
    color = scored.table.item(row, 2).background().color()
    assert (color.red(), color.green(), color.blue()) == cividis(rows[OTHER][2])
    assert scored.table.item(row, 6).background().style() == Qt.BrushStyle.NoBrush, "a volume is neither good nor bad"
    assert f"{report.mean.dice:.3f}" in scored.summary.text()
    scored.copy.click()
    assert f"\t{rows[OTHER][2]}\t" in QApplication.clipboard().text()


def test_a_click_leads_to_the_worst_place_and_shows_the_class_alone(scored, settle, qtbot):
    pair = pair_of(scored)
    for index in (THALAMUS, OTHER, STEM):
        settle(scored, lambda index=index: click(qtbot, scored, index))
        expected = worst_place(*pair, index)
        # napari's sliders stand on steps of its own: the nearest one is half a step away at most.
        reach = max(axis.step for axis in scored.viewer.dims.range) / 2 + 1e-6
        np.testing.assert_allclose(scored.viewer.dims.point, expected.point_mm, atol=reach)
        assert scored.place.text() == expected.note
        assert display_of(scored.viewer.layers["reference"]).solo == index
        assert display_of(scored.viewer.layers["labels"]).solo == (index if index != STEM else -1)
    assert "absent from the prediction" in scored.place.text()
    settle(scored, scored.all.click)
    assert display_of(scored.viewer.layers["reference"]).solo is None
    assert scored.index is None


def test_sorting_keeps_rows_and_classes_together(scored, settle, qtbot):
    scored.table.sortByColumn(2, Qt.SortOrder.AscendingOrder)
    assert scored.table.values()[0][0] == STEM
    settle(scored, lambda: click(qtbot, scored, OTHER))
    assert scored.index == OTHER


def test_error_map_and_contours_lie_on_the_labels(scored, settle, qtbot):
    settle(scored, lambda: click(qtbot, scored, OTHER))
    settle(scored, scored.errors.click)
    settle(scored, scored.contours.click)
    layers = scored.viewer.layers
    ours, theirs = (layers[name].data == OTHER for name in ("labels", "reference"))
    errors = layers[ERRORS]
    np.testing.assert_allclose(errors.affine.affine_matrix, layers["reference"].affine.affine_matrix)
    np.testing.assert_array_equal(errors.data == CORRECT, ours & theirs)
    np.testing.assert_array_equal(errors.data == EXTRA, ours & ~theirs)
    np.testing.assert_array_equal(errors.data == MISSED, theirs & ~ours)
    for name, mask in ((PREDICTED_CONTOUR, ours), (EXPECTED_CONTOUR, theirs)):
        np.testing.assert_array_equal(layers[name].data > 0, mask)
        assert layers[name].contour == 1
        np.testing.assert_allclose(layers[name].affine.affine_matrix, layers["reference"].affine.affine_matrix)
    assert not np.allclose(layers[PREDICTED_CONTOUR].get_color(OTHER), layers[EXPECTED_CONTOUR].get_color(OTHER))
    settle(scored, scored.all.click)
    settle(scored, scored.errors.click)
    assert [layer.name for layer in layers].count(ERRORS) == 1
    names = list(layers[ERRORS].features["name"])
    assert "Left-Thalamus called Right-Thalamus" in names and "Brain-Stem missed" in names


def test_dice_along_slices_follows_the_view_and_leads_back(scored, settle, qtbot):
    settle(scored, lambda: click(qtbot, scored, OTHER))
    view = scored.slices
    axis = plane_axis(scored.scored.live.grid, view.plane.value)
    expected = slice_scores(*pair_of(scored), OTHER, axis)
    np.testing.assert_array_equal(view.scores.dice, expected.dice)
    curve = view.plot.curves[1]
    for position in (2, 4):
        spot = view.plot.pixel_at(float(curve.x[position]), 0.5)
        qtbot.mouseClick(view.plot, Qt.MouseButton.LeftButton, pos=QPoint(round(spot.x()), round(spot.y())))
        assert expected.position_of(scored.viewer.dims.point) == position
        assert view.plot.mark == pytest.approx(float(curve.x[position]))
        assert f"Slice {position}" in view.text.text()
    before = view.plane.value
    settle(scored, lambda: setattr(scored.viewer.dims, "order", (0, 2, 1) if before != "sagittal" else (2, 1, 0)))
    assert view.plane.value != before, "the plot runs across the plane in view"
    assert len(view.scores.dice) == scored.scored.live.grid.shape[view.scores.axis]


def test_a_cell_of_the_confusion_matrix_leads_to_that_confusion(scored, settle, qtbot):
    scored.tabs.setCurrentIndex(1)
    indices = scored.scored.live.confusion.table.indices
    spot = scored.matrix.middle_of(indices.index(THALAMUS), indices.index(OTHER))
    place = QPoint(round(spot.x()), round(spot.y()))
    settle(scored, lambda: qtbot.mouseClick(scored.matrix, Qt.MouseButton.LeftButton, pos=place))
    layers = scored.viewer.layers
    for name, index in (("reference", THALAMUS), ("labels", OTHER)):
        voxel = np.rint(layers[name].world_to_data(scored.viewer.dims.point)).astype(int)
        assert layers[name].data[tuple(voxel)] == index
    assert "Left-Thalamus in the reference and Right-Thalamus in the prediction" in scored.place.text()


def test_a_pair_that_loses_a_layer_is_forgotten(scored, settle):
    settle(scored, lambda: scored.viewer.layers.remove("reference"))
    assert scored.scored is None
    assert scored.table.rowCount() == 0
    assert not scored.errors.isEnabled()


def test_places_of_labels_that_were_moved_are_forgotten(scored, settle):
    settle(scored, lambda: scored.choose(THALAMUS))
    before, shift = np.array(scored.viewer.dims.point), np.eye(4)
    shift[:3, 3] = 7, 0, -3
    for name in ("labels", "reference"):
        scored.viewer.layers[name].affine = shift @ scored.viewer.layers[name].affine.affine_matrix
        assert scored.scored is None and not scored.table.values() and not scored.errors.isEnabled()
    assert scored.summary.text() == "The labels lie elsewhere now; score them again."
    settle(scored, scored.score.click)
    settle(scored, lambda: scored.choose(THALAMUS))
    steps = [dimension.step for dimension in scored.viewer.dims.range]
    assert (np.abs(scored.viewer.dims.point - before - shift[:3, 3]) <= steps).all()


def test_layers_on_different_grids_are_refused_in_one_sentence(dock, settle, notified, awkward_grids):
    other = Segmentation(np.ones(awkward_grids["flipped"].shape, np.uint8) * 10, awkward_grids["flipped"], ASEG)
    data, arguments, _ = segmentation_layer(other, "elsewhere")
    dock.viewer.add_layer(Labels(data, **arguments))
    dock.form.reference.value = dock.viewer.layers["elsewhere"]
    settle(dock, dock.score.click)
    assert "grid" in notified[-1] and dock.scored is None


def test_the_colours_go_from_bad_to_good_and_stay_legible():
    assert shade("dice", 1.0) == shade("hd95_mm", 0.0) == cividis(1)
    assert shade("dice", 0.0) == shade("hd95_mm", 25.0) == cividis(0)
    assert shade("volume_ml", 3.0) is None and shade("dice", float("nan")) is None
    assert ink_on(cividis(0)) == (255, 255, 255) and ink_on(cividis(1)) == (0, 0, 0)
