"""What a data set is made of: cases, and the rules that keep two people's files apart."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from napari_medzoo.errors import MedzooError
from napari_medzoo.io import SUFFIXES, suffix_of
from napari_medzoo.labels import LabelTable
from napari_medzoo.study import MODALITIES

LABEL = "label"
"""Key of the reference among a case's files."""


@dataclass(frozen=True)
class Case:
    """One subject at one visit.

    Attributes
    ----------
    subject : str
        Folds are made of subjects; two visits of one subject share it.
    name : str
        Unique in its list and safe as a file name.
    scans : mapping of str to pathlib.Path
        Modality key (of `MODALITIES`, or ``"any"``) → file, in the order that was asked for.
    reference : pathlib.Path or None
        The expert's labels.
    """

    subject: str
    name: str
    scans: Mapping[str, Path]
    reference: Path | None = None


@dataclass(frozen=True)
class CaseList:
    """The cases of a data set, and what their references' values mean.

    Attributes
    ----------
    cases : tuple of Case
        In numerical order: subject 10 comes after subject 9.
    table : LabelTable or None
        Of the references; None where the set brings none.
    mapping : mapping of int to int
        Stored value → index of the table; a value that is left out is an index as it is.
    ignored : tuple of int
        Indices (after `mapping`) that neither teach nor count.
    """

    cases: tuple[Case, ...]
    table: LabelTable | None = None
    mapping: Mapping[int, int] = field(default_factory=dict)
    ignored: tuple[int, ...] = ()


@dataclass
class Found:
    """The files of one case while a layout is read: modality key or `LABEL` → file."""

    name: str
    subject: str
    files: dict[str, Path] = field(default_factory=dict)

    def add(self, key: str, file: Path) -> None:
        """Note a file, once.

        Raises
        ------
        MedzooError
            If there is one already; the sentence names both.
        """
        other = self.files.setdefault(key, file)
        if other != file:
            raise MedzooError(
                f"{other} and {file} are both the {_shown(key)} of {self.name}, expected one; move one of them away."
            )


def natural(text: str) -> list[tuple[bool, int, str]]:
    """Sort key that puts subject-10 after subject-9, whatever the capitals."""
    return [(part.isdigit(), int(part) if part.isdigit() else 0, part) for part in re.split(r"(\d+)", text.lower())]


def scan_files(folder: Path) -> list[Path]:
    """The scans and label maps of a folder by number and name; one path (the header's) for a pair of files.

    Raises
    ------
    MedzooError
        If there is no such folder.
    """
    files = [path for path in entries(folder) if path.is_file() and suffix_of(path)]
    return [
        path
        for path in files
        if SUFFIXES[suffix_of(path).lower()] != "analyze" or not path.name.lower().removesuffix(".gz").endswith(".img")
    ]


def folders(folder: Path) -> list[Path]:
    """The sub-folders by number and name.

    Raises
    ------
    MedzooError
        If there is no such folder.
    """
    return [path for path in entries(folder) if path.is_dir()]


def entries(folder: Path) -> list[Path]:
    """What is in a folder by number and name, without hidden files (macOS leaves ``._*`` in archives)."""
    if not folder.is_dir():
        raise MedzooError(f"{folder}: there is no such folder; give the data set's folder as in its description.")
    return sorted((path for path in folder.iterdir() if path.name[0] != "."), key=lambda path: natural(path.name))


def assemble(
    found: Iterable[Found],
    modalities: Sequence[str],
    place: Path,
    labels: bool = True,
    incomplete: str = "refuse",
) -> tuple[Case, ...]:
    """Make cases of the files found.

    Parameters
    ----------
    found : iterable of Found
    modalities : sequence of str
        The scans that each case must have; ``"any"`` takes the T1w, else the first.
    place : pathlib.Path
        What errors call the data set.
    labels : bool
        Whether each case must have a reference.
    incomplete : str
        ``"refuse"``, or ``"skip"`` to leave cases out that lack a file.

    Raises
    ------
    MedzooError
        Naming the first cases that lack something, and what; or if nothing is left.
    """
    if incomplete not in ("refuse", "skip"):
        raise MedzooError(f"The option 'incomplete' is {incomplete!r}; it must be 'refuse' or 'skip'.")
    cases, lacking = [], []
    for item in sorted(found, key=lambda item: natural(item.name)):
        scans = {key: item.files[key] for key in item.files if key != LABEL}
        if "any" in modalities and scans:
            scans["any"] = scans.get("t1w", next(iter(scans.values())))
        wanted = [*modalities, LABEL] if labels else list(modalities)
        missing = [key for key in wanted if key not in scans and key not in item.files]
        if missing:
            lacking.append(f"{item.name} has no {' and no '.join(map(_shown, missing))}")
        else:
            chosen = {key: scans[key] for key in modalities}
            cases.append(Case(item.subject, file_safe(item.name), chosen, item.files.get(LABEL)))
    if lacking and incomplete == "refuse":
        more = f" (and {len(lacking) - 2} more like these)" if len(lacking) > 2 else ""
        raise MedzooError(
            f"{place}: {', '.join(lacking[:2])}{more}; add the files, move the cases away, "
            "or set the option 'incomplete: skip' to leave such cases out."
        )
    if not cases:
        what = "complete cases" if lacking else "cases"
        raise MedzooError(f"{place}: holds no {what} of this layout; compare the folder with the description of it.")
    return tuple(cases)


def file_safe(name: str) -> str:
    """A name with only letters, digits, ``.``, ``-`` and ``_``."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.") or "case"


def _shown(key: str) -> str:
    return "reference" if key == LABEL else MODALITIES.get(key, "scan" if key == "any" else key)
