"""Where a segmentation errs: its worst places, and maps of what it missed, added and confused.

Everything here compares two segmentations that `napari_medzoo.comparison.comparable` has brought into one numbering,
voxel by voxel on their common grid; millimetres are RAS+ whatever order and direction the voxel axes have.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import edt
import numpy as np
from numpy.typing import NDArray

from napari_medzoo.comparison import require_same_grids
from napari_medzoo.errors import MedzooError
from napari_medzoo.evaluate import confusion
from napari_medzoo.label_tables import map_values
from napari_medzoo.labels import Label, LabelTable, Segmentation
from napari_medzoo.metrics import ROUNDING_MM
from napari_medzoo.space import Grid
from napari_medzoo.surfaces import boundary, surface_distances

CORRECT, MISSED, EXTRA = 1, 2, 3
"""Indices of `error_map`: on both sides, in the reference alone, in the prediction alone."""
PREDICTED, EXPECTED, COMMON = 1, 2, 3
"""Indices of `contours`: outline of the prediction alone, of the reference alone, of both."""

CORRECT_COLOR = (200, 200, 200)
MISSED_COLOR = (0, 114, 178)
EXTRA_COLOR = (230, 159, 0)
CONFUSED_COLOR = (204, 121, 167)
"""From the palette of Okabe and Ito (2008), which readers with any colour blindness tell apart."""


@dataclass(frozen=True)
class Place:
    """A place to look at.

    Attributes
    ----------
    point_mm : tuple of float
        RAS+ mm; the centre of a voxel.
    distance_mm : float
        What makes it worth a look (see the function that found it); NaN where there is no such distance.
    note : str
        What is seen there, one sentence.
    """

    point_mm: tuple[float, float, float]
    distance_mm: float
    note: str


def worst_place(prediction: Segmentation, reference: Segmentation, index: int) -> Place:
    """Where the two surfaces of one label lie furthest apart.

    Parameters
    ----------
    prediction, reference : Segmentation
        From `comparable`.
    index : int
        A foreground label.

    Returns
    -------
    Place
        A boundary voxel of one side and its distance in mm to the surface of the other (the Hausdorff distance). Of a
        label that one side lacks, the innermost voxel of the other side's, without a distance; the note says so.

    Raises
    ------
    MedzooError
        For a label that both sides lack or the table does not have, and for sides that are not comparable.
    """
    name = _require_label(prediction, reference, index).name
    box = _box((prediction.data == index) | (reference.data == index))
    if box is None:
        raise MedzooError(f"{name} is absent from the prediction and from the reference; choose another label.")
    ours, theirs = prediction.data[box] == index, reference.data[box] == index
    grid = reference.grid
    if not ours.any() or not theirs.any():
        absent, mask = ("prediction", theirs) if theirs.any() else ("reference", ours)
        note = f"{name} is absent from the {absent}: this is the middle of the other side's."
        return Place(_point(grid, box, _innermost(mask, grid.spacing)[0]), math.nan, note)
    distances = surface_distances(ours, theirs, grid.spacing)
    sides = (
        (distances.prediction_to_reference, ours, "prediction", "reference"),
        (distances.reference_to_prediction, theirs, "reference", "prediction"),
    )
    found, mask, side, other = max(sides, key=lambda one: float(one[0].max()))
    furthest = int(found.argmax())
    distance = float(found[furthest])
    # The distances stand in the order in which numpy lists the boundary voxels.
    voxel = np.argwhere(boundary(mask))[furthest]
    note = f"{name}: the {side}'s surface lies {distance:.1f} mm from the {other}'s here."
    return Place(_point(grid, box, voxel), distance, note)


def confusion_place(
    prediction: Segmentation, reference: Segmentation, reference_index: int, prediction_index: int
) -> Place:
    """Where the most of one label was given another: the innermost voxel of all that were.

    Parameters
    ----------
    prediction, reference : Segmentation
        From `comparable`.
    reference_index, prediction_index : int
        What it is and what it was called; one of them may be the background (0), both may be the same.

    Returns
    -------
    Place
        With its distance in mm to the nearest voxel that is not so.

    Raises
    ------
    MedzooError
        Where no voxel is so, and as `worst_place`.
    """
    _require_pair(prediction, reference)
    known, given = (reference.table[reference_index].name, reference.table[prediction_index].name)
    found = (reference.data == reference_index) & (prediction.data == prediction_index)
    box = _box(found)
    if box is None:
        raise MedzooError(f"No voxel of {known} in the reference is {given} in the prediction.")
    mask = found[box]
    voxel, depth = _innermost(mask, reference.grid.spacing)
    volume = np.count_nonzero(mask) * reference.grid.voxel_volume_ml
    note = f"{volume:.2f} mL are {known} in the reference and {given} in the prediction."
    return Place(_point(reference.grid, box, voxel), depth, note)


def error_map(prediction: Segmentation, reference: Segmentation, index: int) -> Segmentation:
    """One label's voxels: `CORRECT`, `MISSED` (false negative) and `EXTRA` (false positive).

    Parameters
    ----------
    prediction, reference : Segmentation
        From `comparable`.
    index : int
        A foreground label.

    Returns
    -------
    Segmentation
        On the same grid, ``uint8``, with a table of its own.
    """
    name = _require_label(prediction, reference, index).name
    ours, theirs = prediction.data == index, reference.data == index
    data = np.where(ours, np.where(theirs, CORRECT, EXTRA), np.where(theirs, MISSED, 0)).astype(np.uint8)
    table = LabelTable(
        f"errors of {name}",
        (
            Label(CORRECT, f"{name}, correct", CORRECT_COLOR),
            Label(MISSED, f"{name}, missed", MISSED_COLOR),
            Label(EXTRA, f"{name}, too much", EXTRA_COLOR),
        ),
    )
    return Segmentation(data, reference.grid, table)


def agreement_map(prediction: Segmentation, reference: Segmentation) -> Segmentation:
    """All labels at once: where both sides agree, and which two labels are confused where they do not.

    Parameters
    ----------
    prediction, reference : Segmentation
        From `comparable`.

    Returns
    -------
    Segmentation
        On the same grid. `CORRECT` is agreement on a foreground label; each further index is one pair of labels that
        was found, the most frequent first, named "Left-Putamen called Left-Pallidum". Missed voxels (called background)
        have one colour, added ones another, confusions of two foreground labels a third. 0 is background on both sides.
    """
    counts = confusion(prediction, reference)
    table = reference.table
    size = len(table)
    rows, columns = np.nonzero(counts)
    wrong = sorted(
        ((int(row), int(column)) for row, column in zip(rows, columns, strict=True) if row != column),
        key=lambda pair: -counts[pair],
    )
    new = np.zeros(size * size, dtype=np.min_scalar_type(len(wrong) + 1))
    new[np.arange(1, size) * (size + 1)] = CORRECT
    labels = [Label(CORRECT, "agreement", CORRECT_COLOR)]
    for index, (row, column) in enumerate(wrong, start=CORRECT + 1):
        new[row * size + column] = index
        labels.append(_disagreement(index, table.labels[row], table.labels[column]))
    dense = {label.index: row for row, label in enumerate(table)}
    code = map_values(reference.data, dense).astype(np.min_scalar_type(size * size))
    code = code * code.dtype.type(size) + map_values(prediction.data, dense)
    return Segmentation(new[code], reference.grid, LabelTable("agreement", tuple(labels)))


def contours(prediction: Segmentation, reference: Segmentation, index: int, axis: int | None = None) -> Segmentation:
    """The boundary voxels of one label on both sides (see `napari_medzoo.surfaces`).

    Parameters
    ----------
    prediction, reference : Segmentation
        From `comparable`.
    index : int
        A foreground label.
    axis : int, optional
        A voxel axis: the outlines in the slices across it. By default the surfaces in space.

    Returns
    -------
    Segmentation
        On the same grid, ``uint8``: `PREDICTED`, `EXPECTED`, and `COMMON` where both outlines run.
    """
    name = _require_label(prediction, reference, index).name
    ours, theirs = (_outline(side.data == index, axis) for side in (prediction, reference))
    table = LabelTable(
        f"contours of {name}",
        (
            Label(PREDICTED, f"{name}, prediction", EXTRA_COLOR),
            Label(EXPECTED, f"{name}, reference", MISSED_COLOR),
            Label(COMMON, f"{name}, both", CORRECT_COLOR),
        ),
    )
    return Segmentation(ours * np.uint8(PREDICTED) + theirs * np.uint8(EXPECTED), reference.grid, table)


def _disagreement(index: int, known: Label, given: Label) -> Label:
    if given.index == 0:
        return Label(index, f"{known.name} missed", MISSED_COLOR)
    if known.index == 0:
        return Label(index, f"{given.name} too much", EXTRA_COLOR)
    return Label(index, f"{known.name} called {given.name}", CONFUSED_COLOR)


def _outline(mask: NDArray[np.bool_], axis: int | None) -> NDArray[np.bool_]:
    if axis is None:
        return boundary(mask)
    return np.stack([boundary(plane) for plane in np.moveaxis(mask, axis, 0)], axis=axis)


def _require_pair(prediction: Segmentation, reference: Segmentation) -> None:
    require_same_grids(prediction, reference)
    if prediction.table.indices != reference.table.indices:
        raise MedzooError(
            f"The prediction is numbered in '{prediction.table.name}', the reference in '{reference.table.name}'; "
            "bring them into one numbering with comparable() first."
        )


def _require_label(prediction: Segmentation, reference: Segmentation, index: int) -> Label:
    _require_pair(prediction, reference)
    if index == 0:
        raise MedzooError("The background is not scored; choose another label.")
    return reference.table[index]


def _box(mask: NDArray[np.bool_]) -> tuple[slice, ...] | None:
    """The smallest box around the mask; None if it is empty."""
    # Axis by axis and inside what was found before: a small structure costs little more than one pass.
    box: list[slice] = []
    for axis in range(3):
        part = mask[tuple(box)]
        (found,) = np.nonzero(part.any(axis=tuple(other for other in range(3) if other != axis)))
        if found.size == 0:
            return None
        box.append(slice(int(found[0]), int(found[-1]) + 1))
    return tuple(box)


def _depth(mask: NDArray[np.bool_], spacing: tuple[float, float, float]) -> NDArray[np.float32]:
    """Distance in mm from every voxel of the mask to the nearest one outside it, or beyond the array."""
    padded = np.pad(mask, 1)
    return edt.edt(padded, anisotropy=spacing, black_border=False, parallel=1)[1:-1, 1:-1, 1:-1]


def _innermost(mask: NDArray[np.bool_], spacing: tuple[float, float, float]) -> tuple[NDArray[np.int64], float]:
    """The deepest voxel ``(3,)`` and its depth in mm; of equally deep ones the one nearest to their middle."""
    depth = _depth(mask, spacing)
    deepest = float(depth.max())
    voxels = np.argwhere(depth >= deepest - ROUNDING_MM)
    apart = np.linalg.norm((voxels - voxels.mean(axis=0)) * spacing, axis=1)
    return voxels[apart.argmin()], deepest


def _point(grid: Grid, box: tuple[slice, ...], voxel: NDArray[np.int64]) -> tuple[float, float, float]:
    x, y, z = grid.to_world([np.array([part.start for part in box]) + voxel])[0]
    return float(x), float(y), float(z)
