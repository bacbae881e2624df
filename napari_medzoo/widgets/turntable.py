"""A movie of the head turning once around its own axis, rendered without blocking the window."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QObject, QTimer, Signal

from napari_medzoo.errors import MedzooError
from napari_medzoo.io import replacing
from napari_medzoo.progress import Progress, Steps

if TYPE_CHECKING:
    import napari

Frame = NDArray[np.uint8]
"""``(rows, columns, 3)``, red, green, blue."""

SUPERIOR = 2
"""The world axis that the head turns about."""

MOVIES = {".gif": "GIF", ".mp4": "MP4 (needs imageio-ffmpeg)"}


def frames_of(viewer: napari.Viewer, degrees: float) -> Generator[Frame, None, None]:
    """Pictures of one turn of the 3D view, the first as it is now; the camera is put back however it ends.

    Parameters
    ----------
    viewer : napari.Viewer
        In 3D, in world mm.
    degrees : float
        From picture to picture; rounded so that the turn closes.
    """
    from scipy.spatial.transform import Rotation

    camera = viewer.scene.camera
    before = (camera.angles, camera.center, camera.zoom)
    axis = np.eye(3)[list(viewer.dims.displayed).index(SUPERIOR)]
    directions = np.array([camera.view_direction, camera.up_direction], dtype=np.float64)
    try:
        for angle in np.linspace(0, 2 * np.pi, count_of(degrees), endpoint=False):
            view, up = Rotation.from_rotvec(angle * axis).apply(directions)
            camera.set_view_direction(tuple(view), tuple(up))
            yield np.ascontiguousarray(viewer.screenshot(canvas_only=True, flash=False)[..., :3])
    finally:
        camera.angles, camera.center, camera.zoom = before


def count_of(degrees: float) -> int:
    """How many pictures a turn in steps of `degrees` has."""
    return max(round(360 / degrees), 1)


class Turntable(QObject):
    """Takes the pictures of a turn, one in each turn of the event loop."""

    stepped = Signal(int, int)
    """Pictures taken, and how many there will be."""
    finished = Signal(object)
    """The pictures; an empty list where it was cancelled."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._frames: Generator[Frame, None, None] | None = None
        self._taken: list[Frame] = []
        self._total = 0
        self._timer = QTimer(self)
        self._timer.setInterval(0)
        self._timer.timeout.connect(self._step)

    @property
    def running(self) -> bool:
        """Whether pictures are being taken."""
        return self._frames is not None

    def start(self, viewer: napari.Viewer, degrees: float) -> None:
        """Begin a turn."""
        self.cancel()
        self._frames, self._taken, self._total = frames_of(viewer, degrees), [], count_of(degrees)
        self._timer.start()
        self.stepped.emit(0, self._total)

    def cancel(self) -> None:
        """Stop, with the camera back where it was."""
        if self._frames is not None:
            self._taken = []
            self._end()

    def _step(self) -> None:
        assert self._frames is not None  # the timer runs only then
        frame = next(self._frames, None)
        if frame is None:
            self._end()
        else:
            self._taken.append(frame)
            self.stepped.emit(len(self._taken), self._total)

    def _end(self) -> None:
        self._timer.stop()
        frames, self._frames = self._frames, None
        if frames is not None:
            frames.close()
        taken, self._taken = self._taken, []
        self.finished.emit(taken)


def require_movie(path: Path) -> None:
    """Refuse a movie that could not be written, before it is rendered.

    Raises
    ------
    MedzooError
        For another ending than those of `MOVIES`, or MP4 without its encoder.
    """
    if path.suffix.lower() not in MOVIES:
        raise MedzooError(f"{path.name}: a movie ends in {' or '.join(MOVIES)}; choose one of them.")
    if path.suffix.lower() == ".mp4" and find_spec("imageio_ffmpeg") is None:
        raise MedzooError(
            "MP4 needs the package imageio-ffmpeg, which is not installed; install it or write a GIF instead."
        )


def write_movie(frames: Sequence[Frame], path: Path, seconds: float) -> Steps[Path]:
    """Write pictures as a movie that takes `seconds`; an existing file is replaced.

    Parameters
    ----------
    frames : sequence of numpy.ndarray
        ``(rows, columns, 3) uint8``, all of one size.
    path : pathlib.Path
        Its ending is a key of `MOVIES`.
    seconds : float

    Raises
    ------
    MedzooError
        As `require_movie`, or where the file cannot be written.
    """
    require_movie(path)
    with replacing(path) as temporary:
        if path.suffix.lower() == ".gif":
            yield from _write_gif(frames, temporary, seconds)
        else:
            yield from _write_mp4(frames, temporary, seconds)
    return path


def _write_gif(frames: Sequence[Frame], path: Path, seconds: float) -> Steps[None]:
    from PIL import Image

    pictures = []
    for done, frame in enumerate(frames):
        yield Progress("Writing GIF", done, len(frames))
        pictures.append(Image.fromarray(frame).quantize(256))
    # GIF counts in hundredths of a second.
    pause = max(10 * round(100 * seconds / len(frames)), 20)
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=pause, loop=0)


def _write_mp4(frames: Sequence[Frame], path: Path, seconds: float) -> Steps[None]:
    imageio_ffmpeg: Any = import_module("imageio_ffmpeg")  # nobody needs it but for this

    # The codec wants even numbers of rows and columns.
    rows, columns = (size - size % 2 for size in frames[0].shape[:2])
    rate = len(frames) / seconds
    writer = imageio_ffmpeg.write_frames(str(path), (columns, rows), fps=rate, macro_block_size=2)
    writer.send(None)
    try:
        for done, frame in enumerate(frames):
            yield Progress("Writing MP4", done, len(frames))
            writer.send(np.ascontiguousarray(frame[:rows, :columns]))
    finally:
        writer.close()
