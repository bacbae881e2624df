"""The panel's small views for what comes out: volumes, saving, scores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from magicgui.types import FileDialogMode
from magicgui.widgets import Container, FileEdit
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QHBoxLayout, QVBoxLayout, QWidget

from napari_medzoo import state as possible
from napari_medzoo.evaluate import METRICS, EvaluationReport, LabelScore
from napari_medzoo.label_tables import LABEL_TABLES
from napari_medzoo.state import State
from napari_medzoo.widgets.parts import button, choice, note, offer
from napari_medzoo.widgets.tables import FigureTable

AS_GIVEN = ""
NUMBERINGS = [("as named in it", AS_GIVEN), *((name, name) for name in LABEL_TABLES)]
SCORE_COLUMNS = ("Index", "Label", *(metric.title for metric in METRICS.values()))


class ResultView(QWidget):
    """What each label measures, what to know about the result, and Save."""

    title = "5  Result"
    fields = frozenset({"segmentation", "work"})
    save_wanted = Signal()
    label_chosen = Signal(int)

    def __init__(self) -> None:
        super().__init__()
        self.table = FigureTable(("Index", "Label", "Volume (mL)"), narrow=True)
        self.table.itemDoubleClicked.connect(lambda cell: self.label_chosen.emit(self._index_in_row(cell.row())))
        self.table.setToolTip("Click a heading to sort, Ctrl+C to copy, double-click a row to go there")
        self.warnings = note()
        self.save = button(
            "Save labels…", "In the scan's own grid; the ending decides the format", self.save_wanted.emit
        )
        self.copy = button("Copy table", "As tab-separated text", self.table.copy)
        buttons = QHBoxLayout()
        buttons.addWidget(self.save)
        buttons.addWidget(self.copy)
        layout = QVBoxLayout(self)
        layout.addWidget(self.warnings)
        layout.addWidget(self.table)
        layout.addLayout(buttons)

    def refresh(self, state: State) -> None:
        """Show the segmentation's volumes and warnings."""
        result = state.segmentation
        rows = possible.volume_rows(result) if result else []
        if self._shown is not result:
            self._shown = result
            self.table.show_rows(rows, [result.table[index].color for index, *_ in rows] if result else [])
        self.warnings.setText("\n".join(result.warnings) if result else "Labels appear here and as a layer.")
        self.warnings.setVisible(bool(self.warnings.text()))
        self.save.setEnabled(result is not None and not state.work)
        self.copy.setEnabled(bool(rows))

    _shown: Any = None

    def _index_in_row(self, row: int) -> int:
        return int(self.table.values()[row][0])


class ScoreView(QWidget):
    """Compare labels with a reference: choose both, then a table per class."""

    title = "6  Score against a reference"
    fields = frozenset({"report", "work", "releasing"})
    score_wanted = Signal(object, object, str, str)
    """Prediction layer, reference (layer or path), numbering of the prediction, numbering of the reference."""

    def __init__(self) -> None:
        super().__init__()
        self.prediction = choice("Labels", [])
        self.prediction_numbering = choice("Numbering", NUMBERINGS)
        self.reference = choice("Reference", [])
        self.file = FileEdit(label="or file", mode=FileDialogMode.EXISTING_FILE, nullable=True)
        self.reference_numbering = choice("Numbering", NUMBERINGS)
        self.file.value = None
        form = Container(
            widgets=[self.prediction, self.prediction_numbering, self.reference, self.file, self.reference_numbering]
        )
        form.margins = (0, 0, 0, 0)
        self.table = FigureTable(SCORE_COLUMNS)
        self.table.setToolTip("Click a heading to sort, Ctrl+C to copy")
        self.mean = note()
        self.score = button("Score", "Dice, HD95, ASSD, NSD and volumes per class", self._emit)
        self.copy = button("Copy table", "As tab-separated text", self.table.copy)
        buttons = QHBoxLayout()
        buttons.addWidget(self.score)
        buttons.addWidget(self.copy)
        layout = QVBoxLayout(self)
        layout.addWidget(form.native)
        layout.addLayout(buttons)
        layout.addWidget(self.mean)
        layout.addWidget(self.table)
        self._layers: list[Any] = []
        self._busy = ""
        for widget in (self.prediction, self.reference, self.file):
            widget.changed.connect(lambda _: self._enable())

    def offer_layers(self, layers: list[Any], prediction: Any = None, reference: Any = None) -> None:
        """List the viewer's label layers and choose `prediction` and `reference` among them, if they are given."""
        self._layers = layers
        choices = [(layer.name, layer) for layer in layers]
        chosen = prediction if prediction in layers else self.prediction.value
        offer(self.prediction, choices, chosen)
        offer(self.reference, [("choose a layer", None), *choices], reference or self.reference.value)
        self._enable()

    def refresh(self, state: State) -> None:
        """Show the report's figures per class and their mean."""
        report = state.report
        rows = [score_row(score) for score in report.labels if score.present] if report else []
        if self._shown is not report:
            self._shown = report
            self.table.show_rows(rows)
        self.mean.setText(score_summary(report) if report else "")
        self.mean.setVisible(bool(report))
        self.copy.setEnabled(bool(rows))
        self._busy = possible.busy_problem(state)
        self._enable()

    _shown: Any = None

    def _enable(self) -> None:
        self.score.setEnabled(not self._busy and self.prediction.value is not None and self._reference() is not None)
        self.score.setToolTip(self._busy or "Choose labels and a reference: a layer, or a file")

    def _reference(self) -> Any:
        return self.file.value if self._has_file() else self.reference.value

    def _has_file(self) -> bool:
        return self.file.value is not None and self.file.value != Path()

    def _emit(self) -> None:
        self.score_wanted.emit(
            self.prediction.value, self._reference(), self.prediction_numbering.value, self.reference_numbering.value
        )


def score_row(score: LabelScore) -> list[Any]:
    """One label's figures in the order of `SCORE_COLUMNS`."""
    return [score.index, score.name, *(getattr(score, key) for key in METRICS)]


def score_summary(report: EvaluationReport) -> str:
    """The means, and what the comparison left out or converted."""
    mean = report.mean
    figures = f"Mean Dice {mean.dice:.3f}, HD95 {mean.hd95_mm:.1f} mm, NSD {mean.nsd:.3f} (background left out)."
    return "\n".join([figures, *report.notes])
