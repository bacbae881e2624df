"""Real scans that no training has seen, and the few figures by which a card is judged."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from napari_medzoo.cards import ModelCard, Score
from napari_medzoo.evaluate import comparable, evaluate
from napari_medzoo.inference import predict
from napari_medzoo.io import load_study, read_segmentation
from napari_medzoo.label_tables import LABEL_TABLES, convert
from napari_medzoo.labels import Segmentation
from napari_medzoo.progress import run
from napari_medzoo.samples import load_sample, sample_reference
from napari_medzoo.study import Study

SUBCORTICAL = (10, 11, 12, 13, 17, 18, 4, 49, 50, 51, 52, 53, 54, 43, 16)
"""aseg: thalamus, caudate, putamen, pallidum, hippocampus, amygdala and lateral ventricle of both sides, brain stem."""

TISSUES = (2, 3)
"""Grey and white matter in the table ``tissue``."""


@dataclass(frozen=True)
class Case:
    """One scan with a reference: what it is, and how to read both from the data folder."""

    title: str
    read: Callable[[Path], tuple[Study, Segmentation]]


def _with_labels(scan: str, reference: str, scheme: str) -> Callable[[Path], tuple[Study, Segmentation]]:
    def read(data: Path) -> tuple[Study, Segmentation]:
        labels = read_segmentation(data / reference, LABEL_TABLES[scheme])
        return load_study([], {"t1w": data / scan}), labels

    return read


CASES = {
    "ixi012": Case(
        "IXI012, full head, 2 mm, DLMUSE labels",
        _with_labels("structures/ixi012/T1w.nii.gz", "structures/ixi012/dlmuse.nii.gz", "muse"),
    ),
    "fsaverage": Case(
        "fsaverage, stripped, 1 mm, FreeSurfer labels",
        _with_labels("structures/fsaverage/brain.mgz", "structures/fsaverage/aseg.mgz", "aseg"),
    ),
    "mni152": Case(
        "MNI152 template, stripped, 1 mm, its own grey- and white-matter maps",
        lambda data: (load_sample("mni152"), sample_reference("mni152")),
    ),
}
"""Key → a scan that the label maps have nothing to do with."""


def validate(
    card: ModelCard, data: Path, cases: tuple[str, ...] = tuple(CASES), threads: int | None = None
) -> Iterator[Score]:
    """Segment real scans and score the result: full volumes, hard Dice, no background.

    Parameters
    ----------
    card : ModelCard
    data : pathlib.Path
        Folder of the real scans.
    cases : tuple of str
        Keys of `CASES`.
    threads : int, optional

    Yields
    ------
    Score
        Mean Dice of grey and white matter and, where both sides tell structures apart, of `SUBCORTICAL`.
    """
    for key in cases:
        case = CASES[key]
        study, reference = case.read(data)
        prediction = run(predict(study, card, threads=threads))
        command = f"medzoo-train evaluate {card.name} --case {key}"
        tissue = _mean_dice(convert(prediction, "tissue"), reference, TISSUES)
        yield Score(data=case.title, metric="Dice, mean of GM and WM", value=tissue, command=command)
        if card.label_scheme == "aseg" and reference.table.name in ("aseg", "muse"):
            value = _mean_dice(prediction, convert(reference, "aseg"), SUBCORTICAL)
            yield Score(data=case.title, metric="Dice, mean of 15 subcortical structures", value=value, command=command)


def _mean_dice(prediction: Segmentation, reference: Segmentation, indices: tuple[int, ...]) -> float:
    report = evaluate(*comparable(prediction, reference))
    dice = {score.index: score.dice for score in report.labels}
    return round(float(np.mean([dice[index] for index in indices])), 4)
