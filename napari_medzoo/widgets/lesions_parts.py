"""Parts of the dock "Lesions": its table, the look-out for edits, and the way to a place in every view."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Labels
from napari.qt import QtViewer
from qtpy.QtCore import QObject, QSignalBlocker, QTimer, Signal
from qtpy.QtWidgets import QFileDialog, QHeaderView, QWidget

from napari_medzoo.error_maps import EXTRA_COLOR, MISSED_COLOR
from napari_medzoo.widgets import label_display, view
from napari_medzoo.widgets.label_names import KEY
from napari_medzoo.widgets.layers import segmentation_layer
from napari_medzoo.widgets.lesion_tasks import FALSE, MISSED, Listing
from napari_medzoo.widgets.ortho.arrangement import main_window
from napari_medzoo.widgets.ortho.geometry import on_canvas
from napari_medzoo.widgets.scoring.pair import put
from napari_medzoo.widgets.tables import FigureTable
from napari_medzoo.widgets.ties import Ties

if TYPE_CHECKING:
    import napari
    from napari.layers import Layer

    from napari_medzoo.lesions import Lesion

HEADINGS = ("Nr.", "Region", "mL", "Extent mm", "Reference", "R mm", "A mm", "S mm")
REGION, VERDICT = HEADINGS.index("Region"), HEADINGS.index("Reference")
COLORS = {MISSED: MISSED_COLOR, FALSE: EXTRA_COLOR}
"""What a lesion is beside the reference → colour, as in error maps; what is found needs none."""

PAUSE_MS = 400
"""Rest after an edit before the labels are looked at."""

MARKS = "lesions one by one"
"""Name of the layer that outlines the chosen lesion."""

LEAST_COLUMN, CELL_MARGIN = 32, 14
"""Pixels of a column, and of what stays empty in it."""

EDGE = 0.1
"""Of a view's width and height: what lies nearer to its edge is brought into its middle."""

TABLE_TIP = (
    "Click a row to go to its lesion, a heading to sort; arrow keys go on from row to row; Ctrl+C copies.\n"
    "mL: volume. Extent: the largest distance within the lesion. R, A, S: its middle, mm to the person's right, "
    "front and top.\nReference: found on both sides, false (in the labels alone) or missed (in the reference alone)"
)


class LesionTable(FigureTable):
    """A row for every lesion; choosing one, by mouse or keys, emits ``row_chosen`` with its number."""

    def __init__(self) -> None:
        super().__init__(HEADINGS, True, lambda column, value: COLORS.get(value) if column == VERDICT else None)
        self.setToolTip(TABLE_TIP)
        # Eight columns side by side in a dock: the unit stands below the word.
        self.setHorizontalHeaderLabels([heading.replace(" ", "\n") for heading in HEADINGS])
        self.horizontalHeader().setMinimumSectionSize(LEAST_COLUMN)
        for column in set(range(len(HEADINGS))) - {REGION}:
            self.horizontalHeader().setSectionResizeMode(column, QHeaderView.ResizeMode.Interactive)
        self.currentCellChanged.connect(self._moved)
        self.show_listing(None)

    def show_listing(self, listing: Listing | None) -> None:
        """List lesions, or nothing."""
        lesions = listing.lesions if listing is not None else ()
        verdicts = listing.verdicts if listing is not None else {}
        with QSignalBlocker(self):
            self.show_rows([_row_of(one, verdicts.get(one.number)) for one in lesions])
            self.setCurrentCell(-1, -1)
        self._fit_columns()
        unknown = all(one.region == "unknown" for one in lesions)
        self.setColumnHidden(REGION, unknown)
        self.horizontalHeader().setStretchLastSection(unknown)  # else the regions get what the figures leave
        self.setColumnHidden(VERDICT, not verdicts)

    @property
    def number(self) -> int:
        """The chosen lesion's; 0 where none is."""
        return int(self.item(self.currentRow(), 0).value) if self.currentRow() >= 0 else 0

    def step(self, rows: int) -> None:
        """Choose the lesion so many rows further down; the first or last one where the table ends."""
        if count := self.rowCount():
            start = self.currentRow() if self.currentRow() >= 0 else (-1 if rows > 0 else count)
            self.setCurrentCell(min(max(start + rows, 0), count - 1), 0)

    def _fit_columns(self) -> None:
        # Qt would make each as wide as its heading in one line.
        letters = self.horizontalHeader().fontMetrics()
        for column, heading in enumerate(HEADINGS):
            cells = (self.item(row, column).text() for row in range(self.rowCount()))
            widest = max(letters.horizontalAdvance(text) for text in (*heading.split(), *cells))
            self.setColumnWidth(column, widest + CELL_MARGIN)

    def _moved(self, row: int, column: int, former_row: int, former_column: int) -> None:
        if row >= 0 and row != former_row:
            self.row_chosen.emit(self.number)


def _row_of(one: Lesion, verdict: str | None) -> tuple[Any, ...]:
    """The cells of `HEADINGS`; places to whole millimetres."""
    return (one.number, one.region, one.volume_ml, one.extent_mm, verdict, *map(round, one.centre_mm))


class EditWatch(QObject):
    """Says that labels layers may have been edited, a moment after it happened."""

    edited = Signal()

    def __init__(self, viewer: napari.Viewer, parent: QObject) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._ties = Ties()
        self._seen: tuple[Any, ...] = ()
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(PAUSE_MS)
        self._timer.timeout.connect(self.edited)

    def follow(self, layers: Sequence[Labels]) -> None:
        """Watch these layers instead of those before."""
        self.let_go()
        self._timer.stop()
        self._seen = self._view()
        for events in (layer.events for layer in layers):
            for event in (events.paint, events.labels_update, events.data):
                self._ties.tie(event, self._noticed)
            self._ties.tie(events.set_data, self._redrawn)

    def let_go(self) -> None:
        """Watch none, when Qt has destroyed this object too."""
        self._ties.cut()

    def _noticed(self, event: Any = None) -> None:
        self._timer.start()

    def _redrawn(self, event: Any = None) -> None:
        # Undo tells of itself only by drawing again; so does every other slice, which is no edit.
        before, self._seen = self._seen, self._view()
        if self._seen == before:
            self._timer.start()

    def _view(self) -> tuple[Any, ...]:
        dims = self._viewer.dims
        return dims.point, dims.order, dims.ndisplay


class Marks:
    """The layer that outlines one lesion of a listing."""

    def __init__(self, viewer: napari.Viewer) -> None:
        self._viewer = viewer

    def show(self, listing: Listing, number: int) -> None:
        """Put the layer into the viewer, in the place of the one before."""
        layer = put(self._viewer, segmentation_layer(listing.numbered, MARKS, opacity=1.0), contour=1)
        label_display.solo(layer, number)

    def choose(self, number: int) -> None:
        """Outline another lesion, if the layer is there."""
        for layer in self._layers():
            label_display.solo(layer, number)

    def drop(self) -> None:
        """Take the layer away."""
        for layer in self._layers():
            self._viewer.layers.remove(layer)

    def _layers(self) -> list[Labels]:
        return [layer for layer in self._viewer.layers if isinstance(layer, Labels) and is_marks(layer)]


def is_marks(layer: Layer) -> bool:
    """Whether a layer is that of `Marks`."""
    return layer.name == MARKS and KEY in layer.metadata


def go_to(viewer: napari.Viewer, dock: QWidget, point_mm: Sequence[float]) -> None:
    """Move the crosshair of every view to a point, and pan those 2D views that are zoomed in elsewhere.

    Parameters
    ----------
    viewer : napari.Viewer
    dock : QWidget
        Docked in the viewer's window.
    point_mm : sequence of float
        RAS+ mm.
    """
    view.center_on(viewer, point_mm)
    for qt_viewer in main_window(dock).centralWidget().findChildren(QtViewer):
        model, canvas = qt_viewer.viewer, qt_viewer.canvas.native
        if model.dims.ndisplay != 2 or model.dims.ndim != 3:
            continue
        size = (canvas.width(), canvas.height())
        place = on_canvas(model, [point_mm], size)[0] / size
        if not ((place > EDGE) & (place < 1 - EDGE)).all():
            model.scene.camera.center = (0.0, *np.asarray(point_mm, dtype=float)[list(model.dims.displayed)])


def ask_table_file(parent: QWidget, start: Path) -> Path | None:
    """Where to write a table; the dialog has asked before a file is replaced."""
    name, _ = QFileDialog.getSaveFileName(parent, "Save the list of lesions", str(start), "Tables (*.csv *.tsv)")
    path = Path(name)
    return (path if path.suffix else path.with_suffix(".csv")) if name else None
