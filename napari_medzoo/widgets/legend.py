"""The dock "Labels": a legend of any labels layer, ours or not, and what is shown of it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Labels
from numpy.typing import NDArray
from qtpy.QtCore import QTimer
from qtpy.QtGui import QColor
from qtpy.QtWidgets import (
    QColorDialog,
    QLabel,
    QLineEdit,
    QSpinBox,
)

from napari_medzoo.label_tables import count_values
from napari_medzoo.labels import LabelTable
from napari_medzoo.palette import safe_colors, touching
from napari_medzoo.widgets import label_display as display
from napari_medzoo.widgets import view
from napari_medzoo.widgets.dock_body import DockBody
from napari_medzoo.widgets.label_exchange import ask_names_file, ask_names_target, read_names, write_names
from napari_medzoo.widgets.label_model import LabelModel, LabelTableView
from napari_medzoo.widgets.layers import segmentation_from_layer
from napari_medzoo.widgets.parts import button, choice, offer, row
from napari_medzoo.widgets.scoring.background import Newest

if TYPE_CHECKING:
    import napari

RECOUNT_MS = 400
"""Rest after an edit before volumes are counted again."""


def count_voxels(data: NDArray[Any]) -> dict[int, int]:
    """Value → voxels of an integer array ``(X, Y, Z)``; meant for a thread, gives way to the window again and again."""
    counts: Counter[int] = Counter()
    for part in data:  # slab by slab, because counting holds Python's lock
        counts.update(dict(zip(*count_values(part), strict=True)))
    return dict(counts)


def _safe(data: NDArray[Any], indices: list[int]) -> dict[int, tuple[int, int, int]]:
    pairs = {pair for pair in touching(data) if set(pair) <= set(indices)}
    return safe_colors(indices, pairs)


class LabelLegend(DockBody):
    """Names, colours, visibility and volumes of a labels layer's classes.

    Parameters
    ----------
    napari_viewer : napari.Viewer
        Given by napari, because the parameter has this name.

    Attributes
    ----------
    model : LabelModel
        What the table shows.
    """

    def __init__(self, napari_viewer: napari.Viewer) -> None:
        super().__init__(napari_viewer)
        self.model = LabelModel()
        self.newest = Newest(self)
        self._counts: dict[int, int] | None = None
        self._seen: tuple[Any, ...] = ()
        self._recount = QTimer(self)
        self._recount.setSingleShot(True)
        self._recount.setInterval(RECOUNT_MS)
        self._recount.timeout.connect(self._start_count)
        self._build()
        events = napari_viewer.layers.events
        for event in (events.inserted, events.removed, events.renamed):
            self.ties.tie(event, self._offer_layers)
        self.ties.tie(napari_viewer.layers.selection.events.active, self._follow_selection)
        self.ties.at_last(lambda: self._listen(False))
        self.ties.at_last(self.newest.forget)
        self._offer_layers()

    def _build(self) -> None:
        self.layers = choice("Labels", [], tip="The labels to list")
        self.layers.changed.connect(lambda layer: self.use(layer))
        self.filter = QLineEdit()
        self.filter.setPlaceholderText("Filter by name")
        self.filter.setToolTip("List only the classes whose name has these letters")
        self.filter.setClearButtonEnabled(True)
        self.table = LabelTableView(self.model)
        self.table.setMinimumHeight(190)
        self.table.setToolTip("A row for each class: click to go there, double-click to rename, recolour or fade it")
        self.filter.textChanged.connect(self.table.proxy.setFilterFixedString)
        self.table.class_chosen.connect(self.go_to)
        self.table.color_wanted.connect(self._ask_color)
        self.contour = QSpinBox()
        self.contour.setRange(0, 10)
        self.contour.setSpecialValueText("filled")
        self.contour.setSuffix(" px")
        self.contour.setToolTip("Width of the outlines in 2D; 0 fills the classes")
        self.contour.valueChanged.connect(self._outline)
        self.all = button("All", "Show every class", lambda: self.show_all(True))
        self.none = button("None", "Hide every class", lambda: self.show_all(False))
        self.present = button("Only present", "List only the classes that some voxel has", self._toggle_present)
        self.present.setCheckable(True)
        self.present.setChecked(True)
        self.safe = button(
            "Colour-blind safe", "Colours that differ for everybody where classes touch", self.use_safe_colors
        )
        self.load = button("Import…", "FreeSurfer, ITK-SNAP, BIDS or nnU-Net names and colours", self._ask_import)
        self.store = button("Export…", "The names and colours as a file", self._ask_export)
        self.column.addLayout(row(QLabel("Labels"), (self.layers.native, 1)))
        self.column.addLayout(row((self.filter, 1), self.present))
        self.column.addWidget(self.table, 1)
        self.column.addLayout(row(self.all, self.none, QLabel("Outline"), (self.contour, 1)))
        self.column.addLayout(row(self.safe, self.load, self.store))

    # The layer

    @property
    def layer(self) -> Labels | None:
        """The layer that is shown."""
        return self.model.layer

    def use(self, layer: Labels | None) -> None:
        """Show another layer."""
        if layer is self.layer:
            return
        self._listen(False)
        self._counts = None
        self.model.show(layer, display.table_of(layer) if layer is not None else LabelTable("none", ()), None)
        self._listen(True)
        offer(self.layers, self._choices(), layer)
        if layer is not None:
            self.contour.setValue(layer.contour)
            self._start_count()

    def _listen(self, on: bool) -> None:
        if self.layer is None:
            return
        events = self.layer.events
        for event, answer in (
            (events.paint, self._edited),
            (events.set_data, self._redrawn),
            (events.data, self._edited),
            (events.colormap, self._looks_changed),
            (events.selected_label, self._looks_changed),
            (events.contour, self._looks_changed),
        ):
            (event.connect if on else event.disconnect)(answer)

    def _choices(self) -> list[tuple[str, Labels]]:
        return [(layer.name, layer) for layer in self.viewer.layers if isinstance(layer, Labels) and layer.ndim == 3]

    def _offer_layers(self, event: Any = None) -> None:
        choices = self._choices()
        known = [layer for _, layer in choices]
        wanted = self.layer if self.layer in known else (known[-1] if known else None)
        offer(self.layers, choices, wanted)
        self.use(wanted)

    def _follow_selection(self, event: Any) -> None:
        if event.value in [layer for _, layer in self._choices()]:
            self.use(event.value)

    # Volumes

    def _edited(self, event: Any = None) -> None:
        self._recount.start()

    def _redrawn(self, event: Any = None) -> None:
        # Undo tells of itself only by drawing again; so does every other slice, and that changes no volume.
        dims = self.viewer.dims
        seen = (dims.point, dims.order, dims.ndisplay)
        if seen == self._seen:
            self._recount.start()
        self._seen = seen

    def _start_count(self) -> None:
        layer = self.layer
        if layer is not None:
            data = np.asarray(layer.data)
            self.newest.ask("volumes", lambda: count_voxels(data), lambda counts: self._counted(layer, counts))

    def _counted(self, layer: Labels, counts: dict[int, int]) -> None:
        if layer is self.layer:
            self._counts = counts
            self._refresh()

    def _looks_changed(self, event: Any = None) -> None:
        if self.layer is not None:
            self.contour.setValue(self.layer.contour)
            self._refresh()

    def _refresh(self) -> None:
        layer = self.layer
        if layer is None:
            return
        volumes = None
        table = display.table_of(layer, self._counts or ())
        if self._counts is not None:
            millilitres = segmentation_from_layer(layer, table).grid.voxel_volume_ml
            volumes = {index: count * millilitres for index, count in self._counts.items()}
        self.model.show(layer, table, volumes)

    # What the person asks for

    def go_to(self, index: int) -> None:
        """Select a class for painting and move the crosshair into it."""
        if self.layer is None:
            return
        self.viewer.layers.selection.active = self.layer
        self.layer.selected_label = index
        middle = display.class_middle(self.layer, index)
        if middle is not None:
            view.center_on(self.viewer, middle)

    def _ask_color(self, index: int) -> None:
        if self.layer is None:
            return
        known = display.table_of(self.layer, [index])[index]
        color = QColorDialog.getColor(QColor(*known.color), self, f"Colour of {known.name}")
        if color.isValid():
            display.recolour(self.layer, index, (color.red(), color.green(), color.blue()))

    def show_all(self, visible: bool) -> None:
        """Show or hide every class that the table lists."""
        if self.layer is not None:
            display.show_classes(self.layer, self.model.rows, visible)

    def _toggle_present(self) -> None:
        self.model.only_present = self.present.isChecked()
        self._refresh()

    def _outline(self, width: int) -> None:
        if self.layer is not None and self.layer.contour != width:
            display.outline(self.layer, width)

    def use_safe_colors(self) -> None:
        """Give the classes that are present colours that differ for everybody where they touch."""
        layer = self.layer
        if layer is not None and self._counts:
            data, present = np.asarray(layer.data), [index for index in self._counts if index > 0]
            self.newest.ask("colours", lambda: _safe(data, present), lambda made: display.recolour_all(layer, made))

    def import_table(self, path: Path) -> None:
        """Take names and colours from a file."""
        if self.layer is not None:
            read_names(self.layer, path, self._counts or ())

    def export_table(self, path: Path, form: str | None = None) -> None:
        """Write names and colours; the ending decides the form where none is given."""
        if self.layer is not None:
            write_names(self.layer, path, form, self._counts or ())

    def _ask_import(self) -> None:
        if path := ask_names_file(self):
            self.import_table(path)

    def _ask_export(self) -> None:
        if chosen := ask_names_target(self):
            self.export_table(*chosen)
