"""Lesions one by one: how many, how large, where, and how far two lesion maps agree on them.

A lesion is a connected object (26 neighbours) of the lesion class. Objects smaller than a minimum are left out of the
list and of the load; how many these were is kept.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_medzoo.errors import MedzooError
from napari_medzoo.label_mappings import compose, find_mapping
from napari_medzoo.label_tables import scheme_of
from napari_medzoo.labels import LabelTable, Segmentation
from napari_medzoo.space import Grid, require_same_grid

MINIMUM_MM3 = 3.0
"""Smaller objects are noise as often as lesions."""

TOUCHING_MM = 2.0
"""A lesion that comes so near to a ventricle is periventricular, one that comes so near to the cortex juxtacortical."""

# MRBrainS18's numbers, into which other numberings are brought to find the region.
_CORTEX, _VENTRICLES, _BELOW, _ABOVE = (1,), (6,), (7, 8), (1, 2, 3)

COLUMNS = ("lesion", "volume_ml", "x_mm", "y_mm", "z_mm", "extent_mm", "region")


@dataclass(frozen=True)
class Lesion:
    """One lesion.

    Attributes
    ----------
    number : int
        1 for the largest.
    volume_ml : float
    voxel : tuple of int
        The voxel of the lesion that is nearest to its centroid.
    centre_mm : tuple of float
        Its centre, RAS+ mm.
    extent_mm : float
        The largest distance between two of its voxels' centres, and one voxel more.
    region : str
        ``"periventricular"``, ``"juxtacortical"``, ``"infratentorial"`` or ``"deep"``; ``"unknown"`` where the labels
        do not tell.
    """

    number: int
    volume_ml: float
    voxel: tuple[int, int, int]
    centre_mm: tuple[float, float, float]
    extent_mm: float
    region: str


@dataclass(frozen=True)
class LesionList:
    """The lesions of one segmentation, the largest first.

    Attributes
    ----------
    lesions : tuple of Lesion
    minimum_mm3 : float
        What is smaller was left out.
    left_out : int
        How many objects that were.
    """

    lesions: tuple[Lesion, ...]
    minimum_mm3: float
    left_out: int

    @property
    def load_ml(self) -> float:
        """Volume of all lesions together."""
        return sum(lesion.volume_ml for lesion in self.lesions)

    def rows(self) -> list[tuple[str, ...]]:
        """`COLUMNS`, then a row of text for every lesion."""
        rows: list[tuple[str, ...]] = [COLUMNS]
        for one in self.lesions:
            numbers = (f"{one.volume_ml:.4f}", *(f"{mm:.1f}" for mm in one.centre_mm), f"{one.extent_mm:.1f}")
            rows.append((str(one.number), *numbers, one.region))
        return rows

    def to_tsv(self) -> str:
        """The table as tab-separated values."""
        stream = io.StringIO()
        csv.writer(stream, delimiter="\t", lineterminator="\n").writerows(self.rows())
        return stream.getvalue()


@dataclass(frozen=True)
class LesionAgreement:
    """A lesion map against a reference: voxel by voxel and lesion by lesion.

    A lesion of the reference is found where one voxel of it is labelled; a labelled lesion is false where it holds no
    voxel of the reference (Carass et al. 2017, doi:10.1016/j.neuroimage.2016.12.064). Objects below the minimum are
    neither to be found nor false.

    Attributes
    ----------
    dice : float
        Of all voxels; NaN where neither side has any.
    lesions, found : int
        Of the reference.
    false : int
        Of the prediction.
    load_ml, reference_load_ml : float
        Of all voxels.
    """

    dice: float
    lesions: int
    found: int
    false: int
    load_ml: float
    reference_load_ml: float

    @property
    def sensitivity(self) -> float:
        """Share of the reference's lesions that are found; NaN where it has none."""
        return self.found / self.lesions if self.lesions else math.nan


def called_lesion(table: LabelTable) -> tuple[int, ...]:
    """Indices of the classes whose name says lesion."""
    return tuple(label.index for label in table.foreground if "lesion" in label.name.casefold())


def lesion_indices(table: LabelTable) -> tuple[int, ...]:
    """The indices of a table that are lesions: those called so, else the only one there is.

    Raises
    ------
    MedzooError
        If the table has several labels and none is called a lesion.
    """
    named = called_lesion(table)
    if named:
        return named
    if len(table.foreground) <= 1:  # a map without a single voxel may have no label at all
        return tuple(label.index for label in table.foreground)
    names = ", ".join(label.name for label in table.foreground[:20])
    raise MedzooError(f"Label table '{table.name}' calls none of its labels a lesion; choose one of: {names}.")


def lesion_mask(segmentation: Segmentation, indices: Sequence[int] | None = None) -> NDArray[np.bool_]:
    """``(X, Y, Z) bool``: where there is a lesion; by default the labels of `lesion_indices`."""
    return np.isin(segmentation.data, tuple(indices) if indices is not None else lesion_indices(segmentation.table))


def find_lesions(
    segmentation: Segmentation, indices: Sequence[int] | None = None, minimum_mm3: float = MINIMUM_MM3
) -> LesionList:
    """List the lesions of a segmentation.

    Parameters
    ----------
    segmentation : Segmentation
        On any grid. Regions are told where its labels name ventricles and cortex, or can be brought into MRBrainS18's.
    indices : sequence of int, optional
        The labels that are lesions; by default those of `lesion_indices`.
    minimum_mm3 : float
        Smaller objects are left out.

    Returns
    -------
    LesionList

    Raises
    ------
    MedzooError
        If no label is a lesion.
    """
    objects, sizes, boxes = _objects(lesion_mask(segmentation, indices))
    grid = segmentation.grid
    anatomy = _anatomy(segmentation)
    large = [number for number in range(1, len(sizes)) if _is_large(sizes[number], grid, minimum_mm3)]
    lesions = []
    for rank, number in enumerate(sorted(large, key=lambda one: (-sizes[one], one)), start=1):
        box = boxes[number]
        inside = objects[box] == number
        voxels = np.argwhere(inside) + [part.start for part in box]
        points = grid.to_world(voxels)
        middle = int(np.linalg.norm(points - points.mean(axis=0), axis=1).argmin())
        x, y, z = (int(part) for part in voxels[middle])
        lesions.append(
            Lesion(
                number=rank,
                volume_ml=float(sizes[number]) * grid.voxel_volume_ml,
                voxel=(x, y, z),
                centre_mm=(float(points[middle, 0]), float(points[middle, 1]), float(points[middle, 2])),
                extent_mm=_extent(points) + float(np.prod(grid.spacing)) ** (1 / 3),
                region=_region(objects, number, box, anatomy, grid.spacing),
            )
        )
    return LesionList(tuple(lesions), minimum_mm3, len(sizes) - 1 - len(large))


def compare_lesions(
    prediction: Segmentation,
    reference: Segmentation,
    minimum_mm3: float = MINIMUM_MM3,
    indices: Sequence[int] | None = None,
) -> LesionAgreement:
    """Compare the lesions of two segmentations on one grid.

    Parameters
    ----------
    prediction, reference : Segmentation
    minimum_mm3 : float
        Smaller objects are not counted; Dice and loads count every voxel.
    indices : sequence of int, optional
        The prediction's labels that are lesions; by default those of `lesion_indices`, as always for the reference.

    Raises
    ------
    MedzooError
        If they lie on different grids, or a table has no lesion.
    """
    grid = prediction.grid
    require_same_grid(grid, reference.grid, "The labels", "the reference")
    ours, theirs = lesion_mask(prediction, indices), lesion_mask(reference)
    total = int(ours.sum()) + int(theirs.sum())
    expected, found = _overlapped(theirs, ours, grid, minimum_mm3)
    predicted, right = _overlapped(ours, theirs, grid, minimum_mm3)
    return LesionAgreement(
        dice=2 * int((ours & theirs).sum()) / total if total else math.nan,
        lesions=expected,
        found=found,
        false=predicted - right,
        load_ml=float(ours.sum()) * grid.voxel_volume_ml,
        reference_load_ml=float(theirs.sum()) * grid.voxel_volume_ml,
    )


def _objects(mask: NDArray[np.bool_]) -> tuple[NDArray[Any], NDArray[Any], list[tuple[slice, slice, slice]]]:
    """The objects of a mask by number, and for every number its voxels and its box; 0 is the background."""
    import cc3d

    objects = cc3d.connected_components(np.ascontiguousarray(mask), connectivity=26)
    found = cc3d.statistics(objects)
    return objects, found["voxel_counts"].astype(np.int64), found["bounding_boxes"]


def _is_large(voxels: int, grid: Grid, minimum_mm3: float) -> bool:
    return voxels * grid.voxel_volume_ml * 1000 >= minimum_mm3 * (1 - 1e-6)  # three voxels of 1 mm are 3 mm³


def _overlapped(mask: NDArray[np.bool_], other: NDArray[np.bool_], grid: Grid, minimum: float) -> tuple[int, int]:
    """How many large objects `mask` has, and how many of them hold a voxel of `other`."""
    objects, sizes, _ = _objects(mask)
    shared = np.bincount(objects[other], minlength=len(sizes))
    large = [number for number in range(1, len(sizes)) if _is_large(sizes[number], grid, minimum)]
    return len(large), sum(bool(shared[number]) for number in large)


def _extent(points: NDArray[np.float64]) -> float:
    """The largest distance between two of `points` ``(N, 3)``, found among the outermost in 400 directions."""
    turns = np.arange(400) + 0.5
    heights, angles = 1 - 2 * turns / 400, np.pi * (1 + 5**0.5) * turns
    flat = np.sqrt(1 - heights**2)
    directions = np.stack([flat * np.cos(angles), flat * np.sin(angles), heights], axis=1)
    # One direction at a time: all at once take gigabytes for a large object.
    outermost = points[np.unique([int((points @ one).argmax()) for one in directions])]
    return float(np.linalg.norm(outermost[:, None] - outermost, axis=2).max())


def _anatomy(segmentation: Segmentation) -> NDArray[np.uint8] | None:
    """The labels in MRBrainS18's numbers; None where they do not name what regions are told by."""
    chain = find_mapping(scheme_of(segmentation.table), "mrbrains")
    mapping = compose(chain, segmentation.table.indices) if chain else {}
    if not {*_CORTEX, *_VENTRICLES} <= set(mapping.values()):
        return None
    table = np.zeros(max(segmentation.table.indices) + 1, dtype=np.uint8)
    table[list(mapping)] = list(mapping.values())
    return table[np.minimum(segmentation.data, len(table) - 1)]


def _region(
    objects: NDArray[Any],
    number: int,
    box: tuple[slice, ...],
    anatomy: NDArray[np.uint8] | None,
    spacing: tuple[float, float, float],
) -> str:
    if anatomy is None:
        return "unknown"
    import edt

    reach = max(TOUCHING_MM, max(spacing) * 1.01)  # in slices thicker than that, the neighbouring voxel
    wider = tuple(
        slice(max(part.start - math.ceil(reach / mm), 0), part.stop + math.ceil(reach / mm))
        for part, mm in zip(box, spacing, strict=True)
    )
    inside = np.ascontiguousarray(objects[wider] == number)
    near = edt.edt(~inside, anisotropy=spacing, parallel=1) <= reach
    around = np.bincount(anatomy[wider][near & ~inside], minlength=11)
    if around[list(_BELOW)].sum() > around[list(_ABOVE)].sum():
        return "infratentorial"
    if around[list(_VENTRICLES)].any():
        return "periventricular"
    return "juxtacortical" if around[list(_CORTEX)].any() else "deep"
