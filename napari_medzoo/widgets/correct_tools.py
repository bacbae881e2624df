"""What the dock "Correct" runs: its tools (name, question, function), and the layer that shows what they changed."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
from napari.layers import Labels
from numpy.typing import NDArray

from napari_medzoo import correction
from napari_medzoo.changes import Change, difference
from napari_medzoo.correction import Corrected
from napari_medzoo.label_tables import count_values
from napari_medzoo.progress import Progress, Steps
from napari_medzoo.space import Grid

CHANGES = "medzoo changes"
"""Key in the metadata of a layer that shows changes and is not itself to be corrected."""

MM, ML, PLANE, CLASS, MASK, NOTHING = "mm", "mL", "plane", "class", "mask", ""
AXES = {"axial": "SI", "coronal": "AP", "sagittal": "RL"}
"""Plane → where the axis across its slices may point."""


@dataclass(frozen=True, eq=False)
class Region:
    """Where a class may lie.

    Attributes
    ----------
    name : str
        As the log gives it.
    inside : numpy.ndarray
        ``(X, Y, Z) bool`` on the grid of the labels that are corrected.
    """

    name: str
    inside: NDArray[np.bool_]


@dataclass(frozen=True)
class Tool:
    """One tool.

    Attributes
    ----------
    title, tip : str
    asks : str
        `MM`, `ML` (a number), `PLANE`, `CLASS`, `MASK` or `NOTHING`.
    run : callable
        ``(data, grid, label, answer, protected)`` to `Corrected`.
    default : float
        For a number.
    """

    title: str
    tip: str
    asks: str
    run: Callable[[NDArray[Any], Grid, int, Any, Collection[int]], Corrected]
    default: float = 0.0


def axis_of(grid: Grid, plane: str) -> int:
    """The array axis across the slices of a plane of `AXES`."""
    return next(axis for axis, code in enumerate(grid.axis_codes) if code in AXES[plane])


TOOLS = {
    "interpolate": Tool(
        "Interpolate between slices",
        "Paint the class in a few slices of a plane; this fills the slices between them",
        PLANE,
        lambda data, grid, label, plane, protected: correction.interpolate_slices(
            data, grid, label, axis_of(grid, plane), protected
        ),
    ),
    "islands": Tool(
        "Remove islands smaller than",
        "Pieces of the class of less than this volume go to what surrounds them",
        ML,
        lambda data, grid, label, ml, protected: correction.remove_islands(data, grid, label, ml, protected),
        0.1,
    ),
    "largest": Tool(
        "Keep the largest piece",
        "All other pieces of the class go to what surrounds them",
        NOTHING,
        lambda data, grid, label, _, protected: correction.remove_islands(data, grid, label, None, protected),
    ),
    "holes": Tool(
        "Fill holes",
        "Cavities that the class encloses on all sides become the class",
        NOTHING,
        lambda data, grid, label, _, protected: correction.fill_holes(data, grid, label, None, protected),
    ),
    "slice_holes": Tool(
        "Fill holes in slices",
        "What the class encloses within a slice of this plane becomes the class",
        PLANE,
        lambda data, grid, label, plane, protected: correction.fill_holes(
            data, grid, label, axis_of(grid, plane), protected
        ),
    ),
    "smooth": Tool(
        "Smooth",
        "Rounds the surface of the class; details thinner than twice this length disappear",
        MM,
        correction.smooth,
        1.0,
    ),
    "grow": Tool("Grow by", "The class spreads by this length in every direction", MM, correction.grow, 1.0),
    "shrink": Tool("Shrink by", "The class gives way by this length in every direction", MM, correction.shrink, 1.0),
    "inside": Tool(
        "Keep inside",
        "What of the class lies outside another layer's labels, or one of them, goes to what surrounds it",
        MASK,
        lambda data, grid, label, region, protected: correction.keep_inside(
            data, grid, label, region.inside, protected
        ),
    ),
    "replace": Tool("Replace by", "Every voxel of the class becomes another class", CLASS, correction.replace_class),
}


def use_tool(
    key: str, data: NDArray[Any], grid: Grid, label: int, answer: Any, preserve: bool
) -> Steps[tuple[str, Change]]:
    """Run a tool off the main thread.

    Parameters
    ----------
    key : str
        Of `TOOLS`.
    data : numpy.ndarray
        ``(X, Y, Z)``, a snapshot that nobody paints on.
    grid : Grid
    label : int
    answer : object
        What the tool asked for.
    preserve : bool
        Whether all classes but `label` and the background are protected.

    Returns
    -------
    tuple
        What to call the action, and the change.
    """
    tool = TOOLS[key]
    yield Progress(tool.title)
    protected: set[int] = set()
    if preserve:
        protected = set(count_values(data)[0]) - {0, label}
        if tool.asks == CLASS:
            protected.discard(answer)  # asked for by name
    corrected = tool.run(data, grid, label, answer, protected)
    yield Progress(tool.title)
    return action_name(tool, answer), difference(data, corrected.data)


def action_name(tool: Tool, answer: Any) -> str:
    """The action as the log names it, with what was asked for."""
    if tool.asks in (MM, ML):
        return f"{tool.title} {answer:g} {tool.asks}"
    if tool.asks == PLANE:
        return f"{tool.title} ({answer})"
    if tool.asks == MASK:
        return f"{tool.title} {answer.name}"
    return f"{tool.title} {answer}" if isinstance(answer, int | np.integer) else tool.title


def changes_layer(layer: Labels, change: Change) -> Labels:
    """A labels layer of what a correction changed: 1 where there is another class now, 2 where there is none."""
    data = np.zeros(layer.data.shape, dtype=np.uint8)
    data[np.unravel_index(change.indices, data.shape)] = np.where(change.new == 0, 2, 1)
    name = f"changes of {layer.name}"
    shown = Labels(data, name=name, scale=layer.scale, affine=layer.affine, units=layer.units, opacity=0.8)
    shown.translate, shown.rotate, shown.shear = layer.translate, layer.rotate, layer.shear
    shown.metadata[CHANGES] = layer.name
    shown.features = {"index": [0, 1, 2], "name": ["as it was", "changed", "taken away"]}
    shown.colormap = {None: "transparent", 0: "transparent", 1: "cyan", 2: "orangered"}
    return shown
