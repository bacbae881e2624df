"""Left and right in the drawn picture: a label on one side of the person, in every view, convention and affine."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from napari_medzoo.labels import Label, LabelTable, Segmentation
from napari_medzoo.space import Grid
from napari_medzoo.study import Volume
from napari_medzoo.widgets import view
from napari_medzoo.widgets.layers import segmentation_layer, volume_layer
from napari_medzoo.widgets.ortho import OrthoViews
from napari_medzoo.widgets.ortho.desk import Desk
from napari_medzoo.widgets.ortho.geometry import on_canvas
from tests.widgets.conftest import close_views

AWAY = {"L": (-14, 0, 0), "A": (0, 14, 0), "S": (0, 0, 14)}
"""One letter of each axis → a place on that side, and by its rank the channel of red, green and blue that marks it."""

SIZE = 44


def _affine(directions: np.ndarray, spacing: tuple[float, float, float]) -> np.ndarray:
    affine = np.eye(4)
    affine[:3, :3] = directions @ np.diag(spacing)
    return affine


TURNED = Rotation.from_euler("xyz", [14, -9, 11], degrees=True).as_matrix()
AFFINES = {
    "flipped": _affine(np.diag([-1.0, 1, 1]), (2, 2, 2)),
    "permuted": _affine(np.array([[0, 0, 1.0], [-1, 0, 0], [0, -1, 0]]), (2, 2, 2)),
    "anisotropic": _affine(np.diag([1.0, -1, 1]), (1, 1.5, 4)),
    "oblique": _affine(TURNED, (2, 2, 2)),
}


def centred(affine: np.ndarray) -> Grid:
    """About 44 mm in every direction, the world's origin in the middle."""
    shape = tuple(round(SIZE / length) for length in np.linalg.norm(affine[:3, :3], axis=0))
    affine = affine.copy()
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return Grid(shape, affine)


def one_sided(grid: Grid, places: list[tuple[int, int, int]]) -> tuple[Volume, Segmentation]:
    """A grey scan and labels 1, 2, 3 in red, green and blue: balls of 5 mm around places in the world."""
    world = grid.to_world(np.argwhere(np.ones(grid.shape, bool))).reshape(*grid.shape, 3)
    balls = np.zeros(grid.shape, np.uint8)
    for index, place in enumerate(places, start=1):
        balls[np.linalg.norm(world - place, axis=-1) < 5] = index
    colors = ((255, 0, 0), (0, 255, 0), (0, 0, 255))
    table = LabelTable("sides", tuple(Label(i + 1, f"side {i}", color) for i, color in enumerate(colors)))
    return Volume(np.full(grid.shape, 60, np.uint8), grid), Segmentation(balls, grid, table)


def middle_of(picture: np.ndarray, channel: int) -> np.ndarray:
    """Middle of what has the colour of a channel: pixels to the right and up from the middle of the picture."""
    colors = picture[..., :3].astype(int)
    others = np.delete(colors, channel, axis=-1).max(axis=-1)
    rows, columns = np.nonzero((colors[..., channel] > 90) & (others < 60))
    assert len(rows) > 10, "the label is not in the picture"
    return np.array([columns.mean() - picture.shape[1] / 2, picture.shape[0] / 2 - rows.mean()])


def wait(qtbot, condition) -> None:
    qtbot.waitUntil(condition, timeout=60_000)  # four canvases on a busy machine without a graphics card


@pytest.fixture
def views(make_napari_viewer, qtbot):
    """The open views in a shown window, without layers."""
    viewer = make_napari_viewer(show=True)
    widget = OrthoViews(viewer)
    viewer.window.add_dock_widget(widget, name="MedZoo views", area="bottom")
    viewer.window.resize(700, 600)
    wait(qtbot, lambda: widget.desk is not None)
    yield widget
    close_views(widget, qtbot)
    view.LOOK.convention = view.NEUROLOGICAL


def settled(desk: Desk) -> bool:
    return not desk.mirror.state.work and [frame.plane for frame in desk.frames] == [
        desk.large,
        *[pane.wanted for pane in desk.panes],
    ]


@pytest.mark.parametrize("name", list(AFFINES))
def test_a_label_lies_at_the_letter_of_its_side_in_every_view(views, qtbot, name):
    viewer, desk = views.viewer, views.desk
    scan, labels = one_sided(centred(AFFINES[name]), list(AWAY.values()))
    for data, settings, kind in (volume_layer(scan), segmentation_layer(labels, opacity=1)):
        getattr(viewer, f"add_{kind}")(data, **settings)
    wait(qtbot, lambda: settled(desk) and (desk.cover is not None) == (name == "oblique"))
    for convention in (view.RADIOLOGICAL, view.NEUROLOGICAL):
        view.LOOK.convention = convention
        view.center_on(viewer, (0, 0, 0))
        persons_right = "L" if convention == view.RADIOLOGICAL else "R"
        for frame in [frame for frame in desk.frames if frame.plane != view.THREE_D]:
            letters = frame.marks.letters()
            assert letters["right"] == ("A" if frame.plane == "sagittal" else persons_right)
            picture = frame.qt_viewer.screenshot(flash=False)
            for channel, (side, place) in enumerate(AWAY.items()):
                if channel == frame.axis:
                    continue  # along this axis the label is not in the slice
                edge = next(edge for edge, letter in letters.items() if letter == side)
                right, up = middle_of(picture, channel)
                far, near = {"left": (-right, up), "right": (right, up), "top": (up, right)}[edge]
                assert far > 15, (side, convention, frame.plane, right, up)
                assert abs(near) < 0.35 * far, (side, convention, frame.plane, right, up)
                # The crosshair of that place would be drawn where the label is.
                size = np.array([picture.shape[1], picture.shape[0]])
                drawn = on_canvas(frame.model, [place], size)[0] - size / 2
                np.testing.assert_allclose(drawn * (1, -1), (right, up), atol=4)


def test_in_3d_the_marks_lie_where_napari_draws_the_voxel(views, qtbot):
    viewer, desk = views.viewer, views.desk
    _, labels = one_sided(centred(AFFINES["flipped"]), [(-14, 6, 9)])
    data, settings, _ = segmentation_layer(labels, opacity=1)
    viewer.add_labels(data, **settings)
    wait(qtbot, lambda: settled(desk))
    (pane,) = (pane for pane in desk.panes if pane.wanted == view.THREE_D)
    for angles in (None, (20, 30, 40), (-50, 10, 100)):
        if angles is not None:
            pane.model.scene.camera.angles = angles
        picture = pane.qt_viewer.screenshot(flash=False)
        colors = picture[..., :3].astype(int)
        rows, columns = np.nonzero(colors[..., 0] > colors[..., 1] + 60)
        place = on_canvas(pane.model, [(-14, 6, 9)], (picture.shape[1], picture.shape[0]))[0]
        np.testing.assert_allclose((columns.mean(), rows.mean()), place, atol=4)


def test_there_are_no_letters_where_nobody_knows_the_sides(views, qtbot):
    desk = views.desk
    views.viewer.add_image(np.zeros((5, 6, 7)))
    wait(qtbot, lambda: settled(desk))
    assert [frame.marks.letters() for frame in desk.frames] == [{}] * 4
