"""Is the result believable? Warnings in sentences, for things that a glance at the overlay would show."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from napari_medzoo.labels import Label, Segmentation

WHOLE_BRAIN = {
    "aseg": frozenset({2, 3, 41, 42}),
    "mrbrains": frozenset({1, 3}),
    "tissue": frozenset({2, 3}),
    "iseg": frozenset({150, 250}),
}
"""Scheme → labels whose presence in a model's table says that it labels a whole brain."""

MAY_BE_ABSENT = ("lesion", "hypointens", "infarct", "vessel", "5th", "other")
"""Parts of names of labels that many brains do not have, or that are too small to miss."""

BRAIN_ML = (400.0, 2500.0)
"""Labelled brain, ventricles and CSF included: a newborn's to well above the largest adult's."""
SIDE_RATIO = 1.25
"""Left to right volume, and its inverse: hemispheres of the healthy differ by a few per cent."""
CUT_MM2 = 100.0
"""Area of labels on a face of the scan from which it counts as cut; single stray voxels are less."""

_SIDES = {"L": "left", "R": "right", "A": "front", "P": "back", "S": "top", "I": "bottom"}


def plausibility(segmentation: Segmentation) -> tuple[str, ...]:
    """What is suspicious about a model's labels, one sentence each; empty if nothing is.

    Only for tables of a whole brain are size, symmetry and completeness judged: a lesion may be absent.
    """
    volumes = segmentation.volumes_ml()
    if not any(volumes.values()):
        return ("No voxel was labelled: check that the scan shows a head and has the contrast that the model expects.",)
    warnings = list(_cut(segmentation))
    if WHOLE_BRAIN.get(segmentation.table.name, frozenset({-1})) <= set(segmentation.table.indices):
        warnings += [*_size(volumes), *_empty(segmentation, volumes), *_sides(segmentation, volumes)]
    return tuple(warnings)


def _size(volumes: dict[int, float]) -> Iterator[str]:
    total = sum(volumes.values())
    low, high = BRAIN_ML
    if not low <= total <= high:
        yield (
            f"The labelled brain measures {total:.0f} mL, outside the plausible {low:.0f} to {high:.0f} mL: "
            "check the overlay, the voxel spacing in the header and the field of view."
        )


def _empty(segmentation: Segmentation, volumes: dict[int, float]) -> Iterator[str]:
    missing = [label.name for label in segmentation.table.foreground if not volumes[label.index] and _expected(label)]
    if missing:
        yield f"Not found: {', '.join(missing)}. Their volumes are 0 mL in the table; check the overlay."


def _expected(label: Label) -> bool:
    return not any(part in label.name.lower() for part in MAY_BE_ABSENT)


def _sides(segmentation: Segmentation, volumes: dict[int, float]) -> Iterator[str]:
    left, right = (
        sum(volumes[label.index] for label in segmentation.table.foreground if label.name.startswith(side))
        for side in ("Left", "Right")
    )
    if max(left, right) > SIDE_RATIO * min(left, right):
        yield (
            f"Left structures measure {left:.0f} mL and right ones {right:.0f} mL: one side may be cut off, "
            "damaged or mislabelled; check the overlay."
        )


def _cut(segmentation: Segmentation) -> Iterator[str]:
    grid = segmentation.grid
    sides = []
    for axis, code in enumerate(grid.axis_codes):
        # A volume of one or two slices has nothing but faces across them.
        if grid.shape[axis] < 3:
            continue
        edges = np.delete(grid.affine[:3, :3], axis, axis=1)
        area = float(np.linalg.norm(np.cross(edges[:, 0], edges[:, 1])))
        opposite = {"L": "R", "R": "L", "A": "P", "P": "A", "S": "I", "I": "S"}[code]
        for position, towards in ((0, opposite), (-1, code)):
            face = np.take(segmentation.data, position, axis=axis)
            if np.count_nonzero(face) * area >= CUT_MM2:
                sides.append(_SIDES[towards])
    if sides:
        yield (
            f"Labels reach the edge of the scan ({', '.join(sides)}): the field of view cuts what they name, "
            "so its volume is too small."
        )
