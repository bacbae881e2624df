"""How a labels layer shows its classes: which are seen, how strongly, in which colour, filled or outlined.

Nothing here touches a voxel. What the person chose is a frozen `Display` in the layer's metadata, and every action
gives napari one new colour map. The names and colours themselves (`table_of`, `use_table`) belong to the labels and are
saved with them; visibility and opacity are looks and are not.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.utils.colormaps import DirectLabelColormap

from napari_medzoo.labels import Label, LabelTable
from napari_medzoo.widgets.label_names import (
    DISPLAY,
    KEY,
    Display,
    Rgb,
    color_of,
    display_of,
    label_colormap,
    name_of,
    table_of,
)

if TYPE_CHECKING:
    from napari.layers import Labels


def solo(layer: Labels, index: int | None) -> None:
    """Show only the class `index`; None shows again what was seen before."""
    _show(layer, replace(display_of(layer), solo=index))


def show_class(layer: Labels, index: int, visible: bool) -> None:
    """Show or hide one class; ends a solo."""
    show_classes(layer, [index], visible)


def show_classes(layer: Labels, indices: Collection[int], visible: bool) -> None:
    """Show or hide several classes at once; ends a solo."""
    display = display_of(layer)
    hidden = display.hidden - set(indices) if visible else display.hidden | set(indices)
    _show(layer, replace(display, hidden=frozenset(hidden), solo=None))


def fade_class(layer: Labels, index: int, opacity: float) -> None:
    """Draw one class with `opacity` (0 to 1) of the layer's own."""
    display = display_of(layer)
    _show(layer, replace(display, opacity={**display.opacity, index: float(np.clip(opacity, 0, 1))}))


def recolour(layer: Labels, index: int, rgb: Rgb) -> None:
    """Give one class another colour of 0–255; saved and exported labels have it too."""
    recolour_all(layer, {index: rgb})


def recolour_all(layer: Labels, colors: Mapping[int, Rgb]) -> None:
    """Give several classes other colours at once."""
    table = table_of(layer)
    changed = [Label(index, name_of(table, index), rgb) for index, rgb in colors.items()]
    kept = [label for label in table if label.index not in colors]
    use_table(layer, LabelTable(table.name, (*kept, *changed)))


def rename(layer: Labels, index: int, name: str) -> None:
    """Give one class another name; saved and exported labels have it too.

    Raises
    ------
    MedzooError
        If another class is called so.
    """
    table = table_of(layer)
    color = table[index].color if index in table else color_of(layer, index)
    kept = [label for label in table if label.index != index]
    use_table(layer, LabelTable(table.name, (*kept, Label(index, name, color))))


def outline(layer: Labels, width: int) -> None:
    """Draw outlines of `width` screen pixels' worth of voxels in 2D, or filled classes for 0."""
    layer.contour = width


def use_table(layer: Labels, table: LabelTable) -> None:
    """Give a layer the names and colours of `table`; what is hidden stays hidden."""
    _show(layer, display_of(layer), table)
    # The status bar reads names from these two columns; measurements that another plugin keeps here stay.
    if set(layer.features.columns) <= {"index", "name"}:
        layer.features = {"index": list(table.indices), "name": [label.name for label in table]}


def class_middle(layer: Labels, index: int) -> tuple[float, ...] | None:
    """World position (mm) of the voxel nearest to a class's centroid (which may lie outside of it); None if absent."""
    inside = np.flatnonzero(np.ravel(np.asarray(layer.data) == index))
    if not len(inside):
        return None
    voxels = np.stack(np.unravel_index(inside, layer.data.shape), axis=1)
    nearest = voxels[np.abs(voxels - voxels.mean(axis=0)).sum(axis=1).argmin()]
    return tuple(float(part) for part in layer.data_to_world(nearest))


def _show(layer: Labels, display: Display, table: LabelTable | None = None) -> None:
    table = table or table_of(layer)
    colors: dict[int | None, Any] = dict(label_colormap(table).color_dict)
    for index, color in colors.items():
        if index != 0:
            colors[index] = np.array([*color[:3], display.alpha(index)])
    layer.metadata[DISPLAY] = replace(display, table=table)
    if KEY in layer.metadata:
        layer.metadata[KEY] = {**layer.metadata[KEY], "table": table}
    layer.colormap = DirectLabelColormap(name=table.name, color_dict=colors)
