"""Built-in label tables and the conversion between numberings.

A *scheme* is a numbering with a name: ``aseg`` (FreeSurfer), ``mrbrains`` (MRBrainS18), ``tissue``, ``iseg``,
``brats`` and ``muse`` (DLMUSE). `convert` follows the shortest chain of the mappings declared in
`napari_medzoo.label_mappings`.
"""

from __future__ import annotations

import colorsys
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_medzoo import label_data
from napari_medzoo.errors import MedzooError
from napari_medzoo.label_files import read_label_table, write_label_table
from napari_medzoo.label_mappings import MAPPINGS, OPTIONAL, OUTER_CSF, PARTIAL, compose, find_mapping
from napari_medzoo.labels import LARGEST_TABLE, Label, LabelTable, Segmentation, count_values

__all__ = [
    "LABEL_TABLES",
    "MAPPINGS",
    "OPTIONAL",
    "OUTER_CSF",
    "PARTIAL",
    "compose",
    "convert",
    "count_values",
    "find_mapping",
    "label_table",
    "map_values",
    "read_label_table",
    "require_known",
    "same_names",
    "scheme_of",
    "write_label_table",
]


def _parse(name: str, text: str) -> LabelTable:
    labels = []
    for line in text.strip().splitlines():
        index, *words, red, green, blue = line.split()
        labels.append(Label(int(index), " ".join(words), (int(red), int(green), int(blue))))
    return LabelTable(name, tuple(labels))


def _muse(aseg: LabelTable) -> LabelTable:
    """MUSE's names; a region takes the colour of its aseg counterpart, cortical and lobar ones a hue of their own."""
    names: dict[int, str] = {}
    for line in label_data.MUSE_SUBCORTICAL.strip().splitlines():
        number, name = line.split(maxsplit=1)
        names[int(number)] = name
    for line in label_data.MUSE_CORTICAL.strip().splitlines():
        number, name = line.split(maxsplit=1)
        names[int(number)] = f"Right {name}"
        names[int(number) + 1] = f"Left {name}"
    labels = []
    for index, name in names.items():
        counterpart = MAPPINGS["muse", "aseg"].get(index)
        if counterpart and index < 71:
            color = aseg[counterpart].color
        else:
            # Both sides of a pair share a hue; the golden ratio keeps neighbours in the list apart.
            pair = index - 1 if index % 2 == 0 and 81 < index < 95 else index // 2 * 2 if index >= 100 else index
            red, green, blue = colorsys.hsv_to_rgb(pair * 0.618 % 1, 0.45 if 81 <= index <= 95 else 0.75, 0.9)
            color = (round(red * 255), round(green * 255), round(blue * 255))
        labels.append(Label(index, name, color))
    return LabelTable("muse", tuple(labels))


LABEL_TABLES: dict[str, LabelTable] = {
    "aseg": _parse("aseg", label_data.ASEG),
    "mrbrains": _parse("mrbrains", label_data.MRBRAINS),
    "tissue": _parse("tissue", label_data.TISSUE),
    "brats": _parse("brats", label_data.BRATS),
    "iseg": _parse("iseg", label_data.ISEG),
}
"""The built-in tables by scheme."""
LABEL_TABLES["muse"] = _muse(LABEL_TABLES["aseg"])


def label_table(scheme_or_path: str | Path) -> LabelTable:
    """The built-in table called so, or the one in the file of that path.

    Raises
    ------
    MedzooError
        For a name that is neither a scheme nor a file, and for a damaged file.
    """
    name = str(scheme_or_path)
    if name in LABEL_TABLES:
        return LABEL_TABLES[name]
    path = Path(scheme_or_path)
    if not path.exists():
        raise MedzooError(
            f"There is no label table '{name}'; choose one of {', '.join(LABEL_TABLES)}, or give the path of "
            "a dseg.tsv, FreeSurfer LUT, ITK-SNAP label description or nnU-Net dataset.json."
        )
    return read_label_table(path)


def _plain(name: str) -> str:
    return name.casefold().replace("_", " ").replace("-", " ").strip()


def scheme_of(table: LabelTable) -> str:
    """Which scheme a table speaks: a key of `LABEL_TABLES` where names agree with it, else the table's own name.

    A table that was read from a file under another name but gives every index the name that a built-in scheme
    gives it (spelling aside) is that scheme.
    """
    candidates = [table.name, *LABEL_TABLES] if table.name in LABEL_TABLES else list(LABEL_TABLES)
    for key in candidates:
        known = LABEL_TABLES[key]
        if table.foreground and all(
            label.index in known and _plain(known[label.index].name) == _plain(label.name) for label in table.foreground
        ):
            return key
    return table.name


def same_names(first: LabelTable, second: LabelTable) -> bool:
    """Whether two tables share foreground indices and call each shared one the same (spelling aside)."""
    names = {label.index: _plain(label.name) for label in first.foreground}
    shared = [label for label in second.foreground if label.index in names]
    return bool(shared) and all(names[label.index] == _plain(label.name) for label in shared)


def map_values(data: NDArray[np.integer], mapping: Mapping[int, int]) -> NDArray[Any]:
    """Replace the values of an integer array ``(X, Y, Z)``; values that `mapping` leaves out become 0.

    Returns
    -------
    numpy.ndarray
        The same shape, uint8 where the values fit, else uint16 or uint32.
    """
    values, _ = count_values(data)
    new = np.array([mapping.get(value, 0) if value else 0 for value in values], dtype=np.int64)
    new = new.astype(np.min_scalar_type(int(new.max(initial=0))))
    if values and values[0] >= 0 and values[-1] <= LARGEST_TABLE:
        lookup = np.zeros(values[-1] + 1, dtype=new.dtype)
        lookup[values] = new
        return lookup[data]
    return new[np.searchsorted(values, data)]


def convert(segmentation: Segmentation, scheme: str) -> Segmentation:
    """Write a segmentation in another numbering.

    Converting to the segmentation's own scheme folds its other spellings (cortical parcels 1000–2999 into
    the cortex of aseg; BraTS 2023's 3 into 4).

    Parameters
    ----------
    segmentation : Segmentation
        Its table's scheme is found by `scheme_of`.
    scheme : str
        A key of `LABEL_TABLES`.

    Returns
    -------
    Segmentation
        On the same grid. Its table holds only what the source can express; what the target has no word for
        has become background, and a warning says how much that was.

    Raises
    ------
    MedzooError
        For an unknown scheme, no declared rule, or values outside the source's table.
    """
    source = scheme_of(segmentation.table)
    if scheme not in LABEL_TABLES:
        raise MedzooError(f"There is no label scheme '{scheme}'; choose one of {', '.join(LABEL_TABLES)}.")
    chain = find_mapping(source, scheme)
    if not chain:
        possible = [target for target in LABEL_TABLES if target != source and find_mapping(source, target)]
        raise MedzooError(
            f"No rule is declared that turns labels of '{source}' into '{scheme}'; "
            + (f"'{source}' can become {', '.join(possible)}." if possible else "compare it with its own numbering.")
        )
    values, counts = count_values(segmentation.data)
    found = [value for value in values if value]
    spellings = MAPPINGS.get((source, source), {})
    require_known(segmentation, (value for value in found if value not in spellings))
    mapping = compose(chain, found)
    sayable = compose(chain, segmentation.table.indices)
    table = LABEL_TABLES[scheme].subset({*sayable.values(), *mapping.values()})
    lost = {value: count for value, count in zip(values, counts, strict=True) if value and value not in mapping}
    result = replace(segmentation, data=map_values(segmentation.data, mapping), table=table)
    if not lost:
        return result
    volume = sum(lost.values()) * segmentation.grid.voxel_volume_ml
    names = ", ".join(segmentation.table[index].name if index in segmentation.table else str(index) for index in lost)
    return result.with_warnings(f"{volume:.1f} mL of {names} have no counterpart in '{scheme}' and became background.")


def require_known(segmentation: Segmentation, values: Iterable[int] | None = None, what: str = "The labels") -> None:
    """Refuse voxel values that the segmentation's table does not name.

    Raises
    ------
    MedzooError
        Listing them.
    """
    values = segmentation.unknown_indices() if values is None else values
    unknown = sorted({value for value in values if value not in segmentation.table})
    if unknown:
        shown = ", ".join(map(str, unknown[:12])) + (f" and {len(unknown) - 12} more" if len(unknown) > 12 else "")
        raise MedzooError(
            f"{what} contain values that table '{segmentation.table.name}' does not name: {shown}; "
            "choose the numbering they were written in, or give a label table's path."
        )
