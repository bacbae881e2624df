"""The window that lists MedZoo's keys."""

from __future__ import annotations

from qtpy.QtCore import Qt
from qtpy.QtGui import QKeySequence
from qtpy.QtWidgets import QApplication, QDialog, QHeaderView, QTableWidget, QTableWidgetItem, QVBoxLayout, QWidget

from napari_medzoo.widgets.parts import note
from napari_medzoo.widgets.shortcuts import SHORTCUTS

HEADINGS = ("Key", "What it does", "Where")
NAPARIS = "napari's own keys stand in File ▸ Preferences ▸ Shortcuts and go on working beside these."
_open: list[ShortcutList] = []


class ShortcutList(QDialog):
    """Every key of `SHORTCUTS`, what it does and where it is heard.

    Parameters
    ----------
    parent : QWidget, optional
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("Keys of MedZoo")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.table = QTableWidget(len(SHORTCUTS), len(HEADINGS))
        self.table.setHorizontalHeaderLabels(list(HEADINGS))
        self.table.verticalHeader().hide()
        self.table.setEditTriggers(QTableWidget.EditTrigger.NoEditTriggers)
        self.table.horizontalHeader().setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        for row, shortcut in enumerate(SHORTCUTS.values()):
            keys = ", ".join(
                QKeySequence(key).toString(QKeySequence.SequenceFormat.NativeText) for key in shortcut.keys
            )
            for column, text in enumerate((keys, shortcut.does, shortcut.where)):
                self.table.setItem(row, column, QTableWidgetItem(text))
        self.table.resizeRowsToContents()
        layout = QVBoxLayout(self)
        layout.addWidget(self.table)
        layout.addWidget(note(NAPARIS))
        room = self.table.horizontalHeader().length() + 2 * self.table.frameWidth()
        self.resize(room + 40, self.table.verticalHeader().length() + 120)


def show_shortcuts() -> None:
    """List every key that MedZoo answers to, in a small window that leaves napari usable."""
    window = ShortcutList(QApplication.activeWindow())
    _open.append(window)  # without a parent nothing else would hold it
    window.finished.connect(lambda result: _open.remove(window))
    window.show()
