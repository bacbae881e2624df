"""The dock in a real window: layers, painting, mouse, keys, opening and closing."""

from __future__ import annotations

import numpy as np
import pytest
from napari.utils.colormaps import DirectLabelColormap
from qtpy.QtCore import QEvent, QPoint, QPointF, Qt
from qtpy.QtGui import QWheelEvent
from qtpy.QtWidgets import QApplication

from napari_medzoo.labels import Label, LabelTable, Segmentation
from napari_medzoo.space import Grid
from napari_medzoo.study import Volume
from napari_medzoo.widgets import view
from napari_medzoo.widgets.layers import segmentation_layer, volume_layer
from napari_medzoo.widgets.ortho import OrthoViews
from napari_medzoo.widgets.ortho.arrangement import SQUARE
from napari_medzoo.widgets.ortho.geometry import on_canvas
from napari_medzoo.widgets.ortho.mirror import VOLUMES_AFTER_MS
from napari_medzoo.widgets.ortho.pane import Frame
from tests.widgets.conftest import close_views

GRID = Grid((20, 22, 24), np.array([[-2.0, 0, 0, 19], [0, 2, 0, -21], [0, 0, 2, -23], [0, 0, 0, 1]]))
TABLE = LabelTable("one", (Label(1, "thing", (255, 0, 0)), Label(2, "other", (0, 255, 0))))


def wait(qtbot, condition) -> None:
    qtbot.waitUntil(condition, timeout=60_000)  # four canvases on a busy machine without a graphics card


@pytest.fixture
def viewer(make_napari_viewer):
    """A shown window with a scan and its labels, the labels active."""
    viewer = make_napari_viewer(show=True)
    data, settings, _ = volume_layer(Volume(np.full(GRID.shape, 60, np.int16), GRID), "scan")
    viewer.add_image(data, **settings)
    data, settings, _ = segmentation_layer(Segmentation(np.zeros(GRID.shape, np.uint8), GRID, TABLE))
    viewer.add_labels(data, **settings)
    view.show_plane(viewer)
    viewer.window.resize(700, 600)
    return viewer


@pytest.fixture
def views(viewer, qtbot):
    """The dock, open."""
    widget = OrthoViews(viewer)
    viewer.window.add_dock_widget(widget, name="MedZoo views", area="bottom")
    wait(qtbot, lambda: widget.desk is not None and all(frame.canvas.isVisible() for frame in widget.desk.frames))
    view.center_on(viewer, (1, 1, 1))
    yield widget
    close_views(widget, qtbot)


def pane(views: OrthoViews, plane: str) -> Frame:
    return next(frame for frame in views.desk.frames if frame.plane == plane)


def pixel(frame: Frame, point_mm: tuple[float, float, float]) -> QPoint:
    x, y = on_canvas(frame.model, [point_mm], (frame.canvas.width(), frame.canvas.height()))[0]
    return QPoint(round(x), round(y))


def wheel(frame: Frame, notches: int, modifier=Qt.KeyboardModifier.NoModifier) -> None:
    middle = QPointF(frame.canvas.rect().center())
    event = QWheelEvent(
        middle,
        frame.canvas.mapToGlobal(middle),
        QPoint(),
        QPoint(0, 120 * notches),
        Qt.MouseButton.NoButton,
        modifier,
        Qt.ScrollPhase.NoScrollPhase,
        False,
    )
    QApplication.sendEvent(frame.canvas, event)


def test_the_side_views_share_the_arrays_and_follow_the_looks_of_the_layers(viewer, views):
    for one in views.desk.panes:
        assert [layer.name for layer in one.model.layers] == ["scan", "labels"]
        for layer, twin in zip(viewer.layers, one.model.layers, strict=True):
            assert twin.data is layer.data
    scan, labels = viewer.layers
    scan.contrast_limits, labels.contour, labels.visible, labels.name = (10, 200), 2, False, "mine"
    viewer.layers.move(0, 2)
    viewer.add_image(np.zeros(GRID.shape), name="new", affine=scan.affine)
    for one in views.desk.panes:
        assert [layer.name for layer in one.model.layers] == ["mine", "scan", "new"]
        assert tuple(one.model.layers["scan"].contrast_limits) == (10, 200)
        assert (one.model.layers["mine"].contour, one.model.layers["mine"].visible) == (2, False)
    viewer.layers.remove("new")
    labels.selected_label = 2
    assert [len(one.model.layers) for one in views.desk.panes] == [2, 2, 2]
    pane(views, "coronal").model.layers["mine"].selected_label = 1
    assert labels.selected_label == 1
    viewer.layers.clear()
    assert [len(one.model.layers) for one in views.desk.panes] == [0, 0, 0]


def test_a_step_reads_only_the_slice_that_changes(viewer, views):
    drawn = []
    for one in views.desk.panes:
        one.model.layers["scan"].events.set_data.connect(lambda event, plane=one.plane: drawn.append(plane))
    viewer.dims.set_point(2, 5.0)
    assert drawn == []
    viewer.dims.set_point(1, 5.0)
    assert set(drawn) == {"coronal"}
    view.center_on(viewer, (5, 9, 11))
    assert [one.model.dims.point[one.axis] for one in views.desk.panes[:2]] == [9, 5]


def test_painting_in_any_view_is_seen_in_all_and_undone_in_the_layer(viewer, views, qtbot):
    labels = viewer.layers["labels"]
    labels.brush_size = 5
    viewer.layers.selection.active = labels
    labels.mode = "paint"
    side = pane(views, "sagittal")
    place = pixel(side, (0, 5, 5))
    redrawn = []
    pane(views, "coronal").model.layers["labels"].events.set_data.connect(redrawn.append)
    qtbot.mousePress(side.canvas, Qt.MouseButton.LeftButton, pos=place)
    qtbot.mouseRelease(side.canvas, Qt.MouseButton.LeftButton, pos=place)
    assert labels.data.any()
    wait(qtbot, lambda: bool(redrawn))
    middle = np.array(labels.data_to_world(np.argwhere(labels.data).mean(axis=0)))
    np.testing.assert_allclose(middle, (0, 5, 5), atol=2)
    qtbot.keyClick(side.canvas, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)  # heard by the main viewer
    assert not labels.data.any()
    redrawn.clear()
    labels.paint((10, 11, 12), 2)
    wait(qtbot, lambda: bool(redrawn))


@pytest.fixture
def drawn_3d(views, qtbot):
    """How often the 3D view was drawn since it was last cleared; without a graphics card it costs most of all."""
    solid = pane(views, view.THREE_D)
    drawn: list[object] = []
    solid.qt_viewer.canvas.events.draw.connect(drawn.append)

    def settle() -> int:
        qtbot.wait(2 * VOLUMES_AFTER_MS)
        count = len(drawn)
        drawn.clear()
        return count

    settle()
    return settle


def test_choosing_what_to_paint_leaves_the_3d_view_alone(viewer, views, drawn_3d):
    labels = viewer.layers["labels"]
    labels.data[:] = 1
    labels.refresh()
    assert drawn_3d() == 1
    viewer.layers.selection.active = labels
    labels.selected_label, labels.brush_size, labels.n_edit_dimensions, labels.mode = 2, 5, 3, "paint"
    assert drawn_3d() == 0
    pane(views, view.THREE_D).show_plane("axial")
    turned = views.desk.panes[-1].model.layers["labels"]
    assert (turned.selected_label, turned.brush_size, turned.n_edit_dimensions, turned.mode) == (2, 5, 3, "paint")


def test_the_class_that_napari_shows_alone_is_that_in_3d_too(viewer, views):
    labels, solid = viewer.layers["labels"], pane(views, view.THREE_D).model.layers["labels"]
    labels.selected_label = 2
    labels.show_selected_label = True
    assert (solid.selected_label, solid.show_selected_label) == (2, True)
    labels.selected_label = 1
    assert solid.selected_label == 1


@pytest.mark.parametrize("look", ["colormap", "contour", "show_selected_label", "visible"])
def test_another_look_is_drawn_once_in_3d(viewer, views, drawn_3d, look):
    labels = viewer.layers["labels"]
    labels.data[5:10, 5:10, 5:10] = 1
    labels.refresh()
    assert drawn_3d() == 1
    if look == "visible":
        labels.visible = False
        assert drawn_3d() == 1
        labels.visible = True
    else:
        colors = DirectLabelColormap(color_dict={0: "transparent", 1: "blue", None: "gray"})
        setattr(labels, look, {"colormap": colors, "contour": 1, "show_selected_label": True}[look])
    assert drawn_3d() == 1
    labels.data[5:10, 5:10, 5:10] = 2
    labels.refresh()
    assert drawn_3d() == 1


def test_click_wheel_and_keys_move_the_one_crosshair(viewer, views, qtbot):
    coronal = pane(views, "coronal")
    qtbot.mouseClick(coronal.canvas, Qt.MouseButton.LeftButton, pos=pixel(coronal, (10, 0, -8)))
    np.testing.assert_allclose(viewer.dims.point, (10, 0, -8), atol=1.5)
    view.center_on(viewer, (1, 1, 1))
    wheel(coronal, 2)
    np.testing.assert_allclose(viewer.dims.point, (1, 5, 1))
    QApplication.sendEvent(coronal.canvas, QEvent(QEvent.Type.Enter))
    qtbot.keyClick(coronal.canvas, Qt.Key.Key_Down)
    np.testing.assert_allclose(viewer.dims.point, (1, 3, 1))
    qtbot.keyClick(views.desk.home.canvas, Qt.Key.Key_Down)  # the mouse is still over the coronal view
    np.testing.assert_allclose(viewer.dims.point, (1, 1, 1))
    assert "A 1.0 mm" in views.read_out.position.text()
    assert views.read_out.table.item(0, 3).text() == "background"
    qtbot.keyClick(coronal.canvas, Qt.Key.Key_H)
    assert coronal.marks.lines() == []


def test_zoom_is_shared_and_a_fitted_head_stays_fitted(viewer, views, qtbot):
    small = pane(views, "coronal")
    before = small.fitted_zoom
    viewer.window.resize(1100, 900)
    wait(qtbot, lambda: small.fitted_zoom > 1.2 * before)
    assert small.model.scene.camera.zoom == small.fitted_zoom
    wait(qtbot, lambda: views.desk.home.fitted_zoom == viewer.scene.camera.zoom)
    frames = [frame for frame in views.desk.frames if frame.plane != view.THREE_D]
    wheel(frames[1], 4, Qt.KeyboardModifier.ControlModifier)
    relative = [frame.model.scene.camera.zoom / frame.fitted_zoom for frame in frames]
    assert relative[0] > 1.5
    np.testing.assert_allclose(relative, relative[0])


def test_a_slider_that_would_be_cut_off_is_hidden(viewer, views, qtbot):
    home = views.desk.home.qt_viewer
    wide, widest = home.dims.minimumSizeHint().width(), home.maximumWidth()
    viewer.window.resize(1100, 600)
    wait(qtbot, lambda: home.dims.isVisible() and home.width() >= wide)
    home.setMaximumWidth(wide - 20)
    wait(qtbot, lambda: not home.dims.isVisible())
    home.setMaximumWidth(widest)
    wait(qtbot, lambda: home.dims.isVisible())


def test_a_small_view_in_3d_is_fitted_to_what_is_seen(viewer, views, qtbot):
    frame = pane(views, view.THREE_D)
    data = np.zeros(GRID.shape, np.int16)
    data[9:12, 10:13, 3:6] = 60
    viewer.layers["scan"].contrast_limits = (0, 60)
    before = frame.model.scene.camera.zoom
    viewer.layers["scan"].data = data
    viewer.reset_view()
    assert frame.model.scene.camera.zoom > 3 * before
    np.testing.assert_allclose(
        frame.model.scene.camera.center, viewer.layers["scan"].data_to_world((10, 11, 4)), atol=3
    )


def test_the_convention_mirrors_pictures_and_no_data(viewer, views, qtbot):
    before = viewer.layers["scan"].data.copy()
    qtbot.keyClick(views.desk.home.canvas, Qt.Key.Key_N)
    assert view.LOOK.convention == views.convention_choice.value == view.RADIOLOGICAL
    assert [frame.marks.letters().get("right") for frame in views.desk.frames] == ["L", "L", "A", None]
    np.testing.assert_array_equal(viewer.layers["scan"].data, before)
    views.convention_choice.value = view.NEUROLOGICAL
    assert pane(views, "coronal").marks.letters()["right"] == "R"


def test_the_small_views_show_what_the_large_one_does_not(viewer, views, qtbot):
    views.desk.make_large(pane(views, "coronal"))
    wait(qtbot, lambda: [frame.plane for frame in views.desk.frames] == ["coronal", "axial", "sagittal", "3D"])
    view.show_head_3d(viewer)
    wait(qtbot, lambda: sorted(frame.plane for frame in views.desk.panes) == ["axial", "coronal", "sagittal"])


def test_closing_leaves_the_window_as_it_was(viewer, views, qtbot):
    views.layout_choice.value = SQUARE
    desk, layer = views.desk, viewer.layers["labels"]
    qt_viewer, models = desk.home.qt_viewer, [one.model for one in desk.panes]
    assert qt_viewer.count() == 2
    heard = len(layer.events.contour.callbacks)
    window = views.window()
    assert window.corner(Qt.Corner.BottomLeftCorner) == Qt.DockWidgetArea.LeftDockWidgetArea
    viewer.window.remove_dock_widget(views)
    assert views.desk is None
    assert window.corner(Qt.Corner.BottomLeftCorner) == Qt.DockWidgetArea.BottomDockWidgetArea
    assert not qt_viewer.dims.isHidden()
    assert qt_viewer.count() == 1
    assert qt_viewer.isVisible() and qt_viewer.widget(0).isVisible()
    assert [len(model.layers) for model in models] == [0, 0, 0]
    assert len(layer.events.contour.callbacks) == heard - 3
    assert not viewer.mouse_move_callbacks
    viewer.dims.set_point(2, 5.0)
    layer.contour = 1  # nobody is left who could fail
