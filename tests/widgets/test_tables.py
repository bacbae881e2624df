"""The table of figures: order, copies, what is missing."""

from __future__ import annotations

import math

import pytest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication

from napari_medzoo.widgets.tables import FigureTable, shown

ROWS = [[3, "WM", 0.9123456, 12.0], [10, "CSF", math.nan, 2.5], [2, "GM", 0.8, 101.0]]


@pytest.fixture
def table(qtbot) -> FigureTable:
    made = FigureTable(("Index", "Label", "Dice", "Volume (mL)"))
    qtbot.addWidget(made)
    made.show_rows(ROWS, [(255, 0, 0), None, (0, 0, 255)])
    return made


def column(table: FigureTable, number: int) -> list:
    return [row[number] for row in table.values()]


def test_rows_keep_the_order_they_were_given(table):
    assert column(table, 1) == ["WM", "CSF", "GM"]


@pytest.mark.parametrize(
    ("number", "order", "names"),
    [
        (0, Qt.SortOrder.AscendingOrder, ["GM", "WM", "CSF"]),
        (3, Qt.SortOrder.DescendingOrder, ["GM", "WM", "CSF"]),
        (1, Qt.SortOrder.AscendingOrder, ["CSF", "GM", "WM"]),
        (2, Qt.SortOrder.AscendingOrder, ["GM", "WM", "CSF"]),
    ],
)
def test_columns_sort_by_value_and_not_by_letters(table, number, order, names):
    table.sortByColumn(number, order)
    assert column(table, 1) == names


def test_copying_gives_full_figures_and_empty_cells_for_missing_ones(table, qtbot):
    table.copy()
    lines = QApplication.clipboard().text().split("\n")
    assert lines[0] == "Index\tLabel\tDice\tVolume (mL)"
    assert lines[1] == "3\tWM\t0.9123456\t12.0"
    assert lines[2] == "10\tCSF\t\t2.5"
    place = table.visualItemRect(table.item(2, 1)).center()
    qtbot.mouseClick(table.viewport(), Qt.MouseButton.LeftButton, pos=place)  # `selectRow` heeds the last Shift sent
    table.copy()
    assert QApplication.clipboard().text().split("\n")[1:] == ["2\tGM\t0.8\t101.0"]


def test_colours_stand_beside_the_names(table):
    color = table.item(0, 1).icon().pixmap(12, 12).toImage().pixelColor(5, 5)
    assert (color.red(), color.green(), color.blue()) == (255, 0, 0)
    assert table.item(1, 1).icon().isNull()


def test_figures_are_written_short():
    assert [shown(value) for value in (0.91236, 12.345, 7, math.nan, None)] == ["0.912", "12.3", "7", "–", "–"]
