"""Keeps the side views' layers true: which there are, what was painted, which must be straightened first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari.layers import Labels, Layer
from qtpy.QtCore import QObject, QTimer, Signal

from napari_medzoo.state import State
from napari_medzoo.widgets.jobs import Jobs
from napari_medzoo.widgets.ortho.painting import hand_over
from napari_medzoo.widgets.ortho.straight import Tilted, straighten, tilted
from napari_medzoo.widgets.ortho.twins import PLACE
from napari_medzoo.widgets.ties import Ties

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from napari_medzoo.study import Volume
    from napari_medzoo.widgets.ortho.twins import Twins

SLICES_AFTER_MS = 30
"""How soon a stroke is seen in the other slices: often enough for the eye, and cheap while the mouse moves."""

VOLUMES_AFTER_MS = 1000
"""How soon in 3D and in a straightened copy: all of the volume is worked on, so not between one stroke and the next."""


class Mirror(QObject):
    """The main viewer's layers, as the side views see them.

    Parameters
    ----------
    main : ViewerModel

    Attributes
    ----------
    state : State
        ``work`` says what is being straightened.
    """

    changed = Signal()
    """Other layers, or other straightened copies."""

    def __init__(self, main: ViewerModel) -> None:
        super().__init__()
        self._main = main
        self._twins: list[tuple[Twins, ViewerModel]] = []
        self._ties, self._layer_ties = Ties(), dict[Layer, Ties]()
        self._straight: dict[Layer, tuple[Tilted, Volume]] = {}
        self._slices: dict[Layer, tuple[Any, ...]] = {}
        self._source: dict[Layer, Layer] = {}
        self._edited: set[Layer] = set()
        self._refreshing = False
        self.state = State()
        self._jobs = Jobs(self.state)
        self._soon, self._late = _timer(self, SLICES_AFTER_MS), _timer(self, VOLUMES_AFTER_MS)
        self._match_soon = _timer(self, 0)
        self._match_soon.timeout.connect(self.match)
        self._soon.timeout.connect(self._refresh_slices)
        self._late.timeout.connect(self._refresh_volumes)
        for name in ("inserted", "removed", "reordered"):
            self._ties.tie(main.layers.events[name], self.match)
        self._ties.tie(main.layers.selection.events.active, self._select)

    def add(self, twins: Twins, model: ViewerModel) -> None:
        """Feed another side view."""
        self._twins.append((twins, model))
        twins.match(self._ready)

    def drop(self, twins: Twins) -> None:
        """Feed a side view no more."""
        self._twins = [pair for pair in self._twins if pair[0] is not twins]

    def straight(self, layer: Layer) -> Volume | None:
        """The straightened copy of an oblique layer; None for any other."""
        return self._straight[layer][1] if layer in self._straight else None

    def tilts(self) -> dict[Layer, float]:
        """Every layer that is shown straightened → how far it is turned, in degrees."""
        return {layer: tilt.degrees for layer, (tilt, _) in self._straight.items()}

    def match(self, event: Any = None) -> None:
        """Compare with the main viewer's layers, and begin to straighten what needs it."""
        present = list(self._main.layers)
        for layer in [layer for layer in self._layer_ties if layer not in present]:
            self._layer_ties.pop(layer).cut()
            self._straight.pop(layer, None)
            self._slices.pop(layer, None)
            self._source.pop(layer, None)
            self._edited.discard(layer)
        for layer in present:
            if layer not in self._layer_ties:
                self._layer_ties[layer] = self._tie(layer)
            if layer in self._straight and tilted(layer) is None:
                self._replace(layer, None)
        for twins, _ in self._twins:
            twins.match(self._ready)
        self._straighten()
        self.changed.emit()

    def painted(self, layer: Layer, twin: Layer, stroke: Any) -> None:
        """Answer a twin that is painted on; see `Twins`."""
        if stroke is None:
            self._spread(layer, twin)
        elif isinstance(layer, Labels):
            hand_over(stroke, layer)

    def close(self) -> None:
        """Let go of everything."""
        for timer in (self._soon, self._late, self._match_soon):
            timer.stop()
        self._jobs.cancel()
        self._ties.cut()
        for ties in self._layer_ties.values():
            ties.cut()
        self._layer_ties.clear()
        self._twins.clear()
        self._straight.clear()

    def _ready(self, layer: Layer) -> bool:
        return layer in self._straight or tilted(layer) is None

    def _select(self, event: Any = None) -> None:
        for twins, _ in self._twins:
            twins.select()

    def _tie(self, layer: Layer) -> Ties:
        ties = Ties()
        self._slices[layer] = self._slice(layer)
        ties.tie(layer.events.set_data, lambda event: self._drawn(layer))
        ties.tie(layer.events.visible, lambda event: self._slices.update({layer: self._slice(layer)}))
        for name in (*PLACE, "data"):
            ties.tie(layer.events[name], self._moved)
        if isinstance(layer, Labels):
            ties.tie(layer.events.labels_update, lambda event: self._spread(layer, layer))
            ties.tie(layer.events.paint, lambda event: self._changed(layer))
        return ties

    # What was painted or changed in place

    def _drawn(self, layer: Layer) -> None:
        """Tell a new slice or look, which the twins know of, from the same drawn again: its voxels are others."""
        slice_now = self._slice(layer)
        again = self._slices.get(layer) == slice_now
        self._slices[layer] = slice_now
        if again and not self._refreshing:
            self._changed(layer)

    def _slice(self, layer: Layer) -> tuple[Any, ...]:
        """What napari draws a layer again for, its voxels apart."""
        dims = self._main.dims
        looks: tuple[Any, ...] = ()
        if isinstance(layer, Labels):
            alone = layer.selected_label if layer.show_selected_label else None
            looks = (id(layer.colormap), layer.contour, layer.show_selected_label, alone)
        return dims.point, dims.order, dims.ndisplay, layer.visible, *looks

    def _changed(self, layer: Layer) -> None:
        self._spread(layer, layer)
        self._edited.add(layer)
        self._late.start()

    def _spread(self, layer: Layer, source: Layer) -> None:
        self._source[layer] = source
        if not self._soon.isActive():
            self._soon.start()

    def _refresh_slices(self) -> None:
        sources, self._source = self._source, {}
        self._refreshing = True
        for layer, source in sources.items():
            shown = [twins.of(layer) for twins, model in self._twins if model.dims.ndisplay == 2]
            if layer in self._straight:
                shown = []
            for other in (layer, *shown):
                if other is not None and other is not source:
                    other.refresh(thumbnail=False, highlight=False, extent=False)
        self._refreshing = False

    def _refresh_volumes(self) -> None:
        edited, self._edited = self._edited, set()
        for layer in edited - self._straight.keys():
            for twins, model in self._twins:
                twin = twins.of(layer)
                if twin is not None and model.dims.ndisplay == 3:
                    twin.refresh(thumbnail=False, highlight=False, extent=False)
        self._straighten(edited & self._straight.keys())

    # Oblique layers

    def _moved(self, event: Any = None) -> None:
        self._match_soon.start()  # napari sends several of these for one change

    def _straighten(self, stale: Any = ()) -> None:
        if self.state.work:
            return  # asked again when that is done
        found = [tilt for tilt in map(tilted, self._main.layers) if tilt is not None]
        wanted = [tilt for tilt in found if tilt.layer in stale or not self._is_current(tilt)]
        if wanted:
            self._jobs.start("Straightening", straighten(wanted), lambda copies: self._straightened(wanted, copies))

    def _is_current(self, tilt: Tilted) -> bool:
        known = self._straight.get(tilt.layer)
        return known is not None and known[0].data is tilt.data and known[0].grid.same_as(tilt.grid)

    def _straightened(self, wanted: list[Tilted], copies: list[Volume]) -> None:
        for tilt, copy in zip(wanted, copies, strict=True):
            if tilt.layer in self._layer_ties:
                self._replace(tilt.layer, (tilt, copy))
        self.match()

    def _replace(self, layer: Layer, copy: tuple[Tilted, Volume] | None) -> None:
        for twins, _ in self._twins:
            if twins.of(layer) is not None:
                twins.forget(layer)
        if copy is None:
            self._straight.pop(layer, None)
        else:
            self._straight[layer] = copy


def _timer(parent: QObject, milliseconds: int) -> QTimer:
    timer = QTimer(parent)
    timer.setSingleShot(True)
    timer.setInterval(milliseconds)
    return timer
