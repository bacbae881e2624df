"""Moving a scan's layer, and telling whoever works with the scan.

Only the layer's affine changes. What its header said stays in its metadata, so that every movement is counted from
there and can be taken back at any time.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from napari.layers import Image, Layer
from numpy.typing import NDArray
from psygnal import Signal

from napari_medzoo.space import Grid
from napari_medzoo.study import Volume
from napari_medzoo.widgets.label_names import KEY
from napari_medzoo.widgets.layers import grid_of, volume_from_layer

HEADER = "medzoo_header"
"""Key of the metadata of a layer that was moved: its affine ``(4, 4)`` as it was opened."""

COMPARISON = "medzoo_comparison"
"""Key of the metadata of a picture of two scans, which is no scan itself."""


class Placings:
    """Tells every panel that a person has settled how two scans lie on each other."""

    settled = Signal(object, object)
    """The fixed and the moving layer, the latter where it belongs."""


PLACINGS = Placings()


def is_scan(layer: Layer) -> bool:
    """Whether a layer is one that can be aligned: a 3D image that is not a comparison of two."""
    return isinstance(layer, Image) and layer.ndim == 3 and not layer.rgb and COMPARISON not in layer.metadata


def movement_of(layer: Image) -> NDArray[np.float64]:
    """``(4, 4)``: RAS+ mm of where the layer's header puts it to RAS+ mm of where it lies now."""
    if HEADER not in layer.metadata:
        return np.eye(4)
    unit = _unit_mm(layer)
    moved = layer.affine.affine_matrix @ np.linalg.inv(layer.metadata[HEADER])
    return unit @ moved @ np.linalg.inv(unit)


def place(layer: Image, movement: NDArray[np.float64]) -> None:
    """Put a layer where `movement` takes it from its header's position.

    Parameters
    ----------
    layer : napari.layers.Image
    movement : numpy.ndarray
        ``(4, 4)`` rigid, between RAS+ mm.
    """
    header = layer.metadata.get(HEADER, np.array(layer.affine.affine_matrix))
    ours = layer.metadata.get(KEY)
    metadata: dict[str, Any] = {**layer.metadata, HEADER: header}
    if ours and ours.get("file"):
        moved = None if np.array_equal(movement, np.eye(4)) else movement
        metadata[KEY] = {**ours, "file": replace(ours["file"], moved=moved)}
    unit = _unit_mm(layer)
    layer.metadata = metadata
    layer.affine = np.linalg.inv(unit) @ movement @ unit @ header


def header_volume(layer: Image) -> Volume:
    """The scan that a layer shows, where its header puts it.

    Raises
    ------
    MedzooError
        As `volume_from_layer`.
    """
    volume = volume_from_layer(layer)
    if HEADER not in layer.metadata:
        return volume
    affine = np.linalg.inv(movement_of(layer)) @ volume.grid.affine
    return replace(volume, grid=Grid(volume.grid.shape, affine))


def shows(layer: Image, volume: Volume) -> bool:
    """Whether a layer shows this scan, wherever either lies: the same file or the same array."""
    file = layer.metadata.get(KEY, {}).get("file")
    if file is not None and volume.file is not None:
        return bool(file.path == volume.file.path)
    return isinstance(layer.data, np.ndarray) and np.may_share_memory(layer.data, volume.data)


def _unit_mm(layer: Image) -> NDArray[np.float64]:
    """``(4, 4)``: the layer's world units to mm (`grid_of` has the rules)."""
    corner = np.array(layer.data_to_world((0, 0, 0)), dtype=np.float64)
    axes = np.column_stack([np.array(layer.data_to_world(one)) - corner for one in np.eye(3)])
    scale = np.eye(4)
    scale[:3, :3] = np.round(grid_of(layer).affine[:3, :3] @ np.linalg.inv(axes), 12)
    return scale
