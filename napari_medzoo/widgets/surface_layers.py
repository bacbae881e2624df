"""Surfaces as napari layers, and the 3D view that shows them the right way round.

napari draws the vertices of a surface in the order of their own axes whatever ``viewer.dims.order`` says, as long as
all three axes are shown (napari 0.6 to 0.9): in the order of our planes a surface would lie mirrored among scans and
labels. In 3D the axes therefore keep their own order, and only the camera turns. `Scene` sees to that whoever switches
the viewer to 3D.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image, Labels, Layer, Surface

from napari_medzoo.meshes import Mesh
from napari_medzoo.widgets.layers import AXIS_LABELS
from napari_medzoo.widgets.view import ORDER_3D, show_head_3d

if TYPE_CHECKING:
    from collections.abc import Iterable

    from napari.components import ViewerModel

SURFACE = "medzoo surface"
"""Key in a surface layer's metadata: the name of the labels it was made of and the index of its class."""


SEEN = "medzoo seen"
"""Key in a layer's metadata: dimensions shown → whether it was seen the last time that the viewer showed so many."""


def surface_layer(mesh: Mesh, labels: Layer, opacity: float = 1.0, visible: bool = True) -> Surface:
    """A layer of a class's surface in its colour and by its name, in world mm.

    Parameters
    ----------
    mesh : Mesh
    labels : napari.layers.Layer
        The layer that it was made of.
    opacity : float
        0 to 1.
    visible : bool
    """
    color = np.array([*mesh.label.color, 255], dtype=np.float32) / 255
    # Labels that somebody else opened may count in pixels; their surface lies on them.
    in_mm = all(unit.is_compatible_with("mm") for unit in labels.units)
    return Surface(
        (mesh.vertices, mesh.faces),
        vertex_colors=np.tile(color, (len(mesh.vertices), 1)),
        name=mesh.label.name,
        opacity=opacity,
        visible=visible,
        shading="smooth",
        units=("mm",) * 3 if in_mm else labels.units,
        axis_labels=AXIS_LABELS,
        metadata={SURFACE: {"labels": labels.name, "index": mesh.label.index}},
    )


def surfaces_in(layers: Iterable[Layer]) -> list[Surface]:
    """Those of these layers that this module made."""
    return [layer for layer in layers if SURFACE in layer.metadata]


def seen_in(layer: Layer, viewer: ViewerModel, ndisplay: int) -> bool:
    """Whether a layer is seen where `ndisplay` dimensions are shown, in the viewer or beside it: see `Scene`."""
    if viewer.dims.ndisplay == ndisplay or not surfaces_in(viewer.layers):
        return layer.visible
    if not isinstance(layer, Image | Labels | Surface):
        return layer.visible
    return layer.metadata.get(SEEN, {}).get(ndisplay, isinstance(layer, Surface) == (ndisplay == 3))


class Scene:
    """Keeps the 3D view of a viewer right as long as it holds surfaces.

    In 3D surfaces are seen, and scans and labels are not, because their projections would cover them; in 2D it is the
    other way round, because napari slices a surface slowly. What the person switches on or off is remembered for each.
    When the last surface is removed, in whatever way, the scans and labels that it hid come back.

    Parameters
    ----------
    viewer : ViewerModel
    """

    def __init__(self, viewer: ViewerModel) -> None:
        self.viewer = viewer
        self._plane: tuple[Any, Any] | None = None
        self._shown = viewer.dims.ndisplay
        self._turning = self._replacing = False
        self._events = (viewer.dims.events.ndisplay, viewer.dims.events.order)
        for event in self._events:
            event.connect(self._turned, position="last")  # napari fits the view itself when it changes
        viewer.layers.events.removed.connect(self._removed)

    def surfaces(self) -> list[Surface]:
        """The layers of this module that are in the viewer."""
        return surfaces_in(self.viewer.layers)

    def enter(self) -> None:
        """Show the surfaces, in 3D; a 3D view that is right already stays as the person turned it."""
        if self.viewer.dims.ndisplay == 3:
            for layer in self.viewer.layers:
                if isinstance(layer, Image | Labels) and SEEN not in layer.metadata:
                    layer.metadata[SEEN] = {2: layer.visible}
                    layer.visible = False
        self.viewer.dims.ndisplay = 3
        self._turned()

    def clear(self) -> None:
        """Remove the surfaces because others take their place: scans and labels stay as they are."""
        self._replacing = True
        try:
            for layer in self.surfaces():
                self.viewer.layers.remove(layer)
        finally:
            self._replacing = False

    def close(self) -> None:
        """Follow the viewer no more."""
        for event in self._events:
            event.disconnect(self._turned)
        self.viewer.layers.events.removed.disconnect(self._removed)

    def _turned(self, event: Any = None) -> None:
        if self._turning:
            return
        before, self._shown = self._shown, self.viewer.dims.ndisplay
        if self.viewer.dims.ndim != 3:
            return
        self._turning = True
        try:
            if before != self._shown and self.surfaces():
                self._swap(before)
            self._order(before)
        finally:
            self._turning = False

    def _order(self, before: int) -> None:
        dims, camera = self.viewer.dims, self.viewer.scene.camera
        ours = tuple(dims.order) == ORDER_3D
        if self._shown == 3 and self.surfaces() and (before != 3 or not ours):
            self._plane = self._plane if ours else (dims.order, camera.orientation)
            show_head_3d(self.viewer)
        elif self._shown == 2 and before == 3 and ours and self._plane is not None:
            dims.order, camera.orientation = self._plane
            self.viewer.reset_view()
            self._plane = self._plane if self.surfaces() else None

    def _removed(self, event: Any) -> None:
        if SURFACE not in event.value.metadata or self._replacing or self.surfaces():
            return
        for layer in self.viewer.layers:
            seen = layer.metadata.pop(SEEN, {})
            if self.viewer.dims.ndisplay == 3:
                layer.visible = layer.visible or seen.get(2, False)
        if self.viewer.dims.ndisplay == 2:
            self._plane = None

    def _swap(self, before: int) -> None:
        for layer in self.viewer.layers:
            if isinstance(layer, Image | Labels | Surface):
                seen = layer.metadata.setdefault(SEEN, {})
                seen[before] = layer.visible
                layer.visible = seen.get(self._shown, isinstance(layer, Surface) == (self._shown == 3))
