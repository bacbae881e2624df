"""What the Alignment dock is made of: the boxes that move a scan, and how both scans are drawn in one picture."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QComboBox, QDoubleSpinBox, QGridLayout, QLabel, QSlider, QVBoxLayout, QWidget

from napari_medzoo.preprocess.alignment import SHIFTS, TURNS, Alignment, Pose
from napari_medzoo.space import Grid
from napari_medzoo.widgets.alignment import mixing
from napari_medzoo.widgets.parts import note, row

CHECKERBOARD, SWIPE, OVERLAY = "Checkerboard", "Swipe", "Red and cyan"
HINTS = {
    CHECKERBOARD: "Edges must run on from one square into the next, in all three planes: ventricles, skull, midline.",
    SWIPE: "Edges must run on across the border: the scan that stays before it, the one that is moved beyond.",
    OVERLAY: "Red: only the scan that stays is bright. Cyan: only the one that is moved. Grey: both.",
}
"""What to look at."""

SHIFT_WORDS = ("Shift left – right", "Shift back – front", "Shift down – up")
TURN_WORDS = ("Turn nose down – up", "Turn top left – right", "Turn nose right – left")
STEP = 0.5
"""Millimetres and degrees of one step of a box; Page Up and Page Down make ten."""

FARTHEST_MM, WIDEST_DEGREES = 1000.0, 180.0

DIRECTIONS = {"left to right": 0, "back to front": 1, "bottom to top": 2}
"""Of the swipe → world axis."""

SQUARE_MM = (5, 25, 80)
"""Smallest, first and largest square."""

Picture = Callable[[NDArray[np.uint8], NDArray[np.uint8], Grid], NDArray[np.uint8]]
"""From both scans, ``uint8`` on one grid, to the picture."""


class PoseBoxes(QWidget):
    """Six boxes, in words for a person who stands beside the scanner: shifts in mm, turns in degrees."""

    pose_changed = Signal(object)
    """The whole `Pose`, of which a person changed one part."""

    def __init__(self) -> None:
        super().__init__()
        self._pose = Pose()
        self.shifts = [_box(" mm", FARTHEST_MM, words) for words in SHIFTS]
        self.turns = [_box("°", WIDEST_DEGREES, words) for words in TURNS]
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setColumnStretch(1, 1)
        lines = [*zip(SHIFT_WORDS, self.shifts, strict=True), *zip(TURN_WORDS, self.turns, strict=True)]
        for line, (name, box) in enumerate(lines):
            grid.addWidget(QLabel(name), line, 0)
            grid.addWidget(box, line, 1)
            field = ("shift_mm", "turn_degrees")[line // 3]
            box.valueChanged.connect(lambda value, field=field, axis=line % 3: self._changed(field, axis, value))

    def show_pose(self, pose: Pose) -> None:
        """Show a pose without telling anyone; it is kept with all its digits."""
        self._pose = pose
        for boxes, values in ((self.shifts, pose.shift_mm), (self.turns, pose.turn_degrees)):
            for box, value in zip(boxes, values, strict=True):
                box.blockSignals(True)
                box.setValue(value)
                box.blockSignals(False)

    def _changed(self, field: str, axis: int, value: float) -> None:
        parts = list(getattr(self._pose, field))
        parts[axis] = value
        self._pose = replace(self._pose, **{field: tuple(parts)})
        self.pose_changed.emit(self._pose)


def _box(unit: str, most: float, words: tuple[str, str]) -> QDoubleSpinBox:
    box = QDoubleSpinBox()
    box.setRange(-most, most)
    box.setDecimals(1)
    box.setSingleStep(STEP)
    box.setSuffix(unit)
    box.setToolTip(f"+ {words[1]}, − {words[0]}. Keys: ↑ ↓ one step of {STEP:g}{unit}, Page Up and Page Down ten")
    return box


class LookBar(QWidget):
    """Checkerboard, swipe or both colours, with a slider for the squares or the swipe."""

    look_changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.look, self.direction = QComboBox(), QComboBox()
        self.look.addItems([CHECKERBOARD, SWIPE, OVERLAY])
        self.look.setToolTip("How both scans share the picture: edges must run on from the one into the other")
        self.direction.addItems(list(DIRECTIONS))
        self.direction.setToolTip("Along which direction the one scan gives way to the other")
        self.slider, self.value = QSlider(Qt.Orientation.Horizontal), QLabel()
        self.slider.setToolTip("How large the squares are, or where the one scan gives way to the other")
        self.value.setMinimumWidth(60)
        self.hint = note()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(row((self.look, 1), (self.direction, 1)))
        layout.addLayout(row((self.slider, 1), self.value))
        layout.addWidget(self.hint)
        self._chosen = {CHECKERBOARD: SQUARE_MM[1], SWIPE: 50}
        self.look.currentTextChanged.connect(self._turned)
        self.direction.currentTextChanged.connect(self.look_changed)
        self.slider.valueChanged.connect(self._slid)
        self._turned()

    def picture(self) -> Picture:
        """How to draw the picture, as it is chosen now."""
        look, value = self.look.currentText(), self.slider.value()
        axis = DIRECTIONS[self.direction.currentText()]
        if look == CHECKERBOARD:
            return lambda fixed, moving, grid: mixing.checkerboard(fixed, moving, grid, value)
        if look == SWIPE:
            return lambda fixed, moving, grid: mixing.swiped(fixed, moving, axis, value / 100)
        return lambda fixed, moving, grid: mixing.overlaid(fixed, moving)

    @property
    def colors(self) -> Any:
        """The colour map of the picture."""
        return mixing.RED_CYAN if self.look.currentText() == OVERLAY else "gray"

    def _turned(self, look: str = "") -> None:
        look = self.look.currentText()
        self.hint.setText(HINTS[look])
        self.direction.setVisible(look == SWIPE)
        for widget in (self.slider, self.value):
            widget.setVisible(look != OVERLAY)
        self.slider.blockSignals(True)
        self.slider.setRange(*((SQUARE_MM[0], SQUARE_MM[2]) if look == CHECKERBOARD else (0, 100)))
        self.slider.setValue(self._chosen.get(look, 0))
        self.slider.blockSignals(False)
        self._say()
        self.look_changed.emit()

    def _slid(self, value: int) -> None:
        self._chosen[self.look.currentText()] = value
        self._say()
        self.look_changed.emit()

    def _say(self) -> None:
        checkered = self.look.currentText() == CHECKERBOARD
        self.value.setText(f"{self.slider.value()} mm" if checkered else f"{self.slider.value()} %")


def verdict(name: str, found: Alignment | None) -> str:
    """Where the scan `name` lies, in a sentence and in numbers, as rich text; None is still being measured."""
    if found is None:
        return f"<b>{escape(name)}</b>: measuring …"
    return (
        f"<b>{escape(name)}</b>: {escape(str(found))}.<br>Shared information (1: none): "
        f"<b>{found.after:.3f}</b> here, {found.before:.3f} with the header's position."
    )
