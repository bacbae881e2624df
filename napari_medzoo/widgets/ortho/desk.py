"""The four views while they are open, and what keeps them in step.

The main viewer is the one truth: its ``dims.point`` is the crosshair, its layers are what is shown and painted on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Labels
from qtpy.QtCore import QObject, QTimer, Signal

from napari_medzoo.widgets import view
from napari_medzoo.widgets.ortho.arrangement import Arrangement
from napari_medzoo.widgets.ortho.gestures import Gestures
from napari_medzoo.widgets.ortho.mirror import Mirror
from napari_medzoo.widgets.ortho.pane import Frame, Pane
from napari_medzoo.widgets.ties import Ties

if TYPE_CHECKING:
    from collections.abc import Callable

    import napari
    from qtpy.QtWidgets import QMainWindow

FOUR = (*view.PLANES, view.THREE_D)
"""What is beside each other, in the order of the small views."""

TILTED = (
    "Scanned oblique: {tilts}. Shown straight, resampled for display; labels, values and measures are those of the "
    "scan itself."
)
NO_PAINT = " Labels that lie oblique cannot be painted on here: close the views for that."


class Desk(QObject):
    """The open views of a viewer.

    Parameters
    ----------
    viewer : napari.Viewer
    window : QMainWindow
        The viewer's.
    layout : str
        One of `arrangement.LAYOUTS`.
    crosshair : bool

    Attributes
    ----------
    home : Frame
        The main viewer's own canvas.
    panes : list of Pane
        The three side views.
    cover : Pane or None
        The large view where the scan is oblique; else that is the main viewer's own canvas.
    """

    pointed = Signal(object, str)
    """A point in RAS+ mm to read, and whose it is."""
    noted = Signal(str)
    """What the person should know about these pictures."""
    crosshair_switched = Signal()
    """The key that hides and shows the crosshair was pressed."""

    def __init__(self, viewer: napari.Viewer, window: QMainWindow, layout: str, crosshair: bool) -> None:
        super().__init__()
        self.viewer, self._layout, self._crosshair = viewer, layout, crosshair
        self._arrangement = Arrangement(window)
        self._ties = Ties()
        self._camera_ties: dict[Frame, Ties] = {}
        self._linking = False
        # Several changes of the viewer make one plane; they are looked at together, once Qt is idle.
        self._later, self._fit_later = QTimer(self), QTimer(self)
        for timer, answer in ((self._later, self._rearrange), (self._fit_later, self._fit)):
            timer.setSingleShot(True)
            timer.timeout.connect(answer)
        home = self._arrangement.home
        self.mirror, self.gestures = Mirror(viewer), Gestures(home.canvas.native)
        self.cover: Pane | None = None
        self.panes: list[Pane] = []
        self.home = self._welcomed(Frame(viewer, home, viewer))
        self.large = self.home.plane
        self.panes = [self._new_pane(plane) for plane in FOUR if plane != self.large]
        self._tie()
        self.mirror.match()
        self._place()

    @property
    def frames(self) -> list[Frame]:
        """The views, the large one first."""
        return [self.cover or self.home, *self.panes]

    def close(self) -> None:
        """Take the views away and leave the window as it was."""
        self._ties.cut()
        self._later.stop()
        self._fit_later.stop()
        for frame in {self.home, *self.frames}:
            self._farewell(frame)
        self.mirror.close()
        self._arrangement.close()
        caption = self.viewer.canvas.overlays.text
        caption.visible = self.viewer.dims.ndisplay == 2 and bool(caption.text)

    def use_layout(self, layout: str) -> None:
        """Place the views in one of `arrangement.LAYOUTS`."""
        self._layout = layout
        self._place()

    def show_crosshair(self, on: bool) -> None:
        """Show or hide the crosshair of every view."""
        self._crosshair = on
        for frame in self.frames:
            frame.marks.crosshair = on
            frame.marks.update()

    def _new_pane(self, plane: str) -> Pane:
        pane = Pane(self.viewer, plane, self.mirror.straight, self.mirror.painted)
        pane.model.theme = self.viewer.theme
        self.mirror.add(pane.twins, pane.model)
        pane.show_plane(plane)
        return self._welcomed(pane)

    def _welcomed(self, frame: Any) -> Any:
        frame.marks.crosshair = self._crosshair
        self.gestures.listen(frame)
        self._camera_ties[frame] = ties = Ties()
        ties.tie(frame.model.scene.camera.events.zoom, lambda event: self._zoomed(frame))
        for name in ("center", "angles", "orientation"):
            ties.tie(frame.model.scene.camera.events[name], lambda event: frame.marks.update())
        return frame

    def _farewell(self, frame: Frame) -> None:
        self._camera_ties.pop(frame).cut()
        self.gestures.leave(frame)
        if isinstance(frame, Pane):
            self.mirror.drop(frame.twins)
        frame.close()

    def _tie(self) -> None:
        viewer, tie = self.viewer, self._ties.tie
        tie(viewer.dims.events.point, self._crosshair_moved)
        for event in (viewer.dims.events.order, viewer.dims.events.ndisplay, viewer.dims.events.ndim):
            tie(event, self._arrange_later)
        tie(viewer.events.reset_view, self._fitted)
        tie(viewer.events.theme, self._use_theme)
        tie(viewer.canvas.overlays.text.events.visible, self._hide_caption)
        tie(view.LOOK.events.convention, self._convention_changed)
        tie(self.mirror.changed, self._arrange_later)
        tie(self.gestures.step_wanted, self.step)
        tie(self.gestures.zoom_wanted, self._zoom)
        tie(self.gestures.point_wanted, self._go_to)
        tie(self.gestures.hovered, self._read)
        tie(self.gestures.resized, self._resized)
        tie(self.gestures.key_pressed, self._answer)

    # What is asked for

    def step(self, frame: Frame, slices: int) -> None:
        """Move the crosshair by so many slices of a view."""
        dims = self.viewer.dims
        if frame.model.dims.ndisplay == 2 and dims.ndim == 3:
            dims.set_point(frame.axis, dims.point[frame.axis] + slices * dims.range[frame.axis].step)

    def make_large(self, frame: Frame) -> None:
        """Give a view the main viewer's canvas; its place goes to what was there."""
        if frame in self.panes:
            if frame.plane == view.THREE_D:
                view.show_head_3d(self.viewer)
            else:
                self.viewer.dims.ndisplay = 2
                view.show_plane(self.viewer, frame.plane)

    def _answer(self, name: str, frame: Frame) -> None:
        other = {view.NEUROLOGICAL: view.RADIOLOGICAL, view.RADIOLOGICAL: view.NEUROLOGICAL}
        answers: dict[str, Callable[[], None]] = {
            "next_slice": lambda: self.step(frame, 1),
            "previous_slice": lambda: self.step(frame, -1),
            "ten_slices_on": lambda: self.step(frame, 10),
            "ten_slices_back": lambda: self.step(frame, -10),
            "switch_convention": lambda: setattr(view.LOOK, "convention", other[view.LOOK.convention]),
            "large_view": lambda: self.make_large(frame),
            "hide_crosshair": self.crosshair_switched.emit,
            "fit_views": lambda: self.viewer.reset_view(reset_camera_angle=False),
        }
        answers[name]()

    def _go_to(self, point_mm: Any) -> None:
        if self.viewer.dims.ndim == 3:
            view.center_on(self.viewer, point_mm)

    def _zoom(self, frame: Frame, factor: float) -> None:
        frame.model.scene.camera.zoom *= factor

    # What follows from it

    def _crosshair_moved(self, event: Any = None) -> None:
        for frame in self.frames:
            frame.follow()
        self._read(None)

    def _read(self, point_mm: Any) -> None:
        if self.viewer.dims.ndim == 3:
            crosshair = point_mm is None
            self.pointed.emit(*((self.viewer.dims.point, "Crosshair") if crosshair else (point_mm, "Mouse")))

    def _zoomed(self, frame: Frame) -> None:
        """Give every other slice the same zoom, relative to a fitted head, around the crosshair."""
        frame.marks.update()
        if self._linking or self.viewer.dims.ndim != 3 or frame.model.dims.ndisplay == 3:
            return
        self._linking = True
        relative = frame.model.scene.camera.zoom / frame.fitted_zoom
        for other in self.frames:
            if other is not frame and len(other.model.layers) and other.model.dims.ndisplay == 2:
                other.zoom_around(self.viewer.dims.point, relative * other.fitted_zoom)
        self._linking = False

    def _resized(self, frame: Frame) -> None:
        """Keep a head fitted that is; one that the person zoomed stays as large as it is."""
        if frame is self.home:
            self._arrangement.fit_slider()
        if np.isclose(frame.model.scene.camera.zoom, frame.fitted_zoom):
            self._fit_later.start(0)

    def _fit(self) -> None:
        self.viewer.reset_view(reset_camera_angle=False)

    def _fitted(self, event: Any) -> None:
        """The main viewer was fitted to its canvas, by us or by napari's own button: fit the others."""
        self._linking = True
        for frame in self.frames:
            frame.fit() if isinstance(frame, Pane) else frame.fitted()
        self._linking = False

    def _convention_changed(self, convention: str) -> None:
        if self.viewer.dims.ndisplay == 2:
            view.show_plane(self.viewer, view.plane_of(self.viewer))
        self._linking = True
        for frame in self.frames:
            if isinstance(frame, Pane) and frame.wanted != view.THREE_D:
                frame.show_plane(frame.wanted)
        self._linking = False

    def _use_theme(self, event: Any) -> None:
        for frame in self.frames:
            frame.model.theme = self.viewer.theme

    def _hide_caption(self, event: Any = None) -> None:
        self.viewer.canvas.overlays.text.visible = False  # the marks say it better

    def _arrange_later(self, event: Any = None) -> None:
        self._later.start(0)

    def _rearrange(self) -> None:
        """After other layers or another plane in the large view: the small ones show what is missing."""
        self._linking = True
        large = self.home.plane if self.viewer.dims.ndim == 3 else self.large
        self.large = large
        missing = [plane for plane in FOUR if plane != large and plane not in [pane.wanted for pane in self.panes]]
        for pane in self.panes:
            wanted = missing.pop() if pane.wanted == large else pane.wanted
            if pane.wanted != wanted or not pane.is_turned():
                pane.show_plane(wanted)
            pane.fit_other()
        self._linking = False
        self._cover()
        self._tell()
        self._crosshair_moved()

    def _cover(self) -> None:
        """Over oblique scans the large view is ours too: napari's would leave the tilt out."""
        tilted = bool(self.mirror.tilts()) and self.viewer.dims.ndisplay == 2
        if tilted and self.cover is None:
            self.cover = self._new_pane(self.large)
            self._place()
        elif not tilted and self.cover is not None:
            self._farewell(self.cover)
            self.cover = None
            self._place()
        elif self.cover is not None and self.cover.plane != self.large:
            self.cover.show_plane(self.large)

    def _tell(self) -> None:
        tilts = ", ".join(f"{layer.name} ({degrees:.0f}°)" for layer, degrees in self.mirror.tilts().items())
        no_paint = NO_PAINT if any(isinstance(layer, Labels) for layer in self.mirror.tilts()) else ""
        self.noted.emit(TILTED.format(tilts=tilts) + no_paint if tilts else "")

    def _place(self) -> None:
        cover = None if self.cover is None else self.cover.qt_viewer
        self._arrangement.place(self._layout, [pane.qt_viewer for pane in self.panes], cover)
        self._hide_caption()
        self._fit_later.start(0)  # the canvases get their new sizes first
