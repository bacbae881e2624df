"""The camera the anatomical way round: axial, coronal and sagittal slices with the head up.

napari's first picture of a volume whose world is RAS+ mm would be a sagittal slice lying on its side. Here the three
planes are an order of the world axes and the direction each of them grows on the screen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from psygnal import SignalGroupDescriptor

from napari_medzoo.widgets.framing import come_near
from napari_medzoo.widgets.layers import KEY

if TYPE_CHECKING:
    from napari.components import ViewerModel

NEUROLOGICAL = "neurological"
RADIOLOGICAL = "radiological"
CONVENTIONS = {
    NEUROLOGICAL: "Neurological: the person's right is on the right of the picture",
    RADIOLOGICAL: "Radiological: the person's right is on the left of the picture",
}


@dataclass(frozen=True)
class Plane:
    """A slice direction.

    Attributes
    ----------
    name : str
    order : tuple of int
        World axes (0 right, 1 anterior, 2 superior): the one that the slider moves along, the vertical, the horizontal.
    depth : str
        Which way the first axis grows in 3D so that the head is not mirrored: "towards" the viewer or "away".
    up, right : str
        What lies at the upper and the right edge of the neurological picture.
    """

    name: str
    order: tuple[int, int, int]
    depth: str
    up: str
    right: str


@dataclass
class Look:
    """How this person reads every head: one answer for all views of all windows. Tells of changes through `events`.

    Attributes
    ----------
    convention : str
        A key of `CONVENTIONS`.
    """

    events = SignalGroupDescriptor()

    convention: str = NEUROLOGICAL


LOOK = Look()

PLANES = {
    "axial": Plane("axial", (2, 1, 0), "towards", "anterior", "right"),
    "coronal": Plane("coronal", (1, 2, 0), "away", "superior", "right"),
    "sagittal": Plane("sagittal", (0, 2, 1), "towards", "superior", "anterior"),
}


THREE_D = "3D"
"""Beside the keys of `PLANES`: the view that shows the whole head."""

LETTERS = (("L", "R"), ("P", "A"), ("I", "S"))
"""Of each world axis: the letter of its lower and of its upper end."""


ORDER_3D = (0, 1, 2)
"""Of the axes in 3D: in any other one napari (up to 0.9) draws surfaces mirrored among scans and labels."""


def show_plane(viewer: ViewerModel, plane: str = "axial", convention: str | None = None) -> None:
    """Turn the viewer to a plane, fit it to the window and say at its edge which side is which.

    Parameters
    ----------
    viewer : napari viewer
        With layers of `napari_medzoo.widgets.layers`.
    plane : str
        A key of `PLANES`.
    convention : str
        A key of `CONVENTIONS`, that of `LOOK` by default; the sagittal plane has no left and right and is not changed
        by it.
    """
    if viewer.dims.ndim != 3:
        return
    chosen = PLANES[plane]
    mirrored = (convention or LOOK.convention) == RADIOLOGICAL and chosen.right == "right"
    depth = {"towards": "away", "away": "towards"}[chosen.depth] if mirrored else chosen.depth
    viewer.dims.order = chosen.order
    viewer.scene.camera.orientation = (depth, "up", "left" if mirrored else "right")
    if viewer.dims.ndisplay == 3:
        viewer.scene.camera.angles = (0, 0, 90)
    viewer.reset_view()
    overlay = viewer.canvas.overlays.text
    overlay.text = caption(chosen, mirrored)
    overlay.visible = True


def caption(plane: Plane, mirrored: bool) -> str:
    """Which side is which, for the edge of the picture."""
    if plane.right != "right":
        return f"{plane.name}: up = {plane.up}, right of picture = {plane.right}"
    convention, side = (RADIOLOGICAL, "left") if mirrored else (NEUROLOGICAL, "right")
    return f"{plane.name}, {convention}: up = {plane.up}, right of picture = person's {side}"


def show_head_3d(viewer: ViewerModel) -> None:
    """Show the layers in 3D, seen from the front left and a little above, head up and not mirrored."""
    viewer.dims.order = ORDER_3D
    viewer.scene.camera.orientation = ("towards", "down", "right")
    viewer.dims.ndisplay = 3
    viewer.scene.camera.angles = (0, 0, 0)  # only angles that change reach the canvas, which needs them now
    viewer.scene.camera.set_view_direction(view_direction=(0.55, -1.0, -0.35), up_direction=(0, 0, 1))
    viewer.reset_view(reset_camera_angle=False)
    come_near(viewer)
    viewer.canvas.overlays.text.visible = False


def center_on(viewer: ViewerModel, point_mm: Any) -> None:
    """Move the three sliders to a point in RAS+ mm: the crosshair of every view, since all follow `viewer`."""
    # In one assignment, so that the slices are read once and not three times.
    viewer.dims.set_point((0, 1, 2), [float(value) for value in np.asarray(point_mm, dtype=float)])


def plane_of(viewer: ViewerModel) -> str:
    """Which plane the viewer shows: a key of `PLANES`, or `THREE_D`."""
    if viewer.dims.ndisplay == 3:
        return THREE_D
    return next(name for name, plane in PLANES.items() if plane.order[0] == viewer.dims.order[0])


def edge_letters(viewer: ViewerModel) -> dict[str, str]:
    """The letter (L, R, A, P, S or I) that lies at the edges ``left``, ``right``, ``top`` and ``bottom`` of a 2D view.

    Read from what the viewer does show, not from what was asked for, so that turning the axes in napari cannot make
    them wrong. Empty in 3D, for other than three axes, and where no layer says that its world is the person's.
    """
    known = any(KEY in layer.metadata for layer in viewer.layers)
    if viewer.dims.ndisplay != 2 or viewer.dims.ndim != 3 or not known:
        return {}
    vertical, horizontal = (LETTERS[axis] for axis in viewer.dims.order[-2:])
    _, up, right = (str(direction) for direction in viewer.scene.camera.orientation)
    bottom, top = vertical if up == "up" else vertical[::-1]
    left, right_letter = horizontal if right == "right" else horizontal[::-1]
    return {"left": left, "right": right_letter, "top": top, "bottom": bottom}


def turn_first_layer(viewer: ViewerModel) -> None:
    """Turn `viewer` to the axial plane as soon as its first layer comes, if that is one of ours.

    A reader only returns layers; without this the person's first picture would lie on its side.
    """
    if len(viewer.layers):
        return

    def inserted(event: Any) -> None:
        viewer.layers.events.inserted.disconnect(inserted)
        if KEY in event.value.metadata:
            show_plane(viewer)

    viewer.layers.events.inserted.connect(inserted)
