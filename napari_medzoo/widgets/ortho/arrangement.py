"""Where the views stand in napari's window: one large and three small, or two by two.

The main viewer's canvas stays where it is. The others stand beside it in the window's centre, and in the layout two by
two one of them stands below it; Qt's public classes are all that is used. Meanwhile the docks at the bottom leave the
left column to napari's own docks, whose height is all that a low window has.
"""

from __future__ import annotations

from collections.abc import Sequence

from napari.qt import QtViewer
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QMainWindow, QSizePolicy, QSplitter, QWidget

from napari_medzoo.errors import MedzooError

LARGE = "One large, three small"
SQUARE = "Two by two"
LAYOUTS = (LARGE, SQUARE)

BOTTOM_LEFT = Qt.Corner.BottomLeftCorner

LEAST_LARGE, LEAST_SMALL = 150, 92
"""Pixels of width. Together they are no more than napari's own canvas wants, so that no window grows beyond a screen;
without them a narrow window (half of a screen of 1920 pixels, at 200 %) would leave the small views nothing."""


def main_window(widget: QWidget) -> QMainWindow:
    """The window that a docked widget belongs to, floating or not.

    Raises
    ------
    MedzooError
        If it is not docked in one.
    """
    above = widget.parentWidget()
    while above is not None:
        if isinstance(above, QMainWindow):
            return above
        above = above.parentWidget()
    raise MedzooError("The views need napari's window: dock them in a viewer (Plugins ▸ MedZoo ▸ MedZoo views).")


class Arrangement:
    """The centre of a napari window.

    Parameters
    ----------
    window : QMainWindow

    Attributes
    ----------
    home : QtViewer
        The main viewer's.
    """

    def __init__(self, window: QMainWindow) -> None:
        self._window, self._corner = window, window.corner(BOTTOM_LEFT)
        window.setCorner(BOTTOM_LEFT, Qt.DockWidgetArea.LeftDockWidgetArea)
        self._center = window.centralWidget()
        self.home: QtViewer = self._center.findChild(QtViewer)
        self._own = self.home.widget(0)
        self._own_width = self.home.minimumWidth()
        self.home.setMinimumWidth(LEAST_LARGE)
        self._column = QSplitter(Qt.Orientation.Vertical)
        self._column.setChildrenCollapsible(False)
        self._column.setMinimumWidth(LEAST_SMALL)
        self._column.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Ignored)
        self._box = self._center.layout()
        self._box.addWidget(self._column)
        if not window.isMaximized():
            # The dock was there before its corner was: it may have made the window higher than the screen.
            window.layout().activate()
            window.resize(window.size().boundedTo(window.screen().availableSize()))

    def place(self, layout: str, views: Sequence[QWidget], cover: QWidget | None) -> None:
        """Put three side views in their places, and `cover` (if any) in that of the main viewer's canvas."""
        below = views[:1] if layout == SQUARE else ()
        for view in views:
            if view in below:
                self.home.addWidget(view)
            else:
                self._column.addWidget(view)
            view.show()
        if cover is not None:
            self.home.insertWidget(0, cover)
            cover.show()
        self._own.setVisible(cover is None)
        wide = 1 if layout == SQUARE else 2
        self._box.setStretch(self._box.indexOf(self.home), wide)
        self._box.setStretch(self._box.indexOf(self._column), 1)
        self._column.setSizes([1000] * self._column.count())
        if below:
            self.home.setSizes([1000 if widget in (self._own, cover, *below) else 0 for widget in self._children()])

    def fit_slider(self) -> None:
        """Hide napari's slice slider where it would be cut off: wheel, keys and the small views go through slices."""
        self.home.dims.setVisible(self.home.dims.minimumSizeHint().width() <= self.home.width())

    def close(self) -> None:
        """Leave the window as it was; the views must have been taken out."""
        self._window.setCorner(BOTTOM_LEFT, self._corner)
        self._own.show()
        self.home.dims.show()
        self.home.setMinimumWidth(self._own_width)
        self._box.removeWidget(self._column)
        self._column.setParent(None)
        self._column.deleteLater()
        self._box.setStretch(self._box.indexOf(self.home), 0)

    def _children(self) -> list[QWidget]:
        return [self.home.widget(i) for i in range(self.home.count())]
