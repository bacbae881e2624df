"""The rows of the legend: one class each, read from a labels layer and written back to it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from napari.utils.notifications import show_error
from qtpy.QtCore import QAbstractTableModel, QModelIndex, QSortFilterProxyModel, Qt, Signal
from qtpy.QtGui import QColor, QFont
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTableView

from napari_medzoo.errors import MedzooError
from napari_medzoo.labels import LabelTable
from napari_medzoo.widgets import label_display as display

if TYPE_CHECKING:
    from napari.layers import Labels

SHOWN, INDEX, NAME, OPACITY, SOLO, VOLUME = range(6)
COLUMNS = ("", "No.", "Name", "%", "Solo", "mL")
WIDTHS = {SHOWN: 44, INDEX: 46, OPACITY: 42, SOLO: 44, VOLUME: 62}
SOLO_MARKS = {True: "◉", False: "○"}
TIPS = {
    SHOWN: "Show or hide this class; double-click the colour to change it",
    NAME: "Double-click to rename; a click selects the class for painting and goes to it",
    OPACITY: "Opacity in % of the layer's; double-click to change",
    SOLO: "Show only this class; again to show what was seen before",
    VOLUME: "Volume in mL",
}
VALUE = Qt.ItemDataRole.UserRole
"""Role of what a cell is sorted by."""


class LabelModel(QAbstractTableModel):
    """Classes of a labels layer.

    Attributes
    ----------
    layer : napari.layers.Labels or None
    only_present : bool
        Leave out the classes that the table names and no voxel has.
    """

    def __init__(self) -> None:
        super().__init__()
        self.layer: Labels | None = None
        self.only_present = True
        self._table = LabelTable("none", ())
        self._volumes: Mapping[int, float] | None = None
        self._rows: list[int] = []

    def show(self, layer: Labels | None, table: LabelTable, volumes: Mapping[int, float] | None) -> None:
        """Take a layer, its table and the volumes in mL of the classes in it (None while they are counted)."""
        rows = [label.index for label in table.foreground]
        if self.only_present and volumes is not None:
            rows = [index for index in rows if volumes.get(index)]
        same = layer is self.layer and rows == self._rows
        if not same:
            self.beginResetModel()
        self.layer, self._table, self._volumes, self._rows = layer, table, volumes, rows
        if not same:
            self.endResetModel()
        elif rows:
            self.dataChanged.emit(self.index(0, 0), self.index(len(rows) - 1, len(COLUMNS) - 1))

    @property
    def rows(self) -> list[int]:
        """Index of the class in each row."""
        return list(self._rows)

    def rowCount(self, parent: QModelIndex = QModelIndex()) -> int:  # noqa: B008
        """As many as classes."""
        return 0 if parent.isValid() else len(self._rows)

    def columnCount(self, parent: QModelIndex = QModelIndex()) -> int:  # noqa: B008
        """As many as `COLUMNS`."""
        return 0 if parent.isValid() else len(COLUMNS)

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Headings and their tips."""
        if orientation == Qt.Orientation.Horizontal and role == Qt.ItemDataRole.DisplayRole:
            return COLUMNS[section]
        if orientation == Qt.Orientation.Horizontal and role == Qt.ItemDataRole.ToolTipRole:
            return TIPS.get(section)
        return None

    def flags(self, index: QModelIndex) -> Qt.ItemFlag:
        """What can be ticked and edited."""
        flags = Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsSelectable
        if index.column() == SHOWN:
            return flags | Qt.ItemFlag.ItemIsUserCheckable
        return flags | Qt.ItemFlag.ItemIsEditable if index.column() in (NAME, OPACITY) else flags

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """What a cell shows."""
        if self.layer is None:
            return None
        label, column = self._rows[index.row()], index.column()
        chosen = display.display_of(self.layer)
        if role == Qt.ItemDataRole.CheckStateRole and column == SHOWN:
            return Qt.CheckState.Unchecked if label in chosen.hidden else Qt.CheckState.Checked
        if role == Qt.ItemDataRole.DecorationRole and column == SHOWN:
            return QColor(*self._table[label].color, 255 if chosen.alpha(label) else 50)
        if role == Qt.ItemDataRole.ToolTipRole:
            return self._table[label].name if column == NAME else TIPS.get(column)
        if role == Qt.ItemDataRole.TextAlignmentRole and column == SOLO:
            return Qt.AlignmentFlag.AlignCenter
        if role == Qt.ItemDataRole.TextAlignmentRole and column in (INDEX, OPACITY, VOLUME):
            return Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        if role == Qt.ItemDataRole.FontRole and self.layer.selected_label == label:
            font = QFont()
            font.setBold(True)
            return font
        if role in (Qt.ItemDataRole.DisplayRole, Qt.ItemDataRole.EditRole, VALUE):
            return self._value(label, column, chosen, role)
        return None

    def setData(self, index: QModelIndex, value: Any, role: int = Qt.ItemDataRole.EditRole) -> bool:
        """Tick, rename, fade."""
        if self.layer is None:
            return False
        label, column = self._rows[index.row()], index.column()
        if role == Qt.ItemDataRole.CheckStateRole:
            display.show_class(self.layer, label, Qt.CheckState(value) == Qt.CheckState.Checked)
        elif role == Qt.ItemDataRole.EditRole and column == OPACITY:
            display.fade_class(self.layer, label, int(value) / 100)
        elif role == Qt.ItemDataRole.EditRole and column == NAME and str(value).strip():
            try:
                display.rename(self.layer, label, " ".join(str(value).split()))
            except MedzooError as error:
                show_error(str(error))
                return False
        else:
            return False
        self.show(self.layer, display.table_of(self.layer, self._rows), self._volumes)
        return True

    def _value(self, label: int, column: int, chosen: display.Display, role: int) -> Any:
        sorting = role == VALUE
        if column == SHOWN:
            return int(label not in chosen.hidden) if sorting else None
        if column == SOLO:
            return int(chosen.solo == label) if sorting else SOLO_MARKS[chosen.solo == label]
        if column == INDEX:
            return label
        if column == NAME:
            name = self._table[label].name
            return name.lower() if sorting else name
        if column == OPACITY:
            return round(100 * chosen.opacity.get(label, 1.0))
        volume = self._volumes.get(label, 0.0) if self._volumes is not None else None
        if sorting:
            return -1.0 if volume is None else volume
        return "…" if volume is None else f"{volume:.2f}"


class LabelTableView(QTableView):
    """The model as a table: sorted by value, filtered by text anywhere in the name.

    Parameters
    ----------
    model : LabelModel
    """

    class_chosen = Signal(int)
    """The index of a class that was clicked."""
    color_wanted = Signal(int)
    """The index of a class whose swatch was double-clicked."""

    def __init__(self, model: LabelModel) -> None:
        super().__init__()
        self._rows = model
        self.proxy = QSortFilterProxyModel(self)
        self.proxy.setSourceModel(model)
        self.proxy.setSortRole(VALUE)
        self.proxy.setFilterKeyColumn(NAME)
        self.proxy.setFilterCaseSensitivity(Qt.CaseSensitivity.CaseInsensitive)
        self.setModel(self.proxy)
        self.setSortingEnabled(True)
        self.sortByColumn(-1, Qt.SortOrder.AscendingOrder)  # the table's own order first
        self.verticalHeader().hide()
        self.verticalHeader().setDefaultSectionSize(24)
        self.setWordWrap(False)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        for column in range(len(COLUMNS)):
            mode = QHeaderView.ResizeMode.Interactive if column in WIDTHS else QHeaderView.ResizeMode.Stretch
            self.horizontalHeader().setSectionResizeMode(column, mode)
        self.horizontalHeader().setMinimumSectionSize(30)
        # Widths are for 11 px letters: larger letters need more.
        scale = max(self.fontMetrics().height() / 16, 1.0)
        for column, width in WIDTHS.items():
            self.setColumnWidth(column, round(width * scale))
        self.clicked.connect(self._clicked)
        self.doubleClicked.connect(self._double_clicked)

    def class_at(self, cell: QModelIndex) -> int:
        """The index of the class in a cell of this view."""
        return self._rows.rows[self.proxy.mapToSource(cell).row()]

    def _clicked(self, cell: QModelIndex) -> None:
        index = self.class_at(cell)
        if cell.column() == SOLO and self._rows.layer is not None:
            alone = display.display_of(self._rows.layer).solo == index
            display.solo(self._rows.layer, None if alone else index)
        elif cell.column() != SHOWN:
            self.class_chosen.emit(index)

    def _double_clicked(self, cell: QModelIndex) -> None:
        if cell.column() == SHOWN:
            self.color_wanted.emit(self.class_at(cell))
