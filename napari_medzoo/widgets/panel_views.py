"""How the panel's small views stand below each other."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import QSize, Qt, Signal
from qtpy.QtWidgets import QLabel, QScrollArea, QVBoxLayout, QWidget

from napari_medzoo.state import State
from napari_medzoo.widgets.asking import paths_of
from napari_medzoo.widgets.dock_body import LEAST_WIDTH
from napari_medzoo.widgets.parts import Fold
from napari_medzoo.widgets.result_views import ResultView, ScoreView
from napari_medzoo.widgets.views import DockView, ModelView, PlaneView, PrepareView, RunView, StudyView

RESEARCH_ONLY = "Research use only, not for diagnosis"

WIDTH = 420
"""Pixels that the panel takes where there is room."""


class PanelViews(QWidget):
    """The views of the panel: they show a state and emit what the person asks for."""

    paths_dropped = Signal(object)
    """A list of local files and folders."""

    def __init__(self) -> None:
        super().__init__()
        self.setAcceptDrops(True)
        self._build()

    def refresh(self, state: State, field: str | None = None) -> None:
        """Show `state`: everything, or only what shows one of its fields."""
        for widget in self._views:
            if field is None or field in widget.fields:
                widget.refresh(state)

    def sizeHint(self) -> QSize:
        """As wide as is comfortable."""
        return QSize(WIDTH, super().sizeHint().height())

    def dragEnterEvent(self, event: Any) -> None:
        """Local files and folders may be dropped here."""
        if paths_of(event.mimeData()):
            event.acceptProposedAction()

    def dropEvent(self, event: Any) -> None:
        """Dropped files and folders are handed on."""
        self.paths_dropped.emit(paths_of(event.mimeData()))
        event.acceptProposedAction()

    def _build(self) -> None:
        self.study_view, self.prepare_view, self.model_view = StudyView(), PrepareView(), ModelView()
        self.result_view, self.score_view = ResultView(), ScoreView()
        self.run_view, self.plane_view, self.dock_view = RunView(), PlaneView(), DockView()
        sections = (self.study_view, self.prepare_view, self.model_view, self.result_view, self.score_view)
        self._views = (*sections, self.run_view)
        inside = QWidget()
        column = QVBoxLayout(inside)
        column.setContentsMargins(4, 4, 4, 4)
        folded = (self.prepare_view, self.score_view)
        self.folds = {section: Fold(section.title, section, section not in folded) for section in sections}
        for fold in self.folds.values():
            column.addWidget(fold)
        column.addStretch()
        self.scroll = QScrollArea()
        self.scroll.setWidgetResizable(True)
        self.scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.scroll.setWidget(inside)
        self.banner = QLabel(RESEARCH_ONLY)
        self.banner.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.banner.setStyleSheet("background: #7a4b00; color: white; font-weight: bold; padding: 4px;")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        layout.addWidget(self.plane_view)
        layout.addWidget(self.dock_view)
        layout.addWidget(self.scroll, 1)
        layout.addWidget(self.run_view)
        layout.addWidget(self.banner)
        self.setMinimumWidth(LEAST_WIDTH)
