"""Dice along the slices of the chosen class, with the slice in view marked; a click goes there."""

from __future__ import annotations

from typing import Any

import numpy as np
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QHBoxLayout, QVBoxLayout, QWidget

from napari_medzoo.slice_scores import PLANE_LETTERS, SliceScores
from napari_medzoo.widgets.parts import choice, note
from napari_medzoo.widgets.scoring.plots import Curve, Plot

ENDS = {"axial": ("inferior", "superior"), "coronal": ("posterior", "anterior"), "sagittal": ("left", "right")}
WORLD_AXIS = {"sagittal": 0, "coronal": 1, "axial": 2}


class SliceView(QWidget):
    """The plot, the plane it runs across, and the slice in view in words."""

    plane_chosen = Signal(str)
    point_chosen = Signal(object)
    """RAS+ mm ``(3,)`` of a point in the slice that was clicked."""

    def __init__(self) -> None:
        super().__init__()
        self.plane = choice("Slices", list(PLANE_LETTERS), letters=8, tip="Which way the slices of the plot run")
        self.plane.changed.connect(self.plane_chosen.emit)
        self.text = note()
        self.plot = Plot()
        self.plot.setToolTip("Click to go to a slice")
        self.plot.clicked.connect(self._clicked)
        row = QHBoxLayout()
        row.addWidget(self.plane.native)
        row.addWidget(self.text, 1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 4, 0, 0)
        layout.addLayout(row)
        layout.addWidget(self.plot, 1)
        self.scores: SliceScores | None = None
        self._name = ""
        self._point: Any = (0.0, 0.0, 0.0)

    def show_scores(self, scores: SliceScores | None, name: str = "") -> None:
        """Draw one class; None empties the plot."""
        self.scores, self._name = scores, name
        if scores is None:
            self.plot.show_curves(())
        else:
            places = self._places(scores)
            most = max(int(scores.expected.max(initial=0)), 1)
            curves = [
                Curve(places, scores.expected / most, None, "reference's area", filled=True),
                Curve(places, scores.dice, (230, 159, 0), f"Dice of {name}"),
            ]
            low, high = ENDS[self.plane.value]
            self.plot.show_curves(curves, low, "position in mm", high)
        self.mark(self._point)

    def mark(self, point_mm: Any) -> None:
        """Mark the slice that a point in RAS+ mm lies in, and say its Dice."""
        self._point = point_mm
        if self.scores is None:
            self.text.setText("Click a row of the table to see its slices.")
            return
        position = self.scores.position_of(point_mm)
        self.plot.set_mark(float(self._places(self.scores)[position]))
        dice = self.scores.dice[position]
        shown = "absent from both" if np.isnan(dice) else f"Dice {dice:.3f}"
        self.text.setText(f"Slice {position}: {self._name} {shown}")

    def _places(self, scores: SliceScores) -> Any:
        """The slices' positions in mm along the head, at the middle of the grid."""
        middle = scores.grid.center_mm.tolist()
        points = [scores.point_in(position, middle) for position in range(len(scores.predicted))]
        return np.array(points)[:, WORLD_AXIS[self.plane.value]]

    def _clicked(self, x: float) -> None:
        if self.scores is not None:
            position = int(np.abs(self._places(self.scores) - x).argmin())
            self.point_chosen.emit(self.scores.point_in(position, self._point))
