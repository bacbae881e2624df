"""Score a segmentation against a reference, label by label.

Which figures, and how each is defined, is in `napari_medzoo.metrics`.

A label absent from both sides has no score: NaN, ``null`` in JSON, left out of the mean. A label absent from one
side alone has Dice, NSD and volume similarity 0 and no distances (NaN; there is no surface to measure to): the
mean of the distances leaves it out, and a note says so. The background is never scored.
"""

from __future__ import annotations

import csv
import io
import json
import math
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_medzoo.comparison import NOTES, comparable, require_same_grids
from napari_medzoo.errors import MedzooError
from napari_medzoo.label_tables import map_values, require_known, same_names
from napari_medzoo.labels import LabelTable, Segmentation, count_each
from napari_medzoo.metrics import METRICS, LabelPair, Metric

__all__ = [
    "METRICS",
    "EvaluationReport",
    "LabelMean",
    "LabelPair",
    "LabelScore",
    "Metric",
    "comparable",
    "confusion",
    "evaluate",
]


@dataclass(frozen=True)
class LabelScore:
    """The scores of one label; NaN where a figure is not defined."""

    index: int
    name: str
    dice: float
    hd95_mm: float
    assd_mm: float
    nsd: float
    volume_ml: float
    reference_volume_ml: float
    volume_similarity: float

    @property
    def present(self) -> bool:
        """Whether at least one side has the label."""
        return self.volume_ml > 0 or self.reference_volume_ml > 0


@dataclass(frozen=True)
class LabelMean:
    """Means over the labels for which the figure is defined; NaN where there is none."""

    dice: float
    hd95_mm: float
    assd_mm: float
    nsd: float
    volume_similarity: float


@dataclass(frozen=True)
class EvaluationReport:
    """The scores of a segmentation.

    Attributes
    ----------
    labels : tuple of LabelScore
        Every foreground label of the table, in ascending order of index.
    mean : LabelMean
    tolerance_mm : float
        That NSD was computed with.
    notes : tuple of str
        What the comparison left out or converted, and which labels are absent from one side.
    """

    labels: tuple[LabelScore, ...]
    mean: LabelMean
    tolerance_mm: float
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The report with None for NaN, ready for JSON."""
        return {
            "labels": [{key: _or_none(value) for key, value in asdict(score).items()} for score in self.labels],
            "mean": {key: _or_none(value) for key, value in asdict(self.mean).items()},
            "tolerance_mm": self.tolerance_mm,
            "notes": list(self.notes),
        }

    def to_json(self) -> str:
        """Strict JSON; undefined figures are ``null``."""
        return json.dumps(self.to_dict(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"

    def to_csv(self) -> str:
        """One heading line and one line per label; undefined figures are empty."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        columns = [field.name for field in fields(LabelScore)]
        writer.writerow(columns)
        for score in self.labels:
            values = (getattr(score, column) for column in columns)
            writer.writerow("" if isinstance(value, float) and math.isnan(value) else value for value in values)
        return text.getvalue()

    def to_table(self) -> str:
        """Aligned columns for a terminal; labels absent from both sides are named below instead of listed."""
        rows = [["Index", "Label", *(metric.title for metric in METRICS.values())]]
        for score in self.labels:
            if score.present:
                figures = (metric.show(getattr(score, key)) for key, metric in METRICS.items())
                rows.append([str(score.index), score.name, *figures])
        averages = (metric.show(getattr(self.mean, key)) if metric.averaged else "" for key, metric in METRICS.items())
        rows.append(["", "mean", *averages])
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        lines = [_aligned(row, widths) for row in rows]
        lines.insert(1, "  ".join("-" * width for width in widths))
        lines.insert(-1, lines[1])
        absent = [score.name for score in self.labels if not score.present]
        lines.append(f"NSD at {self.tolerance_mm:g} mm. The mean leaves out the background and undefined figures (–).")
        if absent:
            lines.append(f"Absent from both: {', '.join(absent)}.")
        return "\n".join([*lines, *self.notes]) + "\n"


def _or_none(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _aligned(row: list[str], widths: list[int]) -> str:
    cells = [
        text.ljust(width) if column == 1 else text.rjust(width)
        for column, (text, width) in enumerate(zip(row, widths, strict=True))
    ]
    return "  ".join(cells).rstrip()


def evaluate(prediction: Segmentation, reference: Segmentation, tolerance_mm: float = 1.0) -> EvaluationReport:
    """Score `prediction` against `reference`; `comparable` prepares two segmentations that differ in numbering.

    Parameters
    ----------
    prediction, reference : Segmentation
        On the same grid, with the same table.
    tolerance_mm : float
        How far apart two surfaces may lie and still agree, for NSD.

    Raises
    ------
    MedzooError
        For different grids or tables, values outside the table, or a tolerance that is not a positive number.
    """
    if not (math.isfinite(tolerance_mm) and tolerance_mm > 0):
        raise MedzooError(f"Expected a tolerance in mm greater than 0, got {tolerance_mm}.")
    _require_comparable(prediction, reference)
    table = reference.table
    dense_prediction, dense_reference = _dense(prediction, table), _dense(reference, table)
    counts = _count(dense_prediction, dense_reference, len(table))
    our_boxes = ndimage.find_objects(dense_prediction, len(table) - 1)
    their_boxes = ndimage.find_objects(dense_reference, len(table) - 1)
    scores = []
    for row, label in enumerate(table.foreground, start=1):
        box = _union(our_boxes[row - 1], their_boxes[row - 1])
        pair = LabelPair(
            prediction=dense_prediction[box] == row,
            reference=dense_reference[box] == row,
            predicted=int(counts[:, row].sum()),
            expected=int(counts[row].sum()),
            shared=int(counts[row, row]),
            spacing=reference.grid.spacing,
            voxel_volume_ml=reference.grid.voxel_volume_ml,
            tolerance_mm=tolerance_mm,
        )
        scores.append(
            LabelScore(label.index, label.name, **{key: metric.compute(pair) for key, metric in METRICS.items()})
        )
    averaged = [key for key, metric in METRICS.items() if metric.averaged]
    mean = LabelMean(**{key: _mean([getattr(score, key) for score in scores]) for key in averaged})
    notes = (*prediction.provenance.get(NOTES, ()), *_absence_notes(scores))
    return EvaluationReport(tuple(scores), mean, tolerance_mm, notes)


def confusion(prediction: Segmentation, reference: Segmentation) -> NDArray[np.int64]:
    """How many voxels of each reference label were given each label by the prediction.

    Returns
    -------
    numpy.ndarray
        ``(K, K) int64``: row = the reference's label, column = the prediction's, both in the order of the common
        table's `indices` (background first).

    Raises
    ------
    MedzooError
        As `evaluate`.
    """
    _require_comparable(prediction, reference)
    table = reference.table
    return _count(_dense(prediction, table), _dense(reference, table), len(table))


def _require_comparable(prediction: Segmentation, reference: Segmentation) -> None:
    require_same_grids(prediction, reference)
    ours, theirs = prediction.table, reference.table
    if ours.indices != theirs.indices or not same_names(ours, theirs):
        raise MedzooError(
            f"The prediction is numbered in '{ours.name}' with {len(ours.foreground)} labels, the reference in "
            f"'{theirs.name}' with {len(theirs.foreground)}; say which numbering each was written in "
            "(options --labels and --reference-labels), or convert them with comparable()."
        )
    require_known(prediction, what="The prediction's labels")
    require_known(reference, what="The reference's labels")


def _dense(segmentation: Segmentation, table: LabelTable) -> NDArray[Any]:
    """The labels as positions in the table, ``(X, Y, Z)``."""
    return map_values(segmentation.data, {index: row for row, index in enumerate(table.indices)})


def _count(dense_prediction: NDArray[Any], dense_reference: NDArray[Any], size: int) -> NDArray[np.int64]:
    # uint16 holds 255² and more labels than any table here has; int64 only where it does not.
    kind = np.min_scalar_type(size * size)
    pairs = dense_reference.astype(kind) * kind.type(size) + dense_prediction
    return count_each(pairs, size * size).reshape(size, size)


def _union(first: tuple[slice, ...] | None, second: tuple[slice, ...] | None) -> tuple[slice, ...]:
    """The box around two boxes, either of which may be absent."""
    if first is None or second is None:
        return first or second or (slice(0, 0),) * 3
    return tuple(slice(min(a.start, b.start), max(a.stop, b.stop)) for a, b in zip(first, second, strict=True))


def _mean(values: list[float]) -> float:
    defined = [value for value in values if not math.isnan(value)]
    return sum(defined) / len(defined) if defined else math.nan


def _absence_notes(scores: list[LabelScore]) -> list[str]:
    notes = []
    for attribute, side in (("volume_ml", "prediction"), ("reference_volume_ml", "reference")):
        names = [score.name for score in scores if score.present and getattr(score, attribute) == 0]
        if names:
            notes.append(
                f"Absent from the {side} alone: {', '.join(names)} (Dice and NSD 0; no distances, so the mean of the "
                "distances leaves them out)."
            )
    return notes
