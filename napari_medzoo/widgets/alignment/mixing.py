"""Two scans in one picture: checkerboard, swipe, red and cyan. Arrays in, arrays out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from napari.utils.colormaps import Colormap
from numpy.typing import NDArray

from napari_medzoo.preprocess.spatial import index_map, interpolate
from napari_medzoo.space import Grid
from napari_medzoo.study import Volume
from napari_medzoo.widgets.layers import OBLIQUE_DEGREES, SHOWN_AXES, oblique_degrees
from napari_medzoo.widgets.ortho.straight import straight_grid

MOST_VOXELS = 12_000_000
"""Of the picture: it is made anew while a hand moves the scan, so that a larger one becomes coarser."""

LEVELS = 16
"""Brightnesses of each scan in red and cyan: both share the 256 values of a byte."""

_MIXED = np.arange(256)
RED_CYAN = Colormap(
    np.stack([_MIXED // LEVELS, _MIXED % LEVELS, _MIXED % LEVELS, np.full(256, LEVELS - 1)], axis=1) / (LEVELS - 1),
    name="fixed red, moving cyan",
)
"""Colours of `overlaid`: where both scans are equally bright the picture is grey."""


def picture_grid(grid: Grid) -> Grid:
    """Where the picture of a fixed scan on `grid` lies: on its own voxels, or straight ones where it was tilted.

    napari's 2D view leaves a tilt out, and an edge that is judged must not be drawn elsewhere than it is.
    """
    straight = oblique_degrees(grid) < OBLIQUE_DEGREES
    wanted = grid.reoriented(SHOWN_AXES) if straight else straight_grid(grid)
    coarser = float(np.cbrt(np.prod(wanted.shape) / MOST_VOXELS))
    return wanted if coarser <= 1 else wanted.with_spacing([coarser * size for size in wanted.spacing])


def as_bytes(volume: Volume, limits: tuple[float, float]) -> Volume:
    """The scan with `limits` brought to 0 and 255, ``uint8``, so that every further step is quick."""
    low, high = limits
    scaled = (volume.data.astype(np.float32) - low) * np.float32(255 / (high - low))
    return replace(volume, data=np.clip(scaled, 0, 255).astype(np.uint8))


def on_grid(scan: Volume, grid: Grid, transform: NDArray[np.float64] | None = None) -> NDArray[np.uint8]:
    """A scan of `as_bytes` interpolated on `grid`; `transform` takes the grid's RAS+ mm to the scan's."""
    # Not smoothed before it is made coarser: that takes longest, and edges are judged better sharp.
    seen = interpolate(scan.data, index_map(grid, scan.grid, transform), grid.shape, width=0)
    return np.rint(seen).astype(np.uint8)


def checkerboard(
    fixed: NDArray[np.uint8], moving: NDArray[np.uint8], grid: Grid, square_mm: float
) -> NDArray[np.uint8]:
    """Cubes of `square_mm` of the one scan and the other in turn; a corner lies in the middle of the grid."""
    odd: Any = 0
    for axis, (size, spacing) in enumerate(zip(grid.shape, grid.spacing, strict=True)):
        along = np.floor((np.arange(size) - (size - 1) / 2) * spacing / square_mm).astype(int)
        odd = odd + along.reshape([-1 if other == axis else 1 for other in range(3)])
    return np.where(odd % 2 == 0, fixed, moving)


def swiped(fixed: NDArray[np.uint8], moving: NDArray[np.uint8], axis: int, share: float) -> NDArray[np.uint8]:
    """The fixed scan up to a `share` of the way along `axis`, the moving one beyond."""
    border = round(share * fixed.shape[axis])
    before, beyond = ([slice(None)] * 3 for _ in range(2))
    before[axis], beyond[axis] = slice(border), slice(border, None)
    return np.concatenate([fixed[tuple(before)], moving[tuple(beyond)]], axis=axis)


def overlaid(fixed: NDArray[np.uint8], moving: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Both scans at once, as values for `RED_CYAN`."""
    step = np.uint8(256 // LEVELS)
    return (fixed // step) * np.uint8(LEVELS) + moving // step
