"""What the values of a labels layer are called, which colours they have, and what of them the person chose to see.

All of it is read here and changed in `label_display`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.utils.colormaps import CyclicLabelColormap, DirectLabelColormap

from napari_medzoo.label_tables import count_values
from napari_medzoo.labels import Label, LabelTable

if TYPE_CHECKING:
    from napari.layers import Labels

KEY = "medzoo"
"""Key of our entry in a layer's metadata."""

DISPLAY = "medzoo display"
"""Key of a layer's `Display` in its metadata."""

UNNAMED_COLOR = (1.0, 0.0, 1.0, 1.0)
"""Voxels whose value the table does not name: glaring on purpose."""

Rgb = tuple[int, int, int]


@dataclass(frozen=True)
class Display:
    """What the person chose to see of a labels layer.

    Attributes
    ----------
    hidden : frozenset of int
        Classes that are switched off.
    opacity : mapping of int to float
        0 to 1 for the classes that differ from 1; the layer's own opacity multiplies it.
    solo : int or None
        The only class to be seen, whatever else is chosen.
    table : LabelTable or None
        The names and colours that were shown last; None before the first action.
    """

    hidden: frozenset[int] = frozenset()
    opacity: Mapping[int, float] = field(default_factory=dict)
    solo: int | None = None
    table: LabelTable | None = None

    def alpha(self, index: int | None) -> float:
        """Opacity of a class, 0.0 where it is not seen; None stands for every value without a name."""
        seen = index not in self.hidden if self.solo is None else index == self.solo
        return self.opacity.get(index or 0, 1.0) if seen else 0.0


def display_of(layer: Labels) -> Display:
    """What is chosen for the layer; everything seen where nothing was."""
    return layer.metadata.get(DISPLAY, Display())


def table_of(layer: Labels, present: Collection[int] = ()) -> LabelTable:
    """Names and colours of a layer's classes.

    Parameters
    ----------
    layer : napari.layers.Labels
        Ours, or anybody's: then its features ``index`` and ``name`` count, and the colours it has.
    present : collection of int
        Values that shall stand in the table even if the layer does not name them.

    Returns
    -------
    LabelTable
    """
    table = _known_table(layer) or _foreign_table(layer)
    unnamed = sorted({int(index) for index in present if index > 0} - set(table.indices))
    if not unnamed:
        return table
    return LabelTable(table.name, (*table.labels, *(Label(i, name_of(table, i), color_of(layer, i)) for i in unnamed)))


def label_colormap(table: LabelTable) -> DirectLabelColormap:
    """Give napari the colours of `table`: background clear, values outside the table magenta."""
    colors: dict[int | None, Any] = {None: np.array(UNNAMED_COLOR), 0: np.zeros(4)}
    colors.update({label.index: np.array([*label.color, 255]) / 255 for label in table.foreground})
    return DirectLabelColormap(name=table.name, color_dict=colors)


def _known_table(layer: Labels) -> LabelTable | None:
    own: LabelTable | None = layer.metadata.get(KEY, {}).get("table")
    if own is not None:
        return own
    # A foreign layer's colours are napari's again when somebody shuffled them.
    return None if isinstance(layer.colormap, CyclicLabelColormap) else display_of(layer).table


def _foreign_table(layer: Labels) -> LabelTable:
    """Every value in the layer with the colour it has now and the name that its features or an earlier action gave."""
    columns, former = layer.features, display_of(layer).table
    names = {label.index: label.name for label in former} if former else {}
    if {"index", "name"} <= set(columns.columns):
        names |= dict(zip(columns["index"].astype(int), columns["name"].astype(str), strict=True))
    indices = sorted({*names, *count_values(np.asarray(layer.data))[0]})
    labels = [Label(i, names.get(i, f"label {i}"), color_of(layer, i)) for i in indices if i > 0]
    return LabelTable(layer.name, tuple(labels))


def name_of(table: LabelTable, index: int) -> str:
    """What `table` calls a value, ``label 5`` where it does not name it."""
    return table[index].name if index in table else f"label {index}"


def color_of(layer: Labels, index: int) -> Rgb:
    """The colour of 0–255 that a value has in the layer now, whatever its opacity."""
    color = layer.colormap.map(int(index))
    red, green, blue = (round(float(part) * 255) for part in np.ravel(color)[:3])
    return red, green, blue
