"""Display copies of oblique layers: napari's 2D view leaves an out-of-plane rotation out.

A copy lies along the world's axes. It is only looked at: labels, measures and files use the scan itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from napari.layers import Image, Labels, Layer
from numpy.typing import NDArray

from napari_medzoo.progress import Progress, Steps
from napari_medzoo.space import Grid
from napari_medzoo.study import Volume
from napari_medzoo.widgets.layers import OBLIQUE_DEGREES, grid_of, oblique_degrees

MOST_VOXELS = 24_000_000
"""Of one display copy (96 MB as float32); a larger one becomes coarser instead."""


@dataclass(frozen=True)
class Tilted:
    """A layer that has to be straightened, as it was when that was asked for.

    Attributes
    ----------
    layer : napari.layers.Layer
    data : numpy.ndarray
        ``(X, Y, Z)``, the layer's own array.
    grid : Grid
        Of the layer's array.
    """

    layer: Layer
    data: NDArray[Any]
    grid: Grid

    @property
    def degrees(self) -> float:
        """How far the scan is turned against the world's axes."""
        return oblique_degrees(self.grid)


def tilted(layer: Layer) -> Tilted | None:
    """What is needed to straighten the layer, or None where napari shows it rightly."""
    if not isinstance(layer, Image | Labels) or layer.ndim != 3 or layer.multiscale or getattr(layer, "rgb", False):
        return None
    grid = grid_of(layer)
    if oblique_degrees(grid) < OBLIQUE_DEGREES:
        return None
    return Tilted(layer, np.asarray(layer.data), grid)


def straight_grid(grid: Grid) -> Grid:
    """The grid along right, anterior and superior that holds all of `grid`, with its smallest spacing on each axis."""
    last = np.array(grid.shape) - 0.5
    outer = grid.to_world([[i, j, k] for i in (-0.5, last[0]) for j in (-0.5, last[1]) for k in (-0.5, last[2])])
    extent = np.ptp(outer, axis=0)
    spacing = max(min(grid.spacing), float(np.cbrt(extent.prod() / MOST_VOXELS)))
    shape = np.maximum(np.ceil(extent / spacing - 1e-4), 1).astype(int)
    affine = np.diag([spacing, spacing, spacing, 1.0])
    affine[:3, 3] = (outer.min(axis=0) + outer.max(axis=0)) / 2 - spacing * (shape - 1) / 2
    return Grid((int(shape[0]), int(shape[1]), int(shape[2])), affine)


def straighten(layers: Sequence[Tilted]) -> Steps[list[Volume]]:
    """Resample every layer onto its `straight_grid`: scans linearly, labels to the nearest voxel.

    Yields
    ------
    Progress

    Returns
    -------
    list of Volume
        In the order of `layers`.
    """
    from napari_medzoo.preprocess.spatial import resample

    copies = []
    for i, tilt in enumerate(layers):
        yield Progress(f"Straightening {tilt.layer.name}", i, len(layers))
        data = tilt.data.astype(np.uint8) if tilt.data.dtype == bool else tilt.data
        order = 0 if isinstance(tilt.layer, Labels) else 1
        copies.append(resample(Volume(data, tilt.grid), straight_grid(tilt.grid), order=order))
    return copies
