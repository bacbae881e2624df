"""Building blocks of the panel's views."""

from __future__ import annotations

from typing import Any

from magicgui.widgets import ComboBox
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QComboBox, QHBoxLayout, QLabel, QPushButton, QSizePolicy, QToolButton, QVBoxLayout, QWidget


def note(text: str = "") -> QLabel:
    """A wrapped line of small print."""
    label = QLabel(text)
    label.setWordWrap(True)
    label.setContentsMargins(0, 1, 0, 3)  # wrapped small print loses its descenders otherwise
    label.setStyleSheet("font-size: 11px;")
    label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
    return label


def button(text: str, tip: str, clicked: Any) -> QPushButton:
    """A button that calls `clicked` without arguments."""
    widget = QPushButton(text)
    widget.setToolTip(tip)
    widget.clicked.connect(lambda: clicked())
    return widget


def row(*widgets: QWidget | tuple[QWidget, int]) -> QHBoxLayout:
    """Widgets side by side; a pair gives a widget and its stretch."""
    layout = QHBoxLayout()
    for widget in widgets:
        layout.addWidget(*(widget if isinstance(widget, tuple) else (widget,)))
    return layout


class Fold(QWidget):
    """A section under a heading that opens and closes it.

    superqt's QCollapsible fixes its height when it opens, so that a table that grows later would be cut off.

    Parameters
    ----------
    title : str
    content : QWidget
    opened : bool
    """

    def __init__(self, title: str, content: QWidget, opened: bool) -> None:
        super().__init__()
        self.heading = QToolButton()
        self.heading.setText(title)
        self.heading.setToolTip("Open or close this part")
        self.heading.setCheckable(True)
        self.heading.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self.heading.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.heading.setStyleSheet("font-weight: bold; padding: 3px;")
        self.heading.toggled.connect(self._toggled)
        self._content = content
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        layout.addWidget(self.heading)
        layout.addWidget(content)
        self.heading.setChecked(opened)
        self._toggled(opened)

    def open(self) -> None:
        """Show the section."""
        self.heading.setChecked(True)

    def _toggled(self, opened: bool) -> None:
        self.heading.setArrowType(Qt.ArrowType.DownArrow if opened else Qt.ArrowType.RightArrow)
        self._content.setVisible(opened)


def choice(label: str = "", choices: Any = (), letters: int = 6, tip: str = "") -> ComboBox:
    """A combo box that shortens entries of more than `letters` instead of widening the panel."""
    combo = ComboBox(label=label, choices=choices, tooltip=tip)
    shorten(combo.native, letters)
    return combo


def shorten(combo: QComboBox, letters: int) -> None:
    """Let a combo box become as narrow as so many letters, however long its entries are."""
    combo.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
    combo.setMinimumContentsLength(letters)


def offer(combo: ComboBox, choices: list[tuple[str, Any]], value: Any) -> None:
    """Fill a combo box and select `value` without telling anyone."""
    with combo.changed.blocked():
        combo.choices = choices
        if value in [data for _, data in choices]:
            combo.value = value
