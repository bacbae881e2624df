"""A table of figures that sorts by value and copies as tab-separated text."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from qtpy.QtCore import QSize, Qt
from qtpy.QtGui import QColor, QIcon, QKeySequence, QPixmap
from qtpy.QtWidgets import QAbstractItemView, QApplication, QHeaderView, QTableWidget, QTableWidgetItem

Color = tuple[int, int, int]


class _Cell(QTableWidgetItem):
    """A cell that sorts by its value: numbers before missing ones, text by the alphabet."""

    def __init__(self, value: Any) -> None:
        super().__init__(shown(value))
        self.value = value
        if not isinstance(value, str):
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
        Shorten the second column so that all fit side by side; else the table scrolls sideways.
    """

    def __init__(self, columns: Sequence[str], narrow: bool = False) -> None:
        super().__init__(0, len(columns))
        self.columns = tuple(columns)
        self.setHorizontalHeaderLabels(list(columns))
        self.verticalHeader().hide()
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setWordWrap(False)
        self.setIconSize(QSize(12, 12))
        self.horizontalHeader().setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        if narrow:
            self.horizontalHeader().setSectionResizeMode(1, QHeaderView.ResizeMode.Stretch)
        self.horizontalHeader().setMinimumSectionSize(60)
        self.verticalHeader().setDefaultSectionSize(22)
        self.setMinimumHeight(190)

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
            for j, value in enumerate(row):
                self.setItem(i, j, _Cell(value))
            color = colors[i] if i < len(colors) else None
            if color is not None:
                swatch = QPixmap(12, 12)
                swatch.fill(QColor(*color))
                self.item(i, 1).setIcon(QIcon(swatch))
        self.horizontalHeader().setSortIndicator(-1, Qt.SortOrder.AscendingOrder)  # keep the order that was given
        self.setSortingEnabled(True)

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
