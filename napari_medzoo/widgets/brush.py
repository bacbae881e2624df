"""napari's brush in mm."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from napari_medzoo.widgets.layers import grid_of

if TYPE_CHECKING:
    from napari.layers import Labels


def make_brush_round(layer: Labels) -> None:
    """Tell napari the voxels' size, so that its brush is round in mm; the voxels stay where they are.

    napari takes it from ``scale`` alone, and our layers have all of their geometry in ``affine``.
    """
    spacing = np.array(grid_of(layer).spacing)
    if np.ptp(spacing) < 0.01 * spacing.min() or not np.allclose(layer.scale, 1):
        return
    affine = layer.affine.affine_matrix @ np.diag([*(1 / spacing), 1])
    layer.scale = spacing
    layer.affine = affine


def radius_mm(layer: Labels, order: Sequence[int]) -> float:
    """Radius of the layer's brush.

    Parameters
    ----------
    layer : napari.layers.Labels
    order : sequence of int
        The viewer's ``dims.order``: the brush works along the last ``n_edit_dimensions`` of these axes.
    """
    return (layer.brush_size // 2 + 0.5) * _finest(layer, order)


def set_radius(layer: Labels, order: Sequence[int], mm: float) -> None:
    """Give the layer's brush the radius that is nearest to `mm` (napari has one for every other whole number)."""
    layer.brush_size = max(2 * round(mm / _finest(layer, order) - 0.5), 1)


def _finest(layer: Labels, order: Sequence[int]) -> float:
    """Spacing in mm that napari measures the brush in: the smallest of the axes it paints along."""
    return min(grid_of(layer).spacing[axis] for axis in order[-int(layer.n_edit_dimensions) :])
