"""From a point in the world to a place on a canvas, from what a napari camera says of itself.

Only public fields of the camera are used: its centre, zoom, orientation and, in 3D, view and up direction. A test
compares with where napari draws a marked voxel.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    from napari.components import ViewerModel


def on_canvas(viewer: ViewerModel, points: ArrayLike, size: Sequence[float]) -> NDArray[np.float64]:
    """Where points appear on the viewer's canvas.

    Parameters
    ----------
    viewer : ViewerModel
        With three axes, in 2D or in 3D without perspective.
    points : array_like
        ``(N, 3)`` world coordinates: RAS+ mm.
    size : sequence of float
        Width and height of the canvas in (logical) pixels.

    Returns
    -------
    numpy.ndarray
        ``(N, 2)``: pixels from the left and from the top.
    """
    right, up = _screen_axes(viewer)
    center = np.zeros(3)
    shown = list(viewer.dims.displayed)
    center[shown] = viewer.scene.camera.center[-len(shown) :]
    apart = (np.asarray(points, dtype=float) - center) * viewer.scene.camera.zoom
    return np.column_stack([size[0] / 2 + apart @ right, size[1] / 2 - apart @ up])


def _screen_axes(viewer: ViewerModel) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Unit vectors of the world that point to the right and to the top of the canvas, ``(3,)`` each."""
    camera, shown = viewer.scene.camera, list(viewer.dims.displayed)
    depth, vertical, horizontal = (str(direction) for direction in camera.orientation)
    right, up = np.zeros(3), np.zeros(3)
    if viewer.dims.ndisplay == 2:
        right[shown[1]] = 1 if horizontal == "right" else -1
        up[shown[0]] = 1 if vertical == "up" else -1
        return right, up
    # The camera names two of its three axes; the third follows up to the handedness of the orientation.
    hand = 1 if horizontal == "right" else -1
    hand *= -1 if depth == "towards" else 1
    hand *= 1 if vertical == "up" else -1
    up[shown] = camera.up_direction
    right[shown] = hand * np.cross(camera.view_direction, camera.up_direction)
    return right, up
