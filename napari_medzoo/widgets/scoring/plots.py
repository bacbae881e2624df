"""A small plot of curves, drawn with Qt alone so that it opens at once and follows the theme."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QPointF, QRectF, QSize, Qt, Signal
from qtpy.QtGui import QColor, QMouseEvent, QPainter, QPaintEvent, QPalette, QPen, QPolygonF
from qtpy.QtWidgets import QSizePolicy, QWidget

from napari_medzoo.widgets.tables import Color

TICKS = (0.0, 0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True, eq=False)
class Curve:
    """One line of a plot.

    Attributes
    ----------
    x, y : numpy.ndarray
        ``(N,)``, `y` of 0–1; the line is broken where `y` is NaN.
    color : (red, green, blue) or None
        0–255; None takes the text's.
    name : str
        For the legend.
    dashed, filled : bool
        Filled: the area below the line instead of the line.
    """

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    color: Color | None = None
    name: str = ""
    dashed: bool = False
    filled: bool = False


class Plot(QWidget):
    """Curves of 0–1 over a common axis, a mark on that axis, and clicks on it."""

    clicked = Signal(float)
    """Where on the horizontal axis, in its units."""

    def __init__(self) -> None:
        super().__init__()
        self.curves: tuple[Curve, ...] = ()
        self.mark: float | None = None
        self._labels = ("", "", "")
        self.setMinimumHeight(150)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)

    def sizeHint(self) -> QSize:
        """Three times as wide as high."""
        return QSize(420, 160)

    def show_curves(self, curves: Sequence[Curve], low: str = "", title: str = "", high: str = "") -> None:
        """Replace the curves and what stands below the axis: at its left end, in the middle, at its right end."""
        self.curves = tuple(curves)
        self._labels = (low, title, high)
        self.update()

    def set_mark(self, x: float | None) -> None:
        """Put the vertical line to `x`, or take it away."""
        self.mark = x
        self.update()

    def x_at(self, pixel: float) -> float:
        """The value of the horizontal axis at a pixel of the widget."""
        area, (low, high) = self._area(), self._range()
        return low + (pixel - area.left()) / max(area.width(), 1) * (high - low)

    def pixel_at(self, x: float, y: float = 0.0) -> QPointF:
        """The pixel of the widget at a point of the plot."""
        area, (low, high) = self._area(), self._range()
        return QPointF(area.left() + (x - low) / (high - low) * area.width(), area.bottom() - y * area.height())

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """A click, or moving with the button down, tells where on the axis it is."""
        if self.curves and event.button() == Qt.MouseButton.LeftButton:
            self.clicked.emit(self.x_at(event.position().x()))

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """See `mousePressEvent`."""
        if self.curves and event.buttons() & Qt.MouseButton.LeftButton:
            self.clicked.emit(self.x_at(event.position().x()))

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw axes, curves, legend and mark in the colours of the theme."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        ink = self.palette().color(QPalette.ColorRole.WindowText)
        faint = QColor(ink)
        faint.setAlpha(70)
        area = self._area()
        metrics = painter.fontMetrics()
        for tick in TICKS:
            y = area.bottom() - tick * area.height()
            painter.setPen(QPen(faint, 1))
            painter.drawLine(QPointF(area.left(), y), QPointF(area.right(), y))
            painter.setPen(ink)
            box = QRectF(0, y - metrics.height() / 2, area.left() - 5, metrics.height())
            painter.drawText(box, int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter), f"{tick:g}")
        below = QRectF(area.left(), area.bottom() + 3, area.width(), metrics.height() + 2)
        sides = (Qt.AlignmentFlag.AlignLeft, Qt.AlignmentFlag.AlignHCenter, Qt.AlignmentFlag.AlignRight)
        for text, side in zip(self._labels, sides, strict=True):
            painter.drawText(below, int(side), text)
        for curve in self.curves:
            self._draw(painter, curve, QColor(*curve.color) if curve.color else ink)
        self._draw_legend(painter, area, ink)
        if self.mark is not None and self.curves:
            top, bottom = self.pixel_at(self.mark, 1), self.pixel_at(self.mark, 0)
            painter.setPen(QPen(ink, 1.5))
            painter.drawLine(top, bottom)
        painter.end()

    def _draw(self, painter: QPainter, curve: Curve, color: QColor) -> None:
        known = ~np.isnan(curve.y)
        for piece in np.split(np.arange(len(curve.y)), np.flatnonzero(np.diff(known.astype(int))) + 1):
            if not len(piece) or not known[piece[0]]:
                continue
            points = [self.pixel_at(float(curve.x[i]), float(curve.y[i])) for i in piece]
            if curve.filled:
                first, last = (self.pixel_at(float(curve.x[i])) for i in (piece[0], piece[-1]))
                soft = QColor(color)
                soft.setAlpha(60)
                painter.setPen(Qt.PenStyle.NoPen)
                painter.setBrush(soft)
                painter.drawPolygon(QPolygonF([first, *points, last]))
                continue
            style = Qt.PenStyle.DashLine if curve.dashed else Qt.PenStyle.SolidLine
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.setPen(QPen(color, 1.8, style))
            if len(points) == 1:
                painter.drawEllipse(points[0], 2, 2)
            painter.drawPolyline(QPolygonF(points))

    def _draw_legend(self, painter: QPainter, area: QRectF, ink: QColor) -> None:
        metrics = painter.fontMetrics()
        left = area.left()
        for curve in self.curves:
            if not curve.name:
                continue
            color = QColor(*curve.color) if curve.color else ink
            if curve.filled:
                color = QColor(color)
                color.setAlpha(110)
            style = Qt.PenStyle.DashLine if curve.dashed else Qt.PenStyle.SolidLine
            painter.setPen(QPen(color, 6 if curve.filled else 2, style))
            middle = metrics.height() / 2 + 1
            painter.drawLine(QPointF(left, middle), QPointF(left + 18, middle))
            painter.setPen(ink)
            painter.drawText(QPointF(left + 23, metrics.ascent() + 1), curve.name)
            left += 23 + metrics.horizontalAdvance(curve.name) + 16

    def _area(self) -> QRectF:
        height = self.fontMetrics().height()
        left = self.fontMetrics().horizontalAdvance("0.75") + 8
        return QRectF(left, height + 6, max(self.width() - left - 8, 1), max(self.height() - 2 * height - 14, 1))

    def _range(self) -> tuple[float, float]:
        ends = [(float(curve.x.min()), float(curve.x.max())) for curve in self.curves if len(curve.x)]
        low, high = (min(end[0] for end in ends), max(end[1] for end in ends)) if ends else (0.0, 1.0)
        return (low, high) if high > low else (low - 0.5, low + 0.5)
