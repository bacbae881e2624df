"""What the docks have in common: they scroll, follow the preferences, and let go of the viewer when they go."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QSize
from qtpy.QtWidgets import QFrame, QScrollArea, QVBoxLayout, QWidget

from napari_medzoo.state import State
from napari_medzoo.widgets.jobs import Jobs
from napari_medzoo.widgets.preferences import follow
from napari_medzoo.widgets.ties import Ties

if TYPE_CHECKING:
    import napari

WIDTH, LEAST_WIDTH = 400, 340
"""Pixels that a dock takes where there is room, and at least: a screen of 1920 pixels, at 200 %, has no more of its 960
beside napari's own docks and the views."""


class DockBody(QScrollArea):
    """A column of widgets beside the picture; what a small window cannot show of it is reached by scrolling.

    Parameters
    ----------
    viewer : napari.Viewer

    Attributes
    ----------
    column : QVBoxLayout
        Where the widgets go.
    state : State
        Of the dock's own jobs.
    jobs : Jobs
        Cancelled when Qt destroys the dock.
    ties : Ties
        Cut when Qt destroys the dock.
    """

    def __init__(self, viewer: napari.Viewer) -> None:
        super().__init__()
        self.viewer = viewer
        self.state = State()
        self.jobs, self.ties = Jobs(self.state), Ties()
        follow()
        content = QWidget()
        self.column = QVBoxLayout(content)
        self.column.setSpacing(4)
        self.setWidget(content)
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setMinimumWidth(LEAST_WIDTH)
        self.ties.at_last(self.jobs.cancel)
        self.ties.end_with(self)

    def sizeHint(self) -> QSize:
        """As wide as is comfortable."""
        return QSize(WIDTH, super().sizeHint().height())
