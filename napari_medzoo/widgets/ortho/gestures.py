"""Mouse and keys over the views, said as requests: step, zoom, go to a point, look at a point, a shortcut's name.

Wheel: slices. Ctrl + wheel: zoom. Click: crosshair. Shift + move: the crosshair follows. Drag: napari's own panning,
and its tools where one is chosen. Any other key goes to the main viewer's canvas, so that every shortcut of napari
and of its layers works in every view.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QEvent, QObject, Qt, Signal
from qtpy.QtWidgets import QApplication, QWidget

from napari_medzoo.widgets.shortcuts import shortcut_of

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from napari_medzoo.widgets.ortho.pane import Frame

NOTCH = 120
"""Qt's angle for one click of a mouse wheel; touchpads send parts of it."""

ZOOM_OF_NOTCH = 1.15
CLICK_PIXELS = 4
"""A press that moves no further than this is a click and no drag."""

BUTTON_LEFT = 1


class Gestures(QObject):
    """Listens to the canvases of all views.

    Parameters
    ----------
    home : QWidget
        The main viewer's canvas.
    """

    step_wanted = Signal(object, int)
    """A `Frame`, and by how many slices."""
    zoom_wanted = Signal(object, float)
    """A `Frame`, and the factor."""
    point_wanted = Signal(object)
    """World coordinates that the crosshair shall go to."""
    hovered = Signal(object)
    """World coordinates under the mouse; None as it leaves."""
    resized = Signal(object)
    """A `Frame` whose canvas is about to have another size."""
    key_pressed = Signal(str, object)
    """A key of `SHORTCUTS`, and the `Frame` under the mouse."""

    def __init__(self, home: QWidget) -> None:
        super().__init__()
        self._home = home
        self._frames: dict[QWidget, Frame] = {}
        self._callbacks: dict[QWidget, tuple[Callable[..., Any], Callable[..., Any]]] = {}
        self._under: Frame | None = None
        self._turned = 0.0

    def listen(self, frame: Frame) -> None:
        """Begin to listen to a view."""
        callbacks = (self._click, self._move)
        frame.model.mouse_drag_callbacks.append(callbacks[0])
        frame.model.mouse_move_callbacks.append(callbacks[1])
        self._frames[frame.canvas] = frame
        self._callbacks[frame.canvas] = callbacks
        frame.canvas.installEventFilter(self)

    def leave(self, frame: Frame) -> None:
        """Stop listening to a view."""
        frame.canvas.removeEventFilter(self)
        click, move = self._callbacks.pop(frame.canvas)
        frame.model.mouse_drag_callbacks.remove(click)
        frame.model.mouse_move_callbacks.remove(move)
        del self._frames[frame.canvas]
        if self._under is frame:
            self._under = None

    def eventFilter(self, canvas: Any, event: Any) -> bool:
        """Answer what is ours and keep it from napari."""
        frame = self._frames.get(canvas)
        if frame is None:
            return False
        kind = event.type()
        if kind == QEvent.Type.Enter:
            self._under = frame
        elif kind == QEvent.Type.Leave:
            self._under = None
            self.hovered.emit(None)
        elif kind == QEvent.Type.Resize:
            self.resized.emit(frame)
        elif kind == QEvent.Type.Wheel:
            return self._wheel(frame, event)
        elif kind == QEvent.Type.KeyPress and (name := shortcut_of(event)):
            self.key_pressed.emit(name, self._under or frame)
            return True
        elif kind in (QEvent.Type.KeyPress, QEvent.Type.KeyRelease) and canvas is not self._home:
            QApplication.sendEvent(self._home, event)
            return True
        return False

    def _wheel(self, frame: Frame, event: Any) -> bool:
        delta = event.angleDelta().y()
        control = bool(event.modifiers() & Qt.KeyboardModifier.ControlModifier)
        if event.modifiers() & ~Qt.KeyboardModifier.ControlModifier or not delta:
            return frame.canvas is not self._home  # Alt + wheel goes through the one layer list there is
        if control or frame.model.dims.ndisplay == 3:
            self.zoom_wanted.emit(frame, ZOOM_OF_NOTCH ** (delta / NOTCH))
            return True
        self._turned += delta
        steps = int(self._turned / NOTCH)
        self._turned -= steps * NOTCH
        if steps:
            self.step_wanted.emit(frame, steps)
        return True

    def _click(self, viewer: ViewerModel, event: Any) -> Iterator[None]:
        active = viewer.layers.selection.active
        tool = active is not None and str(active.mode) != "pan_zoom"
        if event.button != BUTTON_LEFT or len(event.modifiers) or viewer.dims.ndisplay != 2 or tool:
            return
        start, moved = np.array(event.pos), False
        yield
        while event.type == "mouse_move":
            moved = moved or np.abs(np.array(event.pos) - start).max() > CLICK_PIXELS
            yield
        if not moved:
            self._go(event.position)

    def _move(self, viewer: ViewerModel, event: Any) -> None:
        if viewer.dims.ndisplay != 2 or viewer.dims.ndim != 3:
            return
        self.hovered.emit(tuple(event.position))
        if "Shift" in event.modifiers:
            self._go(event.position)

    def _go(self, position: Sequence[float]) -> None:
        if len(position) == 3:
            self.point_wanted.emit(tuple(position))
