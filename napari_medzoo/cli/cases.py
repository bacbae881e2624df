"""Many scans at once: which files make one case, from a folder or a table."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from napari_medzoo.errors import MedzooError
from napari_medzoo.io import guess_modality, looks_like_labels, stem_of, suffix_of
from napari_medzoo.io.dicom import dicom_files
from napari_medzoo.study import MODALITIES

TABLES = (".csv", ".tsv")
ENDING = "_dseg.nii.gz"
"""What a case's label file is called after the case's name (as in BIDS)."""

TECHNICAL = {"reg", "coreg", "registered", "brain", "bet", "n4", "post", "gd", "3d", "ax", "sag", "cor", "tra"}
"""Words that tell the scans of one person apart but do not name another person."""


@dataclass(frozen=True)
class Case:
    """One study to segment.

    Attributes
    ----------
    name : str
        For messages and the output's name.
    output : pathlib.Path
        The label file to write.
    scans : tuple of pathlib.Path
        Files whose modality is guessed, or one folder.
    modalities : mapping of str to pathlib.Path
        Files whose modality was said.
    """

    name: str
    output: Path
    scans: tuple[Path, ...] = ()
    modalities: Mapping[str, Path] = field(default_factory=dict)


def find_cases(scans: Sequence[Path], output: Path) -> list[Case]:
    """Sort files and folders into cases.

    Files of one folder whose names differ only in the words that name the modality are one case
    (``sub-01_T1w.nii.gz`` and ``sub-01_FLAIR.nii.gz``); a folder of DICOM files is one; label files are left out.

    Parameters
    ----------
    scans : sequence of pathlib.Path
        Files, folders (searched with all their subfolders), or one table (see `read_cases`).
    output : pathlib.Path
        The folder for the results.

    Raises
    ------
    MedzooError
        If nothing is found, or one thing is not there.
    """
    if len(scans) == 1 and scans[0].suffix.lower() in TABLES:
        return read_cases(scans[0], output)
    groups: dict[tuple[Path, str], list[Path]] = {}
    for scan in scans:
        if not scan.exists():
            raise MedzooError(f"{scan}: there is no such file or folder; check the path.")
        for folder, files in _folders(scan) if scan.is_dir() else [(scan.parent, [scan])]:
            for file in files:
                groups.setdefault((folder, "" if file == folder else _person(file)), []).append(file)
    if not groups:
        raise MedzooError(f"{scans[0]}: no scans were found there (NIfTI, Analyze, MGH, NRRD, MHA or DICOM).")
    root = scans[0] if scans[0].is_dir() else scans[0].parent
    names = [_name(folder, person, root) for folder, person in groups]
    twice = {name for name in names if names.count(name) > 1}
    cases = []
    for (folder, person), name in zip(groups, names, strict=True):
        # The same name in two folders (pre/T1, post/T1): the folder becomes part of it.
        full = "_".join(filter(None, (_relative(folder, root), name))) if name in twice else name
        files = groups[folder, person]
        cases.append(Case(full, output / f"{full}{ENDING}", tuple(files)))
    return sorted(cases, key=lambda case: _natural(case.name))


def read_cases(path: Path, output: Path) -> list[Case]:
    """Read a table with one row per case.

    Columns: one per modality (``t1w``, ``T2w``, ``flair`` ... with paths, relative ones to the table's folder);
    ``scan`` for a scan of any contrast; ``case`` for its name (else the first scan's) and ``output`` for the label
    file (else ``<case>_dseg.nii.gz``) are optional. Other columns are not looked at.

    Raises
    ------
    MedzooError
        If the table cannot be read, has no column of scans or no rows, a row is without scans, or two rows would
        write the same file.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise MedzooError(f"{path}: the table of cases cannot be read ({error}).") from error
    heading = text.splitlines()[0] if text.strip() else ""
    delimiter = next((mark for mark in ("\t", ";", ",") if mark in heading), ",")
    rows = list(csv.DictReader(text.splitlines(), delimiter=delimiter))
    columns = {name.strip().lower(): name for name in next(iter(rows), {}) if name}
    if not rows or not any(key in columns for key in (*MODALITIES, "scan")):
        raise MedzooError(
            f"{path}: expected a heading with at least one of {', '.join(MODALITIES)} or scan, then one row per case."
        )
    cases: list[Case] = []
    for number, row in enumerate(rows, start=2):
        cells = {key: (row[name] or "").strip() for key, name in columns.items()}
        files = {key: path.parent / cells[key] for key in (*MODALITIES, "scan") if cells.get(key)}
        if not files:
            raise MedzooError(f"{path}, line {number}: no scan is named; give at least one or take the line out.")
        name = cells.get("case") or stem_of(next(iter(files.values())))
        target = output / (cells.get("output") or f"{name}{ENDING}")
        if not suffix_of(target):
            raise MedzooError(
                f"{path}, line {number}: output '{cells['output']}' must end in an image format (.nii.gz)."
            )
        same = next((case for case in cases if case.output == target), None)
        if same:
            raise MedzooError(f"{path}, line {number}: {target.name} is already the output of case '{same.name}'.")
        scans = (files.pop("scan"),) if "scan" in files else ()
        cases.append(Case(name, target, scans, files))
    return cases


def _folders(root: Path) -> Iterator[tuple[Path, list[Path]]]:
    """Every folder below `root` that holds scans, with them; a folder of DICOM files is a scan itself."""
    inside = (path for path in root.rglob("*") if path.is_dir() and not path.name.startswith("."))
    for folder in (root, *sorted(inside)):
        files = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
        scans = [path for path in files if suffix_of(path) and not _is_labels(path)]
        if scans or dicom_files(folder):
            yield folder, scans or [folder]


def _is_labels(path: Path) -> bool:
    try:
        return looks_like_labels(path)
    except MedzooError:  # what cannot be read becomes a case that fails, with its reason
        return False


def _person(path: Path) -> str:
    """The words of a file's name that do not name the modality: the same for all scans of one study."""
    rest = ""
    separator = ""
    for part in re.split(r"([_\-. ]+)", stem_of(path)):
        if not part or part[0] in "_-. ":
            separator = part
        elif part.lower() not in TECHNICAL and not _is_modality(part):
            rest += (separator if rest else "") + part
    return rest


def _is_modality(word: str) -> bool:
    return guess_modality(Path(f"{word}.nii.gz"))[0] is not None


def _name(folder: Path, person: str, root: Path) -> str:
    return person or _relative(folder, root) or folder.resolve().name


def _relative(folder: Path, root: Path) -> str:
    return "_".join(folder.relative_to(root).parts) if folder.is_relative_to(root) else folder.name


def _natural(text: str) -> list[tuple[int, str]]:
    """Sort key by which subject 10 comes after subject 9."""
    return [(int(part), "") if part.isdigit() else (0, part) for part in re.split(r"(\d+)", text)]
