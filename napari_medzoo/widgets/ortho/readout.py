"""What lies under the crosshair or the mouse: millimetres, voxels, every layer's value and the label's name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image, Labels, Layer
from numpy.typing import ArrayLike
from qtpy.QtCore import QEvent, Qt
from qtpy.QtWidgets import (
    QAbstractItemView,
    QHeaderView,
    QLabel,
    QSizePolicy,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from napari_medzoo.widgets.layers import KEY, SHOWN_AXES
from napari_medzoo.widgets.ortho.marks import side_and_distance

if TYPE_CHECKING:
    from napari.components import ViewerModel

COLUMNS = ("Layer", "Voxel", "Value", "Label")
MOST_ROWS = 4
"""Rows that are seen without scrolling: the pictures need the room."""

LOW_SCREEN, ROWS_OF_LOW_SCREEN = 700, 2
"""Pixels: a lower screen (an ordinary one, at 200 %) shows fewer of them."""

NAMED = "name"
"""Column of a labels layer's features that holds the names."""


@dataclass(frozen=True)
class Reading:
    """One layer at one point.

    Attributes
    ----------
    layer : str
    voxel : tuple of int or None
        Index in the voxel order of the layer's file; None outside of the layer.
    value : str
    label : str
        The label's name, empty for a scan.
    """

    layer: str
    voxel: tuple[int, int, int] | None
    value: str
    label: str


def read(layer: Layer, point_mm: ArrayLike) -> Reading | None:
    """The layer's value at a point in RAS+ mm, from its own array whatever a view shows; None if it has none."""
    if not isinstance(layer, Image | Labels) or layer.ndim != 3 or layer.multiscale or getattr(layer, "rgb", False):
        return None
    index = np.rint(np.asarray(layer.world_to_data(point_mm))).astype(int)
    if (index < 0).any() or (index >= layer.data.shape).any():
        return Reading(layer.name, None, "outside", "")
    value = np.asarray(layer.data[tuple(index)]).item()
    voxel = _voxel_of_file(layer, index)
    if isinstance(layer, Labels):
        return Reading(layer.name, voxel, str(int(value)), label_name(layer, int(value)))
    return Reading(layer.name, voxel, f"{value:.5g}" if isinstance(value, float) else str(value), "")


def label_name(layer: Labels, index: int) -> str:
    """What the layer calls a label: its own name, "background" for 0, empty where it has none."""
    features = layer.features
    if {"index", NAMED} <= set(features.columns):
        found = features.loc[features["index"] == index, NAMED]
        if len(found):
            return str(found.iloc[0])
    return "background" if index == 0 else ""


def readings(viewer: ViewerModel, point_mm: ArrayLike) -> list[Reading]:
    """Every scan and labels layer at a point, the uppermost first."""
    found = (read(layer, point_mm) for layer in reversed(viewer.layers))
    return [reading for reading in found if reading is not None]


def _voxel_of_file(layer: Layer, index: Any) -> tuple[int, int, int]:
    grid = layer.metadata.get(KEY, {}).get("grid")
    if grid is not None and grid.reoriented(SHOWN_AXES).shape == tuple(layer.data.shape):
        index = np.rint(grid.to_index(grid.reoriented(SHOWN_AXES).to_world([index]))[0]).astype(int)
    i, j, k = (int(part) for part in index)
    return i, j, k


class ReadOut(QWidget):
    """A line with the position and a table with one row for each layer."""

    def __init__(self) -> None:
        super().__init__()
        self.position = QLabel()
        self.position.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)
        self.position.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.table = QTableWidget(0, len(COLUMNS))
        self.table.setHorizontalHeaderLabels(COLUMNS)
        self.table.verticalHeader().hide()
        self.table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.table.setSelectionMode(QAbstractItemView.SelectionMode.NoSelection)
        self.table.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.table.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)  # it would cover a row
        self.table.setToolTip("Every scan and labels layer, the uppermost first")
        header = self.table.horizontalHeader()
        for column, stretch in enumerate((3, 0, 0, 3)):
            mode = QHeaderView.ResizeMode.Stretch if stretch else QHeaderView.ResizeMode.ResizeToContents
            header.setSectionResizeMode(column, mode)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.position)
        layout.addWidget(self.table)
        self._fit_height()

    def show_point(self, viewer: ViewerModel, point_mm: ArrayLike, where: str) -> None:
        """Read all layers of `viewer` at a point in RAS+ mm; `where` says whose point it is."""
        place = "   ".join(side_and_distance(axis, value) for axis, value in enumerate(np.asarray(point_mm, float)))
        self.position.setText(f"{where}:  {place}")
        rows = readings(viewer, point_mm)
        if self.table.rowCount() != len(rows):
            self.table.setRowCount(len(rows))
            self._fit_height()
        for row, reading in enumerate(rows):
            voxel = "" if reading.voxel is None else ", ".join(map(str, reading.voxel))
            for column, text in enumerate((reading.layer, voxel, reading.value, reading.label)):
                self._write(row, column, text)

    def event(self, event: Any) -> bool:
        """Whole rows in every font and theme: their height is known once the style was applied."""
        if event.type() in (QEvent.Type.Polish, QEvent.Type.FontChange, QEvent.Type.StyleChange, QEvent.Type.Show):
            self._fit_height()
        return super().event(event)

    def _fit_height(self) -> None:
        most = MOST_ROWS if self.screen().availableGeometry().height() >= LOW_SCREEN else ROWS_OF_LOW_SCREEN
        row_height = self.table.fontMetrics().height() + 8
        self.table.verticalHeader().setDefaultSectionSize(row_height)
        rows = min(max(self.table.rowCount(), 2), most)
        heading = self.table.horizontalHeader().sizeHint().height()
        margins = self.table.contentsMargins()
        self.table.setFixedHeight(heading + rows * row_height + margins.top() + margins.bottom())

    def _write(self, row: int, column: int, text: str) -> None:
        item = self.table.item(row, column)
        if item is None:
            item = QTableWidgetItem()
            self.table.setItem(row, column, item)
        if item.text() != text:
            item.setText(text)
            item.setToolTip(text)
