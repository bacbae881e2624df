"""Parts of the dock "Correct": the brush, and the choice of a tool with what it asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QSignalBlocker, Signal
from qtpy.QtGui import QColor, QIcon, QPixmap
from qtpy.QtWidgets import (
    QButtonGroup,
    QCheckBox,
    QComboBox,
    QDoubleSpinBox,
    QFormLayout,
    QHBoxLayout,
    QPushButton,
    QVBoxLayout,
    QWidget,
)
from superqt import QSearchableComboBox

from napari_medzoo.errors import MedzooError
from napari_medzoo.labels import LabelTable
from napari_medzoo.space import require_same_grid
from napari_medzoo.widgets.correct_tools import AXES, CLASS, MASK, ML, MM, PLANE, TOOLS, Region
from napari_medzoo.widgets.label_names import table_of
from napari_medzoo.widgets.layers import grid_of
from napari_medzoo.widgets.parts import button, note, row

if TYPE_CHECKING:
    from napari.layers import Labels

MODES = {
    "pan_zoom": ("Move", "Move and zoom the picture"),
    "paint": ("Paint", "Paint the chosen class"),
    "erase": ("Erase", "Paint background"),
    "fill": ("Fill", "Give the chosen class all that is connected with the place you click"),
    "pick": ("Pick", "Choose the class under the mouse"),
}

ANY_CLASS = "any class"
NO_TABLE = LabelTable("none", ())


class ClassBox(QSearchableComboBox):
    """Classes by name with their colours; type to search."""

    def offer(self, table: LabelTable, chosen: int | None = None, background: bool = False, whatever: str = "") -> None:
        """List a table's classes, and first of all `whatever` (no class in particular); choose one without telling."""
        labels = table.labels if background else table.foreground
        with QSignalBlocker(self):
            self.clear()
            if whatever:
                self.addItem(whatever, None)
            for label in labels:
                swatch = QPixmap(12, 12)
                swatch.fill(QColor(*label.color))
                self.addItem(QIcon(swatch), label.name, label.index)
            self.setCurrentIndex(0 if whatever and chosen is None else self.findData(chosen))
        self.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.setMinimumContentsLength(12)


class BrushView(QWidget):
    """napari's own painting modes, brush and protection, by their names and in mm."""

    mode_chosen = Signal(str)
    radius_chosen = Signal(float)
    dimensions_chosen = Signal(int)
    preserve_chosen = Signal(bool)

    def __init__(self) -> None:
        super().__init__()
        self.group = QButtonGroup(self)
        self.modes: dict[str, QPushButton] = {}
        modes = QHBoxLayout()
        modes.setSpacing(2)
        for mode, (text, tip) in MODES.items():
            made = button(text, tip, lambda mode=mode: self.mode_chosen.emit(mode))
            made.setCheckable(True)
            made.setMinimumWidth(made.fontMetrics().horizontalAdvance(text) + 12)  # five stand side by side
            self.modes[mode] = made
            self.group.addButton(made)
            modes.addWidget(made)
        self.radius = QDoubleSpinBox()
        self.radius.setRange(0.1, 50)
        self.radius.setDecimals(1)
        self.radius.setSingleStep(0.5)
        self.radius.setSuffix(" mm")
        self.radius.setKeyboardTracking(False)
        self.radius.setToolTip("How far the brush reaches")
        self.radius.valueChanged.connect(self.radius_chosen)
        self.dimensions = QComboBox()
        self.dimensions.addItem("2D (slice)", 2)
        self.dimensions.addItem("3D (ball)", 3)
        self.dimensions.currentIndexChanged.connect(
            lambda _: self.dimensions_chosen.emit(self.dimensions.currentData())
        )
        self.dimensions.setToolTip("Paint a disc in the slice that is shown, or a ball through the slices beside it")
        self.preserve = QCheckBox("Preserve other labels")
        self.preserve.setToolTip("Brush and tools change only the chosen class and the background")
        self.preserve.toggled.connect(self.preserve_chosen)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(modes)
        form = QFormLayout()
        form.addRow("Brush radius", row((self.radius, 1), (self.dimensions, 1)))
        layout.addLayout(form)
        layout.addWidget(self.preserve)

    def refresh(self, layer: Labels, radius: float) -> None:
        """Show what the layer has."""
        with QSignalBlocker(self.radius), QSignalBlocker(self.dimensions), QSignalBlocker(self.preserve):
            self.radius.setValue(radius)
            self.dimensions.setCurrentIndex(self.dimensions.findData(min(int(layer.n_edit_dimensions), 3)))
            self.preserve.setChecked(layer.preserve_labels)
        chosen = self.modes.get(str(layer.mode))
        self.group.setExclusive(False)
        for made in self.modes.values():
            made.setChecked(made is chosen)
        self.group.setExclusive(True)


class ToolView(QWidget):
    """One tool for the chosen class, what it asks for, and Run."""

    run_wanted = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.tool = QComboBox()
        for key, tool in TOOLS.items():
            self.tool.addItem(tool.title, key)
        self.tool.setToolTip("A tool for the chosen class in the whole volume")
        self.tool.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.tool.setMinimumContentsLength(14)
        self.number = QDoubleSpinBox()
        self.number.setToolTip("How far, or how large")
        self.number.setRange(0.01, 1000)
        self.number.setDecimals(2)
        self.plane = QComboBox()
        for plane in AXES:
            self.plane.addItem(f"{plane} slices", plane)
        self.plane.setToolTip("Which slices")
        self.other, self.mask, self.part = ClassBox(), QComboBox(), ClassBox()
        self.other.setToolTip("The class that takes its place")
        self.mask.setToolTip("The labels to stay inside of")
        self.mask.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.mask.setMinimumContentsLength(8)
        self.mask.currentIndexChanged.connect(lambda _: self._list_parts())
        self.part.setToolTip("Which of their classes; type to search")
        self.run = button("Run", "On the whole volume; one step of undo", self.run_wanted.emit)
        self.tip = note()
        self._answers: dict[str, tuple[QWidget, ...]] = {
            MM: (self.number,),
            ML: (self.number,),
            PLANE: (self.plane,),
            CLASS: (self.other,),
            MASK: (self.mask, self.part),
        }
        self._asked = (self.number, self.plane, self.other, self.mask, self.part)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(row((self.tool, 1), self.run))
        layout.addLayout(row(*((widget, 1) for widget in self._asked)))
        layout.addWidget(self.tip)
        self.tool.currentIndexChanged.connect(lambda _: self._chosen())
        self._chosen()

    @property
    def key(self) -> str:
        """The chosen tool, a key of `TOOLS`."""
        return self.tool.currentData()

    def offer(self, table: LabelTable, masks: list[Labels]) -> None:
        """List what Replace and Keep inside can take."""
        self.other.offer(table, self.other.currentData(), background=True)
        kept = self.mask.currentData()
        with QSignalBlocker(self.mask):
            self.mask.clear()
            for mask in masks:
                self.mask.addItem(mask.name, mask)
            self.mask.setCurrentIndex(masks.index(kept) if kept in masks else 0)
        self._list_parts(None if kept is not self.mask.currentData() else self.part.currentData())

    def _list_parts(self, chosen: int | None = None) -> None:
        mask = self.mask.currentData()
        if TOOLS[self.key].asks == MASK:  # else nobody asks, and to count a foreign layer's classes takes a moment
            self.part.offer(table_of(mask) if mask is not None else NO_TABLE, chosen, whatever=ANY_CLASS)

    def answer(self, layer: Labels) -> Any:
        """What the tool asked for.

        Raises
        ------
        MedzooError
            If nothing suitable is chosen.
        """
        asks = TOOLS[self.key].asks
        if asks in (MM, ML):
            return self.number.value()
        if asks == PLANE:
            return self.plane.currentData()
        if asks == CLASS:
            if self.other.currentData() is None:
                raise MedzooError("Choose the class that shall take its place.")
            return int(self.other.currentData())
        if asks == MASK:
            mask = self.mask.currentData()
            if mask is None:
                raise MedzooError("Open the labels to stay inside of as another layer first.")
            require_same_grid(grid_of(layer), grid_of(mask), f"Layer '{layer.name}'", f"layer '{mask.name}'")
            part = self.part.currentData()
            data = np.asarray(mask.data)
            name = mask.name if part is None else f"{self.part.currentText()} of {mask.name}"
            return Region(name, data != 0 if part is None else data == part)
        return None

    def _chosen(self) -> None:
        tool = TOOLS[self.key]
        for widget in self._asked:
            widget.setVisible(widget in self._answers.get(tool.asks, ()))
        self._list_parts()
        if tool.asks in (MM, ML):
            self.number.setSuffix(f" {tool.asks}")
            self.number.setValue(tool.default)
        self.tip.setText(tool.tip)
