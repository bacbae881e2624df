"""A list of lines with a tick each, one widget for classes, models and layers of a network."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

from qtpy.QtCore import QSignalBlocker, Qt, Signal
from qtpy.QtGui import QColor, QIcon, QPixmap
from qtpy.QtWidgets import QListWidget, QListWidgetItem

_KEY = Qt.ItemDataRole.UserRole
_SWATCH = 12
"""Edge of a colour's square, in pixels."""


@dataclass(frozen=True)
class Line:
    """One line.

    Attributes
    ----------
    key : object
        What it stands for.
    text : str
    tip : str
        Under the pointer, below the whole text.
    color : tuple of int or None
        Red, green, blue of 0 to 255, shown as a square.
    """

    key: Any
    text: str
    tip: str = ""
    color: tuple[int, int, int] | None = None


class TickList(QListWidget):
    """Lines with a tick each. One that is too long for the dock ends in an ellipsis; the pointer shows all of it."""

    ticked_changed = Signal()

    def __init__(self, tip: str) -> None:
        super().__init__()
        self.setToolTip(tip)
        # With wrapping a line is as wide as the list, and cut where its one row ends.
        self.setWordWrap(True)
        self.setUniformItemSizes(True)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.itemChanged.connect(lambda _: self.ticked_changed.emit())

    def offer(self, lines: Iterable[Line], ticked: Collection[Any]) -> None:
        """List lines instead of those before; those whose key is among `ticked` have a tick."""
        with QSignalBlocker(self):
            self.clear()
            for line in lines:
                item = QListWidgetItem(line.text)
                if line.color is not None:
                    swatch = QPixmap(_SWATCH, _SWATCH)
                    swatch.fill(QColor(*line.color))
                    item.setIcon(QIcon(swatch))
                item.setData(_KEY, line.key)
                item.setToolTip(f"{line.text}\n{line.tip}".strip())
                item.setFlags(item.flags() | Qt.ItemFlag.ItemIsUserCheckable)
                self.addItem(item)
        self.tick(ticked)

    def listed(self) -> list[Any]:
        """The keys of all lines."""
        return [item.data(_KEY) for item in self._items()]

    def ticked(self) -> list[Any]:
        """The keys of the lines with a tick."""
        return [item.data(_KEY) for item in self._items() if item.checkState() == Qt.CheckState.Checked]

    def tick(self, keys: Collection[Any]) -> None:
        """Tick the lines of these keys and no others."""
        with QSignalBlocker(self):
            for item in self._items():
                chosen = item.data(_KEY) in keys
                item.setCheckState(Qt.CheckState.Checked if chosen else Qt.CheckState.Unchecked)
        self.ticked_changed.emit()

    def _items(self) -> list[QListWidgetItem]:
        return [self.item(row) for row in range(self.count())]
