"""The dock ``MedZoo views``: switches of the four views, and what lies under the crosshair.

The views are in the centre of napari's window as long as the dock is seen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari.utils.notifications import show_error
from qtpy.QtWidgets import QCheckBox, QVBoxLayout, QWidget

from napari_medzoo.errors import MedzooError
from napari_medzoo.widgets import view
from napari_medzoo.widgets.ortho.arrangement import LAYOUTS, main_window
from napari_medzoo.widgets.ortho.desk import Desk
from napari_medzoo.widgets.ortho.readout import ReadOut
from napari_medzoo.widgets.parts import choice, note, row
from napari_medzoo.widgets.preferences import follow

if TYPE_CHECKING:
    import napari


class OrthoViews(QWidget):
    """Axial, coronal, sagittal and 3D of the viewer's layers, with what lies under the crosshair.

    Parameters
    ----------
    napari_viewer : napari.Viewer
        Given by napari, because the parameter has this name.

    Attributes
    ----------
    desk : Desk or None
        The open views; None while the dock is hidden.
    """

    def __init__(self, napari_viewer: napari.Viewer) -> None:
        super().__init__()
        self.viewer = napari_viewer
        self.desk: Desk | None = None
        follow()
        self.layout_choice = choice("", LAYOUTS, 18, "How the four views stand beside each other")
        conventions = [(key.capitalize(), key) for key in view.CONVENTIONS]
        tip = "Which way round heads are shown; the data stay as they are (key N)"
        self.convention_choice = choice("", conventions, 9, "\n".join([tip, *view.CONVENTIONS.values()]))
        self.crosshair_box = QCheckBox("Crosshair")
        self.crosshair_box.setToolTip("Lines through the position in every view (key H)")
        self.crosshair_box.setChecked(True)
        self.read_out, self.note = ReadOut(), note()
        self.note.hide()
        column = QVBoxLayout(self)
        column.setContentsMargins(4, 4, 4, 4)
        column.addLayout(row(self.layout_choice.native, self.convention_choice.native, self.crosshair_box))
        column.addWidget(self.note)
        column.addWidget(self.read_out)
        self.convention_choice.changed.connect(_choose_convention)

    def showEvent(self, event: Any) -> None:
        """The views open with the dock."""
        super().showEvent(event)
        if not event.spontaneous():
            self.open_views()

    def hideEvent(self, event: Any) -> None:
        """The views close with the dock, and with napari's window."""
        super().hideEvent(event)
        if not event.spontaneous():  # a minimised window keeps its views
            self.close_views()

    def open_views(self) -> None:
        """Show the views in the centre of the window that the dock belongs to."""
        if self.desk is not None:
            return
        try:
            window = main_window(self)
        except MedzooError as error:
            show_error(str(error))
            return
        self.desk = desk = Desk(self.viewer, window, self.layout_choice.value, self.crosshair_box.isChecked())
        desk.pointed.connect(lambda point_mm, whose: self.read_out.show_point(self.viewer, point_mm, whose))
        desk.noted.connect(self._say)
        desk.crosshair_switched.connect(self.crosshair_box.toggle)
        self.crosshair_box.toggled.connect(desk.show_crosshair)
        self.layout_choice.changed.connect(desk.use_layout)
        view.LOOK.events.convention.connect(self._show_convention)
        self._show_convention(view.LOOK.convention)

    def close_views(self) -> None:
        """Take the views away and leave the window as it was."""
        if self.desk is None:
            return
        desk, self.desk = self.desk, None
        self.crosshair_box.toggled.disconnect(desk.show_crosshair)
        self.layout_choice.changed.disconnect(desk.use_layout)
        view.LOOK.events.convention.disconnect(self._show_convention)
        desk.close()
        desk.deleteLater()

    def _show_convention(self, convention: str) -> None:
        self.convention_choice.value = convention

    def _say(self, text: str) -> None:
        self.note.setText(text)
        self.note.setVisible(bool(text))


def _choose_convention(convention: str) -> None:
    view.LOOK.convention = convention
