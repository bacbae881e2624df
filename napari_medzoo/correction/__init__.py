"""Tools that correct one class of a label array.

Each takes labels ``(X, Y, Z)`` and their grid and returns a `Corrected` of the same shape and dtype; the array given is
not changed. Lengths are in mm along the voxel axes, volumes in mL, so that anisotropic, flipped and oblique grids need
no care. No tool brings in a class that was not there (`replace_class` excepted, which is told one), and classes in
`protected` neither lose nor gain a voxel. What a class gives up goes to the nearest class that may take it, background
included: an island in grey matter becomes grey matter, one in the air becomes background.
"""

from __future__ import annotations

from napari_medzoo.correction.interpolate import interpolate_slices
from napari_medzoo.correction.regions import Corrected
from napari_medzoo.correction.tools import (
    fill_holes,
    grow,
    keep_inside,
    remove_islands,
    replace_class,
    shrink,
    smooth,
)

__all__ = [
    "Corrected",
    "fill_holes",
    "grow",
    "interpolate_slices",
    "keep_inside",
    "remove_islands",
    "replace_class",
    "shrink",
    "smooth",
]
