"""Read and write label tables as files.

Four forms are understood: the BIDS ``dseg.tsv`` (``index``, ``name`` and optionally ``color`` as ``#rrggbb``),
the FreeSurfer colour table (``No. Name R G B A``), the ITK-SNAP label description
(``index R G B A visible mesh "name"``) and nnU-Net's ``dataset.json`` (first and second version). Where a
file gives no colours, each label gets a hue of its own.
"""

from __future__ import annotations

import colorsys
import csv
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from napari_medzoo.errors import MedzooError
from napari_medzoo.labels import Label, LabelTable

Row = tuple[int, str, tuple[int, int, int] | None]

_ITKSNAP_LINE = re.compile(r'^\s*(\d+)\s+(\d+)\s+(\d+)\s+(\d+)\s+([\d.]+)\s+\d+\s+\d+\s+"(.*)"\s*$')
_FREESURFER_LINE = re.compile(r"^\s*(\d+)\s+(\S+)\s+(\d+)\s+(\d+)\s+(\d+)(?:\s+\d+)?\s*$")
_EXPECTED = (
    "expected a BIDS dseg.tsv (columns index and name), a FreeSurfer colour table, an ITK-SNAP label description "
    "or an nnU-Net dataset.json"
)


class _NotATable(ValueError):
    """Why a file's content is not a label table, as half a sentence."""


def distinct_color(index: int) -> tuple[int, int, int]:
    """A saturated colour for a label that has none; neighbouring indices get hues far apart."""
    red, green, blue = colorsys.hsv_to_rgb(index * 0.618 % 1, 0.75, 0.9)
    return round(red * 255), round(green * 255), round(blue * 255)


def read_label_table(path: str | Path) -> LabelTable:
    """Read a label table; its form is recognised from the content.

    Parameters
    ----------
    path : str or pathlib.Path
        A ``.tsv``/``.csv`` with a heading line, a ``.json``, or a text file in FreeSurfer's or ITK-SNAP's form.

    Returns
    -------
    LabelTable
        Named after the file (without ``_dseg`` and its extension; a ``dataset.json`` after its folder).

    Raises
    ------
    MedzooError
        If the file cannot be read or is none of the forms; the sentence says where it breaks.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise MedzooError(f"{path}: the label table cannot be read ({error.strerror}).") from error
    except UnicodeDecodeError as error:
        raise MedzooError(f"{path}: not a label table (it is not text); {_EXPECTED}.") from error
    try:
        rows = _rows(path, text)
        if not rows:
            raise _NotATable("it names no label")
        labels = tuple(Label(index, name, color or distinct_color(index)) for index, name, color in rows)
        return LabelTable(_table_name(path), labels)
    except _NotATable as error:
        raise MedzooError(f"{path}: not a label table: {error}; {_EXPECTED}.") from error
    except MedzooError as error:
        raise MedzooError(f"{path}: {error}") from error


def _table_name(path: Path) -> str:
    if path.name == "dataset.json":
        return path.resolve().parent.name or "dataset"
    return path.stem.removesuffix("_dseg") or path.stem


def _rows(path: Path, text: str) -> list[Row]:
    if path.suffix.lower() == ".json":
        return _nnunet_rows(text)
    first = next((line for line in text.splitlines() if line.strip()), "")
    fields = {field.strip().strip('"').lower() for field in re.split(r"[\t,;]", first)}
    if path.suffix.lower() in {".tsv", ".csv"} or {"index", "name"} <= fields:
        return _bids_rows(text)
    return _text_rows(text)


def _bids_rows(text: str) -> list[Row]:
    lines = [line for line in text.splitlines() if line.strip()]
    heading = lines[0] if lines else ""
    delimiter = next((mark for mark in "\t;," if mark in heading), "\t")
    reader = csv.DictReader(lines, delimiter=delimiter)
    reader.fieldnames = [field.strip().lower() for field in reader.fieldnames or ()]
    missing = [column for column in ("index", "name") if column not in reader.fieldnames]
    if missing:
        raise _NotATable(f"its heading has no column '{missing[0]}'")
    rows: list[Row] = []
    for number, row in enumerate(reader, start=2):
        index, name = (row["index"] or "").strip(), (row["name"] or "").strip()
        if not index.isdigit() or not name:
            raise _NotATable(f"line {number} gives index {index!r} and name {name!r}")
        rows.append((int(index), name, _hex_color(row.get("color") or "", number)))
    return rows


def _hex_color(text: str, line: int) -> tuple[int, int, int] | None:
    text = text.strip()
    if not text or text.lower() == "n/a":
        return None
    found = re.fullmatch(r"#?([0-9a-fA-F]{6})(?:[0-9a-fA-F]{2})?", text)
    if not found:
        raise _NotATable(f"line {line} gives the colour {text!r} instead of #rrggbb")
    red, green, blue = bytes.fromhex(found[1])
    return red, green, blue


def _text_rows(text: str) -> list[Row]:
    rows: list[Row] = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if found := _ITKSNAP_LINE.match(line):
            index, name, color = found[1], found[6], (found[2], found[3], found[4])
        elif found := _FREESURFER_LINE.match(line):
            index, name, color = found[1], found[2], (found[3], found[4], found[5])
        else:
            raise _NotATable(f"line {number} reads {line.strip()[:40]!r}")
        red, green, blue = map(int, color)
        if max(red, green, blue) > 255:
            raise _NotATable(f"line {number} gives a colour beyond 255")
        rows.append((int(index), name.strip(), (red, green, blue)))
    return rows


def _nnunet_rows(text: str) -> list[Row]:
    try:
        content = json.loads(text)
    except json.JSONDecodeError as error:
        raise _NotATable(f"line {error.lineno} is not JSON") from error
    labels = content.get("labels") if isinstance(content, dict) else None
    if not isinstance(labels, dict) or not labels:
        raise _NotATable("it has no 'labels'")
    if all(isinstance(value, str) for value in labels.values()):  # version 1: {"1": "CSF"}
        labels = {name: key for key, name in labels.items()}
    named: dict[int, str] = {}
    sizes: dict[int, int] = {}
    for name, value in labels.items():
        # Version 2 allows regions, {"whole tumour": [1, 2, 3]}: a value is named by the smallest region that holds it.
        values = value if isinstance(value, list) else [value]
        for single in values:
            index = _whole_number(single, name)
            if index not in named or len(values) < sizes[index]:
                named[index], sizes[index] = str(name), len(values)
    used: dict[str, int] = {}
    rows: list[Row] = []
    for index, name in sorted(named.items()):
        used[name] = used.get(name, 0) + 1
        rows.append((index, name if used[name] == 1 else f"{name} ({index})", (0, 0, 0) if index == 0 else None))
    return rows


def _whole_number(value: Any, name: str) -> int:
    text = str(value)
    if isinstance(value, bool) or not text.isdigit():
        raise _NotATable(f"label {name!r} has the index {value!r}")
    return int(text)


def write_label_table(table: LabelTable, path: str | Path, form: str | None = None) -> Path:
    """Write a label table, replacing the file in one move.

    Parameters
    ----------
    table : LabelTable
    path : str or pathlib.Path
        ``.tsv`` for BIDS, ``.json`` for nnU-Net (other keys of an existing file are kept; it has no colours),
        ``.label`` for ITK-SNAP; ``.txt``, ``.lut`` and ``.ctab`` for FreeSurfer (blanks in names become ``-``).
    form : str, optional
        ``"bids"``, ``"nnunet"``, ``"itksnap"`` or ``"freesurfer"`` whatever the extension.

    Raises
    ------
    MedzooError
        For an extension that stands for no form, and if the file cannot be written.
    """
    path = Path(path)
    form = form or FORM_OF_SUFFIX.get(path.suffix.lower())
    if form not in WRITERS:
        raise MedzooError(f"{path}: expected a label table ending in {', '.join(FORM_OF_SUFFIX)}.")
    try:
        text = WRITERS[form](table, path)
        temporary = path.with_name(f".{path.stem}-{os.getpid()}{path.suffix}")
        try:
            temporary.write_text(text, encoding="utf-8")
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise MedzooError(f"{path}: the label table cannot be written ({error.strerror}).") from error
    return path


def _bids_text(table: LabelTable, path: Path) -> str:
    rows = (f"{label.index}\t{' '.join(label.name.split())}\t{hex_color(label.color)}" for label in table)
    return "\n".join(["index\tname\tcolor", *rows, ""])


def _freesurfer_text(table: LabelTable, path: Path) -> str:
    rows = []
    for label in table:
        red, green, blue = label.color
        rows.append(f"{label.index:<6}{'-'.join(label.name.split()):<44}{red:>4}{green:>4}{blue:>4}   0")
    return "\n".join([f"#No.  {'Label Name:':<44}   R   G   B   A", *rows, ""])


def _itksnap_text(table: LabelTable, path: Path) -> str:
    rows = []
    for label in table:
        seen = int(label.index != 0)
        red, green, blue = label.color
        name = " ".join(label.name.replace('"', "'").split())
        rows.append(f'{label.index:>5} {red:>5} {green:>4} {blue:>4} {seen:>8} {seen:>2} {seen:>2}    "{name}"')
    heading = "# ITK-SnAP Label Description File: index, red, green, blue, opacity, visible, mesh visible, name"
    return "\n".join([heading, *rows, ""])


def _nnunet_text(table: LabelTable, path: Path) -> str:
    content: dict[str, Any] = {}
    if path.exists():
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise MedzooError(f"{path}: exists and is not JSON; move it away first.") from error
    content["labels"] = {label.name: label.index for label in table}
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def hex_color(color: tuple[int, int, int]) -> str:
    """A colour of 0–255 as ``#rrggbb``."""
    return "#{:02x}{:02x}{:02x}".format(*color)


WRITERS: dict[str, Callable[[LabelTable, Path], str]] = {
    "bids": _bids_text,
    "freesurfer": _freesurfer_text,
    "itksnap": _itksnap_text,
    "nnunet": _nnunet_text,
}
"""Form of a label table → its text."""

FORM_OF_SUFFIX = {
    ".tsv": "bids",
    ".json": "nnunet",
    ".label": "itksnap",
    ".txt": "freesurfer",
    ".lut": "freesurfer",
    ".ctab": "freesurfer",
}
