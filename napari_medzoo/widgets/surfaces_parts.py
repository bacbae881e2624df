"""Parts of the dock "Surfaces": the classes to choose, and the form of mesh files."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from qtpy.QtCore import QSignalBlocker, Qt, Signal
from qtpy.QtGui import QColor, QIcon, QPixmap
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QFormLayout,
    QHBoxLayout,
    QListWidget,
    QListWidgetItem,
    QWidget,
)

from napari_medzoo.labels import Label
from napari_medzoo.mesh_files import DEFAULT_SPACE, MESH_FORMATS
from napari_medzoo.widgets.parts import button, shorten

INDEX = Qt.ItemDataRole.UserRole
SPACES = {"LPS": "LPS (3D Slicer, ITK)", "RAS": "RAS (FreeSurfer, napari)"}


class ClassList(QListWidget):
    """Classes by name with their colours, each with a tick."""

    ticked_changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.setMinimumHeight(120)
        self.setToolTip("Tick the classes to show")
        self.itemChanged.connect(lambda _: self.ticked_changed.emit())

    def offer(self, labels: Sequence[Label]) -> None:
        """List classes; those that were listed keep their ticks, new ones have none."""
        ticked = set(self.ticked())
        with QSignalBlocker(self):
            self.clear()
            for label in labels:
                swatch = QPixmap(12, 12)
                swatch.fill(QColor(*label.color))
                item = QListWidgetItem(QIcon(swatch), label.name)
                item.setData(INDEX, label.index)
                item.setFlags(item.flags() | Qt.ItemFlag.ItemIsUserCheckable)
                item.setCheckState(Qt.CheckState.Checked if label.index in ticked else Qt.CheckState.Unchecked)
                self.addItem(item)
        self.ticked_changed.emit()

    def listed(self) -> list[int]:
        """Indices of the classes that are listed."""
        return [self.item(row).data(INDEX) for row in range(self.count())]

    def ticked(self) -> list[int]:
        """Indices of the classes that are ticked."""
        items = [self.item(row) for row in range(self.count())]
        return [item.data(INDEX) for item in items if item.checkState() == Qt.CheckState.Checked]

    def tick(self, indices: Collection[int]) -> None:
        """Tick these classes and no others."""
        with QSignalBlocker(self):
            for row in range(self.count()):
                item = self.item(row)
                chosen = item.data(INDEX) in indices
                item.setCheckState(Qt.CheckState.Checked if chosen else Qt.CheckState.Unchecked)
        self.ticked_changed.emit()


class ExportView(QWidget):
    """The form of mesh files."""

    wanted = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.form = QComboBox()
        for suffix, form in MESH_FORMATS.items():
            self.form.addItem(form.title, suffix)
            self.form.setItemData(self.form.count() - 1, f"Keeps {form.holds}", Qt.ItemDataRole.ToolTipRole)
        self.form.setToolTip("Kind of the mesh files; each says what it keeps")
        self.space = QComboBox()
        for space, text in SPACES.items():
            self.space.addItem(text, space)
        self.space.setCurrentIndex(self.space.findData(DEFAULT_SPACE))
        self.space.setToolTip("Which way x and y grow in the file; it says so in its first lines")
        for combo in (self.form, self.space):
            shorten(combo, 12)
        self.each = QCheckBox("A file for each class")
        self.each.setToolTip("In a folder, named by class; else all classes in one file")
        self.store = button("Export…", "Write the surfaces as mesh files, in mm", self.wanted.emit)
        last = QHBoxLayout()
        last.addWidget(self.each, 1)
        last.addWidget(self.store)
        form = QFormLayout(self)
        form.addRow("Format", self.form)
        form.addRow("Coordinates", self.space)
        form.addRow(last)
