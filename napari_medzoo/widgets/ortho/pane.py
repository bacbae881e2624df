"""One view of the four: a canvas, the plane it shows, and its marks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from napari.components import ViewerModel
from napari.layers import Surface
from napari.qt import QtViewer
from qtpy.QtWidgets import QSizePolicy, QWidget

from napari_medzoo.widgets import view
from napari_medzoo.widgets.framing import come_near
from napari_medzoo.widgets.ortho.marks import Marks
from napari_medzoo.widgets.ortho.twins import Twins

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from napari.layers import Layer

    from napari_medzoo.study import Volume


class Frame:
    """A canvas with marks on it: the main viewer's own, or that of a `Pane`.

    Parameters
    ----------
    model : ViewerModel
        What the canvas shows.
    qt_viewer : QtViewer
    main : ViewerModel
        Whose position all views share.
    """

    def __init__(self, model: ViewerModel, qt_viewer: QtViewer, main: ViewerModel) -> None:
        self.model, self.qt_viewer, self.main = model, qt_viewer, main
        self.canvas: QWidget = qt_viewer.canvas.native
        self.marks = Marks(self.canvas, model, main)
        self.fitted_zoom = model.scene.camera.zoom

    @property
    def plane(self) -> str:
        """A key of `view.PLANES`, or ``"3D"``."""
        return view.plane_of(self.model)

    @property
    def axis(self) -> int:
        """The world axis that the view's slices are stacked along."""
        return int(self.model.dims.order[0])

    def follow(self) -> None:
        """Go where the main viewer went."""
        self.marks.update()

    def fitted(self) -> None:
        """The view was fitted: come nearer in 3D, and remember that the head fits into the view now."""
        if self.model.dims.ndisplay == 3:
            come_near(self.model)
        self.fitted_zoom = self.model.scene.camera.zoom
        self.marks.update()

    def zoom_around(self, point: Sequence[float], zoom: float) -> None:
        """Zoom a 2D view so that a world point stays where it is on the canvas."""
        camera, shown = self.model.scene.camera, list(self.model.dims.displayed)
        fixed, center = np.array(point, dtype=float)[shown], np.array(camera.center[-2:])
        camera.center = (0.0, *(fixed + (center - fixed) * camera.zoom / zoom))
        camera.zoom = zoom

    def close(self) -> None:
        """Take the marks off."""
        self.canvas.removeEventFilter(self.marks)
        self.marks.setParent(None)
        self.marks.deleteLater()


class Pane(Frame):
    """A side view of the main viewer's layers, in a plane or in 3D.

    Parameters
    ----------
    main : ViewerModel
    plane : str
        A key of `view.PLANES`, or ``"3D"``.
    straight, painted : callable
        See `Twins`.
    """

    def __init__(
        self,
        main: ViewerModel,
        plane: str,
        straight: Callable[[Layer], Volume | None],
        painted: Callable[[Layer, Layer, Any], None],
    ) -> None:
        model = ViewerModel(ndisplay=3, order=(0, 1, 2))
        model.dims.ndisplay = 2
        qt_viewer = QtViewer(model)
        qt_viewer.dims.hide()
        qt_viewer.setMinimumSize(80, 80)
        qt_viewer.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Ignored)
        # napari reads files that are dropped on a viewer into that viewer; here they would be nobody's.
        qt_viewer.setAcceptDrops(False)
        super().__init__(model, qt_viewer, main)
        self.wanted, self._surfaces = plane, False
        self.twins = Twins(main, model, straight, painted)

    def show_plane(self, plane: str) -> None:
        """Turn to a plane or to 3D, in the convention of `view.LOOK`; without a layer only remember it."""
        self.wanted = plane
        if not len(self.model.layers):
            return  # napari cannot show nothing in 3D
        self.model.mouse_over_canvas = False  # see `Twins`
        self.model.layers.selection.clear()
        if plane == view.THREE_D:
            view.show_head_3d(self.model)
        else:
            self.model.dims.ndisplay = 2
            view.show_plane(self.model, plane)
        self.model.canvas.overlays.text.visible = False  # the marks say it
        self.twins.select()
        self.twins.show_seen()
        self.follow()
        self.fit()

    def fit(self) -> None:
        """Fit the head into the view."""
        if len(self.model.layers):
            self.model.reset_view(reset_camera_angle=False)
        self._surfaces = self._shows_surfaces()
        self.fitted()

    def fit_other(self) -> None:
        """Fit a 3D view in which surfaces have taken the place of scans, or the other way round."""
        if self.plane == view.THREE_D and self._surfaces != self._shows_surfaces():
            self.fit()

    def _shows_surfaces(self) -> bool:
        return any(layer.visible and isinstance(layer, Surface) for layer in self.model.layers)

    def is_turned(self) -> bool:
        """Whether the view shows what it was asked for; not yet where the first layer has just come."""
        if not len(self.model.layers):
            return True
        in_plane = self.wanted in view.PLANES and tuple(self.model.dims.order) == view.PLANES[self.wanted].order
        return self.plane == self.wanted and (in_plane or self.wanted == view.THREE_D)

    def follow(self) -> None:
        """Go to the main viewer's slice; along the axes of the plane only the crosshair moves."""
        dims = self.model.dims
        if self.main.dims.ndim == 3 and dims.ndim == 3 and dims.ndisplay == 2:
            value = self.main.dims.point[self.axis]
            if not np.isclose(dims.point[self.axis], value):
                dims.set_point(self.axis, value)
        self.marks.update()

    def close(self) -> None:
        """Let go of the layers and of the canvas."""
        super().close()
        self.qt_viewer.hide()
        self.twins.close()
        self.qt_viewer.setParent(None)
        self.qt_viewer.close()
        self.qt_viewer.deleteLater()
