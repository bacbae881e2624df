"""What the dock "Lesions" runs off the main thread: the list of a layer's lesions, without Qt."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_medzoo.io import replacing
from napari_medzoo.journal import labels_key
from napari_medzoo.labels import Label, LabelTable, Segmentation
from napari_medzoo.lesions import (
    Lesion,
    LesionAgreement,
    LesionList,
    called_lesion,
    compare_lesions,
    find_lesions,
    lesion_mask,
)
from napari_medzoo.palette import OKABE_ITO, Rgb, differences
from napari_medzoo.progress import Progress, Steps
from napari_medzoo.space import require_same_grid
from napari_medzoo.widgets.alignment import references
from napari_medzoo.widgets.label_names import KEY
from napari_medzoo.widgets.layers import segmentation_from_layer

if TYPE_CHECKING:
    from napari.layers import Labels

FOUND, MISSED, FALSE = "found", "missed", "false"
"""What a lesion is beside a reference: on both sides, in the reference alone, in the labels alone."""

GREYS = ((70, 70, 70), (160, 160, 160), (255, 255, 255))
"""Of a scan: what marks a lesion must differ from them, too."""


@dataclass(frozen=True, eq=False)
class Listing:
    """The lesions of some labels, as they were when they were listed.

    Attributes
    ----------
    found : LesionList
        Of the labels.
    missed : tuple of Lesion
        Those of the reference of which the labels hold no voxel; their numbers go on after the last of `found`.
    numbered : Segmentation
        On the labels' grid: every voxel of a listed lesion has its number.
    verdicts : mapping of int to str
        Number → `FOUND`, `MISSED` or `FALSE`; empty without a reference.
    agreement : LesionAgreement or None
        None without a reference.
    content : tuple of str
        What `contents` gave for the labels and the reference.
    note : str
        What to know about the comparison.
    """

    found: LesionList
    missed: tuple[Lesion, ...]
    numbered: Segmentation
    verdicts: Mapping[int, str] = field(default_factory=dict)
    agreement: LesionAgreement | None = None
    content: tuple[str, ...] = ()
    note: str = ""

    @property
    def lesions(self) -> tuple[Lesion, ...]:
        """All that is listed, in the order of their numbers."""
        return (*self.found.lesions, *self.missed)

    def rows(self) -> list[tuple[str, ...]]:
        """`COLUMNS` (and ``reference`` where there is one), then a row of text for every lesion."""
        heading, *rows = replace(self.found, lesions=self.lesions).rows()
        if self.agreement is None:
            return [heading, *rows]
        return [(*heading, "reference"), *((*row, self.verdicts[int(row[0])]) for row in rows)]

    @property
    def summary(self) -> str:
        """How many there are and how large all are together, and how many were left out."""
        count, out = len(self.found.lesions), self.found.left_out
        left = f"; {out} smaller than {self.found.minimum_mm3:g} mm³ left out" if out else ""
        return f"{count} lesion{'s' * (count != 1)}, {self.found.load_ml:.2f} mL in all{left}."

    @property
    def comparison(self) -> str:
        """How many of the reference are found; empty without one."""
        told = self.agreement
        if told is None:
            return ""
        share = f" (sensitivity {told.sensitivity:.2f})" if told.lesions else ""
        return (
            f"Reference: {told.found} of {told.lesions} lesions found{share}, {told.false} false; "
            f"{told.reference_load_ml:.2f} mL there. Dice {told.dice:.3f}. {self.note}".rstrip()
        )


def likely_lesions(layer: Labels) -> bool:
    """Whether a layer says, by what is quickly read of it, that it holds lesions: its classes' names, or its own."""
    table = layer.metadata.get(KEY, {}).get("table")
    return "lesion" in layer.name.casefold() or (table is not None and bool(called_lesion(table)))


def contents(layers: Sequence[Labels]) -> tuple[str, ...]:
    """What tells whether labels were changed since: a text for each layer."""
    return tuple(labels_key(np.asarray(layer.data)) for layer in layers)


def list_lesions(
    layer: Labels,
    table: LabelTable,
    indices: Sequence[int],
    minimum_mm3: float,
    reference: Labels | None = None,
    scans: Sequence[references.Scan] = (),
) -> Steps[Listing]:
    """List the lesions of a layer, and compare them with those of a reference.

    Parameters
    ----------
    layer : napari.layers.Labels
    table : LabelTable
        What its numbers mean.
    indices : sequence of int
        Which of them are lesions.
    minimum_mm3 : float
        Smaller objects are left out on both sides.
    reference : napari.layers.Labels, optional
        Its lesions are those that its names tell, else its only class.
    scans : sequence of references.Scan
        Those of the viewer: they tell whether the reference belongs to a scan that was moved by hand.

    Raises
    ------
    MedzooError
        If the layers lie on different grids, the reference has no lesion class, or as `references.take_along`.
    """
    layers = [layer] if reference is None else [layer, reference]
    yield Progress("Listing lesions", 0, len(layers))
    content = contents(layers)  # first: what is painted from now on counts as a change
    ours = _still(segmentation_from_layer(layer, table))
    theirs = None if reference is None else _still(segmentation_from_layer(reference))
    note = ""
    if reference is not None and theirs is not None:
        theirs, note = references.take_along(ours, theirs, references.files_of(layer, reference), scans)
        require_same_grid(ours.grid, theirs.grid, f"'{layer.name}'", f"the reference '{reference.name}'")
    color = table[indices[0]].color
    found = find_lesions(ours, indices, minimum_mm3)
    numbers = _numbered(lesion_mask(ours, indices), found.lesions)
    if theirs is None:
        return Listing(found, (), _as_labels(numbers, found.lesions, ours, color), content=content)

    yield Progress("Comparing lesions", 1, len(layers))
    agreement = compare_lesions(ours, theirs, minimum_mm3, indices)
    ours_mask, theirs_mask = lesion_mask(ours, indices), lesion_mask(theirs)
    # A reference is mostly a mask alone: the anatomy of the labels tells where its lesions lie.
    expected = find_lesions(_with_lesions(ours, indices, theirs_mask), indices[:1], minimum_mm3).lesions
    expected_numbers = _numbered(theirs_mask, expected)
    reached, right = set(np.unique(expected_numbers[ours_mask])), set(np.unique(numbers[theirs_mask]))
    alone = [one for one in expected if one.number not in reached]
    missed = tuple(replace(one, number=number) for number, one in enumerate(alone, start=len(found.lesions) + 1))
    renumbered = np.zeros(len(expected) + 1, dtype=np.min_scalar_type(len(found.lesions) + len(missed)))
    renumbered[[one.number for one in alone]] = [one.number for one in missed]
    verdicts = {one.number: FOUND if one.number in right else FALSE for one in found.lesions}
    verdicts |= {one.number: MISSED for one in missed}
    # A missed lesion holds no voxel of ours, so that the two never meet.
    shown = _as_labels(numbers + renumbered[expected_numbers], (*found.lesions, *missed), ours, color)
    return Listing(found, missed, shown, verdicts, agreement, content, note)


def write_listing(listing: Listing, path: Path) -> Steps[Path]:
    """Write `Listing.rows`, separated by tabs in a ``.tsv`` and by commas in any other file, which is replaced."""
    yield Progress(f"Writing {path.name}")
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        separator = "\t" if path.suffix.lower() == ".tsv" else ","
        csv.writer(file, delimiter=separator, lineterminator="\n").writerows(listing.rows())
    return path


def _still(labels: Segmentation) -> Segmentation:
    """A copy, because the person may go on painting."""
    return replace(labels, data=np.array(labels.data))


def _numbered(mask: NDArray[np.bool_], lesions: Sequence[Lesion]) -> NDArray[Any]:
    """``(X, Y, Z)``: the number of the lesion that a voxel of `mask` belongs to; 0 where it belongs to none of them."""
    import cc3d

    objects = cc3d.connected_components(np.ascontiguousarray(mask), connectivity=26)  # as `find_lesions` has them
    numbers = np.zeros(int(objects.max(initial=0)) + 1, dtype=np.min_scalar_type(len(lesions)))
    for one in lesions:
        numbers[objects[one.voxel]] = one.number
    return numbers[objects]


def _with_lesions(labels: Segmentation, indices: Sequence[int], mask: NDArray[np.bool_]) -> Segmentation:
    """The labels with other lesions in the place of their own, called by the first of `indices`."""
    data = np.where(lesion_mask(labels, indices), 0, labels.data)
    data[mask] = indices[0]
    return replace(labels, data=data)


def _as_labels(numbers: NDArray[Any], lesions: Sequence[Lesion], like: Segmentation, color: Rgb) -> Segmentation:
    """Every lesion as a class of its own, in the colour that is told best from `color` and from a scan."""
    apart = differences(OKABE_ITO, (color, *GREYS)).min(axis=1)
    mark = OKABE_ITO[int(apart.argmax())]
    names = (Label(one.number, f"Lesion {one.number}: {one.volume_ml:.3f} mL", mark) for one in lesions)
    return Segmentation(numbers, like.grid, LabelTable("lesions one by one", tuple(names)))
