"""Pictures of what the viewer shows, and the turntable movie: a part of the dock "Surfaces"."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari.utils.notifications import show_error
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QFileDialog, QHBoxLayout, QSpinBox, QVBoxLayout, QWidget

from napari_medzoo.errors import MedzooError
from napari_medzoo.io import replacing
from napari_medzoo.state import State, busy_problem
from napari_medzoo.widgets.jobs import Jobs
from napari_medzoo.widgets.parts import button
from napari_medzoo.widgets.surface_layers import Scene
from napari_medzoo.widgets.turntable import MOVIES, Turntable, require_movie, write_movie

if TYPE_CHECKING:
    import napari


class PictureView(QWidget):
    """Saves pictures and movies.

    Parameters
    ----------
    viewer : napari.Viewer
    scene : Scene
        Its surfaces are turned.
    state : State
    jobs : Jobs
        Movies are written by them.
    """

    said = Signal(str)
    """What was done, for the dock's line of text."""

    def __init__(self, viewer: napari.Viewer, scene: Scene, state: State, jobs: Jobs) -> None:
        super().__init__()
        self.viewer, self.scene, self.state, self.jobs = viewer, scene, state, jobs
        self.turntable = Turntable(self)
        self.turntable.finished.connect(self._turned)
        self._path = Path()
        self.what = QComboBox()
        self.what.addItem("The view (2D or 3D)", True)
        self.what.addItem("The whole window", False)
        self.what.setToolTip("What the picture shows")
        self.picture = button("Picture…", "Save a picture as PNG", self._ask_picture)
        self.degrees = QSpinBox()
        self.degrees.setRange(1, 45)
        self.degrees.setValue(6)
        self.degrees.setSuffix("° per picture")
        self.degrees.setToolTip("How far the head turns from one picture of the movie to the next: less is smoother")
        self.seconds = QSpinBox()
        self.seconds.setRange(1, 60)
        self.seconds.setValue(6)
        self.seconds.setSuffix(" s")
        self.seconds.setToolTip("How long one turn takes")
        self.movie = button("Movie…", "Turn the head once around its own axis, as a GIF or MP4", self._ask_movie)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        for row in ((self.what, self.picture), (self.degrees, self.seconds, self.movie)):
            line = QHBoxLayout()
            for widget in row:
                line.addWidget(widget)
            layout.addLayout(line)

    def save_picture(self, path: Path) -> None:
        """Write what is seen as PNG: the view alone, or the whole window."""
        from PIL import Image

        picture = self.viewer.screenshot(canvas_only=self.what.currentData(), flash=False)
        try:
            with replacing(path) as temporary:
                Image.fromarray(picture[..., :3]).save(temporary, format="PNG")
        except MedzooError as error:
            show_error(str(error))
        else:
            self.said.emit(f"Wrote {path.name}.")

    def save_movie(self, path: Path) -> None:
        """Turn the surfaces once and write that as a movie."""
        if busy_problem(self.state) or self.turntable.running or not self.scene.surfaces():
            return
        try:
            require_movie(path)
        except MedzooError as error:
            show_error(str(error))
            return
        self.scene.enter()
        self._path = path
        self.turntable.start(self.viewer, self.degrees.value())

    def _turned(self, frames: list[Any]) -> None:
        if frames:
            steps = write_movie(frames, self._path, float(self.seconds.value()))
            self.jobs.start("Writing movie", steps, lambda written: self.said.emit(f"Wrote {written.name}."))

    def _ask_picture(self) -> None:
        name, _ = QFileDialog.getSaveFileName(self, "Save picture", "view.png", "*.png")
        if name:
            self.save_picture(Path(name).with_suffix(".png"))

    def _ask_movie(self) -> None:
        forms = ";;".join(f"{text} (*{suffix})" for suffix, text in MOVIES.items())
        name, _ = QFileDialog.getSaveFileName(self, "Save movie", "turntable.gif", forms)
        if name:
            self.save_movie(Path(name))
