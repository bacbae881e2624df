"""What the panel's scores and the Scoring dock share: which pair is compared, and the table of its figures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from magicgui.types import FileDialogMode
from magicgui.widgets import Container, FileEdit
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_medzoo.evaluate import METRICS, EvaluationReport, LabelScore
from napari_medzoo.label_tables import LABEL_TABLES
from napari_medzoo.widgets.parts import choice, offer
from napari_medzoo.widgets.scoring.colors import shade
from napari_medzoo.widgets.tables import Color, FigureTable

AS_GIVEN = ""
NUMBERINGS = [("as named in it", AS_GIVEN), *((name, name) for name in LABEL_TABLES)]
NUMBERING_TIP = "Which table says what the numbers in it mean, where the labels do not name them themselves"
SCORE_COLUMNS = ("Index", "Label", *(metric.title for metric in METRICS.values()))
COLUMN_OF = {key: 2 + position for position, key in enumerate(METRICS)}


class PairForm(QWidget):
    """Choose labels, a reference, and the numbering each was written in.

    Parameters
    ----------
    files : bool
        Whether the reference may also be a file.
    """

    changed = Signal()

    def __init__(self, files: bool = False) -> None:
        super().__init__()
        self.prediction = choice("Labels", [], tip="The labels to be judged")
        self.prediction_numbering = choice("Numbering", NUMBERINGS, tip=NUMBERING_TIP)
        self.reference = choice("Reference", [], tip="The labels that count as right")
        self.file = FileEdit(label="or file", mode=FileDialogMode.EXISTING_FILE, nullable=True)
        self.file.value = None
        for part in (self.file, self.file.line_edit, self.file.choose_btn):
            part.tooltip = "A file of labels that counts as right, instead of a layer"
        self.reference_numbering = choice("Numbering", NUMBERINGS, tip=NUMBERING_TIP)
        rows = [self.prediction, self.prediction_numbering, self.reference, self.file, self.reference_numbering]
        form = Container(widgets=[row for row in rows if files or row is not self.file])
        form.margins = (0, 0, 0, 0)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(form.native)
        for widget in (self.prediction, self.reference, self.file):
            widget.changed.connect(lambda _: self.changed.emit())

    def offer_layers(self, layers: list[Any], prediction: Any = None, reference: Any = None) -> None:
        """List the viewer's label layers and choose `prediction` and `reference` among them, if they are given."""
        choices = [(layer.name, layer) for layer in layers]
        chosen = prediction if prediction in layers else self.prediction.value
        offer(self.prediction, choices, chosen)
        offer(self.reference, [("choose a layer", None), *choices], reference or self.reference.value)
        self.changed.emit()

    @property
    def given_reference(self) -> Any:
        """The reference file if there is one, else the reference layer, else None."""
        has_file = self.file.value is not None and self.file.value != Path()
        return self.file.value if has_file else self.reference.value

    @property
    def complete(self) -> bool:
        """Whether both sides are chosen."""
        return self.prediction.value is not None and self.given_reference is not None

    def chosen(self) -> tuple[Any, Any, str, str]:
        """Labels layer, reference layer or file, and the numbering of each (empty: as it names itself)."""
        return (
            self.prediction.value,
            self.given_reference,
            self.prediction_numbering.value,
            self.reference_numbering.value,
        )


class ScoreTable(FigureTable):
    """The figures of every label, coloured from bad (dark blue) to good (yellow)."""

    def __init__(self) -> None:
        keys = {column: key for key, column in COLUMN_OF.items()}
        super().__init__(SCORE_COLUMNS, shade=lambda column, value: _shade(keys.get(column, ""), value))
        self.setToolTip("Click a heading to sort, Ctrl+C to copy. Dark blue is bad, yellow is good")

    def show_report(self, report: EvaluationReport | None, colors: dict[int, Color] | None = None) -> None:
        """List the labels that at least one side has, with swatches where `colors` has their index."""
        scores = [score for score in report.labels if score.present] if report else []
        self.show_rows([score_row(score) for score in scores], [(colors or {}).get(score.index) for score in scores])


def _shade(metric: str, value: Any) -> Color | None:
    return shade(metric, value) if isinstance(value, float) else None


def score_row(score: LabelScore) -> list[Any]:
    """One label's figures in the order of `SCORE_COLUMNS`."""
    return [score.index, score.name, *(getattr(score, key) for key in METRICS)]


def score_summary(report: EvaluationReport) -> str:
    """The means, and what the comparison left out or converted."""
    mean = report.mean
    figures = f"Mean Dice {mean.dice:.3f}, HD95 {mean.hd95_mm:.1f} mm, NSD {mean.nsd:.3f} (background left out)."
    return "\n".join([figures, *report.notes])
