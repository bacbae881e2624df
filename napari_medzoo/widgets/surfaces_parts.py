"""Parts of the dock "Surfaces": the form of mesh files."""

from __future__ import annotations

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QFormLayout,
    QHBoxLayout,
    QWidget,
)

from napari_medzoo.mesh_files import DEFAULT_SPACE, MESH_FORMATS
from napari_medzoo.widgets.parts import button, shorten

SPACES = {"LPS": "LPS (3D Slicer, ITK)", "RAS": "RAS (FreeSurfer, napari)"}


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
