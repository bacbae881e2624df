"""The panel's small views for what comes out: volumes, saving, scores."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QHBoxLayout, QVBoxLayout, QWidget

from napari_medzoo import state as possible
from napari_medzoo.inference.provenance import timing_summary
from napari_medzoo.lesions import called_lesion
from napari_medzoo.state import State
from napari_medzoo.widgets.parts import button, note
from napari_medzoo.widgets.scoring.form import PairForm, ScoreTable, score_summary
from napari_medzoo.widgets.tables import FigureTable


class ResultView(QWidget):
    """What each label measures, what to know about the result, and Save."""

    title = "5  Result"
    fields = frozenset({"segmentation", "work"})
    save_wanted = Signal()
    label_chosen = Signal(int)
    lesions_wanted = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.table = FigureTable(("Index", "Label", "Volume (mL)"), narrow=True)
        self.table.row_chosen.connect(self.label_chosen)
        self.table.setToolTip("Click a row to go there, a heading to sort; Ctrl+C copies")
        self.warnings = note()
        self.save = button(
            "Save labels…", "In the scan's own grid; the ending decides the format", self.save_wanted.emit
        )
        self.copy = button("Copy table", "As tab-separated text", self.table.copy)
        self.lesions = button(
            "Lesions…", "Count and volume of the lesions, and the way to each", self.lesions_wanted.emit
        )
        self.timing = note()
        buttons = QHBoxLayout()
        for one in (self.save, self.copy, self.lesions):
            buttons.addWidget(one)
        layout = QVBoxLayout(self)
        layout.addWidget(self.warnings)
        layout.addWidget(self.table)
        layout.addLayout(buttons)
        layout.addWidget(self.timing)

    def refresh(self, state: State) -> None:
        """Show the segmentation's volumes, warnings and how long it took."""
        result = state.segmentation
        if self._shown is not result:  # counting the voxels takes its time
            self._shown = result
            rows = possible.volume_rows(result) if result else []
            self.table.show_rows(rows, [result.table[index].color for index, *_ in rows] if result else [])
        self.warnings.setText("\n".join(result.warnings) if result else "Labels appear here and as a layer.")
        self.warnings.setVisible(bool(self.warnings.text()))
        self.save.setEnabled(result is not None and not state.work)
        self.copy.setEnabled(bool(self.table.rowCount()))
        self.lesions.setVisible(result is not None and bool(called_lesion(result.table)))
        self.timing.setText(timing_summary(result.provenance.get("timings_s", {})) if result else "")
        self.timing.setVisible(bool(self.timing.text()))

    _shown: Any = None


class ScoreView(QWidget):
    """Compare labels with a reference: choose both, then a table per class."""

    title = "6  Score against a reference"
    fields = frozenset({"report", "work", "releasing"})
    score_wanted = Signal(object, object, str, str)
    """Prediction layer, reference (layer or path), numbering of the prediction, numbering of the reference."""
    label_chosen = Signal(int)

    def __init__(self) -> None:
        super().__init__()
        self.form = PairForm(files=True)
        self.prediction, self.prediction_numbering = self.form.prediction, self.form.prediction_numbering
        self.reference, self.reference_numbering = self.form.reference, self.form.reference_numbering
        self.file = self.form.file
        self.table = ScoreTable()
        self.table.row_chosen.connect(self.label_chosen)
        self.table.setToolTip("Click a row to go to the worst place of its class.\n" + self.table.toolTip())
        self.mean, self.place = note(), note()
        self.score = button(
            "Score",
            "Dice, HD95, ASSD, NSD and volumes per class",
            lambda: self.score_wanted.emit(*self.form.chosen()),
        )
        self.copy = button("Copy table", "As tab-separated text", self.table.copy)
        buttons = QHBoxLayout()
        buttons.addWidget(self.score)
        buttons.addWidget(self.copy)
        layout = QVBoxLayout(self)
        layout.addWidget(self.form)
        layout.addLayout(buttons)
        layout.addWidget(self.mean)
        layout.addWidget(self.place)
        layout.addWidget(self.table)
        self._busy = ""
        self.form.changed.connect(self._enable)

    def offer_layers(self, layers: list[Any], prediction: Any = None, reference: Any = None) -> None:
        """List the viewer's label layers and choose `prediction` and `reference` among them, if they are given."""
        self.form.offer_layers(layers, prediction, reference)

    def refresh(self, state: State) -> None:
        """Show the report's figures per class and their mean."""
        report = state.report
        if self._shown is not report:
            self._shown = report
            self.table.show_report(report)
            self.place.setText("Click a row to go to the worst place of its class." if report else "")
        self.mean.setText(score_summary(report) if report else "")
        self.mean.setVisible(bool(report))
        self.copy.setEnabled(bool(self.table.rowCount()))
        self._busy = possible.busy_problem(state)
        self._enable()

    _shown: Any = None

    def _enable(self) -> None:
        self.score.setEnabled(not self._busy and self.form.complete)
        self.score.setToolTip(self._busy or "Choose labels and a reference: a layer, or a file")
