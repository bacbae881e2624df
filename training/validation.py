"""Real scans that no training has seen, and the few figures by which a card is judged."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from napari_medzoo.cards import ModelCard, Score
from napari_medzoo.errors import MedzooError
from napari_medzoo.evaluate import comparable, confusion
from napari_medzoo.inference import predict
from napari_medzoo.io import load_study, read_segmentation
from napari_medzoo.label_tables import LABEL_TABLES, compose, convert, find_mapping, map_values, scheme_of
from napari_medzoo.labels import Segmentation
from napari_medzoo.preprocess import resample
from napari_medzoo.progress import run
from napari_medzoo.samples import load_sample, sample_reference
from napari_medzoo.study import MODALITIES, Study, Volume

from .config import RECIPES, Recipe, read_recipe
from .gif import GIF_TO_ASEG
from .lesion_validation import TITLE, has_lesions, score_lesions
from .pictures import save_picture, save_volumes

SUBCORTICAL = (10, 11, 12, 13, 17, 18, 4, 49, 50, 51, 52, 53, 54, 43, 16)
"""aseg: thalamus, caudate, putamen, pallidum, hippocampus, amygdala and lateral ventricle of both sides, brain stem."""

PAIRS = ((10, 49), (11, 50), (12, 51), (13, 52), (17, 53), (18, 54), (4, 43))
"""aseg: left and right of the structures of `SUBCORTICAL` that have sides."""

TISSUES = (2, 3)
"""Grey and white matter in the table ``tissue``."""

TISSUE_METRIC = "Dice, mean of GM and WM"
SUBCORTICAL_METRIC = "Dice, mean of 15 subcortical structures"


@dataclass(frozen=True)
class Trial:
    """A card that is being judged, and with what."""

    card: ModelCard
    data: Path
    threads: int | None = None
    recipe: Recipe | None = None
    show: Path | None = None

    @property
    def scheme(self) -> str:
        """The numbering that the card's labels are of."""
        return scheme_of(self.card.label_table)

    def segment(self, study: Study, grid: str | None = None) -> Segmentation:
        """The card's labels of a study."""
        return run(predict(study, self.card, grid=grid, threads=self.threads))

    def picture(self, name: str, study: Study, segmentation: Segmentation) -> None:
        """Write ``NAME.png`` if pictures are wanted."""
        if self.show:
            save_picture(self.show / f"{name}.png", study[study.modalities[0]], segmentation)


Figures = Iterator[tuple[str, float]]
"""What was measured, and the value."""


@dataclass(frozen=True)
class Case:
    """One or more scans: what they are, what they say about a card, and which cards they can judge."""

    title: str
    score: Callable[[str, Trial], Figures]
    suits: Callable[[Trial], bool]


def validate(
    card: ModelCard,
    data: Path,
    cases: tuple[str, ...] | None = None,
    threads: int | None = None,
    *,
    recipe: Recipe | None = None,
    show: Path | None = None,
) -> Iterator[Score]:
    """Segment real scans and score the result: full volumes, hard Dice, no background.

    Parameters
    ----------
    card : ModelCard
    data : pathlib.Path
        Folder of the real scans.
    cases : tuple of str, optional
        Keys of `CASES`; all by default. Those that cannot judge the card are passed over.
    threads : int, optional
    recipe : Recipe, optional
        That the card was trained with, for its held-out fold; the shipped one of the card's name by default.
    show : pathlib.Path, optional
        Folder for pictures (``KEY.png``) and tables of volumes (``KEY.md``) of the cases without further figures.

    Yields
    ------
    Score

    Raises
    ------
    MedzooError
        If none of the cases can judge the card.
    """
    if recipe is None and (RECIPES / f"{card.name}.yaml").exists():
        recipe = read_recipe(RECIPES / f"{card.name}.yaml")
    trial = Trial(card, data, threads, recipe, show)
    chosen = [key for key in cases or CASES if CASES[key].suits(trial)]
    if not chosen:
        suitable = [key for key, case in CASES.items() if case.suits(trial)]
        raise MedzooError(
            f"Model '{card.name}' labels '{card.label_scheme}', which {' and '.join(cases or CASES)} cannot judge; "
            + (f"choose from: {', '.join(suitable)}." if suitable else "name the recipe it was trained with.")
        )
    for key in chosen:
        for metric, value in CASES[key].score(key, trial):
            command = f"medzoo-train evaluate {card.name} --case {key}"
            yield Score(data=CASES[key].title, metric=metric, value=round(value, 4), command=command)


def mean_dice(prediction: Segmentation, reference: Segmentation, indices: tuple[int, ...]) -> float:
    """Mean hard Dice of `indices` of the numbering in which the two are compared; no surface is looked at.

    Raises
    ------
    MedzooError
        If one of the indices is not compared, because a side cannot express it.
    """
    ours, theirs = comparable(prediction, reference)
    counts = confusion(ours, theirs)
    sizes = counts.sum(axis=0) + counts.sum(axis=1)
    rows = {index: row for row, index in enumerate(theirs.table.indices)}
    missing = [index for index in indices if index not in rows]
    if missing:
        raise MedzooError(f"The labels and the reference do not both have label {missing[0]} of '{theirs.table.name}'.")
    # A structure that neither side has any voxel of is no error of the prediction, and no merit.
    dice = [2 * counts[rows[index], rows[index]] / sizes[rows[index]] for index in indices if sizes[rows[index]]]
    return float(np.mean(dice)) if dice else 0.0


def _against(read: Callable[[Path], tuple[Study, Segmentation]]) -> Callable[[str, Trial], Figures]:
    """Scores of one scan with a reference: tissue and, where both sides tell structures apart, `SUBCORTICAL`."""

    def score(key: str, trial: Trial) -> Figures:
        study, reference = read(trial.data)
        prediction = trial.segment(study)
        trial.picture(key, study, prediction)
        yield from _tissue_and_structures(trial, prediction, reference)

    return score


def _tissue_and_structures(trial: Trial, prediction: Segmentation, reference: Segmentation) -> Figures:
    yield TISSUE_METRIC, mean_dice(convert(prediction, "tissue"), reference, TISSUES)
    if trial.scheme == "aseg" and set(SUBCORTICAL) <= set(trial.card.channels) and reference.table.name != "tissue":
        yield SUBCORTICAL_METRIC, mean_dice(prediction, convert(reference, "aseg"), SUBCORTICAL)


def _with_labels(scan: str, reference: str, scheme: str) -> Callable[[Path], tuple[Study, Segmentation]]:
    def read(data: Path) -> tuple[Study, Segmentation]:
        labels = read_segmentation(data / reference, LABEL_TABLES[scheme])
        return load_study([], {"t1w": data / scan}), labels

    return read


def _agreement(key: str, trial: Trial) -> Figures:
    """How far the tissues of one head agree that were found in its T1w, T2w and FLAIR, each alone."""
    found = {}
    for modality in ("t1w", "t2w", "flair"):
        name = MODALITIES[modality]
        study = load_study([], {modality: trial.data / "ms" / "patient26_mni" / f"{name}.nii.gz"})
        segmentation = trial.segment(study)
        trial.picture(f"{key}_{modality}", study, segmentation)
        found[name] = convert(segmentation, "tissue")
    for first, second in combinations(found, 2):
        yield f"Dice of {first} with {second}, mean of GM and WM", mean_dice(found[first], found[second], TISSUES)


def _thick_slices(key: str, trial: Trial) -> Figures:
    """Slices of 5.5 mm against the GIF parcellation of the same person's T1w, and left against right.

    The ventricles are dark: the T2w is a fluid-attenuated one.
    """
    folder = trial.data / "misc" / "t2_gif"
    study = load_study([], {"t2w": folder / "T2w.nii.gz"})
    prediction = trial.segment(study)
    parcels = read_segmentation(folder / "gif_parcellation_T1space.nii.gz")
    # Both lie in the scanner's millimetres; each voxel of the T2w takes the label at its centre.
    stored = resample(Volume(parcels.data, parcels.grid, "unknown"), prediction.grid, order=0).data
    wordless = ~np.isin(stored, [0, *GIF_TO_ASEG])
    values = [*set(GIF_TO_ASEG.values()), 0]
    reference = Segmentation(map_values(stored, GIF_TO_ASEG), prediction.grid, LABEL_TABLES["aseg"].subset(values))
    trial.picture(key, study, prediction)
    if trial.show:
        save_volumes(trial.show / f"{key}.md", prediction, reference)
    # What GIF has and aseg has no word for is left out on both sides, as `comparable` does it.
    scored = replace(prediction, data=np.where(wordless, 0, prediction.data).astype(prediction.data.dtype))
    yield from _tissue_and_structures(trial, scored, reference)
    if trial.scheme == "aseg" and set(SUBCORTICAL) <= set(trial.card.channels):
        ours, theirs = prediction.volumes_ml(), reference.volumes_ml()
        left, right = ours[2] + ours[3], ours[41] + ours[42]
        yield "Left to right volume of the cerebral hemispheres", left / right if right else 0.0
        sides = [_ratio(ours[left], ours[right]) for left, right in PAIRS]
        yield "Smaller to larger side's volume, mean of 7 subcortical structures", float(np.mean(sides))
        volumes = [_ratio(ours[index], theirs[index]) for index in SUBCORTICAL]
        yield (
            "Smaller to larger volume of labels and reference, mean of 15 subcortical structures",
            float(np.mean(volumes)),
        )


def _ratio(first: float, second: float) -> float:
    return min(first, second) / max(first, second) if max(first, second) else 1.0


def _held_out(key: str, trial: Trial) -> Figures:
    """Every class on the cases of the fold that the recipe kept from training."""
    from .datasets import read_cases
    from .folds import make_folds, read_folds
    from .held_out import compare_cases, hard_dice

    recipe = trial.recipe
    assert recipe is not None and recipe.dataset is not None and recipe.folds is not None
    if recipe.channels != trial.card.channels:
        raise MedzooError(f"Model '{trial.card.name}' does not label what the recipe '{recipe.name}' teaches.")
    found = read_cases(recipe.dataset, recipe.modalities, trial.data)
    labelled = [case for case in found.cases if case.reference]
    subjects = sorted({case.subject for case in labelled})
    file, fold = recipe.folds.file, recipe.folds.fold
    if file and file.exists():
        folds = read_folds(file, subjects)
    else:  # as the training has made them
        folds = make_folds(subjects, recipe.folds.count, recipe.seed)
    if fold >= len(folds):
        raise MedzooError(f"There is no fold {fold}; the folds are 0 to {len(folds) - 1}.")
    scores: list[NDArray[np.float64]] = []
    cases = [case for case in labelled if case.subject in folds[fold]]
    for one in compare_cases(recipe, found, cases, trial.segment):
        if not scores:
            trial.picture(f"{key}_{one.case.name}", one.study, one.prediction)
        numbers = map_values(one.prediction.data, {index: number for number, index in enumerate(recipe.channels)})
        scores.append(hard_dice(numbers, one.reference.data, len(recipe.channels)))
    table = np.array(scores)
    about = f"{len(scores)} cases, fold {fold} of {len(folds)}"
    for number, index in enumerate(recipe.channels[1:]):
        yield f"Dice of {recipe.label_table[index].name}, {about}", float(np.nanmean(table[:, number]))
    yield f"Dice, mean of {table.shape[1]} classes, {about}", float(np.nanmean(np.nanmean(table, axis=0)))


def _tissue_from(*alone: str) -> Callable[[Trial], bool]:
    """Cards that label grey and white matter, and take each of these modalities alone."""

    def suits(trial: Trial) -> bool:
        chain = find_mapping(trial.scheme, "tissue")
        told = set(TISSUES) <= set(compose(chain, trial.card.channels).values()) if chain else False
        parts = (trial.card.modalities, *trial.card.accepts)
        return told and (("any",) in parts or all((key,) in parts for key in alone))

    return suits


def _has_fold(trial: Trial) -> bool:
    return trial.recipe is not None and trial.recipe.dataset is not None and trial.recipe.folds is not None


CASES = {
    "ixi012": Case(
        "IXI012, full head, 2 mm, DLMUSE labels",
        _against(_with_labels("structures/ixi012/T1w.nii.gz", "structures/ixi012/dlmuse.nii.gz", "muse")),
        _tissue_from("t1w"),
    ),
    "fsaverage": Case(
        "fsaverage, stripped, 1 mm, FreeSurfer labels",
        _against(_with_labels("structures/fsaverage/brain.mgz", "structures/fsaverage/aseg.mgz", "aseg")),
        _tissue_from("t1w"),
    ),
    "mni152": Case(
        "MNI152 template, stripped, 1 mm, its own grey- and white-matter maps",
        _against(lambda data: (load_sample("mni152"), sample_reference("mni152"))),
        _tissue_from("t1w"),
    ),
    "contrasts": Case(
        "One MS patient, stripped, 1 mm: T1w, T2w and FLAIR, each alone",
        _agreement,
        _tissue_from("t1w", "t2w", "flair"),
    ),
    "t2_gif": Case(
        "T2w with dark fluid, 5.5 mm slices, full head, GIF labels of the same person's T1w",
        _thick_slices,
        _tissue_from("t2w"),
    ),
    "lesions": Case(TITLE, score_lesions, has_lesions),
    "held_out": Case("The fold that was held out of training", _held_out, _has_fold),
}
"""Key → scans that the training has not seen."""
