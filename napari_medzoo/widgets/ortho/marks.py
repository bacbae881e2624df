"""What lies over a view: crosshair, orientation letters, the plane's name and where it cuts.

A transparent Qt widget on the canvas and no layer: it is in nobody's layer list or file, and moving the crosshair
does not draw the slice (or the head in 3D) again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QEvent, QLineF, QPointF, QRectF, Qt
from qtpy.QtGui import QColor, QFont, QPainter, QPainterPath, QPen
from qtpy.QtWidgets import QWidget

from napari_medzoo.widgets.ortho.geometry import on_canvas
from napari_medzoo.widgets.view import LETTERS, THREE_D, edge_letters, plane_of

if TYPE_CHECKING:
    from napari.components import ViewerModel

INK = QColor(255, 214, 0)
"""Of lines and letters; bright on a scan, and its dark rim carries it on a white canvas."""

RIM = QColor(0, 0, 0, 190)
SHADE = QColor(0, 0, 0, 110)
GAP = 9
"""Pixels around the point that the crosshair leaves free: what it points at must be seen."""

MARGIN = 6


class Marks(QWidget):
    """The marks of one view.

    Parameters
    ----------
    canvas : QWidget
        The canvas they lie on, and follow in size.
    shown : ViewerModel
        What the canvas shows.
    main : ViewerModel
        Whose position is the crosshair's.

    Attributes
    ----------
    crosshair : bool
    """

    def __init__(self, canvas: QWidget, shown: ViewerModel, main: ViewerModel) -> None:
        super().__init__(canvas)
        self._shown, self._main = shown, main
        self.crosshair = True
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self.setAttribute(Qt.WidgetAttribute.WA_NoSystemBackground)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.resize(canvas.size())
        canvas.installEventFilter(self)
        self.show()

    def eventFilter(self, canvas: Any, event: Any) -> bool:
        """Stay as large as the canvas."""
        if event.type() == QEvent.Type.Resize:
            self.resize(canvas.size())
        return False

    def lines(self) -> list[QLineF]:
        """The crosshair's lines in pixels; in 3D the three axes through the point, as far as the layers reach."""
        dims = self._main.dims
        if not self.crosshair or dims.ndim != 3 or self._shown.dims.ndim != 3 or not len(self._main.layers):
            return []
        point = np.array(dims.point, dtype=float)
        size = (self.width(), self.height())
        if self._shown.dims.ndisplay == 3:
            reach = [(start, stop) for start, stop, _ in dims.range]
            ends = [_moved(point, axis, value) for axis in range(3) for value in reach[axis]]
            pixels = [QPointF(*place) for place in on_canvas(self._shown, ends, size)]
            return [QLineF(pixels[i], pixels[i + 1]) for i in (0, 2, 4)]
        x, y = on_canvas(self._shown, [point], size)[0]
        lines = [
            QLineF(0, y, x - GAP, y),
            QLineF(x + GAP, y, size[0], y),
            QLineF(x, 0, x, y - GAP),
            QLineF(x, y + GAP, x, size[1]),
        ]
        return [line for line in lines if line.dx() > 0 or line.dy() > 0]

    def title(self) -> str:
        """The plane and where it cuts: "Axial · S 12.0 mm"."""
        plane = plane_of(self._shown) if self._shown.dims.ndim == 3 else THREE_D
        if plane == THREE_D:
            return THREE_D
        axis = self._shown.dims.order[0]
        return f"{plane.capitalize()} · {side_and_distance(axis, self._main.dims.point[axis])}"

    def letters(self) -> dict[str, str]:
        """What stands at each edge."""
        return edge_letters(self._shown)

    def paintEvent(self, event: Any) -> None:
        """Draw all of it."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        lines = self.lines()
        for color, width in ((SHADE, 2.5), (INK, 1.0)):
            painter.setPen(QPen(color, width))
            painter.drawLines(lines)
        font = QFont(self.font())
        font.setBold(True)
        font.setPointSizeF(self.font().pointSizeF() * 1.25)
        places = {
            "left": Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter,
            "right": Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter,
            "top": Qt.AlignmentFlag.AlignHCenter | Qt.AlignmentFlag.AlignTop,
            "bottom": Qt.AlignmentFlag.AlignHCenter | Qt.AlignmentFlag.AlignBottom,
        }
        for edge, letter in self.letters().items():
            self._write(painter, font, letter, places[edge])
        self._write(painter, self.font(), self.title(), Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignTop)
        painter.end()

    def _write(self, painter: QPainter, font: QFont, text: str, place: Any) -> None:
        painter.setFont(font)
        inside = QRectF(self.rect()).adjusted(MARGIN, MARGIN, -MARGIN, -MARGIN)
        box = painter.boundingRect(inside, place, text)
        path = QPainterPath()
        path.addText(QPointF(box.left(), box.top() + painter.fontMetrics().ascent()), font, text)
        painter.strokePath(path, QPen(RIM, 3.0))
        painter.fillPath(path, INK)


def side_and_distance(axis: int, millimetres: float) -> str:
    """A coordinate as a person reads it: ``"L 12.0 mm"`` for -12 along the axis right."""
    return f"{LETTERS[axis][int(millimetres >= 0)]} {abs(millimetres):.1f} mm"


def _moved(point: Any, axis: int, value: float) -> Any:
    moved = point.copy()
    moved[axis] = value
    return moved
