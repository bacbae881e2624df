"""Who corrected labels, when, how, and how many voxels each class gained and lost: ``<labels>_edits.json``."""

from __future__ import annotations

import getpass
import json
import shutil
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError

from napari_medzoo.changes import Change
from napari_medzoo.errors import MedzooError
from napari_medzoo.io import replacing, stem_of, suffix_of
from napari_medzoo.labels import LabelTable
from napari_medzoo.settings import Settings


class ClassChange(Settings):
    """What one class gained and lost, in voxels."""

    index: int
    name: str
    gained: int
    lost: int


class Edit(Settings):
    """One action on the labels.

    Attributes
    ----------
    who : str
    when : str
        UTC, ISO 8601.
    action : str
        As the person reads it: ``"Paint"``, ``"Remove islands"``, ``"Undo Paint"``.
    voxels : int
        How many voxels changed.
    classes : tuple of ClassChange
        Every class that gained or lost, background included, by index.
    """

    who: str
    when: str
    action: str
    voxels: int
    classes: tuple[ClassChange, ...]


class EditLog(Settings):
    """All that was done to one file of labels, in order."""

    edits: tuple[Edit, ...] = ()


def user_name() -> str:
    """The name that the person is logged in under, ``"unknown"`` where the system does not tell."""
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # no account of that number; Windows without the variables
        return "unknown"


def edit_of(action: str, change: Change, table: LabelTable, who: str) -> Edit:
    """Describe a change that was made now.

    Parameters
    ----------
    action : str
    change : Change
    table : LabelTable
        Names the classes; a value that it lacks is called ``label 5``.
    who : str
    """
    gained, lost = change.gained(), change.lost()
    classes = tuple(
        ClassChange(
            index=index,
            name=table[index].name if index in table else f"label {index}",
            gained=gained.get(index, 0),
            lost=lost.get(index, 0),
        )
        for index in sorted({*gained, *lost})
    )
    when = datetime.now(UTC).isoformat(timespec="seconds")
    return Edit(who=who, when=when, action=action, voxels=len(change), classes=classes)


def log_path(labels: Path) -> Path:
    """Where the log of a labels file lies: ``brain_edits.json`` beside ``brain.nii.gz``."""
    return labels.with_name(f"{stem_of(labels)}_edits.json")


def read_log(labels: Path) -> EditLog:
    """The log beside a labels file, an empty one where there is none.

    Raises
    ------
    MedzooError
        For a file of that name that is no log.
    """
    path = log_path(labels)
    if not path.exists():
        return EditLog()
    try:
        return EditLog.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, ValidationError) as error:
        raise MedzooError(f"{path}: not a log of corrections; move it away and save again.") from error


def add_to_log(labels: Path, edits: Sequence[Edit], before: EditLog | None = None) -> Path:
    """Write a log beside a labels file: what was known `before` (by default what its log says now), then `edits`.

    Returns
    -------
    pathlib.Path
        The log's file.

    Raises
    ------
    MedzooError
        As `read_log`, and if the file cannot be written.
    """
    known = before if before is not None else read_log(labels)
    log = EditLog(edits=(*known.edits, *edits))
    with replacing(log_path(labels)) as temporary:
        temporary.write_text(json.dumps(log.model_dump(), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return log_path(labels)


def keep_original(labels: Path) -> Path | None:
    """Copy a labels file that is about to be replaced to ``brain_original.nii.gz``, unless an original is kept already.

    Returns
    -------
    pathlib.Path or None
        The copy's path; None where there was nothing to keep.
    """
    if not labels.exists():
        return None
    kept = labels.with_name(f"{stem_of(labels)}_original{suffix_of(labels)}")
    if not kept.exists():
        with replacing(kept) as temporary:
            shutil.copy2(labels, temporary)
    return kept
