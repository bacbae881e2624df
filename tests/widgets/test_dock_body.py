"""Docks in small windows, and what is left of them when Qt has destroyed them."""

from __future__ import annotations

import numpy as np
import pytest
from napari.qt import get_stylesheet
from qtpy.QtCore import QCoreApplication, QEvent

from napari_medzoo.widgets import preferences
from napari_medzoo.widgets.dock_body import LEAST_WIDTH, WIDTH, DockBody
from napari_medzoo.widgets.docks import DOCKS, dock_class
from napari_medzoo.widgets.ties import Ties

SCROLLING = [key for key in DOCKS if issubclass(dock_class(key), DockBody)]


@pytest.mark.parametrize("key", SCROLLING)
def test_a_dock_fits_into_a_low_and_narrow_window_and_scrolls_to_its_last_row(
    make_napari_viewer, tiny_card, qtbot, key
):
    dock = dock_class(key)(make_napari_viewer())
    qtbot.addWidget(dock)
    dock.setStyleSheet(get_stylesheet("dark"))
    dock.resize(LEAST_WIDTH, 200)
    dock.show()
    assert dock.minimumSizeHint().height() < 200
    assert dock.width() == LEAST_WIDTH and dock.sizeHint().width() == WIDTH
    content = dock.widget()
    assert content.minimumSizeHint().width() <= dock.viewport().width(), "nothing is cut off at the right"
    dock.verticalScrollBar().setValue(dock.verticalScrollBar().maximum())
    assert content.y() + content.height() <= dock.viewport().height()


def test_the_panel_becomes_as_narrow_as_the_docks(panel):
    panel.setParent(None)
    for fold in panel.folds.values():
        fold.open()
    panel.setStyleSheet(get_stylesheet("dark"))
    panel.resize(LEAST_WIDTH, 400)
    panel.show()
    assert panel.width() == LEAST_WIDTH
    assert panel.scroll.widget().minimumSizeHint().width() <= panel.scroll.viewport().width(), "the right is cut off"


@pytest.mark.parametrize("key", SCROLLING)
def test_a_dock_that_is_gone_hears_nothing_more_of_the_viewer(make_napari_viewer, tiny_card, key):
    viewer = make_napari_viewer()
    viewer.add_labels(np.ones((4, 5, 6), int))
    dock = dock_class(key)(viewer)
    dock.deleteLater()
    QCoreApplication.sendPostedEvents(dock, QEvent.Type.DeferredDelete)
    viewer.add_labels(np.zeros((4, 5, 6), int))  # a dock that still listened would raise here
    viewer.layers[0].data_setitem((np.array([1]),) * 3, 2)
    viewer.layers.clear()


@pytest.mark.parametrize("key", [*SCROLLING, "views"])
def test_a_dock_follows_the_preferences(make_napari_viewer, tiny_card, monkeypatch, key):
    class Page:
        def __init__(self) -> None:
            self.heard = 0
            self.events = self

        def connect(self, callback) -> None:
            self.heard += 1

    page = Page()
    for name, field in preferences.Preferences.model_fields.items():
        setattr(page, name, field.default)
    monkeypatch.setattr(preferences, "_page", lambda: page)
    monkeypatch.setattr(preferences, "_followed", [])
    dock = dock_class(key)(make_napari_viewer())
    assert page.heard == 1
    dock.deleteLater()


def test_ties_are_undone_in_the_reverse_order():
    class Event(list):
        connect, disconnect = list.append, list.remove

    event, said, ties = Event(), [], Ties()
    ties.at_last(lambda: said.append("last"))
    ties.tie(event, print)
    ties.at_last(lambda: said.append(list(event)))
    ties.cut()
    assert said == [[print], "last"] and event == []
