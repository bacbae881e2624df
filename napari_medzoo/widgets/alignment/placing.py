"""Moving a scan's layer, and telling whoever works with the scan.

Only the layer's affine changes. What its header said stays in its metadata, so that every movement is counted from
there and can be taken back at any time.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
from napari.layers import Image, Labels, Layer
from numpy.typing import NDArray
from psygnal import Signal

from napari_medzoo.space import Grid
from napari_medzoo.study import FileInfo, Volume
from napari_medzoo.widgets.label_names import KEY
from napari_medzoo.widgets.layers import file_of, grid_of, volume_from_layer

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


def known_movement(file: FileInfo | None) -> NDArray[np.float64]:
    """``(4, 4)``: what a file's record says of where a person moved the scan; the identity where it says nothing."""
    return np.eye(4) if file is None or file.moved is None else file.moved


def movement_of(layer: Layer) -> NDArray[np.float64]:
    """``(4, 4)``: RAS+ mm of where the layer's header puts it to RAS+ mm of where it lies now."""
    if HEADER not in layer.metadata:
        return known_movement(file_of(layer))
    unit = _unit_mm(layer)
    moved = layer.affine.affine_matrix @ np.linalg.inv(layer.metadata[HEADER])
    return unit @ moved @ np.linalg.inv(unit)


def place(layer: Layer, movement: NDArray[np.float64]) -> None:
    """Put a layer where `movement` takes it from its header's position.

    Parameters
    ----------
    layer : napari.layers.Layer
        A scan, or labels on the grid of one.
    movement : numpy.ndarray
        ``(4, 4)`` rigid, between RAS+ mm.
    """
    unit = _unit_mm(layer)
    header = layer.metadata.get(HEADER)
    if header is None:
        header = np.linalg.inv(unit) @ np.linalg.inv(movement_of(layer)) @ unit @ layer.affine.affine_matrix
    metadata: dict[str, Any] = {**layer.metadata, HEADER: header}
    file = file_of(layer)
    if file is not None:
        moved = None if np.array_equal(movement, np.eye(4)) else movement
        metadata[KEY] = {**layer.metadata[KEY], "file": replace(file, moved=moved)}
    layer.metadata = metadata
    layer.affine = np.linalg.inv(unit) @ movement @ unit @ header


def place_with_labels(scan: Image, movement: NDArray[np.float64], layers: Iterable[Layer]) -> None:
    """`place` a scan, and those labels among `layers` that were made on its grid and lie there still."""
    file = file_of(scan)
    followers = [] if file is None else [layer for layer in layers if _lies_with(layer, file)]
    for layer in (scan, *followers):
        place(layer, movement)


def header_volume(layer: Image) -> Volume:
    """The scan that a layer shows, where its header puts it.

    Raises
    ------
    MedzooError
        As `volume_from_layer`.
    """
    volume, movement = volume_from_layer(layer), movement_of(layer)
    if np.array_equal(movement, np.eye(4)):
        return volume
    return replace(volume, grid=Grid(volume.grid.shape, np.linalg.inv(movement) @ volume.grid.affine))


def shows(layer: Image, volume: Volume) -> bool:
    """Whether a layer shows this scan, wherever either lies: the same file or the same array."""
    file = file_of(layer)
    if file is not None and volume.file is not None:
        return bool(file.path == volume.file.path)
    return isinstance(layer.data, np.ndarray) and np.may_share_memory(layer.data, volume.data)


def _lies_with(layer: Layer, file: FileInfo) -> bool:
    theirs = file_of(layer)
    return (
        isinstance(layer, Labels)
        and theirs is not None
        and theirs.path == file.path
        and np.array_equal(known_movement(theirs), known_movement(file))
    )


def _unit_mm(layer: Layer) -> NDArray[np.float64]:
    """``(4, 4)``: the layer's world units to mm (`grid_of` has the rules)."""
    corner = np.array(layer.data_to_world((0, 0, 0)), dtype=np.float64)
    axes = np.column_stack([np.array(layer.data_to_world(one)) - corner for one in np.eye(3)])
    scale = np.eye(4)
    scale[:3, :3] = np.round(grid_of(layer).affine[:3, :3] @ np.linalg.inv(axes), 12)
    return scale
