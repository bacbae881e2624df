"""Surfaces in the window: what was chosen, in its colour, on its side, and out again as files, pictures and a movie."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import pytest
from napari.layers import Labels, Layer
from PIL import Image
from scipy import ndimage

from napari_medzoo.labels import Label, LabelTable, Segmentation
from napari_medzoo.space import Grid
from napari_medzoo.widgets import label_display as display
from napari_medzoo.widgets.layers import segmentation_layer
from napari_medzoo.widgets.surfaces_dock import SurfacesDock
from napari_medzoo.widgets.view import ORDER_3D, show_plane

PLACES = {1: (-30, 0, 0), 2: (30, 0, 0), 3: (0, 0, 30)}
"""Class → centre of its ball, RAS+ mm."""

TABLE = LabelTable(
    "balls",
    (
        Label(1, "left", (255, 0, 0)),
        Label(2, "right", (0, 255, 0)),
        Label(3, "top", (0, 0, 255)),
        Label(4, "no", (9, 9, 9)),
    ),
)


def balls(affine: np.ndarray) -> Segmentation:
    grid = Grid((30, 28, 32), affine)
    grid = Grid(grid.shape, np.array(affine) + np.pad(-grid.center_mm[:, None], ((0, 1), (3, 0))))
    points = grid.to_world(np.indices(grid.shape).reshape(3, -1).T)
    data = np.zeros(points.shape[0], dtype=np.uint8)
    for index, place in PLACES.items():
        data[np.linalg.norm(points - place, axis=1) < 10] = index
    return Segmentation(data.reshape(grid.shape), grid, TABLE)


FLIPPED = np.diag([-3.0, 3.0, 3.0, 1.0])
PERMUTED = np.array([[0, 0, 3.0, 0], [-3.0, 0, 0, 0], [0, -3.0, 0, 0], [0, 0, 0, 1]])


BOTH = pytest.mark.parametrize("dock", [FLIPPED, PERMUTED], ids=["flipped", "permuted"], indirect=True)


@pytest.fixture
def dock(request, make_napari_viewer, qtbot):
    viewer = make_napari_viewer(show=True)
    affine = getattr(request, "param", PERMUTED)
    viewer.add_layer(Layer.create(*segmentation_layer(balls(affine), "balls")))
    show_plane(viewer, "coronal")
    widget = SurfacesDock(viewer)
    viewer.window.add_dock_widget(widget, name="Surfaces")
    qtbot.waitUntil(lambda: widget.classes.listed() == [1, 2, 3])
    yield widget
    widget.stop()
    qtbot.waitUntil(lambda: not widget.state.work and not widget.state.releasing and not widget._counting.busy)


def make(dock, qtbot, *indices: int) -> None:
    dock.classes.tick(indices)
    dock.make()
    wait(dock, qtbot)


def wait(dock, qtbot) -> None:
    qtbot.waitUntil(lambda: not (dock.state.work or dock._pending or dock.turntable.running), timeout=60_000)


def middles(picture: np.ndarray) -> dict[int, tuple[float, float]]:
    """Class → (row, column) of the middle of what has its colour in a picture."""
    found = {}
    for index in PLACES:
        own = picture[..., index - 1].astype(int) - np.delete(picture[..., :3], index - 1, axis=-1).max(axis=-1)
        found[index] = ndimage.center_of_mass(own > 60)
    return found


@BOTH
def test_each_class_is_a_layer_in_its_place_colour_and_name(dock, qtbot):
    make(dock, qtbot, 1, 3)
    layers = dock.scene.surfaces()
    assert [layer.name for layer in layers] == ["left", "top"]
    for layer, index in zip(layers, (1, 3), strict=True):
        np.testing.assert_allclose(layer.data[0].mean(axis=0), PLACES[index], atol=0.3)
        np.testing.assert_allclose(layer.vertex_colors[0] * 255, [*TABLE[index].color, 255])
        np.testing.assert_allclose(np.mean(layer.extent.world, axis=0), PLACES[index], atol=1)
        assert [str(unit) for unit in layer.units] == ["millimeter"] * 3
    assert "2 surfaces" in dock.text.text()
    dock.opacity.setValue(40)
    assert {layer.opacity for layer in layers} == {0.4}
    make(dock, qtbot, 2)
    assert [layer.name for layer in dock.scene.surfaces()] == ["right"]


@BOTH
def test_left_is_left_in_3d_however_the_person_gets_there(dock, qtbot):
    """Seen from the front: the person's left on the right of the picture, the top on top, light from above."""
    make(dock, qtbot, 1, 2, 3)
    viewer = dock.viewer

    def check() -> None:
        picture = viewer.screenshot(canvas_only=True, flash=False)
        found = middles(picture)
        assert found[1][1] > found[3][1] > found[2][1]
        assert found[3][0] < min(found[1][0], found[2][0])
        assert np.ptp([found[1][1], found[2][1]]) > picture.shape[1] / 4, "the surfaces are far away"
        assert picture[..., :3].max() > 180, "the surfaces are lit from behind"

    assert not viewer.layers["balls"].visible
    check()
    viewer.dims.ndisplay = 2
    assert viewer.dims.order == (1, 2, 0), "the coronal plane is back"
    assert viewer.layers["balls"].visible
    assert not any(layer.visible for layer in dock.scene.surfaces())
    viewer.dims.ndisplay = 3
    assert viewer.dims.order == ORDER_3D
    check()
    viewer.dims.order = (2, 1, 0)
    check()


@BOTH
def test_scans_come_back_when_the_last_surface_goes(dock, qtbot):
    viewer, labels = dock.viewer, dock.viewer.layers["balls"]
    hidden = viewer.add_labels(np.zeros((4, 4, 4), int), name="hidden", visible=False)
    swapped = []
    make(dock, qtbot, 1, 2)
    labels.events.visible.connect(lambda event: swapped.append(labels.visible))
    make(dock, qtbot, 1, 3)
    assert not labels.visible and not swapped, "surfaces that are replaced leave scans and labels alone"
    viewer.layers.remove("left")
    assert not labels.visible, "one surface is left"
    viewer.layers.remove("top")
    assert viewer.dims.ndisplay == 3
    assert labels.visible and not hidden.visible
    viewer.dims.ndisplay = 2
    assert viewer.dims.order == (1, 2, 0), "the coronal plane is back"
    assert labels.visible and not hidden.visible
    viewer.dims.ndisplay = 3
    assert labels.visible, "nothing of the surfaces is remembered"
    make(dock, qtbot, 2)
    assert not labels.visible
    viewer.dims.ndisplay = 2
    viewer.layers.remove("right")
    assert labels.visible and not hidden.visible


def test_ticks_follow_the_legend_and_edits_are_noticed(dock, qtbot):
    layer = dock.layer
    display.show_class(layer, 2, False)
    dock.seen.click()
    assert dock.classes.ticked() == [1, 3]
    dock.none.click()
    assert not dock.run.isEnabled()
    assert "Tick" in dock.text.text()
    dock.all.click()
    assert dock.classes.ticked() == [1, 2, 3]
    make(dock, qtbot, 3)
    before = dock.meshes[0].voxels_ml
    layer.n_edit_dimensions, layer.brush_size = 3, 5
    layer.paint((3, 3, 3), 4)
    layer.paint((15, 15, 15), 3)
    qtbot.waitUntil(lambda: dock.classes.listed() == [1, 2, 3, 4])
    assert dock.classes.ticked() == [3]
    assert "changed since" in dock.text.text()
    make(dock, qtbot, 3)
    assert dock.meshes[0].voxels_ml > before
    assert "changed since" not in dock.text.text()


def test_the_layer_may_be_anybodys_and_may_go(dock, qtbot):
    data = np.zeros((12, 12, 12), dtype=np.int32)
    data[4:8, 4:8, 4:8] = 5
    foreign = dock.viewer.add_layer(Labels(data, name="foreign", scale=(2, 2, 2), translate=(1, 2, 3)))
    dock.use(foreign)
    qtbot.waitUntil(lambda: dock.classes.listed() == [5])
    make(dock, qtbot, 5)
    np.testing.assert_allclose(dock.scene.surfaces()[0].data[0].mean(axis=0), (12, 13, 14), atol=0.1)
    assert dock.meshes[0].volume_ml == pytest.approx(64 * 8 / 1000, rel=0.01)
    dock.viewer.layers.remove(foreign)
    assert dock.layer is dock.viewer.layers["balls"]
    dock.viewer.layers.clear()
    assert dock.layer is None
    assert not dock.run.isEnabled()


def test_files_pictures_and_the_movie(dock, qtbot, tmp_path, notified):
    make(dock, qtbot, 1, 2, 3)
    dock.export.space.setCurrentIndex(dock.export.space.findData("RAS"))
    dock.write(tmp_path / "balls.ply")
    wait(dock, qtbot)
    assert b"SPACE=RAS" in (tmp_path / "balls.ply").read_bytes()[:200]
    dock.export.each.setChecked(True)
    dock.write(tmp_path / "each")
    wait(dock, qtbot)
    assert sorted(path.name for path in (tmp_path / "each").iterdir()) == [
        "001_left.stl",
        "002_right.stl",
        "003_top.stl",
    ]

    pictures = dock.pictures
    pictures.save_picture(tmp_path / "view.png")
    pictures.what.setCurrentIndex(1)
    pictures.save_picture(tmp_path / "window.png")
    sizes = [Image.open(tmp_path / name).size for name in ("view.png", "window.png")]
    assert sizes[1][0] > sizes[0][0]

    camera = dock.viewer.scene.camera
    before = (camera.angles, camera.center, camera.zoom)
    pictures.degrees.setValue(45)
    pictures.seconds.setValue(4)
    pictures.save_movie(tmp_path / "turn.gif")
    assert dock.cancel.isEnabled()
    wait(dock, qtbot)
    np.testing.assert_allclose(
        np.concatenate([np.ravel(part) for part in before]), [*camera.angles, *camera.center, camera.zoom]
    )
    movie = Image.open(tmp_path / "turn.gif")
    assert (movie.n_frames, movie.info["duration"]) == (8, 500)
    movie.seek(4)
    turned = middles(np.array(movie.convert("RGB")))
    assert turned[1][1] < turned[3][1] < turned[2][1], "half a turn shows the back of the head"

    pictures.save_movie(tmp_path / "cancelled.gif")
    dock.stop()
    wait(dock, qtbot)
    assert not (tmp_path / "cancelled.gif").exists()
    assert np.allclose(camera.angles, before[0])
    pictures.save_movie(tmp_path / "turn.avi")
    assert ".gif or .mp4" in notified[-1]
    if find_spec("imageio_ffmpeg") is None:
        pictures.save_movie(tmp_path / "turn.mp4")
        assert "imageio-ffmpeg" in notified[-1]
