"""The anatomical way round: which voxel appears where on the screen."""

from __future__ import annotations

import numpy as np
import pytest

from napari_medzoo.io import read_volume
from napari_medzoo.space import Grid
from napari_medzoo.study import Volume
from napari_medzoo.widgets.layers import volume_layer
from napari_medzoo.widgets.view import NEUROLOGICAL, RADIOLOGICAL, center_on, show_head_3d, show_plane

DIRECTIONS = {"right": (1, 0, 0), "anterior": (0, 1, 0), "superior": (0, 0, 1)}
CODES = ("RAS", "LPS", "PIR")


def marked(codes: str, direction: tuple[int, int, int]) -> Volume:
    """A grey box of 36 mm in air, one block of it bright: on the person's side `direction`, in the middle otherwise."""
    ras = np.array([[2.0, 0, 0, -19], [0, 2, 0, -19], [0, 0, 2, -19], [0, 0, 0, 1]])
    grid = Grid((20, 20, 20), ras).reoriented(codes)
    world = grid.to_world(np.argwhere(np.ones(grid.shape, bool))).reshape(*grid.shape, 3)
    data = np.where(np.abs(world).max(axis=-1) < 18, 70, 0).astype(np.uint8)
    data[np.abs(world - 14 * np.array(direction)).max(axis=-1) < 5] = 250
    return Volume(data, grid)


def bright(picture: np.ndarray) -> tuple[float, float]:
    """Centre of the bright block relative to the middle of the box: (right, up), in pixels."""
    grey = picture[..., :3].astype(int).min(axis=-1)
    grey[-60:] = 0  # the caption
    rows, columns = np.nonzero(grey > 150)
    assert len(rows), "nothing bright on the canvas"
    return columns.mean() - picture.shape[1] / 2, picture.shape[0] / 2 - rows.mean()


CASES = [
    ("axial", "right", NEUROLOGICAL, "right"),
    ("axial", "anterior", NEUROLOGICAL, "up"),
    ("coronal", "right", NEUROLOGICAL, "right"),
    ("coronal", "superior", NEUROLOGICAL, "up"),
    ("sagittal", "anterior", NEUROLOGICAL, "right"),
    ("sagittal", "superior", NEUROLOGICAL, "up"),
    ("axial", "right", RADIOLOGICAL, "left"),
    ("coronal", "right", RADIOLOGICAL, "left"),
    ("sagittal", "anterior", RADIOLOGICAL, "right"),
]


@pytest.mark.parametrize("codes", CODES)
def test_every_side_of_the_person_appears_on_its_side_of_the_picture(make_napari_viewer, codes):
    viewer = make_napari_viewer(show=True)
    for side, direction in DIRECTIONS.items():
        viewer.layers.clear()
        data, arguments, _ = volume_layer(marked(codes, direction))
        viewer.add_image(data, **arguments)
        for plane, _, convention, place in (case for case in CASES if case[1] == side):
            show_plane(viewer, plane, convention)
            center_on(viewer, (0, 0, 0))
            right, up = bright(viewer.screenshot(flash=False, canvas_only=True))
            far, near = {"right": (right, up), "left": (-right, up), "up": (up, right)}[place]
            assert far > 40, (plane, side, convention, right, up)
            assert abs(near) < 40, (plane, side, convention, right, up)
            said = "radiological" in viewer.canvas.overlays.text.text
            assert said == (convention == RADIOLOGICAL and plane != "sagittal")


def test_the_head_in_3d_is_upright_and_not_mirrored(make_napari_viewer):
    """Seen from the front, the person's right hand is on the left of the picture."""
    viewer = make_napari_viewer(show=True)
    data, arguments, _ = volume_layer(marked("LPS", DIRECTIONS["right"]))
    layer = viewer.add_image(data, **arguments)
    show_head_3d(viewer)
    right, _ = bright(viewer.screenshot(flash=False, canvas_only=True))
    assert right < -40
    viewer.layers.remove(layer)
    data, arguments, _ = volume_layer(marked("LPS", DIRECTIONS["superior"]))
    viewer.add_image(data, **arguments)
    show_head_3d(viewer)
    _, up = bright(viewer.screenshot(flash=False, canvas_only=True))
    assert up > 40


def test_all_orientations_of_one_head_look_the_same(make_napari_viewer, data_dir):
    paths = sorted((data_dir / "orientations").glob("*.nii.gz"))
    viewer, pictures = make_napari_viewer(show=True), []
    for path in [paths[0], *paths[1::6]]:
        viewer.layers.clear()
        data, arguments, _ = volume_layer(read_volume(path))
        viewer.add_image(data, **arguments)
        show_plane(viewer)
        pictures.append(viewer.screenshot(flash=False, canvas_only=True).astype(int))
    for path, picture in zip(paths[1::6], pictures[1:], strict=True):
        assert np.abs(picture - pictures[0]).mean() < 1, path.name
