"""Subject-level folds, kept in a file so that everybody's fold 0 is the same."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from napari_medzoo.errors import MedzooError
from napari_medzoo.io import replacing


def make_folds(subjects: Sequence[str], count: int, seed: int) -> tuple[tuple[str, ...], ...]:
    """Divide subjects into `count` folds whose sizes differ by one at most.

    Parameters
    ----------
    subjects : sequence of str
        In any order and with repetitions (visits of one subject stay together).
    count, seed : int
        The same subjects, count and seed give the same folds.

    Raises
    ------
    MedzooError
        If there are fewer subjects than folds.
    """
    different = sorted(set(subjects))
    if len(different) < count:
        raise MedzooError(f"{len(different)} subjects cannot make {count} folds; add cases or ask for fewer folds.")
    shuffled = np.random.default_rng(seed).permutation(different).tolist()
    return tuple(tuple(sorted(shuffled[fold::count])) for fold in range(count))


def write_folds(path: Path, folds: Sequence[Sequence[str]], seed: int) -> None:
    """Write the folds as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        temporary.write_text(
            json.dumps({"seed": seed, "folds": [list(fold) for fold in folds]}, indent=1) + "\n", "utf-8"
        )


def read_folds(path: Path, subjects: Sequence[str] | None = None) -> tuple[tuple[str, ...], ...]:
    """Read what `write_folds` wrote.

    Raises
    ------
    MedzooError
        If the file is absent or damaged, if a subject is in two folds, or if the folds are not of `subjects`.
    """
    try:
        folds = tuple(tuple(str(subject) for subject in fold) for fold in json.loads(path.read_text("utf-8"))["folds"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise MedzooError(f"{path}: not a file of folds; remove it, and it is made anew.") from error
    listed = [subject for fold in folds for subject in fold]
    repeated = sorted({subject for subject in listed if listed.count(subject) > 1})
    if repeated:
        raise MedzooError(f"{path}: subject {repeated[0]} is listed twice; a subject belongs to one fold.")
    if subjects is not None and set(listed) != set(subjects):
        odd = sorted(set(listed) ^ set(subjects))
        raise MedzooError(
            f"{path}: the folds and the data set differ in {len(odd)} subjects (the first is {odd[0]}); "
            "give the data set they were made for, or another file."
        )
    return folds


def training_subjects(folds: Sequence[Sequence[str]], fold: int) -> tuple[str, ...]:
    """All subjects outside fold number `fold`.

    Raises
    ------
    MedzooError
        If there is no such fold.
    """
    if not 0 <= fold < len(folds):
        raise MedzooError(f"There is no fold {fold}; the folds are 0 to {len(folds) - 1}.")
    return tuple(subject for number, part in enumerate(folds) if number != fold for subject in part)
