"""A table of figures that sorts by value and copies as tab-separated text."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from qtpy.QtCore import QSize, Qt, Signal
from qtpy.QtGui import QBrush, QColor, QIcon, QKeySequence, QPixmap
from qtpy.QtWidgets import QAbstractItemView, QApplication, QHeaderView, QTableWidget, QTableWidgetItem

Color = tuple[int, int, int]

NAME_LETTERS = 20
"""Width of the column of names where the figures need the room."""


class _Cell(QTableWidgetItem):
    """A cell that sorts by its value: numbers before missing ones, text by the alphabet."""

    def __init__(self, value: Any) -> None:
        super().__init__(shown(value))
        self.value = value
        if isinstance(value, str):
            self.setToolTip(value)
        else:
            self.setTextAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)

    def __lt__(self, other: Any) -> bool:
        return _key(self.value) < _key(other.value)


class FigureTable(QTableWidget):
    """Rows of text and numbers; click a heading to sort, Ctrl+C copies the selected rows (all if none is).

    Parameters
    ----------
    columns : sequence of str
        Headings, units included; the second is the label's name.
    narrow : bool
        Give the second column what the others leave, so that all fit side by side; else the table scrolls sideways.
    shade : callable, optional
        ``shade(column, value)`` → colour of 0–255 behind a cell, or None; the text on it is black or white.
    """

    row_chosen = Signal(int)
    """The first column of a row that was clicked."""

    def __init__(
        self,
        columns: Sequence[str],
        narrow: bool = False,
        shade: Callable[[int, Any], Color | None] = lambda column, value: None,
    ) -> None:
        super().__init__(0, len(columns))
        self.columns = tuple(columns)
        self._shade = shade
        self.setHorizontalHeaderLabels(list(columns))
        self.verticalHeader().hide()
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setWordWrap(False)
        self.setIconSize(QSize(12, 12))
        self.horizontalHeader().setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        # Long names must not push the figures out of sight: they are shortened, and whole in the tooltip.
        names = QHeaderView.ResizeMode.Stretch if narrow else QHeaderView.ResizeMode.Interactive
        self.horizontalHeader().setSectionResizeMode(1, names)
        self.setColumnWidth(1, NAME_LETTERS * self.fontMetrics().averageCharWidth())
        self.horizontalHeader().setMinimumSectionSize(48)
        self.verticalHeader().setDefaultSectionSize(22)
        self.setMinimumHeight(190)
        self.cellClicked.connect(lambda row, column: self.row_chosen.emit(int(self.item(row, 0).value)))

    def show_rows(self, rows: Sequence[Sequence[Any]], colors: Sequence[Color | None] = ()) -> None:
        """Replace the content.

        Parameters
        ----------
        rows : sequence of sequences
            One value per column: text, whole numbers, or floats (NaN and None are shown as a dash).
        colors : sequence of (red, green, blue) or None, optional
            A swatch of 0–255 before the second column of each row.
        """
        self.setSortingEnabled(False)
        self.setRowCount(len(rows))
        for i, row in enumerate(rows):
            self._fill(i, row, colors[i] if i < len(colors) else None)
        self.horizontalHeader().setSortIndicator(-1, Qt.SortOrder.AscendingOrder)  # keep the order that was given
        self.setSortingEnabled(True)

    def add_row(self, row: Sequence[Any], color: Color | None = None) -> None:
        """Add a row before the first one whose key is larger; the others keep their order until sorted again."""
        self.setSortingEnabled(False)
        place = next((i for i in range(self.rowCount()) if self.item(i, 0).value > row[0]), self.rowCount())
        self.insertRow(place)
        self._fill(place, row, color)
        self.horizontalHeader().setSortIndicator(-1, self.horizontalHeader().sortIndicatorOrder())
        self.setSortingEnabled(True)

    def set_value(self, key: Any, column: int, value: Any) -> None:
        """Change one cell of the row whose first column is `key`; the rows keep their places until sorted again."""
        self.setSortingEnabled(False)
        self._put(self.row_of(key), column, value)
        order = self.horizontalHeader().sortIndicatorOrder()
        self.horizontalHeader().setSortIndicator(-1, order)
        self.setSortingEnabled(True)

    def row_of(self, key: Any) -> int:
        """The row whose first column is `key`, as shown now; -1 where there is none."""
        keys = (self.item(i, 0).value for i in range(self.rowCount()))
        return next((i for i, value in enumerate(keys) if value == key), -1)

    def values(self) -> list[list[Any]]:
        """The values row by row, in the order shown."""
        return [[self.item(i, j).value for j in range(self.columnCount())] for i in range(self.rowCount())]

    def as_text(self, selected_only: bool = False) -> str:
        """Headings and rows, tab-separated, numbers in full precision."""
        chosen = sorted({index.row() for index in self.selectedIndexes()}) if selected_only else []
        rows = [row for i, row in enumerate(self.values()) if not chosen or i in chosen]
        cells = [["" if _missing(value) else str(value) for value in row] for row in rows]
        return "\n".join("\t".join(row) for row in [list(self.columns), *cells])

    def copy(self) -> None:
        """Put `as_text` on the clipboard: the selected rows, or all."""
        QApplication.clipboard().setText(self.as_text(selected_only=True))

    def keyPressEvent(self, event: Any) -> None:
        """Ctrl+C copies; everything else is Qt's."""
        if event.matches(QKeySequence.StandardKey.Copy):
            self.copy()
        else:
            super().keyPressEvent(event)

    def _fill(self, row: int, values: Sequence[Any], color: Color | None) -> None:
        for column, value in enumerate(values):
            self._put(row, column, value)
        if color is not None:
            swatch = QPixmap(12, 12)
            swatch.fill(QColor(*color))
            self.item(row, 1).setIcon(QIcon(swatch))

    def _put(self, row: int, column: int, value: Any) -> None:
        cell = _Cell(value)
        color = self._shade(column, value)
        if color is not None:
            cell.setBackground(QBrush(QColor(*color)))
            cell.setForeground(QBrush(QColor(*ink_on(color))))
        self.setItem(row, column, cell)


def ink_on(color: Color) -> Color:
    """Black or white, whichever is read better on `color` (relative luminance of sRGB, WCAG 2)."""
    linear = [part / 255 / 12.92 if part <= 10 else ((part / 255 + 0.055) / 1.055) ** 2.4 for part in color]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return (0, 0, 0) if luminance > 0.179 else (255, 255, 255)


def shown(value: Any) -> str:
    """A value as the table writes it: three decimals at most, a dash where there is none."""
    if _missing(value):
        return "–"
    if isinstance(value, float):
        return f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"
    return str(value)


def _missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _key(value: Any) -> tuple[int, Any]:
    if _missing(value):
        return (2, 0)
    return (1, value.lower()) if isinstance(value, str) else (0, value)
