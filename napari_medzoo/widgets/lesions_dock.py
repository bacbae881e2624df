"""The dock "Lesions": every lesion of some labels with its volume and place, and the way to each of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari.layers import Labels
from napari.utils.notifications import show_error, show_info
from qtpy.QtCore import QTimer
from qtpy.QtGui import QKeySequence
from qtpy.QtWidgets import QCheckBox, QDoubleSpinBox, QFormLayout, QShortcut

from napari_medzoo.io import stem_of
from napari_medzoo.labels import LabelTable
from napari_medzoo.lesions import MINIMUM_MM3, called_lesion
from napari_medzoo.state import busy_problem
from napari_medzoo.widgets.alignment.references import scans_of
from napari_medzoo.widgets.dock_body import DockBody
from napari_medzoo.widgets.label_names import table_of
from napari_medzoo.widgets.layers import file_of
from napari_medzoo.widgets.lesion_tasks import (
    Listing,
    contents,
    likely_lesions,
    list_lesions,
    write_listing,
)
from napari_medzoo.widgets.lesions_parts import EditWatch, LesionTable, Marks, ask_table_file, go_to, is_marks
from napari_medzoo.widgets.parts import button, choice, note, offer, row
from napari_medzoo.widgets.scoring.background import Newest
from napari_medzoo.widgets.shortcuts import SHORTCUTS

if TYPE_CHECKING:
    import napari

NO_LABELS = "Open labels with a lesion class first: those of a model that finds lesions, or a mask of lesions."
CHOOSE = "choose a class"
NO_CLASS = "None of the classes of these labels is called a lesion; choose the one that is."
STALE = "The labels were changed since; the list is out of date."
SETTLED_MS = 400
"""Rest after the last change of a setting before the list is made again."""


class LesionsDock(DockBody):
    """The lesions of a labels layer, one by one.

    Parameters
    ----------
    napari_viewer : napari.Viewer
        Given by napari, because the parameter has this name.

    Attributes
    ----------
    layer : napari.layers.Labels or None
        Whose lesions are listed.
    listing : Listing or None
        What the table shows.
    stale : bool
        Whether the labels were edited since.
    """

    def __init__(self, napari_viewer: napari.Viewer) -> None:
        super().__init__(napari_viewer)
        self.layer: Labels | None = None
        self.listing: Listing | None = None
        self.stale = False
        self.newest = Newest(self)
        self.marks = Marks(napari_viewer)
        self.watch = EditWatch(napari_viewer, self)
        self.watch.edited.connect(self._compare)
        self._table = LabelTable("none", ())
        self._classes: dict[str, tuple[int, ...]] = {}
        self._listed_of: list[Labels] = []
        self._wanted = False  # a list, as soon as one can be made
        self._settle = QTimer(self)
        self._settle.setSingleShot(True)
        self._settle.setInterval(SETTLED_MS)
        self._settle.timeout.connect(self._want)
        self._build()
        self.ties.tie(self.state.events, self._refresh)
        events = napari_viewer.layers.events
        for event in (events.inserted, events.removed, events.renamed):
            self.ties.tie(event, self._offer_layers)
        for farewell in (self.newest.forget, self.watch.let_go):
            self.ties.at_last(farewell)
        self._offer_layers()

    def _build(self) -> None:
        self.layers = choice("Labels", [], tip="The labels whose lesions are listed")
        self.layers.changed.connect(lambda layer: self.use(layer))
        self.classes = choice("Lesions are", [], tip="The class that is lesion")
        self.reference = choice("Reference", [], tip="Lesions that count as right: which are found, missed, false?")
        self.minimum = QDoubleSpinBox()
        self.minimum.setRange(0, 1000)
        self.minimum.setDecimals(1)
        self.minimum.setValue(MINIMUM_MM3)
        self.minimum.setSuffix(" mm³")
        self.minimum.setToolTip("Smaller objects are noise as often as lesions: they are counted, but not listed")
        self.classes.changed.connect(lambda name: self._want())
        for changed in (self.reference.changed, self.minimum.valueChanged):
            changed.connect(lambda value: self._settle.start() if self.listing is not None else None)
        self.table = LesionTable()
        self.table.row_chosen.connect(self.go)
        self.summary, self.agreement, self.text = note(), note(), note()
        self.summary.setStyleSheet("font-weight: bold;")
        self.renew = button("List lesions", "From the labels as they are now", self.run)
        keys = {name: SHORTCUTS[name].keys for name in ("previous_lesion", "next_lesion")}
        self.previous = button("◀ Previous", f"Key {keys['previous_lesion'][0]}", lambda: self.table.step(-1))
        self.next = button("Next ▶", f"Key {keys['next_lesion'][0]}", lambda: self.table.step(1))
        for name, rows in (("previous_lesion", -1), ("next_lesion", 1)):
            for key in keys[name]:
                QShortcut(QKeySequence(key), self).activated.connect(lambda rows=rows: self.table.step(rows))
        self.mark = QCheckBox("Outline the chosen one")
        self.mark.setToolTip("As a layer in which every lesion has its number")
        self.mark.toggled.connect(self._marks_switched)
        self.copy = button("Copy table", "The selected rows, or all, as tab-separated text", self.table.copy)
        self.store = button("Save table…", "As .csv or .tsv", self._ask_save)
        form = QFormLayout()
        for label, widget in (
            ("Labels", self.layers.native),
            ("Lesions are", self.classes.native),
            ("Reference", self.reference.native),
            ("Not below", self.minimum),
        ):
            form.addRow(label, widget)
        self.column.addLayout(form)
        self.column.addLayout(row((self.renew, 2), (self.previous, 1), (self.next, 1)))
        for widget in (self.text, self.summary, self.agreement):
            self.column.addWidget(widget)
        self.column.addWidget(self.table, 1)
        self.column.addWidget(self.mark)
        self.column.addLayout(row(self.copy, self.store))

    # The labels

    def use(self, layer: Labels | None) -> None:
        """List the lesions of another layer, at once where one of its classes is called so."""
        if layer is self.layer:
            return
        self.jobs.cancel()
        self._forget()
        self.layer, self._wanted = layer, False
        offer(self.layers, self._choices(), layer)
        offer(self.classes, [], None)
        if layer is not None:
            # A layer that is not ours tells its classes only by its voxels.
            self.newest.ask("classes", lambda: table_of(layer), lambda table: self._offer_classes(layer, table))
        self._refresh()

    def _offer_classes(self, layer: Labels, table: LabelTable) -> None:
        if layer is not self.layer:
            return
        self._table = table
        named, single = called_lesion(table), len(table.foreground) == 1
        guess = " and ".join(table[index].name for index in named) if named else CHOOSE
        first: dict[str, tuple[int, ...]] = {} if single else {guess: named}
        self._classes = first | {label.name: (label.index,) for label in table.foreground}
        offer(self.classes, [(name, name) for name in self._classes], next(iter(self._classes)))
        self._wanted = bool(named) or (single and likely_lesions(layer))
        self._refresh()

    def _choices(self) -> list[tuple[str, Labels]]:
        listed = [layer for layer in self.viewer.layers if isinstance(layer, Labels) and layer.ndim == 3]
        return [(layer.name, layer) for layer in listed if not is_marks(layer)]

    def _offer_layers(self, event: Any = None) -> None:
        choices = self._choices()
        known = [layer for _, layer in choices]
        offer(self.reference, [("none", None), *choices], self.reference.value)
        if self.layer not in known:
            likely = [layer for layer in known if likely_lesions(layer)] or known
            self.use(likely[-1] if likely else None)
        offer(self.layers, choices, self.layer)
        if not set(self._listed_of) <= set(known):
            self._forget()
        self._refresh()

    # The list

    def run(self) -> None:
        """List the lesions as they are now."""
        layer, reference = self.layer, self.reference.value
        if layer is None or self.problem():
            return
        self._wanted = False
        layers = [layer] if reference is None else [layer, reference]
        scans = scans_of(self.viewer.layers)
        steps = list_lesions(layer, self._table, self._indices(), self.minimum.value(), reference, scans)
        self.jobs.start("Listing lesions", steps, lambda listing: self._listed(listing, layers))

    def _want(self) -> None:
        """Make the list with what is chosen now, after what still runs."""
        self._wanted = True
        self._refresh()

    def _indices(self) -> tuple[int, ...]:
        return self._classes.get(self.classes.value, ())

    def _listed(self, listing: Listing, layers: list[Labels]) -> None:
        if not set(layers) <= set(self.viewer.layers):
            return
        self.listing, self.stale, self._listed_of = listing, False, layers
        self.table.show_listing(listing)
        self.watch.follow(layers)
        if self.mark.isChecked():
            self._marks_switched(True)
        self._compare()  # somebody may have painted while it was made
        self._refresh()

    def _forget(self) -> None:
        self.listing, self.stale, self._listed_of = None, False, []
        self.watch.follow(())
        self.table.show_listing(None)
        self.marks.drop()

    def _compare(self) -> None:
        listing, layers = self.listing, self._listed_of
        if listing is None:
            return

        def compared(now: tuple[str, ...]) -> None:
            if listing is self.listing:
                self.stale = now != listing.content
                self._refresh()

        self.newest.ask("changes", lambda: contents(layers), compared)

    # One lesion

    def go(self, number: int) -> None:
        """Move every view to a lesion of the list."""
        if self.listing is None:
            return
        go_to(self.viewer, self, self.listing.lesions[number - 1].centre_mm)
        self.marks.choose(number)

    def _marks_switched(self, on: bool) -> None:
        if self.listing is not None and on:
            self.marks.show(self.listing, self.table.number)
        else:
            self.marks.drop()

    # What is shown

    def problem(self) -> str:
        """Why nothing can be listed now, or an empty text."""
        if busy := busy_problem(self.state):
            return busy
        if self.layer is None:
            return NO_LABELS
        return "" if self._indices() else NO_CLASS

    def _refresh(self, info: Any = None) -> None:
        problem, listing, step = self.problem(), self.listing, self.state.progress
        if self._wanted and not problem:
            self.run()  # which tells of its beginning
            return
        self.renew.setEnabled(not problem)
        self.renew.setText("List lesions" if listing is None else "Refresh the list" if self.stale else "List again")
        for widget in (self.previous, self.next, self.copy, self.store, self.mark):
            widget.setEnabled(listing is not None and bool(listing.lesions))
        working = f"{step.stage if step else self.state.work} …" if self.state.work else ""
        self.text.setText(working or problem or (STALE if self.stale else ""))
        self.summary.setText(listing.summary if listing is not None else "")
        self.agreement.setText(listing.comparison if listing is not None else "")
        for line in (self.text, self.summary, self.agreement):
            line.setVisible(bool(line.text()))

    # Files

    def save(self, path: Path) -> None:
        """Write the list to a ``.csv`` or ``.tsv``, which is replaced."""
        if self.listing is None:
            show_error("List the lesions first, then save.")
        elif busy := busy_problem(self.state):
            show_error(busy)
        else:
            steps = write_listing(self.listing, path)
            self.jobs.start("Saving", steps, lambda written: show_info(f"Saved to {written.name}."))

    def _ask_save(self) -> None:
        file = file_of(self.layer) if self.layer is not None else None
        start = file.path.with_name(f"{stem_of(file.path)}_lesions.csv") if file is not None else Path("lesions.csv")
        if path := ask_table_file(self, start):
            self.save(path)
