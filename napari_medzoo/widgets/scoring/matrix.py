"""The confusion matrix as a picture that can be read and clicked."""

from __future__ import annotations

import math

from qtpy.QtCore import QEvent, QPointF, QRectF, QSize, Qt, Signal
from qtpy.QtGui import QColor, QHelpEvent, QMouseEvent, QPainter, QPaintEvent, QPalette, QPen
from qtpy.QtWidgets import QToolTip, QWidget

from napari_medzoo.confusion import Confusion
from napari_medzoo.widgets.scoring.colors import cividis

NAME_WIDTH = 170


class MatrixView(QWidget):
    """Rows: the reference's labels; columns: what the prediction called them; colour: the share of the row.

    The colour goes with the square root of the share, because confusions of one in a hundred are what is looked for.
    """

    cell_clicked = Signal(int, int)
    """Index of the label in the reference, and in the prediction."""

    def __init__(self) -> None:
        super().__init__()
        self._confusion: Confusion | None = None
        self._rows: tuple[int, ...] = ()
        self.setMouseTracking(True)

    def show_confusion(self, confusion: Confusion | None) -> None:
        """Replace the matrix; labels that both sides lack are left out."""
        self._confusion = confusion
        self._rows = confusion.present() if confusion else ()
        self.setFixedSize(self.sizeHint())
        self.update()

    def sizeHint(self) -> QSize:
        """As large as all cells and names."""
        side = self._side() * len(self._rows)
        return QSize(NAME_WIDTH + side + 8, self._head() + side + 8)

    def cell_at(self, x: float, y: float) -> tuple[int, int] | None:
        """Positions (row, column) in the table of labels of the cell under a pixel."""
        row = math.floor((y - self._head()) / self._side())
        column = math.floor((x - NAME_WIDTH) / self._side())
        if not (0 <= row < len(self._rows) and 0 <= column < len(self._rows)):
            return None
        return self._rows[row], self._rows[column]

    def middle_of(self, row: int, column: int) -> QPointF:
        """The pixel in the middle of a cell, by its positions in the table of labels."""
        side = self._side()
        x, y = (self._rows.index(position) + 0.5 for position in (column, row))
        return QPointF(NAME_WIDTH + x * side, self._head() + y * side)

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """A click on a cell that has voxels tells which."""
        found = self.cell_at(event.position().x(), event.position().y())
        if found and self._confusion is not None and self._confusion.voxels[found]:
            labels = self._confusion.table.labels
            self.cell_clicked.emit(labels[found[0]].index, labels[found[1]].index)

    def event(self, event: QEvent) -> bool:
        """A tooltip puts the cell under the pointer into words."""
        if event.type() == QEvent.Type.ToolTip and isinstance(event, QHelpEvent):
            found = self.cell_at(event.pos().x(), event.pos().y())
            text = self._confusion.describe(*found) if found and self._confusion is not None else ""
            QToolTip.showText(event.globalPos(), text, self)
            return True
        return super().event(event)

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw names, numbers and cells."""
        if self._confusion is None:
            return
        painter = QPainter(self)
        ink = self.palette().color(QPalette.ColorRole.WindowText)
        faint = QColor(ink)
        faint.setAlpha(40)
        side, head = self._side(), self._head()
        metrics = painter.fontMetrics()
        shares = self._confusion.shares
        labels = self._confusion.table.labels
        for i, row in enumerate(self._rows):
            top = head + i * side
            painter.setPen(ink)
            name = metrics.elidedText(
                f"{labels[row].name}  {labels[row].index}", Qt.TextElideMode.ElideMiddle, NAME_WIDTH - 8
            )
            box = QRectF(0, top, NAME_WIDTH - 5, side)
            painter.drawText(box, int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter), name)
            painter.save()
            painter.translate(NAME_WIDTH + i * side + side / 2 + metrics.ascent() / 2 - 1, head - 4)
            painter.rotate(-90)
            painter.drawText(QPointF(0, 0), str(labels[row].index))
            painter.restore()
            for j, column in enumerate(self._rows):
                share = shares[row, column]
                cell = QRectF(NAME_WIDTH + j * side, top, side - 1, side - 1)
                empty = math.isnan(share) or share == 0
                painter.fillRect(cell, faint if empty else QColor(*cividis(math.sqrt(share))))
        painter.setPen(QPen(ink, 1))
        painter.drawText(QRectF(0, 0, NAME_WIDTH - 5, head), int(Qt.AlignmentFlag.AlignRight), "reference ↓  labels →")
        painter.end()

    def _side(self) -> int:
        return self.fontMetrics().height() + 2

    def _head(self) -> int:
        return self.fontMetrics().horizontalAdvance("00000") + 8
