"""Two layers made ready to be compared: the steps that read them and look for a position, off the main thread."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from napari.layers import Image
from numpy.typing import NDArray

from napari_medzoo.preprocess.alignment import Alignment, Pose, pose_of
from napari_medzoo.progress import Progress, Steps
from napari_medzoo.space import Grid
from napari_medzoo.study import Volume
from napari_medzoo.widgets.alignment import mixing, placing
from napari_medzoo.widgets.layers import volume_from_layer

if TYPE_CHECKING:
    from napari_medzoo.preprocess.registration import Pair


@dataclass(frozen=True, eq=False)
class Subject:
    """Two layers that are compared.

    Attributes
    ----------
    fixed_layer, moving_layer : napari.layers.Image
    pair : Pair
        Of the fixed scan where it lies and of the moving one where its header puts it.
    fixed_grid : Grid
        Where the fixed scan lay when this was made.
    grid : Grid
        Of the picture.
    fixed : numpy.ndarray
        ``uint8`` on `grid`.
    moving : Volume
        ``uint8`` on its own grid, where its header puts it.
    """

    fixed_layer: Image
    moving_layer: Image
    pair: Pair
    fixed_grid: Grid
    grid: Grid
    fixed: NDArray[np.uint8]
    moving: Volume

    def transform(self, pose: Pose) -> NDArray[np.float64]:
        """``(4, 4)``: RAS+ mm of the fixed scan to RAS+ mm of the moving one's header, for a pose of the latter."""
        return np.asarray(np.linalg.inv(pose.movement(self.pair.center_mm)), dtype=np.float64)

    def pose_now(self) -> Pose:
        """The pose of the moving layer as it lies now."""
        return pose_of(placing.movement_of(self.moving_layer), self.pair.center_mm)

    def still_of(self, fixed: Image, moving: Image) -> bool:
        """Whether this is of these two layers, the fixed one where it was."""
        same = fixed is self.fixed_layer and moving is self.moving_layer
        return same and volume_from_layer(fixed).grid.same_as(self.fixed_grid)


def compared(
    fixed: Image, moving: Image, known: Subject | None, movement: NDArray[np.float64] | None
) -> Steps[tuple[Subject, Alignment]]:
    """Make two layers ready to be compared and measure one position.

    Parameters
    ----------
    fixed, moving : napari.layers.Image
    known : Subject or None
        Of the same layers, to save the work.
    movement : numpy.ndarray or None
        ``(4, 4)``: RAS+ mm of the moving scan's header to where it shall lie; None takes where the layer lies now.
    """
    subject = known or (yield from load(fixed, moving))
    if movement is None:
        pose = subject.pose_now()
    else:
        pose = pose_of(movement, subject.pair.center_mm)
    return subject, subject.pair.at(subject.transform(pose))


def searched(fixed: Image, moving: Image, known: Subject | None) -> Steps[tuple[Subject, Alignment]]:
    """Look for the position of the moving layer; parameters as `compared`."""
    subject = known or (yield from load(fixed, moving))
    return subject, (yield from subject.pair.find())


def load(fixed: Image, moving: Image) -> Steps[Subject]:
    """Read two layers and make the small copies that positions are judged on.

    Raises
    ------
    MedzooError
        For a layer that is not one 3D greyscale array.
    """
    yield Progress("Reading the scans")
    from napari_medzoo.preprocess.registration import Pair

    still, other = volume_from_layer(fixed), placing.header_volume(moving)
    yield Progress("Making small copies")
    pair = Pair(other, still)
    yield Progress("Drawing")
    grid = mixing.picture_grid(still.grid)
    seen = mixing.on_grid(mixing.as_bytes(still, fixed.contrast_limits), grid)
    return Subject(fixed, moving, pair, still.grid, grid, seen, mixing.as_bytes(other, moving.contrast_limits))
