"""Which label is the same structure on the other side of the head, by the labels' names."""

from __future__ import annotations

import re

from napari_medzoo.errors import MedzooError
from napari_medzoo.labels import LabelTable

_OTHER = {"left": "right", "right": "left", "lh": "rh", "rh": "lh"}
_SIDE = re.compile(rf"(?<![a-z])({'|'.join(_OTHER)})(?![a-z])")


def mirrored_name(name: str) -> str:
    """What the structure of this name is called on the other side, in lower case; the same if it has no side."""
    return _SIDE.sub(lambda side: _OTHER[side[0]], name.lower())


def other_sides(table: LabelTable) -> dict[int, int]:
    """Index → index of the same structure on the other side, itself for a structure without sides.

    Raises
    ------
    MedzooError
        If the table names a structure on one side only: its mirror image has no name.
    """
    indices = {label.name.lower(): label.index for label in table}
    result = {}
    for name, index in indices.items():
        other = mirrored_name(name)
        if other not in indices:
            raise MedzooError(
                f"Label table '{table.name}' has '{table[index].name}' but not the same structure on the other side, "
                "so a mirrored head cannot be named in it."
            )
        result[index] = indices[other]
    return result
