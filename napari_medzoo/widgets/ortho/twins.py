"""The main viewer's layers shown once more: same arrays, same looks, another slice.

A napari layer knows the one slice it shows, so that a second view needs a second layer. A twin shares the array of
its layer without a copy and follows its looks; what a person can change in a side view (the label chosen with the
picker, the size of the brush, the tool) goes back. Oblique layers get a straightened array instead.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image, Labels, Layer

from napari_medzoo.widgets.layers import KEY
from napari_medzoo.widgets.surface_layers import seen_in
from napari_medzoo.widgets.ties import Ties

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from napari_medzoo.study import Volume

LOOKS = (
    "name",
    "opacity",
    "blending",
    "contrast_limits",
    "gamma",
    "colormap",
    "interpolation2d",
    "interpolation3d",
    "rendering",
    "iso_threshold",
    "attenuation",
    "contour",
    "show_selected_label",
)
TOOLS = ("selected_label", "brush_size", "n_edit_dimensions", "contiguous", "preserve_labels", "mode")
"""What matters where there is painting. In 3D there is none, and setting them there would draw the volume again."""

PLACE = ("affine", "scale", "translate", "rotate", "shear")
BACK = ("selected_label", "brush_size", "mode")
"""What the mouse can change in a side view."""


class Twins:
    """Keeps the layers of `side` in step with those of `main`.

    Parameters
    ----------
    main, side : ViewerModel
    straight : callable
        The straightened copy of an oblique layer, None for any other.
    painted : callable
        Told of a layer of `main`, the twin that was painted on and the stroke (None while it goes on).
    """

    def __init__(
        self,
        main: ViewerModel,
        side: ViewerModel,
        straight: Callable[[Layer], Volume | None],
        painted: Callable[[Layer, Layer, Any], None],
    ) -> None:
        self._main, self._side, self._straight, self._painted = main, side, straight, painted
        self._twins: dict[Layer, Layer] = {}
        self._layer_ties: dict[Layer, Ties] = {}
        self._showing = False

    def match(self, ready: Callable[[Layer], bool]) -> None:
        """Add and remove twins until they are those of the 3D layers that are `ready`, in the main viewer's order."""
        wanted = [layer for layer in self._main.layers if layer.ndim == 3 and ready(layer)]
        for layer in [layer for layer in self._twins if layer not in wanted]:
            self.forget(layer)
        for layer in wanted:
            if layer not in self._twins:
                self._add(layer)
        for place, layer in enumerate(wanted):
            now = self._side.layers.index(self._twins[layer])
            if now != place:
                self._side.layers.move(now, place)
        self.select()
        self.show_seen()

    def show_seen(self) -> None:
        """Show what is seen in so many dimensions: surfaces in 3D, and in their place scans and labels in slices."""
        self._showing = True  # napari takes the tool from a layer that it hides; the person's layer keeps it
        for layer, twin in self._twins.items():
            seen = seen_in(layer, self._main, self._side.dims.ndisplay)
            if twin.visible != seen:
                twin.visible = seen
            self._take_up_tools(layer, twin)
        self._showing = False

    def select(self) -> None:
        """Make the twin of the main viewer's active layer the active one, so that the mouse paints on it; not in 3D."""
        active = self._twins.get(self._main.layers.selection.active) if self._is_flat else None
        self._side.layers.selection.active = active

    def of(self, layer: Layer) -> Layer | None:
        """The twin of a layer of the main viewer."""
        return self._twins.get(layer)

    def forget(self, layer: Layer) -> None:
        """Remove the twin of a layer."""
        self._layer_ties.pop(layer).cut()
        if len(self._side.layers) == 1:
            self._side.dims.ndisplay = 2  # napari cannot show nothing in 3D
        self._side.layers.remove(self._twins.pop(layer))

    def close(self) -> None:
        """Remove every twin and every tie."""
        for ties in self._layer_ties.values():
            ties.cut()
        self._layer_ties.clear()
        self._twins.clear()
        self._side.dims.ndisplay = 2  # see `forget`
        self._side.layers.clear()  # at once: napari collects garbage after every single removal

    def _add(self, layer: Layer) -> None:
        data, settings, kind = layer.as_layer_data_tuple()
        straightened = self._straight(layer)
        if straightened is not None:
            data = straightened.data
            for name in PLACE:
                settings.pop(name, None)
            settings["affine"] = straightened.grid.affine
        settings["metadata"] = {KEY: True} if KEY in layer.metadata else {}
        settings["visible"] = seen_in(layer, self._main, self._side.dims.ndisplay)
        twin = Layer.create(data, settings, kind)
        if isinstance(layer, Labels):
            twin.editable = straightened is None
            twin.contour = layer.contour  # no argument of the layer's class, so not among the settings
        self._twins[layer] = twin
        self._layer_ties[layer] = self._tie(layer, twin, straightened is not None)
        # In 3D napari would read the new layer along the ray of a mouse that it has not seen move, and fail.
        self._side.mouse_over_canvas = False
        self._side.layers.append(twin)

    def _tie(self, layer: Layer, twin: Layer, straightened: bool) -> Ties:
        ties = Ties()
        ties.tie(layer.events.visible, lambda event: self.show_seen())
        for name in LOOKS if straightened else (*LOOKS, *PLACE, "data"):
            if name in layer.events.emitters:
                ties.tie(layer.events[name], lambda event, name=name: self._follow(layer, twin, name))
        for name in _tools(layer):
            ties.tie(layer.events[name], lambda event: self._take_up_tools(layer, twin))
        for name in BACK if isinstance(layer, Labels) and not straightened else ():
            ties.tie(twin.events[name], lambda event, name=name: self._hand_back(layer, twin, name))
        if isinstance(layer, Labels) and not straightened:
            ties.tie(twin.events.labels_update, lambda event: self._painted(layer, twin, None))
            ties.tie(twin.events.paint, lambda event: self._painted(layer, twin, event.value))
        return ties

    def _follow(self, layer: Layer, twin: Layer, name: str) -> None:
        if name == "show_selected_label":
            _copy(layer, twin, "selected_label")
        _copy(layer, twin, name)

    def _take_up_tools(self, layer: Layer, twin: Layer) -> None:
        if self._is_flat:
            for name in _tools(layer):
                _copy(layer, twin, name)
        elif isinstance(layer, Labels) and layer.show_selected_label:
            _copy(layer, twin, "selected_label")

    def _hand_back(self, layer: Layer, twin: Layer, name: str) -> None:
        if self._is_flat and not self._showing:
            _copy(twin, layer, name)

    @property
    def _is_flat(self) -> bool:
        return bool(self._side.dims.ndisplay == 2)


def _tools(layer: Layer) -> list[str]:
    """The `TOOLS` that a layer has; those of points and shapes would draw into the twin alone."""
    return [name for name in TOOLS if isinstance(layer, Image | Labels) and name in layer.events.emitters]


def _copy(source: Layer, target: Layer, name: str) -> None:
    value = getattr(source, name)
    if name == "mode" and not (target.visible and getattr(target, "editable", True)):
        return
    if name == "data":
        if target.data is not value or not isinstance(value, np.ndarray):
            target.data = value
    elif name not in TOOLS or getattr(target, name) != value:
        setattr(target, name, value)
