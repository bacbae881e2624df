"""Studies and segmentations as napari layers, and back: the only place that does so.

napari matches world axes and array axes one to one, so a layer's array is shown *reoriented* to RAS (axes permuted
and flipped, a view without copy) and the layer's affine takes its indices to RAS+ millimetres: napari's world is the
scanner's. ``layer.metadata["medzoo"]`` remembers the file's own grid, so that the way back is exact.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from napari_medzoo.errors import MedzooError
from napari_medzoo.labels import Label, LabelTable, Segmentation
from napari_medzoo.space import Grid
from napari_medzoo.study import FileInfo, Volume
from napari_medzoo.widgets.label_names import KEY, label_colormap, table_of

if TYPE_CHECKING:
    from napari.layers import Image, Labels, Layer

SHOWN_AXES = "RAS"
AXIS_LABELS = ("right", "anterior", "superior")
OBLIQUE_DEGREES = 0.5
"""Above this angle a scan counts as oblique (a voxel row of 256 mm leaves the plane by more than 2 mm)."""

LayerTuple = tuple[Any, dict[str, Any], str]


def volume_layer(volume: Volume, name: str | None = None, visible: bool = True, **settings: Any) -> LayerTuple:
    """An image layer of `volume`.

    Parameters
    ----------
    volume : Volume
        On any grid; the array is shared, not copied.
    name : str, optional
        The layer's name; the volume's by default.
    visible : bool
    **settings
        Further arguments of ``napari.layers.Image``.

    Returns
    -------
    tuple
        ``(array, arguments, "image")`` as napari readers return them; the array has axes right, anterior, superior.
    """
    data, grid = as_shown(volume.data, volume.grid)
    arguments = _placed(grid, name or volume.name, visible)
    arguments["metadata"] = {
        KEY: {"grid": volume.grid, "file": volume.file, "modality": volume.modality, "warnings": volume.warnings}
    }
    arguments["contrast_limits"] = _contrast_limits(data)
    return data, {**arguments, **settings}, "image"


def segmentation_layer(
    segmentation: Segmentation,
    name: str = "labels",
    file: FileInfo | None = None,
    visible: bool = True,
    **settings: Any,
) -> LayerTuple:
    """A labels layer of `segmentation` in the table's colours; names show in the status bar under the pointer.

    The array is a copy: painting on the layer must not change a result that others hold.

    Parameters
    ----------
    segmentation : Segmentation
    name : str
    file : FileInfo, optional
        Of the volume whose grid the labels share; a writer keeps its format and codes.
    visible : bool
    **settings
        Further arguments of ``napari.layers.Labels``.

    Returns
    -------
    tuple
        ``(array, arguments, "labels")``.
    """
    data, grid = as_shown(segmentation.data, segmentation.grid)
    arguments = _placed(grid, name, visible)
    arguments["metadata"] = {
        KEY: {
            "grid": segmentation.grid,
            "file": file,
            "table": segmentation.table,
            "provenance": segmentation.provenance,
            "warnings": segmentation.warnings,
        }
    }
    table = segmentation.table
    arguments["features"] = {"index": list(table.indices), "name": [label.name for label in table]}
    arguments["colormap"] = label_colormap(table)
    arguments["opacity"] = 0.5
    return np.array(data, order="C"), {**arguments, **settings}, "labels"


def volume_from_layer(layer: Image, modality: str | None = None) -> Volume:
    """The scan that an image layer shows, on its own grid.

    A layer of ours gives back the file's voxel order and affine exactly; if it was moved in napari, the move is in
    the affine. Any other layer is taken as it lies: napari's world axes 0, 1, 2 as right, anterior, superior in mm.

    Raises
    ------
    MedzooError
        For a layer that is not one 3D greyscale array.
    """
    ours = _ours(layer)
    data, grid = _as_read(layer)
    if data.dtype.kind not in "buif":
        raise MedzooError(f"Layer '{layer.name}' holds {data.dtype} values; choose a layer of real intensities.")
    notes = tuple(ours.get("warnings", ())) if ours else (_foreign(layer),)
    if data.dtype.kind == "f" and not np.isfinite(data).all():
        data = np.nan_to_num(data, nan=0.0, posinf=0.0, neginf=0.0)
        notes = (*notes, "voxels without a finite value were set to 0")
    known = modality or ours.get("modality") or "unknown"
    return Volume(data, grid, known, ours.get("file"), notes)


def segmentation_from_layer(layer: Labels, table: LabelTable | None = None) -> Segmentation:
    """The labels that a layer shows now (painting included), on their own grid.

    Parameters
    ----------
    layer : napari.layers.Labels
    table : LabelTable, optional
        What the numbers mean; by default the layer's own table, else one made from its features and colours.

    Raises
    ------
    MedzooError
        For a layer that is not one 3D array.
    """
    ours = _ours(layer)
    data, grid = _as_read(layer)
    if data.dtype == bool:
        data = data.astype(np.uint8)
    return Segmentation(
        data, grid, table or table_of(layer), ours.get("provenance", {}), tuple(ours.get("warnings", ()))
    )


def with_painted(segmentation: Segmentation) -> Segmentation:
    """The segmentation with names for what was painted in values that its table does not name, and a warning.

    Scoring refuses such values; a correction by hand that is about to be saved must not be lost for want of a name.
    """
    unknown = segmentation.unknown_indices()
    if not unknown:
        return segmentation
    new = tuple(Label(index, f"label {index}", (255, 0, 255)) for index in unknown)
    table = LabelTable(segmentation.table.name, (*segmentation.table.labels, *new))
    numbers = ", ".join(map(str, unknown))
    return replace(segmentation, table=table).with_warnings(
        f"Saved with values that the table did not name: {numbers}."
    )


def file_of(layer: Layer) -> FileInfo | None:
    """The file whose grid the layer shares, if it came from one of ours."""
    return _ours(layer).get("file")


def as_shown(data: NDArray[Any], grid: Grid) -> tuple[NDArray[Any], Grid]:
    """``(X, Y, Z)`` data as a layer has them: along right, anterior, superior; a view, with its grid."""
    return nib.orientations.apply_orientation(data, grid.orientation_to(SHOWN_AXES)), grid.reoriented(SHOWN_AXES)


def grid_of(layer: Layer) -> Grid:
    """Where the voxels of a 3D layer's array lie, in mm, whatever scale, rotation, shift or unit it has in napari."""
    corner = np.array(layer.data_to_world((0, 0, 0)), dtype=np.float64)
    affine = np.eye(4)
    affine[:3, :3] = np.column_stack([np.array(layer.data_to_world(unit)) - corner for unit in np.eye(3)])
    affine[:3, 3] = corner
    return Grid(tuple(layer.data.shape), np.diag([*_millimetres(layer), 1.0]) @ affine)


def oblique_degrees(grid: Grid) -> float:
    """The largest angle between a voxel axis and the world axis nearest to it."""
    directions = np.abs(grid.reoriented(SHOWN_AXES).affine[:3, :3]) / np.array(grid.reoriented(SHOWN_AXES).spacing)
    return float(np.degrees(np.arccos(np.clip(np.diag(directions), 0, 1))).max())


def oblique_note(volumes: Iterable[Volume]) -> str:
    """What to know about oblique scans in a 2D view, or an empty text where all are straight."""
    angles = [(volume.name, oblique_degrees(volume.grid)) for volume in volumes]
    tilted = ", ".join(f"{name} ({angle:.0f}°)" for name, angle in angles if angle >= OBLIQUE_DEGREES)
    if not tilted:
        return ""
    return (
        f"Scanned oblique: {tilted}. napari's 2D view leaves the tilt out (3D, labels and measures are right); "
        "Preview under Prepare shows the scans straight and together."
    )


def quiet_about_tilt() -> None:
    """Stop napari from warning of every single oblique slice: `oblique_note` has said it once."""
    warnings.filterwarnings("ignore", message="Non-orthogonal slicing is being requested")


def _placed(grid: Grid, name: str, visible: bool) -> dict[str, Any]:
    return {
        "name": name,
        "affine": np.array(grid.affine),
        "units": ("mm", "mm", "mm"),
        "axis_labels": AXIS_LABELS,
        "visible": visible,
    }


def _contrast_limits(data: NDArray[Any]) -> tuple[float, float]:
    # Every 64th voxel is enough for a display window, and a few bright vessels should not darken the brain.
    some = data[::4, ::4, ::4] if min(data.shape) >= 16 else data
    low, high = np.percentile(some, (0.5, 99.8))
    if high <= low:
        low, high = float(data.min()), float(data.max())
    return float(low), float(high) if high > low else float(low) + 1.0


def _ours(layer: Layer) -> Mapping[str, Any]:
    """Our metadata; empty where the layer is another's or its array was replaced by one of another shape."""
    entry = layer.metadata.get(KEY, {})
    if entry and entry["grid"].reoriented(SHOWN_AXES).shape == tuple(layer.data.shape):
        return entry
    return {}


def _as_read(layer: Layer) -> tuple[NDArray[Any], Grid]:
    """The layer's array and grid in the voxel order of the file it came from."""
    if getattr(layer, "rgb", False) or getattr(layer, "multiscale", False) or layer.ndim != 3:
        raise MedzooError(f"Layer '{layer.name}' is not one 3D greyscale array; choose a single 3D scan.")
    data = np.asarray(layer.data)
    world = grid_of(layer)
    entry = _ours(layer)
    if not entry:
        return data, world
    grid: Grid = entry["grid"]
    shown = grid.reoriented(SHOWN_AXES)
    moved = world.affine @ np.linalg.inv(shown.affine)
    data = nib.orientations.apply_orientation(data, shown.orientation_to(grid.axis_codes))
    if world.same_as(shown, tolerance_mm=1e-3):
        return data, grid
    return data, Grid(grid.shape, moved @ grid.affine)


def _millimetres(layer: Layer) -> list[float]:
    """Millimetres in one world unit of each axis; a layer in pixels counts as mm."""
    return [float((1 * unit).to("mm").magnitude) if unit.is_compatible_with("mm") else 1.0 for unit in layer.units]


def _foreign(layer: Layer) -> str:
    return (
        f"layer '{layer.name}' was not opened by MedZoo: its axes 0, 1, 2 are taken as right, anterior, superior "
        "in mm; open the file with MedZoo if that is wrong"
    )
