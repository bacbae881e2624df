"""The scores of a cross-validation, case by case and label by label, and what they come to over the subjects."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from napari_medzoo.errors import MedzooError
from napari_medzoo.io import replacing

from .config import Recipe


@dataclass(frozen=True)
class CaseScore:
    """One label of one held-out case on its own grid; NaN where a figure is not defined (see `evaluate`).

    Attributes
    ----------
    fold : int
    subject, case : str
        A subject may have several cases (visits).
    label : int
        Index of a foreground label, and in `name` what it is called.
    dice : float
        Hard Dice, 0–1; 0 where one side alone has the label, NaN where neither has.
    hd95_mm : float
        NaN where a side lacks the label.
    """

    fold: int
    subject: str
    case: str
    label: int
    name: str
    dice: float
    hd95_mm: float


def write_scores(path: Path, scores: Iterable[CaseScore]) -> None:
    """Write one row for every case and label; undefined figures are empty."""
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow([field.name for field in fields(CaseScore)])
        for score in scores:
            *words, dice, hd95 = asdict(score).values()
            writer.writerow([*words, *("" if math.isnan(value) else f"{value:.5f}" for value in (dice, hd95))])


def read_scores(path: Path) -> tuple[CaseScore, ...]:
    """Read what `write_scores` wrote.

    Raises
    ------
    MedzooError
        If it is not such a file.
    """
    kinds: dict[str, Callable[[str], Any]] = {"fold": int, "label": int, "dice": _number, "hd95_mm": _number}
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            rows = [{key: kinds.get(key, str)(value) for key, value in row.items()} for row in csv.DictReader(stream)]
        return tuple(CaseScore(**row) for row in rows)
    except (TypeError, ValueError) as error:
        raise MedzooError(f"{path}: not a table of scores; remove it, and the fold is scored again.") from error


def _number(text: str) -> float:
    return float(text) if text else math.nan


def summarise(recipe: Recipe, scores: Sequence[CaseScore]) -> dict[str, Any]:
    """Mean and standard deviation over subjects, label by label, as it is written to ``summary.yaml``.

    A subject with several cases counts once, by the mean of its cases. The mean over labels is taken within each
    subject first. The background is in no figure; the deviation is that of a sample (n − 1), and None for one subject.
    """
    subjects = sorted({score.subject for score in scores})
    labels = recipe.label_table.foreground
    # (figures, subjects, labels)
    values = np.full((2, len(subjects), len(labels)), math.nan)
    for row, subject in enumerate(subjects):
        for column, label in enumerate(labels):
            here = [(s.dice, s.hd95_mm) for s in scores if (s.subject, s.label) == (subject, label.index)]
            values[:, row, column] = [_mean([pair[figure] for pair in here]) for figure in (0, 1)]
    table = [
        {"index": label.index, "name": label.name, **_figures(values[0, :, column], values[1, :, column])}
        for column, label in enumerate(labels)
    ]
    over_labels = [np.array([_mean(row) for row in figure]) for figure in values]
    return {
        "recipe": recipe.name,
        "folds": recipe.folds.count if recipe.folds else 0,
        "finished": sorted({score.fold for score in scores}),
        "subjects": len(subjects),
        "labels": table,
        "mean": _figures(*over_labels),
    }


def _mean(values: Iterable[float]) -> float:
    defined = [value for value in values if not math.isnan(value)]
    return sum(defined) / len(defined) if defined else math.nan


def _figures(dice: np.ndarray[Any, Any], hd95: np.ndarray[Any, Any]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for name, unit, values in (("dice", "", dice), ("hd95", "_mm", hd95)):
        defined = values[np.isfinite(values)]
        result[f"{name}_mean{unit}"] = round(float(defined.mean()), 4) if len(defined) else None
        result[f"{name}_sd{unit}"] = round(float(defined.std(ddof=1)), 4) if len(defined) > 1 else None
        result[f"{name}_subjects"] = len(defined)
    return result


def as_table(summary: dict[str, Any]) -> str:
    """The summary in aligned columns for a terminal."""
    rows = [("Label", "Dice", "HD95 (mm)", "subjects")]
    for row in (*summary["labels"], {"name": "mean of labels", **summary["mean"]}):
        dice = _plus_minus(row["dice_mean"], row["dice_sd"], 3)
        hd95 = _plus_minus(row["hd95_mean_mm"], row["hd95_sd_mm"], 2)
        rows.append((row["name"], dice, hd95, str(row["dice_subjects"])))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    lines.append(
        f"Mean ± standard deviation over {summary['subjects']} held-out subjects of {len(summary['finished'])} of "
        f"{summary['folds']} folds; the background is left out."
    )
    return "\n".join(lines)


def _plus_minus(mean: float | None, deviation: float | None, digits: int) -> str:
    if mean is None:
        return "–"
    return f"{mean:.{digits}f}" + ("" if deviation is None else f" ± {deviation:.{digits}f}")
