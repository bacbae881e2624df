"""What is written over the views and beside them: nothing covers anything else, nothing is cut."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.qt import get_stylesheet
from qtpy.QtCore import QRectF
from qtpy.QtWidgets import QWidget

from napari_medzoo.widgets import view
from napari_medzoo.widgets.layers import KEY
from napari_medzoo.widgets.ortho.marks import Marks
from napari_medzoo.widgets.ortho.readout import ReadOut
from napari_medzoo.widgets.ortho.twins import Twins
from napari_medzoo.widgets.surface_layers import SURFACE, Scene, seen_in

TRIANGLE = (np.array([[0.0, 0, 0], [0, 4, 0], [0, 0, 4]]), np.array([[0, 1, 2]]))


def head_model() -> ViewerModel:
    model = ViewerModel()
    model.add_image(np.zeros((6, 7, 8)), name="scan", metadata={KEY: {}})
    model.add_labels(np.zeros((6, 7, 8), int), name="labels")
    return model


@pytest.fixture
def make_marks(qtbot):
    canvases = []  # pytest-qt holds them weakly

    def make(width: int, height: int, plane: str = "coronal") -> Marks:
        model = head_model()
        view.show_plane(model, plane)
        view.center_on(model, (1, 2, 3))
        canvas = QWidget()
        canvases.append(canvas)
        qtbot.addWidget(canvas)
        canvas.resize(width, height)
        marks = Marks(canvas, model, model)
        marks.setFont(canvas.font())
        return marks

    return make


@pytest.mark.parametrize("points", [7.0, 9.0, 14.0])
def test_no_text_covers_another_in_a_view_of_any_size(make_marks, points):
    for plane in view.PLANES:
        marks = make_marks(100, 100, plane)
        font = marks.font()
        font.setPointSizeF(points)
        marks.setFont(font)
        for width in range(80, 420, 20):
            marks.resize(width, 170)
            texts = marks.texts()
            assert {text for text, _, _ in texts} >= set(marks.letters().values())
            for (one, box, _), (other, second, _) in combinations(texts, 2):
                assert not box.intersects(second), (width, one, other)
            assert all(QRectF(marks.rect()).contains(box) for _, box, _ in texts), width


def test_the_title_gives_way_step_by_step_and_says_the_position_as_long_as_it_can(make_marks):
    marks = make_marks(600, 300)
    plane, position = marks.title().split(" · ")

    def written(width: int) -> list[str]:
        marks.resize(width, 200)
        return [text for text, _, _ in marks.texts() if text not in ("L", "R", "S", "I")]

    assert written(600) == [marks.title()]
    seen = [written(width) for width in range(600, 60, -10)]
    steps = [text for number, text in enumerate(seen) if number == 0 or seen[number - 1] != text]
    assert steps[:2] == [[marks.title()], [plane, position]]
    assert all(position in " ".join(lines) for lines in seen[:-1])


@pytest.mark.parametrize("theme", ["dark", "light"])
@pytest.mark.parametrize("size", [8, 12, 20])
def test_every_row_of_the_read_out_is_seen_whole(qtbot, theme, size):
    model = head_model()
    model.add_image(np.zeros((6, 7, 8)), name="third")
    read_out = ReadOut()
    qtbot.addWidget(read_out)
    read_out.setStyleSheet(f"{get_stylesheet(theme)} QWidget {{ font-size: {size}pt; }}")
    read_out.resize(500, 300)
    read_out.show()
    read_out.show_point(model, (1, 1, 1), "Crosshair")
    qtbot.waitUntil(read_out.isVisible)
    table = read_out.table
    last = table.visualItemRect(table.item(table.rowCount() - 1, 0))
    assert table.rowCount() == 3
    assert last.height() >= table.fontMetrics().height()
    assert last.bottom() <= table.viewport().height()


@pytest.fixture
def pair():
    """A viewer with surfaces, and twins of it: main and side model, the twins."""
    main, side = head_model(), ViewerModel()
    main.add_surface(TRIANGLE, name="class", visible=False, metadata={SURFACE: {"labels": "labels", "index": 1}})
    twins = Twins(main, side, lambda layer: None, lambda *painted: None)
    twins.match(lambda layer: True)
    return main, side, twins


def test_beside_a_slice_the_3d_view_shows_surfaces_in_the_place_of_scans(pair):
    main, side, twins = pair
    assert [layer.visible for layer in side.layers] == [True, True, False]
    side.dims.ndisplay = 3
    twins.show_seen()
    assert [layer.visible for layer in side.layers] == [False, False, True]
    np.testing.assert_array_equal(side.layers["class"].data[0], TRIANGLE[0])
    main.layers.remove("class")
    twins.match(lambda layer: True)
    assert [layer.visible for layer in side.layers] == [True, True], "without surfaces the scans come back"


def test_the_tool_stays_in_the_hand_while_surfaces_hide_the_labels_of_the_3d_view(pair):
    main, side, twins = pair
    labels, twin = main.layers["labels"], side.layers["labels"]
    labels.mode = "paint"
    side.dims.ndisplay = 3
    twins.show_seen()
    assert (labels.mode, twin.mode) == ("paint", "pan_zoom")
    labels.mode = "erase"
    twins.match(lambda layer: True)
    assert labels.mode == "erase"
    side.dims.ndisplay = 2
    twins.show_seen()
    assert (labels.mode, twin.mode) == ("erase", "erase")
    twin.mode = "fill"  # by the person, in the side view
    assert labels.mode == "fill"


def test_beside_surfaces_in_3d_the_slices_show_the_scans(pair):
    main, side, _ = pair
    scene = Scene(main)
    scene.enter()
    assert [layer.visible for layer in main.layers] == [False, False, True]
    assert [layer.visible for layer in side.layers] == [True, True, False]
    main.layers["class"].visible = False  # by the person, in 3D
    main.dims.ndisplay = 2
    main.layers["labels"].visible = False
    assert [seen_in(layer, main, 3) for layer in main.layers] == [False, False, False]
    assert [layer.visible for layer in side.layers] == [True, False, False]
    scene.close()
