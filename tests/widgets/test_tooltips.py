"""Every control of every dock says what it does."""

from __future__ import annotations

import pytest
from qtpy.QtWidgets import (
    QAbstractButton,
    QAbstractItemView,
    QAbstractSlider,
    QAbstractSpinBox,
    QComboBox,
    QLineEdit,
    QScrollBar,
    QTabBar,
    QWidget,
)

from napari_medzoo.widgets.docks import DOCKS, dock_class

CONTROLS = (QAbstractButton, QAbstractItemView, QAbstractSlider, QAbstractSpinBox, QComboBox, QLineEdit)
INSIDE = (QAbstractSpinBox, QComboBox, QAbstractItemView, QLineEdit, QTabBar)
"""What has controls of its own: they are explained with it."""


def controls(dock: QWidget) -> list[QWidget]:
    """What a person can press, type into or choose from, shown or not."""
    found = [widget for widget in dock.findChildren(QWidget) if isinstance(widget, CONTROLS)]
    return [widget for widget in found if not isinstance(widget, QScrollBar) and not is_part(widget, dock)]


def is_part(widget: QWidget, dock: QWidget) -> bool:
    above = widget.parentWidget()
    while above is not None and above is not dock:
        if isinstance(above, INSIDE):
            return True
        above = above.parentWidget()
    return False


def described(widget: QWidget) -> str:
    text = getattr(widget, "text", str)()
    return f"{type(widget).__name__} {text!r} in {type(widget.parentWidget()).__name__}"


@pytest.mark.parametrize("key", list(DOCKS))
def test_every_control_has_a_tooltip(make_napari_viewer, tiny_card, key):
    dock = dock_class(key)(make_napari_viewer())
    found = controls(dock)
    assert found
    assert [described(widget) for widget in found if not widget.toolTip()] == []
    dock.close()
    dock.deleteLater()
