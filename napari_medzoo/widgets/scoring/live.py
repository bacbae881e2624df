"""Scores that follow the brush: when to look, and which figures stay true."""

from __future__ import annotations

import math
from typing import Any

from napari.layers import Labels
from qtpy.QtCore import QObject, QTimer, Signal

from napari_medzoo.live_scores import LiveScores
from napari_medzoo.widgets.scoring.form import COLUMN_OF, ScoreTable

PAUSE_MS = 120
"""How long edits are gathered before they are counted."""

OF_SURFACES = ("hd95_mm", "assd_mm", "nsd")
"""What cannot be kept up voxel by voxel: shown as missing for an edited class until Score is pressed again."""


class Follower(QObject):
    """Watches one labels layer and says, at most every `PAUSE_MS`, that it may have been edited."""

    edited = Signal()

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self._layer: Labels | None = None
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(PAUSE_MS)
        self._timer.timeout.connect(self.edited)

    def follow(self, layer: Labels | None) -> None:
        """Watch `layer` instead of the one before; None watches nothing."""
        if layer is self._layer:
            return
        for event in self._events():
            event.disconnect(self._noticed)
        self._layer = layer
        for event in self._events():
            event.connect(self._noticed)
        if layer is None:
            self._timer.stop()
        else:
            self._noticed()

    def _events(self) -> tuple[Any, ...]:
        if self._layer is None:
            return ()
        # Painting tells of every move by labels_update and of the whole stroke by paint; undo only redraws.
        events = self._layer.events
        return events.paint, events.labels_update, events.data, events.set_data

    def _noticed(self, event: Any = None) -> None:
        if not self._timer.isActive():
            self._timer.start()


def show_figures(table: ScoreTable, live: LiveScores) -> None:
    """Write what the edits changed into the table: Dice and volumes; surface distances become missing.

    A class that nobody had before gets a row.
    """
    confusion = live.confusion
    predicted, expected = confusion.voxels.sum(axis=0), confusion.voxels.sum(axis=1)
    shown = {row[0]: row for row in table.values()}
    for position, label in enumerate(confusion.table):
        total = int(predicted[position] + expected[position])
        if label.index == 0 or (label.index not in shown and not total):
            continue
        volume = float(predicted[position]) * live.grid.voxel_volume_ml
        apart = abs(int(predicted[position] - expected[position]))
        figures = {
            "dice": confusion.dice(label.index),
            "volume_ml": volume,
            "volume_similarity": 1 - apart / total if total else math.nan,
        }
        missing = dict.fromkeys(OF_SURFACES, math.nan)
        if label.index not in shown:
            figures["reference_volume_ml"] = float(expected[position]) * live.grid.voxel_volume_ml
            row = [label.index, label.name, *({**figures, **missing}[key] for key in COLUMN_OF)]
            table.add_row(row, label.color)
            continue
        before = shown[label.index]
        same = all(
            math.isclose(value, before[COLUMN_OF[key]], rel_tol=1e-12, abs_tol=1e-12) for key, value in figures.items()
        )
        if not same:
            for key, value in {**figures, **missing}.items():
                table.set_value(label.index, COLUMN_OF[key], value)
