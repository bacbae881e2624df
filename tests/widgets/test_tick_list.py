"""The list with ticks: what is ticked, what is told, and lines too long for the dock."""

from __future__ import annotations

import pytest
from qtpy.QtCore import Qt

from napari_medzoo.widgets.tick_list import Line, TickList

LONG = "lesions-t1-t2-flair: White-matter lesions and brain regions of three modalities"
LINES = [
    Line("short", "tissue-fast", "A preview", (255, 0, 0)),
    Line("long", LONG, "With many words"),
    Line(3, "third"),
]


@pytest.fixture
def ticks(qtbot):
    made = TickList("Tick what you like")
    qtbot.addWidget(made)
    made.resize(160, 120)
    made.show()
    made.offer(LINES, (3, "unknown"))
    return made


def test_ticks_are_keys_in_the_order_of_the_list(ticks, qtbot):
    assert ticks.listed() == ["short", "long", 3]
    assert ticks.ticked() == [3]
    with qtbot.waitSignal(ticks.ticked_changed):
        ticks.tick(("long", "short"))
    assert ticks.ticked() == ["short", "long"]
    ticks.offer(LINES[1:], ticks.ticked())
    assert ticks.ticked() == ["long"]


def test_a_click_ticks_and_tells(ticks, qtbot):
    place = ticks.visualItemRect(ticks.item(0))
    place.setWidth(place.height())
    with qtbot.waitSignal(ticks.ticked_changed):
        qtbot.mouseClick(ticks.viewport(), Qt.MouseButton.LeftButton, pos=place.center())
    assert ticks.ticked() == ["short", 3]


def test_a_long_line_takes_one_row_of_the_list_and_is_told_whole(ticks):
    lines = [ticks.visualItemRect(ticks.item(row)) for row in range(ticks.count())]
    assert {line.height() for line in lines} == {lines[0].height()}
    assert all(line.width() <= ticks.viewport().width() for line in lines)
    assert not ticks.horizontalScrollBar().isVisible()
    assert ticks.item(1).toolTip() == f"{LONG}\nWith many words"
    assert not ticks.item(0).icon().isNull() and ticks.item(1).icon().isNull()
