"""The dock "Correct": paint by class name, whole-volume tools, and a record of who changed what."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari.layers import Labels
from napari.utils.notifications import show_error
from qtpy.QtWidgets import QFormLayout, QLineEdit

from napari_medzoo.changes import Change
from napari_medzoo.edit_log import Edit
from napari_medzoo.errors import MedzooError
from napari_medzoo.io import stem_of
from napari_medzoo.state import busy_problem
from napari_medzoo.widgets.asking import ask_labels_file
from napari_medzoo.widgets.brush import make_brush_round, radius_mm, set_radius
from napari_medzoo.widgets.correct_parts import BrushView, ClassBox, ToolView
from napari_medzoo.widgets.correct_tools import CHANGES, changes_layer, use_tool
from napari_medzoo.widgets.dock_body import DockBody
from napari_medzoo.widgets.editing import Editing, watch
from napari_medzoo.widgets.label_names import table_of
from napari_medzoo.widgets.layers import grid_of
from napari_medzoo.widgets.parts import button, choice, note, offer, row
from napari_medzoo.widgets.preferences import who
from napari_medzoo.widgets.restoring import RestoreView
from napari_medzoo.widgets.saving import save_labels

if TYPE_CHECKING:
    import napari


class Corrections(DockBody):
    """Correct any labels layer by hand and with tools.

    Parameters
    ----------
    napari_viewer : napari.Viewer
        Given by napari, because the parameter has this name.

    Attributes
    ----------
    editing : Editing or None
        The layer under correction, its log and journal.
    """

    def __init__(self, napari_viewer: napari.Viewer) -> None:
        super().__init__(napari_viewer)
        self.editing: Editing | None = None
        self._build()
        self.ties.tie(self.state.events.work, self._enable)
        events = napari_viewer.layers.events
        for event in (events.inserted, events.removed, events.renamed):
            self.ties.tie(event, self._offer_layers)
        for farewell in (self._stop_watching, self.restoring.newest.forget):
            self.ties.at_last(farewell)
        self._offer_layers()

    def _build(self) -> None:
        self.layers = choice("Labels", [], tip="The labels to correct")
        self.layers.changed.connect(lambda layer: self.use(layer))
        self.classes = ClassBox()
        self.classes.setToolTip("The class that brush and tools work on; type to search")
        self.classes.currentIndexChanged.connect(lambda _: self._class_chosen())
        self.who = QLineEdit(who())
        self.who.setToolTip("Your name as the log of corrections gives it")
        self.who.textChanged.connect(self._named)
        self.brush, self.tools = BrushView(), ToolView()
        self.brush.mode_chosen.connect(lambda mode: self._set("mode", mode))
        self.brush.radius_chosen.connect(self._set_radius)
        self.brush.dimensions_chosen.connect(lambda count: self._set("n_edit_dimensions", count))
        self.brush.preserve_chosen.connect(lambda on: self._set("preserve_labels", on))
        self.tools.run_wanted.connect(self.run)
        self.restoring = RestoreView()
        self.undo = button("Undo", "Ctrl+Z on the picture does the same", lambda: self._step("undo"))
        self.redo = button("Redo", "Ctrl+Shift+Z on the picture does the same", lambda: self._step("redo"))
        self.cancel = button("Cancel", "Stop the tool that runs", self.jobs.cancel)
        self.last = note()
        self.changes = button("Show changes", "What differs from the original, as a layer", self.show_changes)
        self.back = button("Back to the original", "All corrections undone, as one step of undo", self.to_original)
        self.store = button("Save corrected labels…", "With a log of who changed what beside the file", self._ask_save)
        form = QFormLayout()
        form.addRow("Labels", self.layers.native)
        form.addRow("Class", self.classes)
        form.addRow("Your name", self.who)
        self.column.addWidget(self.restoring)
        self.column.addLayout(form)
        self.column.addWidget(self.brush)
        self.column.addWidget(self.tools)
        self.column.addLayout(row(self.undo, self.redo, self.cancel))
        self.column.addWidget(self.last)
        self.column.addLayout(row(self.changes, self.back))
        self.column.addWidget(self.store)
        self.column.addStretch()

    # The layer

    @property
    def layer(self) -> Labels | None:
        """The layer under correction."""
        return self.editing.layer if self.editing is not None else None

    def use(self, layer: Labels | None) -> None:
        """Correct another layer."""
        if layer is self.layer:
            return
        self.jobs.cancel()
        self._let_go()
        if layer is not None:
            try:
                self.editing = editing = watch(layer)
            except MedzooError as error:
                show_error(str(error))
            else:
                editing.who = self.who.text()
                editing.edited.connect(self._edited)
                make_brush_round(layer)
                for event in _look_events(layer):
                    event.connect(self._refresh)
        self.restoring.look(self.editing)
        offer(self.layers, self._choices(), self.layer)
        self._refresh()

    def _let_go(self) -> None:
        if self.editing is not None:
            self.editing.edited.disconnect(self._edited)
        self._stop_watching()
        self.last.setText("")

    def _stop_watching(self) -> None:
        if self.editing is not None:
            for event in _look_events(self.editing.layer):
                event.disconnect(self._refresh)
            self.editing.close()
        self.editing = None

    def _choices(self) -> list[tuple[str, Labels]]:
        layers = [layer for layer in self.viewer.layers if isinstance(layer, Labels) and layer.ndim == 3]
        return [(layer.name, layer) for layer in layers if CHANGES not in layer.metadata]

    def _offer_layers(self, event: Any = None) -> None:
        choices = self._choices()
        known = [layer for _, layer in choices]
        # A layer that comes later (changes, a reference) must not take the brush away.
        self.use(self.layer if self.layer in known else (known[-1] if known else None))
        offer(self.layers, choices, self.layer)
        self._refresh()

    def _refresh(self, event: Any = None) -> None:
        layer = self.layer
        if layer is not None:
            table = table_of(layer)
            self.classes.offer(table, int(layer.selected_label))
            self.tools.offer(table, [other for _, other in self._choices() if other is not layer])
            self.brush.refresh(layer, radius_mm(layer, self.viewer.dims.order))
        self._enable()

    def _enable(self, event: Any = None) -> None:
        free = self.layer is not None and not busy_problem(self.state)
        for widget in (self.tools.run, self.undo, self.redo, self.changes, self.back, self.store):
            widget.setEnabled(free)
        self.cancel.setEnabled(bool(self.state.work))

    def _class_chosen(self) -> None:
        index = self.classes.currentData()
        if self.layer is not None and index is not None:
            self.layer.selected_label = int(index)

    def _named(self, name: str) -> None:
        if self.editing is not None:
            self.editing.who = name.strip() or who()

    def _set(self, field: str, value: Any) -> None:
        if self.layer is not None:
            self.viewer.layers.selection.active = self.layer
            setattr(self.layer, field, value)

    def _set_radius(self, mm: float) -> None:
        if self.layer is not None:
            set_radius(self.layer, self.viewer.dims.order, mm)

    def _step(self, which: str) -> None:
        if self.editing is not None:
            getattr(self.editing, which)()

    # Tools

    def run(self) -> None:
        """Run the chosen tool on the chosen class."""
        editing = self.editing
        if editing is None or busy_problem(self.state):
            return
        layer, label = editing.layer, int(editing.layer.selected_label)
        try:
            if label == 0:
                raise MedzooError("Choose a class first: the tools do not work on the background.")
            answer = self.tools.answer(layer)
        except MedzooError as error:
            show_error(str(error))
            return
        steps = use_tool(self.tools.key, editing.snapshot(), grid_of(layer), label, answer, layer.preserve_labels)
        self.jobs.start("Correcting", steps, lambda done: self._tool_done(editing, *done))

    def _tool_done(self, editing: Editing, action: str, change: Change) -> None:
        if editing is self.editing:
            editing.apply(change, action)
            if not len(change):
                self.last.setText(f"{action}: nothing to change.")

    def _edited(self, edit: Edit) -> None:
        classes = [f"{one.name} {one.gained - one.lost:+d}" for one in edit.classes if one.index]
        problem = f"\n{self.editing.problem}" if self.editing is not None and self.editing.problem else ""
        self.last.setText(f"{edit.action}: {edit.voxels} voxels changed ({', '.join(classes[:6])}).{problem}")

    # The original, the journal, the file

    def show_changes(self) -> None:
        """Add a layer of the voxels that differ from the original: with another class now, or with none."""
        if self.editing is None:
            return
        layer = self.editing.layer
        shown = changes_layer(layer, self.editing.change())
        for old in [old for old in self.viewer.layers if old.name == shown.name]:
            self.viewer.layers.remove(old)
        self.viewer.add_layer(shown)
        self.viewer.layers.selection.active = layer

    def to_original(self) -> None:
        """Bring back what the layer was when the correction began, as one step of undo."""
        if self.editing is not None:
            self.editing.apply(self.editing.change().inverse, "Back to the original")

    def save(self, path: Path) -> None:
        """Write the labels, their names and the log; a file that is replaced stays as ``<name>_original``."""
        if self.editing is not None and not busy_problem(self.state):
            save_labels(self.jobs, self.editing, path, self.last.setText)

    def _ask_save(self) -> None:
        if self.editing is None:
            return
        source = self.editing.source
        start = source.with_name(f"{stem_of(source)}_corrected.nii.gz") if source else Path("corrected.nii.gz")
        if path := ask_labels_file(self, "Save corrected labels", start):
            self.save(path)


def _look_events(layer: Labels) -> tuple[Any, ...]:
    events = layer.events
    return (
        events.mode,
        events.selected_label,
        events.brush_size,
        events.n_edit_dimensions,
        events.preserve_labels,
        events.features,
        events.name,
    )
