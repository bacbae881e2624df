"""Fill a 3D view with what is seen in it: the head and not the air around it, the surfaces and not the hidden scan.

napari fits the boxes of all layers, and a turned box is far larger than the round head in it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image, Labels, Layer, Surface
from numpy.typing import NDArray

if TYPE_CHECKING:
    from napari.components import ViewerModel

MARGIN = 0.05
"""Of the picture that stays empty."""

ENOUGH = 40
"""Voxels along each axis that tell where a head ends: few, because the window waits."""

DARK = 0.15
"""Of the contrast window: what is darker is air, and not seen in a projection."""

STRAY = 0.2
"""Percent of the points that may lie outside on each side: noise in the air, fold-over at an edge."""


def come_near(viewer: ViewerModel) -> None:
    """Fit the 3D view to what is seen in it, from where it looks now; nothing changes where nothing is seen.

    Parameters
    ----------
    viewer : ViewerModel
        With three dimensions displayed.
    """
    parts = [_points(layer) for layer in viewer.layers if layer.visible and layer.ndim == 3]
    points = np.concatenate([np.empty((0, 3)), *parts])[:, list(viewer.dims.displayed)]
    camera = viewer.scene.camera
    if not len(points):
        return
    view, up = np.array(camera.view_direction), np.array(camera.up_direction)
    axes = np.array([view, up, np.cross(view, up)])
    low, high = np.percentile(points @ axes.T, (STRAY, 100 - STRAY), axis=0)
    size = np.maximum((high - low)[1:], 1e-6)
    camera.center = tuple(float(value) for value in (low + high) / 2 @ axes)
    camera.zoom = (1 - MARGIN) * float(np.min(np.array(viewer.canvas.size) / size))


def _points(layer: Layer) -> NDArray[np.float64]:
    """``(N, 3)``: places in world coordinates at which something of a layer is seen."""
    data: Any = layer.data
    if isinstance(layer, Surface):
        return _to_world(layer, np.asarray(data[0]))
    if not isinstance(layer, Image | Labels) or not isinstance(data, np.ndarray) or data.ndim != 3:
        return np.asarray(layer.extent.world, dtype=np.float64)
    steps = [-(-size // ENOUGH) for size in data.shape]
    some = data[tuple(slice(None, None, step) for step in steps)]
    low, high = layer.contrast_limits if isinstance(layer, Image) else (0, 0)
    return _to_world(layer, np.argwhere(some > low + DARK * (high - low)) * steps)


def _to_world(layer: Layer, points: NDArray[Any]) -> NDArray[np.float64]:
    corner = np.array(layer.data_to_world((0, 0, 0)), dtype=np.float64)
    axes = np.array([np.array(layer.data_to_world(one)) - corner for one in np.eye(3)])
    return np.asarray(points @ axes + corner, dtype=np.float64)
