"""Pictures of labels over a scan, without a screen.

Whatever the grid, a picture shows the nearest anatomical plane the same way up: axial and coronal slices with the
person's **left on the left** (neurological), anterior or superior at the top; sagittal slices with anterior on the
right, superior at the top. Letters at the edges say so. A pixel has the same size in mm both ways.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from napari_medzoo.errors import MedzooError
from napari_medzoo.labels import LabelTable, Segmentation
from napari_medzoo.space import require_same_grid
from napari_medzoo.study import Volume


@dataclass(frozen=True)
class Plane:
    """Which RAS axes a picture shows: `across` to the right, `up` upwards, `through` is the slice's number.

    `edges` are the letters at its left, right, top and bottom.
    """

    through: int
    across: int
    up: int
    edges: tuple[str, str, str, str]


PLANES = {
    "axial": Plane(through=2, across=0, up=1, edges=("L", "R", "A", "P")),
    "coronal": Plane(through=1, across=0, up=2, edges=("L", "R", "S", "I")),
    "sagittal": Plane(through=0, across=1, up=2, edges=("P", "A", "S", "I")),
}
"""The three planes by name."""


@dataclass(frozen=True, eq=False)
class Display:
    """A scan and its labels, reoriented to RAS and ready to be sliced.

    Attributes
    ----------
    scan : numpy.ndarray
        ``(X, Y, Z) uint8``, windowed between the 1st and 99.5th percentile of its non-zero voxels.
    labels : numpy.ndarray
        ``(X, Y, Z)`` positions in `table`.
    table : LabelTable
    spacing : tuple of float
        mm along R, A and S.
    """

    scan: NDArray[np.uint8]
    labels: NDArray[np.intp]
    table: LabelTable
    spacing: tuple[float, float, float]

    def center(self) -> tuple[int, int, int]:
        """The voxel in the middle of all labels; the middle of the grid where there are none."""
        found = np.argwhere(self.labels)
        middle = found.mean(axis=0) if len(found) else (np.array(self.labels.shape) - 1) / 2
        x, y, z = np.rint(middle).astype(int).tolist()
        return x, y, z

    def slices(self, plane: str, count: int) -> list[int]:
        """`count` slice numbers spread evenly through the labels (through the grid where there are none)."""
        axis = PLANES[plane].through
        others = tuple(other for other in range(3) if other != axis)
        occupied = np.flatnonzero(self.labels.any(axis=others))
        first, last = (occupied[0], occupied[-1]) if len(occupied) else (0, self.labels.shape[axis] - 1)
        fractions = (np.arange(count) + 1) / (count + 1)
        return [int(number) for number in np.rint(first + fractions * (last - first))]


def display(volume: Volume, segmentation: Segmentation) -> Display:
    """Reorient a scan and its labels to RAS for pictures.

    Raises
    ------
    MedzooError
        If they lie on different grids, or a voxel's label is not in the table.
    """
    require_same_grid(volume.grid, segmentation.grid, volume.name, "the labels")
    transform = volume.grid.orientation_to("RAS")
    scan = nib.orientations.apply_orientation(np.asarray(volume.data), transform)
    indices = np.array(segmentation.table.indices)
    labels = nib.orientations.apply_orientation(segmentation.data, transform)
    positions = np.searchsorted(indices, labels)
    if not np.array_equal(indices[np.minimum(positions, len(indices) - 1)], labels):
        raise MedzooError(f"The labels hold values that table '{segmentation.table.name}' does not name.")
    return Display(_windowed(scan), positions, segmentation.table, volume.grid.reoriented("RAS").spacing)


def draw_overlay(
    volume: Volume,
    segmentation: Segmentation,
    plane: str = "axial",
    position: int | None = None,
    height: int = 320,
    labels: bool = True,
) -> NDArray[np.uint8]:
    """One slice of a scan with its labels in colour.

    Parameters
    ----------
    volume, segmentation : Volume, Segmentation
        On the same grid, however oriented.
    plane : str
        A key of `PLANES`.
    position : int, optional
        The slice's number counted along the RAS axis; the middle of the labels by default.
    height : int
        Of the picture in pixels.
    labels : bool
        False for the scan alone.

    Returns
    -------
    numpy.ndarray
        ``(height, width, 3) uint8``, with letters that say which side is which.

    Raises
    ------
    MedzooError
        For different grids, an unknown plane or a slice outside the volume.
    """
    return draw(display(volume, segmentation), plane, position, height, labels)


def draw(
    shown: Display, plane: str, position: int | None = None, height: int = 320, labels: bool = True
) -> NDArray[np.uint8]:
    """`draw_overlay` for several slices of the same scan."""
    if plane not in PLANES:
        raise MedzooError(f"There is no plane '{plane}'; choose one of {', '.join(PLANES)}.")
    view = PLANES[plane]
    number = shown.center()[view.through] if position is None else position
    if not 0 <= number < shown.scan.shape[view.through]:
        raise MedzooError(
            f"There is no {plane} slice {number}; they run from 0 to {shown.scan.shape[view.through] - 1}."
        )
    across_mm = shown.scan.shape[view.across] * shown.spacing[view.across]
    up_mm = shown.scan.shape[view.up] * shown.spacing[view.up]
    width = max(1, round(height * across_mm / up_mm))
    picture = _resized(_slice(shown.scan, view, number), width, height, smooth=True)
    colored = np.repeat(picture[..., None], 3, axis=2)
    if labels:
        colored = _overlaid(colored, _resized(_slice(shown.labels, view, number), width, height), shown.table)
    return _lettered(colored, view)


def png(picture: NDArray[np.uint8]) -> bytes:
    """A picture ``(H, W, 3) uint8`` as a PNG file's bytes."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(picture).save(file, format="PNG")
    return file.getvalue()


def side_by_side(pictures: list[NDArray[np.uint8]], gap: int = 4) -> NDArray[np.uint8]:
    """Pictures in one row on black, centred vertically."""
    height = max(picture.shape[0] for picture in pictures)
    width = sum(picture.shape[1] for picture in pictures) + gap * (len(pictures) - 1)
    row = np.zeros((height, width, 3), dtype=np.uint8)
    left = 0
    for picture in pictures:
        top = (height - picture.shape[0]) // 2
        row[top : top + picture.shape[0], left : left + picture.shape[1]] = picture
        left += picture.shape[1] + gap
    return row


def _windowed(scan: NDArray[np.generic]) -> NDArray[np.uint8]:
    values = scan[scan != 0]
    if not values.size:
        return np.zeros(scan.shape, dtype=np.uint8)
    low, high = np.percentile(values, (1, 99.5))
    low = min(float(low), 0.0) if values.min() >= 0 else float(low)
    scale = 255 / max(float(high) - low, 1e-12)
    return np.clip((scan.astype(np.float32) - low) * scale, 0, 255).astype(np.uint8)


def _slice(array: NDArray[np.generic], view: Plane, number: int) -> NDArray[np.generic]:
    """Rows downwards, columns to the right."""
    flat = np.take(array, number, axis=view.through)
    # The two axes that are left keep their order, and `across` always comes before `up`.
    return flat.T[::-1]


def _resized(picture: NDArray[np.generic], width: int, height: int, smooth: bool = False) -> NDArray[np.generic]:
    if smooth:
        from PIL import Image

        return np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.BICUBIC))
    rows = (np.arange(height) + 0.5) * picture.shape[0] / height
    columns = (np.arange(width) + 0.5) * picture.shape[1] / width
    return picture[rows.astype(int)[:, None], columns.astype(int)]


def _overlaid(picture: NDArray[np.uint8], labels: NDArray[np.generic], table: LabelTable) -> NDArray[np.uint8]:
    """Each label filled lightly and outlined, so that the scan stays readable beneath."""
    colors = np.array([label.color for label in table], dtype=np.float32)[labels]
    outline = np.zeros(labels.shape, dtype=bool)
    outline[:-1] |= labels[:-1] != labels[1:]
    outline[:, :-1] |= labels[:, :-1] != labels[:, 1:]
    # An outline belongs to a label, never to the background beside it.
    outline[1:] |= (labels[1:] != labels[:-1]) & (labels[:-1] == 0)
    outline[:, 1:] |= (labels[:, 1:] != labels[:, :-1]) & (labels[:, :-1] == 0)
    weight = np.where(labels == 0, 0.0, np.where(outline, 0.85, 0.3))[..., None]
    return (picture * (1 - weight) + colors * weight).astype(np.uint8)


def _lettered(picture: NDArray[np.uint8], view: Plane) -> NDArray[np.uint8]:
    from PIL import Image, ImageDraw, ImageFont

    image = Image.fromarray(picture)
    pen = ImageDraw.Draw(image)
    size = max(11, image.height // 20)
    font = ImageFont.load_default(size)
    middle_x, middle_y = image.width / 2, image.height / 2
    places = (
        (4, middle_y, "lm"),
        (image.width - 4, middle_y, "rm"),
        (middle_x, 3, "mt"),
        (middle_x, image.height - 3, "mb"),
    )
    for letter, (x, y, anchor) in zip(view.edges, places, strict=True):
        pen.text((x, y), letter, fill=(255, 255, 0), font=font, anchor=anchor, stroke_width=2, stroke_fill=(0, 0, 0))
    return np.asarray(image)
