"""The Scoring dock: a table per class, and the way from each figure to the place it comes from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Labels
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QCheckBox, QScrollArea, QSplitter, QTabWidget

from napari_medzoo.error_maps import CORRECT, Place, confusion_place, worst_place
from napari_medzoo.errors import MedzooError
from napari_medzoo.slice_scores import SliceScores, plane_axis
from napari_medzoo.state import busy_problem
from napari_medzoo.widgets import label_display, view
from napari_medzoo.widgets.alignment.references import scans_of
from napari_medzoo.widgets.dock_body import DockBody
from napari_medzoo.widgets.parts import button, note, row
from napari_medzoo.widgets.scoring.background import Newest
from napari_medzoo.widgets.scoring.form import PairForm, ScoreTable, score_summary
from napari_medzoo.widgets.scoring.live import Follower, show_figures
from napari_medzoo.widgets.scoring.matrix import MatrixView
from napari_medzoo.widgets.scoring.pair import Scored, contour_layers, error_layer, put, score_layers
from napari_medzoo.widgets.scoring.slices import SliceView
from napari_medzoo.widgets.ties import Ties

if TYPE_CHECKING:
    import napari

LIVE_TIP = "While you paint: Dice and volume of every class, and the slices of the chosen one, without pressing Score"


class ScoringDock(DockBody):
    """Compare two labels layers and look at what the figures mean.

    Parameters
    ----------
    napari_viewer : napari.Viewer
        Given by napari, because the parameter has this name.

    Attributes
    ----------
    scored : Scored or None
        The pair that the table shows.
    index : int or None
        The class that was chosen, in the common numbering.
    """

    def __init__(self, napari_viewer: napari.Viewer) -> None:
        super().__init__(napari_viewer)
        self.newest = Newest(self)
        self.scored: Scored | None = None
        self.index: int | None = None
        self._placing = Ties()
        self._build()
        self.follower = Follower(self)
        self.follower.edited.connect(self._follow)
        self._connect()
        self._offer_layers()
        self._plane_turned()
        self._enable()

    def _build(self) -> None:
        self.form, self.table = PairForm(), ScoreTable()
        self.slices, self.matrix = SliceView(), MatrixView()
        self.summary, self.place = note(), note()
        self.score = button("Score", "Dice, HD95, ASSD, NSD and volumes per class", self.run_score)
        self.copy = button("Copy table", "As tab-separated text", self.table.copy)
        self.all = button("All classes", "Show every class again", self.show_all)
        self.errors = button("Error map", "Correct, missed and too much, as a layer", self.show_errors)
        self.contours = button("Contours", "The outlines of both sides, as layers", self.show_contours)
        self.live = QCheckBox("Live")
        self.live.setToolTip(LIVE_TIP)
        scroll = QScrollArea()
        scroll.setWidget(self.matrix)
        self.tabs = QTabWidget()
        self.tabs.addTab(self.slices, "Along slices")
        self.tabs.addTab(scroll, "Confusion")
        split = QSplitter(Qt.Orientation.Vertical)
        split.addWidget(self.table)
        split.addWidget(self.tabs)
        self.column.addWidget(self.form)
        self.column.addLayout(row(self.score, self.copy, self.live))
        self.column.addWidget(self.summary)
        self.column.addLayout(row(self.all, self.errors, self.contours))
        self.column.addWidget(self.place)
        self.column.addWidget(split, 1)

    def _connect(self) -> None:
        self.form.changed.connect(self._enable)
        self.table.setToolTip("Click a row to go to the worst place of its class.\n" + self.table.toolTip())
        self.table.row_chosen.connect(self.choose)
        self.matrix.cell_clicked.connect(self.go_to_confusion)
        self.slices.plane_chosen.connect(lambda plane: self._count_slices())
        self.slices.point_chosen.connect(lambda point: view.center_on(self.viewer, point))
        self.live.toggled.connect(self._live_switched)
        layers, dims = self.viewer.layers.events, self.viewer.dims.events
        for event in (self.state.events.work, self.state.events.releasing):
            self.ties.tie(event, self._enable)
        for event in (layers.inserted, layers.removed, layers.reordered):
            self.ties.tie(event, self._offer_layers)
        self.ties.tie(dims.point, self._moved)
        self.ties.tie(dims.order, self._plane_turned)
        self.ties.at_last(self.newest.forget)
        self.ties.at_last(self._placing.cut)

    # Scoring

    def run_score(self) -> None:
        """Score the chosen pair."""
        if self.form.complete and not busy_problem(self.state):
            self.newest.forget()
            steps = score_layers(*self.form.chosen(), scans_of(self.viewer.layers))
            self.jobs.start("Scoring", steps, self._show)

    def _show(self, scored: Scored) -> None:
        self.scored = scored
        self._placing.cut()
        for layer in (scored.prediction, scored.reference):
            self._placing.tie(layer.events.affine, self._placed_anew)
        report = scored.report
        table = scored.live.confusion.table
        self.table.show_report(report, {label.index: label.color for label in table.foreground})
        self.summary.setText(score_summary(report))
        self.matrix.show_confusion(scored.live.confusion)
        if self.index not in table.indices:
            self.index = None
        self.place.setText("Click a row to go to the worst place of its class.")
        self._count_slices()
        self._live_switched()
        self._enable()

    # From a figure to its place

    def choose(self, index: int) -> None:
        """Show one class alone, its slices, and the place where its surfaces lie furthest apart."""
        scored = self.scored
        if scored is None:
            return
        self.index = index
        scored.solo(index)
        if index in (label.index for label in scored.live.confusion.table):
            self.newest.ask("place", lambda: worst_place(*scored.live.pair(), index), self._go)
        self._count_slices()

    def go_to_confusion(self, reference_index: int, index: int) -> None:
        """Go to where the most of one label was called another."""
        scored = self.scored
        if scored is not None:
            self.newest.ask("place", lambda: confusion_place(*scored.live.pair(), reference_index, index), self._go)

    def show_all(self) -> None:
        """Show every class again and choose none."""
        self.index = None
        self.table.clearSelection()
        self._count_slices()
        if self.scored is not None:
            self.scored.solo(None)

    def show_errors(self) -> None:
        """Add the error map of the chosen class, or of all."""
        if (scored := self.scored) is not None:
            index = self.index
            self.newest.ask("errors", lambda: error_layer(scored.live, index), self._put_errors)

    def show_contours(self) -> None:
        """Add the outlines of the chosen class, or of all, on both sides."""
        if (scored := self.scored) is not None:
            index = self.index
            self.newest.ask("contours", lambda: contour_layers(scored.live, index), self._put_contours)

    def _put_errors(self, made: Any) -> None:
        # What is right need not hide the scan.
        label_display.fade_class(put(self.viewer, made), CORRECT, 0.2)

    def _put_contours(self, made: list[Any]) -> None:
        for layer in made:
            put(self.viewer, layer, contour=1)

    def _go(self, place: Place) -> None:
        view.center_on(self.viewer, place.point_mm)
        self.place.setText(place.note)

    # Slices

    def _count_slices(self) -> None:
        scored, index = self.scored, self.index
        if scored is None or index is None:
            self.newest.ask("slices", lambda: None, lambda nothing: self.slices.show_scores(None))
            return
        axis = plane_axis(scored.live.grid, self.slices.plane.value)
        self.newest.ask("slices", lambda: scored.live.slices(index, axis), self._show_slices)

    def _show_slices(self, scores: SliceScores) -> None:
        if self.scored is not None and self.index is not None:
            self.slices.show_scores(scores, self.scored.live.confusion.table[self.index].name)
            self._moved()

    def _moved(self, event: Any = None) -> None:
        self.slices.mark(np.asarray(self.viewer.dims.point)[-3:])

    def _plane_turned(self, event: Any = None) -> None:
        planes = [name for name, plane in view.PLANES.items() if plane.order[0] == self.viewer.dims.order[0]]
        if self.viewer.dims.ndim == 3 and planes:
            self.slices.plane.value = planes[0]

    # Live

    def _live_switched(self, on: bool | None = None) -> None:
        self.follower.follow(self.scored.prediction if self.scored is not None and self.live.isChecked() else None)

    def _follow(self) -> None:
        scored = self.scored
        if scored is None:
            return
        data, index, known = scored.edited().data, self.index, self.slices.scores
        axis = plane_axis(scored.live.grid, self.slices.plane.value)

        def update() -> SliceScores | str | None:
            try:
                box = scored.live.update(data)
            except MedzooError as error:
                return str(error)  # a line of the dock: a notification would come with every move of the brush
            if box is None:
                return ""
            if index is None or index not in scored.live.confusion.table.indices:
                return None
            same = known if known is not None and known.axis == axis else None
            return scored.live.slices(index, axis, same, box) if same else scored.live.slices(index, axis)

        self.newest.ask("live", update, self._followed)

    def _followed(self, scores: SliceScores | str | None) -> None:
        if self.scored is None or isinstance(scores, str):
            if scores:
                self.place.setText(str(scores))
            return
        show_figures(self.table, self.scored.live)
        self.matrix.show_confusion(self.scored.live.confusion)
        if isinstance(scores, SliceScores):
            self._show_slices(scores)

    # The form

    def _offer_layers(self, event: Any = None) -> None:
        layers = [layer for layer in self.viewer.layers if isinstance(layer, Labels)]
        self.form.offer_layers(layers)
        if self.scored is not None and not {self.scored.prediction, self.scored.reference} <= set(layers):
            self._forget()
        self._enable()

    def _placed_anew(self, event: Any = None) -> None:
        self._forget()
        self.summary.setText("The labels lie elsewhere now; score them again.")
        self._enable()

    def _forget(self) -> None:
        self.scored, self.index = None, None
        self._placing.cut()
        self.newest.forget()
        self.follower.follow(None)
        self.table.show_report(None)
        self.matrix.show_confusion(None)
        self.slices.show_scores(None)
        self.summary.setText("")
        self.place.setText("")

    def _enable(self, event: Any = None) -> None:
        busy = busy_problem(self.state)
        self.score.setEnabled(not busy and self.form.complete)
        self.score.setToolTip(busy or "Dice, HD95, ASSD, NSD and volumes per class; choose labels and a reference")
        for widget in (self.copy, self.all, self.errors, self.contours, self.live):
            widget.setEnabled(self.scored is not None)
        self.summary.setVisible(bool(self.summary.text()))
        self.place.setVisible(bool(self.place.text()))
