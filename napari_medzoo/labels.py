"""What the numbers in a segmentation mean.

A label has an index (the voxel value), a name and a colour; a table lists the labels of one numbering and
is never without its background, index 0. The built-in tables and the declared mappings between them live in
`napari_medzoo.label_tables`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_medzoo.errors import MedzooError
from napari_medzoo.space import Grid


@dataclass(frozen=True)
class Label:
    """One class of a segmentation: voxel value, name and colour ``(red, green, blue)`` of 0–255."""

    index: int
    name: str
    color: tuple[int, int, int]


BACKGROUND = Label(0, "background", (0, 0, 0))


@dataclass(frozen=True)
class LabelTable:
    """The labels of one numbering, background first.

    Attributes
    ----------
    name : str
        The scheme: ``"aseg"``, ``"tissue"``, ... or the stem of the file it came from.
    labels : tuple of Label
        In ascending order of index, background (0) included; it is added where it is missing.

    Raises
    ------
    MedzooError
        For a repeated index or name, or a negative index.
    """

    name: str
    labels: tuple[Label, ...]

    def __post_init__(self) -> None:
        labels = tuple(self.labels)
        if all(label.index != 0 for label in labels):
            labels = (BACKGROUND, *labels)
        labels = tuple(sorted(labels, key=lambda label: label.index))
        for what in ("index", "name"):
            values = [getattr(label, what) for label in labels]
            repeated = {value for value in values if values.count(value) > 1}
            if repeated:
                raise MedzooError(f"Label table '{self.name}' gives the {what} {sorted(repeated)[0]!r} twice.")
        if labels[0].index < 0:
            raise MedzooError(f"Label table '{self.name}' has the negative index {labels[0].index}.")
        object.__setattr__(self, "labels", labels)

    def __iter__(self) -> Iterator[Label]:
        return iter(self.labels)

    def __len__(self) -> int:
        return len(self.labels)

    def __contains__(self, index: object) -> bool:
        return any(label.index == index for label in self.labels)

    def __getitem__(self, index: int) -> Label:
        for label in self.labels:
            if label.index == index:
                return label
        raise MedzooError(f"Label table '{self.name}' has no index {index}.")

    @property
    def foreground(self) -> tuple[Label, ...]:
        """Every label but the background."""
        return self.labels[1:]

    @property
    def indices(self) -> tuple[int, ...]:
        """All indices, ascending, background included."""
        return tuple(label.index for label in self.labels)

    def by_name(self, name: str) -> Label:
        """The label called `name`."""
        for label in self.labels:
            if label.name == name:
                return label
        raise MedzooError(f"Label table '{self.name}' has no label named {name!r}.")

    def subset(self, indices: Iterable[int], name: str | None = None) -> LabelTable:
        """The table with only `indices` (and the background)."""
        return LabelTable(name or self.name, tuple(self[index] for index in sorted({0, *indices})))


@dataclass(frozen=True, eq=False)
class Segmentation:
    """Labels on a grid, with the table that names them.

    Attributes
    ----------
    data : numpy.ndarray
        ``(X, Y, Z)`` unsigned integers, each an index of `table`.
    grid : Grid
        Where the voxels lie: for a prediction the grid of the study's chosen volume.
    table : LabelTable
    provenance : mapping
        How it came about (model, weights' sha256, versions, recipe, plan, inputs), JSON-serialisable.
    warnings : tuple of str
        What a person should know before trusting it.
    """

    data: NDArray[Any]
    grid: Grid
    table: LabelTable
    provenance: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if tuple(self.data.shape) != self.grid.shape:
            raise MedzooError(f"Labels of shape {self.data.shape} on a grid of shape {self.grid.shape}.")
        if not np.issubdtype(self.data.dtype, np.integer):
            raise MedzooError(f"Expected labels as integers, got {self.data.dtype}.")

    def volumes_ml(self) -> dict[int, float]:
        """Volume of every foreground label of the table in mL, 0.0 where it is absent."""
        found = dict(zip(*count_values(self.data), strict=True))
        return {label.index: found.get(label.index, 0) * self.grid.voxel_volume_ml for label in self.table.foreground}

    def unknown_indices(self) -> tuple[int, ...]:
        """Voxel values that the table does not name."""
        return tuple(value for value in count_values(self.data)[0] if value not in self.table)

    def with_warnings(self, *warnings: str) -> Segmentation:
        """The same segmentation with more warnings."""
        return replace(self, warnings=(*self.warnings, *warnings))


LARGEST_TABLE = 1_000_000
"""Values up to here are counted and replaced through a table, which is much faster than sorting the voxels."""

PART = 2**16
"""So many voxels are counted at once; they stay in the processor's cache."""


def count_values(data: NDArray[np.integer]) -> tuple[list[int], list[int]]:
    """The values of an integer array in ascending order, and how many voxels have each."""
    if data.size and data.min() >= 0 and (largest := int(data.max())) <= LARGEST_TABLE:
        counts = count_each(data, largest + 1)
        values = np.flatnonzero(counts)
        return values.tolist(), counts[values].tolist()
    values, counts = np.unique(data, return_counts=True)
    return values.tolist(), counts.tolist()


def count_each(data: NDArray[np.integer], size: int) -> NDArray[np.int64]:
    """How many voxels have each of the values 0 … `size` − 1, ``(size,)``; no other may be there.

    Part by part, because ``numpy.bincount`` first makes a copy in 8 bytes a voxel, which takes longer than counting.
    """
    flat, counts = data.ravel(order="K"), np.zeros(size, dtype=np.int64)
    step = max(PART, 16 * size)  # lest adding up the parts take longer than counting
    for start in range(0, flat.size, step):
        counts += np.bincount(flat[start : start + step], minlength=size)
    return counts
