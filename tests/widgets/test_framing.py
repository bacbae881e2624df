"""The 3D view filled with what is seen in it."""

from __future__ import annotations

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image, Labels, Layer, Surface

from napari_medzoo.labels import Label
from napari_medzoo.meshes import Mesh
from napari_medzoo.space import Grid
from napari_medzoo.study import Volume
from napari_medzoo.widgets.framing import MARGIN, come_near
from napari_medzoo.widgets.layers import volume_layer
from napari_medzoo.widgets.surface_layers import surface_layer
from napari_medzoo.widgets.view import show_head_3d

RADIUS = 40.0
MIDDLE = np.array([15.0, -25.0, 30.0])


def ball(grid: Grid) -> Volume:
    """A bright ball at `MIDDLE` in a large field of dark noise."""
    points = grid.to_world(np.indices(grid.shape).reshape(3, -1).T)
    inside = np.linalg.norm(points - MIDDLE, axis=1) < RADIUS
    noise = np.random.default_rng(0).normal(20, 5, len(inside))
    return Volume(np.where(inside, 500, noise).reshape(grid.shape).astype(np.float32), grid)


def around_the_middle(affine: np.ndarray, shape: tuple[int, int, int]) -> Grid:
    """A grid with room for the ball, which does not lie in its middle."""
    grid = Grid(shape, affine)
    affine = np.array(affine)
    affine[:3, 3] = MIDDLE + (20, -15, 25) - grid.center_mm + affine[:3, 3]
    return Grid(shape, affine)


AFFINES = {
    "flipped": (np.diag([-2.0, 2.0, 2.5, 1.0]), (70, 66, 60)),
    "oblique": (np.array([[1.9, -0.6, 0, 0], [0.6, 1.9, 0, 0], [0, 0, 2.0, 0], [0, 0, 0, 1]]), (70, 70, 70)),
    "permuted": (np.array([[0, 0, 3.0, 0], [-2.0, 0, 0, 0], [0, -2.0, 0, 0], [0, 0, 0, 1]]), (70, 72, 44)),
}


def on_canvas(viewer: ViewerModel, points: np.ndarray) -> np.ndarray:
    """Pixels from the middle of the canvas, ``(N, 2)``: up, and to one side."""
    camera = viewer.scene.camera
    view, up = np.array(camera.view_direction), np.array(camera.up_direction)
    return camera.zoom * (points - camera.center) @ np.array([up, np.cross(view, up)]).T


@pytest.mark.parametrize("name", AFFINES)
def test_the_head_fills_the_view_and_the_air_does_not(name):
    viewer = ViewerModel()
    scan = ball(around_the_middle(*AFFINES[name]))
    viewer.add_layer(Layer.create(*volume_layer(scan)))
    show_head_3d(viewer)
    (middle,) = on_canvas(viewer, MIDDLE[None])
    assert np.abs(middle).max() < 0.03 * min(viewer.canvas.size)
    assert 2 * RADIUS * viewer.scene.camera.zoom == pytest.approx((1 - MARGIN) * min(viewer.canvas.size), rel=0.1)
    viewer.reset_view(reset_camera_angle=False)
    assert 2 * RADIUS * viewer.scene.camera.zoom < 0.5 * min(viewer.canvas.size), "napari fits the box"


def test_what_is_hidden_takes_no_room():
    viewer = ViewerModel()
    scan = viewer.add_layer(Layer.create(*volume_layer(ball(around_the_middle(*AFFINES["flipped"])))))
    corners = np.array([[0, 0, 0], [5, 0, 0], [0, 5, 0], [0, 0, 5]], dtype=np.float32) + (100, 100, 100)
    faces = np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]], dtype=np.int32)
    made = surface_layer(Mesh(corners, faces, Label(1, "small", (255, 0, 0)), 0.02), scan)
    viewer.add_layer(made)
    show_head_3d(viewer)
    both = viewer.scene.camera.zoom
    scan.visible = False
    come_near(viewer)
    assert isinstance(made, Surface) and viewer.scene.camera.zoom > 5 * both
    pixels = on_canvas(viewer, corners)
    assert (np.abs(pixels) <= np.array(viewer.canvas.size) / 2).all()
    made.visible = False
    before = viewer.scene.camera.zoom
    come_near(viewer)
    assert viewer.scene.camera.zoom == before


def test_labels_and_scans_without_a_bright_voxel_are_no_trouble():
    viewer = ViewerModel()
    data = np.zeros((20, 20, 20), int)
    data[8:12, 4:6, 10:14] = 3
    viewer.add_layer(Labels(data, scale=(2, 2, 2)))
    show_head_3d(viewer)
    np.testing.assert_allclose(viewer.scene.camera.center, (18, 8, 22), atol=4)
    viewer.layers.clear()
    viewer.add_layer(Image(np.zeros((5, 6, 7)), contrast_limits=(0, 1)))
    show_head_3d(viewer)
