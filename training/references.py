"""From the voxel values of a reference to the output channels of the network that learns from it, on its grid."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import product

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_medzoo.errors import MedzooError
from napari_medzoo.io import read_segmentation
from napari_medzoo.label_tables import (
    LABEL_TABLES,
    MAPPINGS,
    compose,
    count_values,
    find_mapping,
    same_names,
    scheme_of,
)
from napari_medzoo.labels import LabelTable
from napari_medzoo.preprocess.spatial import index_map, interpolate, lattice_of, take
from napari_medzoo.space import Grid
from napari_medzoo.study import Volume

from .case_lists import Case, CaseList
from .config import IGNORED, Recipe

ROUNDING = 1e-3
"""Shares of classes that differ by less are equal; of equals the first class has the voxel, on every side alike."""


def learnt_reference(recipe: Recipe, found: CaseList, case: Case) -> Volume:
    """A case's reference as output channels of the recipe, `IGNORED` included, on the reference's own grid."""
    assert case.reference is not None
    stored = read_segmentation(case.reference, found.table or _own_table(recipe))
    values, _ = count_values(stored.data)
    try:
        channels = channel_numbers(recipe, found, values)
    except MedzooError as error:
        raise MedzooError(f"{case.reference}: {error}") from error
    lookup = np.zeros(len(values), dtype=np.uint8)
    lookup[:] = [channels[value] for value in values]
    return Volume(lookup[np.searchsorted(values, stored.data)], stored.grid, "unknown")


def channel_numbers(recipe: Recipe, found: CaseList, values: Iterable[int]) -> dict[int, int]:
    """Which output channel each value of a reference is.

    The values are mapped as the data set says, merged as the recipe says, and taken to the recipe's numbering where
    that is another built-in one (what a declared mapping leaves out is `IGNORED`, as in scoring). Named labels that the
    recipe does not learn are background.

    Raises
    ------
    MedzooError
        For a value that the data set's table does not name, and for numberings between which no mapping is declared.
    """
    if len(recipe.channels) > IGNORED:
        raise MedzooError(
            f"Recipe '{recipe.name}' has {len(recipe.channels)} channels; at most {IGNORED} are possible."
        )
    table = found.table or _own_table(recipe)
    translate = _translation(recipe, table)
    spellings = MAPPINGS.get((scheme_of(table), scheme_of(table)), {})
    number_of = {index: number for number, index in enumerate(recipe.channels)}
    result: dict[int, int] = {}
    for value in values:
        index = found.mapping.get(value, value)
        if index in found.ignored:
            result[value] = IGNORED
        elif index in recipe.merge:
            result[value] = number_of.get(recipe.merge[index], 0)
        elif index not in table and index not in spellings:
            raise MedzooError(
                f"holds the value {value}, which table '{table.name}' does not name; "
                "correct the labels, or name it in a table, in 'merge' or in 'ignored'."
            )
        else:
            target = translate.get(index)
            result[value] = IGNORED if target is None else number_of.get(target, 0)
    return result


def _own_table(recipe: Recipe) -> LabelTable:
    """The whole table of the recipe's numbering: references may name more than is learnt."""
    return recipe.label_table if recipe.labels else LABEL_TABLES[recipe.label_scheme]


def _translation(recipe: Recipe, table: LabelTable) -> Mapping[int, int]:
    """Index of the data set's table → index of the recipe's; what is absent has no counterpart."""
    source, target = scheme_of(table), recipe.label_scheme
    own = _own_table(recipe)
    spelled = {index: index for index in table.indices} | dict(MAPPINGS.get((source, source), {}))
    if recipe.labels or source == target or same_names(table, own):
        absent = [i for i in recipe.channels if i not in spelled.values() and i not in recipe.merge.values()]
        if absent:
            raise MedzooError(
                f"Recipe '{recipe.name}' learns index {absent[0]} ({recipe.label_table[absent[0]].name}), which the "
                f"data set's table '{table.name}' does not have; correct 'channels' or the table."
            )
        return spelled
    chain = find_mapping(source, target) if source in LABEL_TABLES else ()
    if not chain:
        raise MedzooError(
            f"The references are numbered as '{table.name}', recipe '{recipe.name}' learns '{target}', and nothing "
            "says which label is which; give the recipe's own 'labels', or the right table in the data set's 'labels'."
        )
    return compose(chain, spelled)


def resample_labels(labels: Volume, grid: Grid, transform: ArrayLike | None = None) -> NDArray[np.uint8]:
    """Take labels to another grid in the way in which `napari_medzoo.preprocess.resample` takes a scan.

    Where both grids hold the same voxels these are copied. Elsewhere each class's membership is interpolated linearly,
    through the scan's own index map, and a voxel gets the class with the largest: the nearest label, but for voxels
    midway between two. To send those always up, as a plain nearest neighbour does, would move all labels against the
    scan by up to half a voxel, since such voxels are many where one spacing is a multiple of the other. Nothing is
    smoothed beforehand, so that small structures survive on a coarser grid.

    Parameters
    ----------
    labels : Volume
        ``(X, Y, Z) uint8``, its axes along those of `grid`.
    grid : Grid
    transform : array_like, optional
        ``(4, 4)``: RAS+ mm of `grid` to RAS+ mm of `labels`.

    Returns
    -------
    numpy.ndarray
        uint8 of the grid's shape; 0 outside of the field of view.
    """
    from scipy.ndimage import find_objects

    matrix = index_map(grid, labels.grid, transform)
    lattice = lattice_of(matrix, grid.shape)
    if lattice is not None:
        return take(labels.data, lattice, grid.shape)
    best, total = np.zeros(grid.shape, dtype=np.float32), np.zeros(grid.shape, dtype=np.float32)
    chosen = np.zeros(grid.shape, dtype=np.uint8)
    for value, box in enumerate(find_objects(np.ascontiguousarray(labels.data)), start=1):
        if box is None:
            continue
        start = np.maximum([part.start - 2 for part in box], 0)
        stop = np.minimum([part.stop + 2 for part in box], labels.data.shape)
        corners = np.array([[x, y, z, 1] for x, y, z in product(*zip(start - 1, stop, strict=True))])
        seen = (corners @ np.linalg.inv(matrix).T)[:, :3]
        low = np.clip(np.floor(seen.min(axis=0)), 0, grid.shape).astype(int)
        high = np.clip(np.ceil(seen.max(axis=0)) + 1, 0, grid.shape).astype(int)
        if (high <= low).any():
            continue
        part = labels.data[tuple(map(slice, start, stop))] == value
        moved = matrix.copy()
        moved[:3, 3] += matrix[:3, :3] @ low - start
        x, y, z = (int(size) for size in high - low)
        share = interpolate(part.astype(np.float32), moved, (x, y, z), width=0)
        window = tuple(map(slice, low, high))
        better = share > best[window] + ROUNDING
        best[window][better] = share[better]
        chosen[window][better] = value
        total[window] += share
    chosen[best <= 1 - total + ROUNDING] = 0
    return chosen
