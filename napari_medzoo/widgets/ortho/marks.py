"""What lies over a view: crosshair, orientation letters, the plane's name and where it cuts.

A transparent Qt widget on the canvas and no layer: it is in nobody's layer list or file, and moving the crosshair
does not draw the slice (or the head in 3D) again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QEvent, QLineF, QPointF, QRectF, Qt
from qtpy.QtGui import QColor, QFont, QFontMetricsF, QPainter, QPainterPath, QPen
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
BETWEEN = " · "
APART = 4
"""Pixels between the plane's name and a letter, at least."""

Text = tuple[str, QRectF, QFont]
"""What is written, the box it fills, and in which letters."""


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
        return f"{plane.capitalize()}{BETWEEN}{side_and_distance(axis, self._main.dims.point[axis])}"

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
        for text, box, font in self.texts():
            path = QPainterPath()
            path.addText(QPointF(box.left(), box.top() + QFontMetricsF(font).ascent()), font, text)
            painter.strokePath(path, QPen(RIM, 3.0))
            painter.fillPath(path, INK)
        painter.end()

    def texts(self) -> list[Text]:
        """The letters at the edges and, a line each, the title; none covers another."""
        font = QFont(self.font())
        font.setBold(True)
        font.setPointSizeF(self.font().pointSizeF() * 1.25)
        metrics = QFontMetricsF(font)
        inside = QRectF(self.rect()).adjusted(MARGIN, MARGIN, -MARGIN, -MARGIN)
        middle = inside.center() - QPointF(0, metrics.height() / 2)
        letters = []
        for edge, letter in self.letters().items():
            width = metrics.horizontalAdvance(letter)
            corner = {
                "left": QPointF(inside.left(), middle.y()),
                "right": QPointF(inside.right() - width, middle.y()),
                "top": QPointF(middle.x() - width / 2, inside.top()),
                "bottom": QPointF(middle.x() - width / 2, inside.bottom() - metrics.height()),
            }[edge]
            letters.append((letter, QRectF(corner.x(), corner.y(), width, metrics.height()), font))
        return [*letters, *self._title_beside([box for _, box, _ in letters], inside)]

    def _title_beside(self, letters: list[QRectF], inside: QRectF) -> list[Text]:
        """The title in the upper left corner: in one line, else in two, else without the plane; or not at all."""
        metrics, parts = QFontMetricsF(self.font()), self.title().split(BETWEEN)
        below = max((box.bottom() for box in letters if box.top() == inside.top()), default=inside.top())
        taken = [box.adjusted(-APART, 0, APART, 0) for box in letters]
        for lines in ([BETWEEN.join(parts)], parts, parts[-1:]):
            for top in (inside.top(), below):
                boxes = [
                    QRectF(inside.left(), top + i * metrics.height(), metrics.horizontalAdvance(line), metrics.height())
                    for i, line in enumerate(lines)
                ]
                if all(inside.contains(box) and not any(box.intersects(other) for other in taken) for box in boxes):
                    return [(line, box, self.font()) for line, box in zip(lines, boxes, strict=True)]
        return []


def side_and_distance(axis: int, millimetres: float) -> str:
    """A coordinate as a person reads it: ``"L 12.0 mm"`` for -12 along the axis right."""
    return f"{LETTERS[axis][int(millimetres >= 0)]} {abs(millimetres):.1f} mm"


def _moved(point: Any, axis: int, value: float) -> Any:
    moved = point.copy()
    moved[axis] = value
    return moved
