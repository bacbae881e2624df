"""Bring a prediction and a reference into one numbering, so that they can be scored.

What decides whether a label is scored is what both sides *can* say, not what happens to be in this scan:

- Both are converted to the scheme that the fewest declared mappings lead to (the reference's own when possible).
- A label that one side's table cannot express is not scored. The `OPTIONAL` labels of a scheme count as expressible
  by a side that has at least one voxel of them.
- The voxels are left out on both sides (set to background in both) where either side has a label that the common
  scheme has no word for, where the reference has one that the prediction cannot express, and where the
  prediction has an optional one that the reference does not use.
- CSF around the brain is not scored against a reference that does not label it, as FreeSurfer's aseg: one
  whose CSF (24) is less than a tenth of its cortex. Nor is it for a prediction that has no index for it.

Each of these that applies is said in a note.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from napari_medzoo.errors import MedzooError
from napari_medzoo.label_tables import (
    LABEL_TABLES,
    MAPPINGS,
    OPTIONAL,
    OUTER_CSF,
    PARTIAL,
    compose,
    convert,
    count_values,
    find_mapping,
    map_values,
    require_known,
    same_names,
    scheme_of,
)
from napari_medzoo.labels import LabelTable, Segmentation

NOTES = "comparison"
"""Key of `Segmentation.provenance` under which `comparable` leaves its notes for `evaluate`."""


def comparable(prediction: Segmentation, reference: Segmentation) -> tuple[Segmentation, Segmentation]:
    """Convert both sides to one numbering, restricted to the labels that both can have.

    A prediction whose grid is the reference's with axes permuted or flipped is reoriented, which loses nothing.

    Returns
    -------
    tuple of Segmentation
        Prediction and reference with the same table. ``prediction.provenance["comparison"]`` holds the notes.

    Raises
    ------
    MedzooError
        Where no declared rule leads to a common numbering, no label is common, values lie outside their table,
        or the grids differ by more than the order of their axes.
    """
    prediction = _reoriented_like(prediction, reference)
    require_same_grids(prediction, reference)
    require_known(prediction, _unspelled(prediction), "The prediction's labels")
    require_known(reference, _unspelled(reference), "The reference's labels")
    scheme = _common_scheme(prediction.table, reference.table)
    notes: list[str] = []
    left_out = np.zeros(prediction.grid.shape, dtype=bool)
    converted = []
    for segmentation, side in ((prediction, "prediction"), (reference, "reference")):
        left_out |= _wordless(segmentation, scheme, side, notes)
        # The notes say what conversion drops, for both sides; its own warnings would say it again.
        made = segmentation if scheme is None else convert(segmentation, scheme)
        converted.append(replace(made, warnings=segmentation.warnings))
    ours, theirs = (_without_unused(side, scheme) for side in converted)
    common = {label.index for label in ours.table.foreground} & {label.index for label in theirs.table.foreground}
    if scheme is not None:
        refused, why = _partly_held(prediction, reference, scheme, common)
        common -= refused
        notes += why
    if not common:
        raise MedzooError(
            f"The prediction's labels ('{ours.table.name}') and the reference's ('{theirs.table.name}') have no label "
            "in common; choose the numbering each was written in."
        )
    left_out |= _one_sided(ours, theirs, scheme, notes)
    if left_out.any():
        volume = np.count_nonzero(left_out) * reference.grid.voxel_volume_ml
        notes.append(f"{volume:.1f} mL were left out of the comparison.")
    table = theirs.table.subset(common)
    keep = {index: index for index in common}
    ours, theirs = (
        replace(side, data=np.where(left_out, 0, map_values(side.data, keep)), table=table) for side in (ours, theirs)
    )
    return replace(ours, provenance={**ours.provenance, NOTES: notes}), theirs


def require_same_grids(prediction: Segmentation, reference: Segmentation) -> None:
    """Refuse to score across grids.

    Raises
    ------
    MedzooError
        Naming both grids and what to do.
    """
    if not prediction.grid.same_as(reference.grid):
        raise MedzooError(
            f"The prediction ({prediction.grid}) and the reference ({reference.grid}) lie on different grids; segment "
            "on the reference's grid (option --grid), or resample one onto the other with nearest neighbour first."
        )


def _reoriented_like(segmentation: Segmentation, like: Segmentation) -> Segmentation:
    """The segmentation with its axes in the order and direction of `like`'s, where that makes the grids the same."""
    if segmentation.grid.same_as(like.grid) or segmentation.grid.axis_codes == like.grid.axis_codes:
        return segmentation
    grid = segmentation.grid.reoriented(like.grid.axis_codes)
    if not grid.same_as(like.grid):
        return segmentation
    transform = segmentation.grid.orientation_to(like.grid.axis_codes)
    data = nib.orientations.apply_orientation(segmentation.data, transform)
    return replace(segmentation, data=data, grid=grid)


def _unspelled(segmentation: Segmentation) -> Iterable[int]:
    """Values that are not another spelling of one of the scheme's own labels (cortical parcels, for example)."""
    source = scheme_of(segmentation.table)
    spellings = MAPPINGS.get((source, source), {})
    return (value for value in count_values(segmentation.data)[0] if value and value not in spellings)


def _common_scheme(prediction: LabelTable, reference: LabelTable) -> str | None:
    """The scheme in which both can be compared with the fewest conversions; None where both already agree."""
    ours, theirs = scheme_of(prediction), scheme_of(reference)
    if ours not in LABEL_TABLES and theirs not in LABEL_TABLES and same_names(prediction, reference):
        return None
    # The reference's own scheme first: among equally short ways its classes are the ones to be scored.
    targets = [theirs, *(key for key in LABEL_TABLES if key != theirs)]
    ways = [
        (len(find_mapping(ours, target)) + len(find_mapping(theirs, target)), position, target)
        for position, target in enumerate(targets)
        if target in LABEL_TABLES and find_mapping(ours, target) and find_mapping(theirs, target)
    ]
    if ways:
        return min(ways)[2]
    if same_names(prediction, reference):
        return None
    raise MedzooError(
        f"No rule is declared that compares labels of '{prediction.name}' with labels of '{reference.name}'; "
        f"choose the numbering each was written in ({', '.join(LABEL_TABLES)}, or a label table's path)."
    )


def _wordless(segmentation: Segmentation, scheme: str | None, side: str, notes: list[str]) -> NDArray[np.bool_]:
    """Where the segmentation has labels that the common scheme has no word for."""
    source = scheme_of(segmentation.table)
    if scheme in (None, source):
        return np.zeros(segmentation.grid.shape, dtype=bool)
    notes.append(f"The {side}'s '{source}' labels were converted to '{scheme}'.")
    found = [value for value in count_values(segmentation.data)[0] if value]
    mapping = compose(find_mapping(source, str(scheme)), found)
    wordless = [value for value in found if value not in mapping]
    if wordless:
        names = _listed(segmentation.table[index].name for index in wordless)
        notes.append(f"Left out on both sides: {names} of the {side}, for which '{scheme}' has no label.")
    return np.isin(segmentation.data, wordless)


def _one_sided(ours: Segmentation, theirs: Segmentation, scheme: str | None, notes: list[str]) -> NDArray[np.bool_]:
    """Where one side has a label that the other cannot have and that must not count against it."""
    present = set(count_values(theirs.data)[0])
    missing = [label for label in theirs.table.foreground if label.index not in ours.table and label.index in present]
    extra = [label for label in ours.table.foreground if label.index not in theirs.table]
    optional = [label.index for label in extra if label.index in OPTIONAL.get(scheme or "", ())]
    if missing:
        names = _listed(label.name for label in missing)
        notes.append(f"Left out on both sides: {names} of the reference, which the prediction cannot have.")
    if extra:
        names = _listed(label.name for label in extra)
        notes.append(f"Not scored, because the reference does not have them: {names}.")
    return np.isin(theirs.data, [label.index for label in missing]) | np.isin(ours.data, optional)


def _without_unused(segmentation: Segmentation, scheme: str | None) -> Segmentation:
    """The segmentation with a table that lacks the scheme's optional labels of which it has no voxel."""
    present = set(count_values(segmentation.data)[0])
    unused = OPTIONAL.get(scheme or "", frozenset()) - present
    indices = [label.index for label in segmentation.table.foreground if label.index not in unused]
    return replace(segmentation, table=segmentation.table.subset(indices))


def _partly_held(
    prediction: Segmentation, reference: Segmentation, scheme: str, common: set[int]
) -> tuple[set[int], list[str]]:
    """Which common labels one side holds only in part, and the notes about them."""
    refused: set[int] = set()
    notes: list[str] = []
    for side, segmentation in (("reference", reference), ("prediction", prediction)):
        chain = find_mapping(scheme_of(segmentation.table), scheme)
        last, before = chain[-1], chain[-2] if len(chain) > 1 else chain[-1]
        index = PARTIAL.get((before, last))
        if index not in common or index in refused:
            continue
        sayable = compose(chain[:-1] if len(chain) > 1 else chain, segmentation.table.indices).values()
        # What a model can say is in its table; what a reference says must be seen in its voxels.
        if OUTER_CSF not in sayable or (side == "reference" and not _labels_outer_csf(segmentation)):
            refused.add(index)
            name = LABEL_TABLES[scheme][index].name
            notes.append(f"{name} is not scored: the {side} does not label the CSF around the brain.")
    return refused, notes


def _labels_outer_csf(segmentation: Segmentation) -> bool:
    """Whether an aseg labels the CSF around the brain, and not only FreeSurfer's millilitre of it."""
    found = dict(zip(*count_values(convert(segmentation, "aseg").data), strict=True))
    return found.get(OUTER_CSF, 0) >= 0.1 * (found.get(3, 0) + found.get(42, 0))


def _listed(names: Iterable[str], most: int = 12) -> str:
    names = list(names)
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
