"""Cross-validation: every subject is scored once, by the network that has not learnt from it.

The folder of a cross-validation holds ``folds.json``, a training in ``fold-N`` for every fold (its card in
``fold-N/model``, its scores in ``fold-N/scores.csv``), and over all folds so far ``scores.csv`` and ``summary.yaml``.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_medzoo.cards import ModelCard
from napari_medzoo.errors import MedzooError
from napari_medzoo.evaluate import evaluate
from napari_medzoo.io import replacing
from napari_medzoo.labels import Segmentation
from napari_medzoo.progress import run

from . import checkpoint
from .config import IGNORED, Folds, Recipe
from .datasets import read_cases
from .folds import make_folds, read_folds, write_folds
from .held_out import compare_cases
from .reports import write_report
from .scores import CaseScore, read_scores, summarise, write_scores

if TYPE_CHECKING:
    import lightning.pytorch as pl

    from napari_medzoo.study import Study

    from .patches import Source

FOLDS = "folds.json"
SCORES = "scores.csv"
SUMMARY = "summary.yaml"


def fold_recipes(recipe: Recipe, subjects: Sequence[str], output: Path) -> tuple[Recipe, ...]:
    """The recipe of every fold. The folds are read from the recipe's file, or made and written to it.

    Parameters
    ----------
    recipe : Recipe
        Its own fold is of no account; without `folds` there are five.
    subjects : sequence of str
        Of every case.
    output : pathlib.Path
        Of the cross-validation; it keeps the folds, also those of another file, in ``folds.json``.

    Raises
    ------
    MedzooError
        If the recipe has no data set, or the folder was begun with other folds.
    """
    if recipe.dataset is None:
        raise MedzooError(
            f"Recipe '{recipe.name}' learns from label maps, which leave no subjects to hold out; "
            "cross-validation needs a 'dataset'."
        )
    wanted, kept, different = recipe.folds or Folds(), output / FOLDS, sorted(set(subjects))
    file = wanted.file or kept
    if file.exists():
        folds = read_folds(file, different)
    else:
        folds = make_folds(different, wanted.count, recipe.seed)
        write_folds(file, folds, recipe.seed)
    if not kept.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        with replacing(kept) as temporary:
            temporary.write_bytes(file.read_bytes())
    elif read_folds(kept) != folds:
        raise MedzooError(f"{output} was begun with other folds than those of {file}; choose another folder.")
    return tuple(
        recipe.model_copy(update={"folds": wanted.model_copy(update={"count": len(folds), "fold": fold, "file": kept})})
        for fold in range(len(folds))
    )


def run_fold(
    recipe: Recipe,
    source: Source,
    data: Path,
    output: Path,
    *,
    device: str = "auto",
    threads: int | None = None,
    callbacks: Sequence[pl.Callback] = (),
    command: str | None = None,
) -> tuple[CaseScore, ...]:
    """Train one fold and score its held-out subjects; what an earlier call has done is not done again.

    Parameters
    ----------
    recipe : Recipe
        One of `fold_recipes`.
    source : PreparedCases
    data : pathlib.Path
        The folder that the recipe's data set is relative to: scored are the scans on disk, not the prepared ones.
    output : pathlib.Path
        Of the cross-validation.
    device : str
    threads : int, optional
        Of the CPU, for scoring.
    callbacks : sequence of lightning.pytorch.Callback
    command : str, optional
        For the card, where another command than ``crossval`` calls this.

    Raises
    ------
    MedzooError
        If the fold was begun with another recipe, or under torchrun.
    """
    from .export import export
    from .fit import fit

    assert recipe.folds is not None
    if int(os.environ.get("WORLD_SIZE", 1)) > 1:
        raise MedzooError("Cross-validation runs in one process; give each of several its own folds with --only.")
    folder = output / f"fold-{recipe.folds.fold}"
    begun = checkpoint.path_of(folder, checkpoint.LAST).exists()
    if begun:
        _require_same_recipe(recipe, checkpoint.recipe_of(folder), folder)
    if (folder / SCORES).exists():
        return read_scores(folder / SCORES)
    result = fit(recipe, lambda: source, folder, device=device, resume=begun, callbacks=callbacks)
    if result.steps < recipe.steps and not result.stopped_early:
        raise MedzooError(f"The training in {folder} ended after {result.steps} steps; call it again to continue.")
    card = export(folder, folder / "model", command or f"medzoo-train crossval {recipe.name}")
    scores = score_fold(card, recipe, data, device=device, threads=threads)
    write_scores(folder / SCORES, scores)
    return scores


def score_fold(
    card: ModelCard, recipe: Recipe, data: Path, *, device: str = "auto", threads: int | None = None
) -> tuple[CaseScore, ...]:
    """Score the subjects that a recipe's fold holds out: whole scans from the disk, segmented as by a user.

    Voxels that the reference ignores count on neither side.
    """
    from napari_medzoo.inference import predict

    assert recipe.dataset is not None and recipe.folds is not None and recipe.folds.file is not None

    def segment(study: Study, grid: str) -> Segmentation:
        return run(predict(study, card, grid=grid, device=device, threads=threads))

    found = read_cases(recipe.dataset, recipe.modalities, data)
    subjects = read_folds(recipe.folds.file)[recipe.folds.fold]
    cases = [case for case in found.cases if case.reference and case.subject in subjects]
    indices = np.zeros(IGNORED + 1, dtype=np.uint16)
    indices[: len(recipe.channels)] = recipe.channels
    scores = []
    for one in compare_cases(recipe, found, cases, segment):
        counted = one.reference.data != IGNORED
        prediction = replace(one.prediction, data=np.where(counted, one.prediction.data, 0).astype(np.uint16))
        reference = Segmentation(indices[one.reference.data], one.reference.grid, one.prediction.table)
        for label in evaluate(prediction, reference).labels:
            who = (recipe.folds.fold, one.case.subject, one.case.name)
            scores.append(CaseScore(*who, label.index, label.name, label.dice, label.hd95_mm))
    return tuple(scores)


def _require_same_recipe(recipe: Recipe, begun: Recipe, folder: Path) -> None:
    """Folds of different trainings have no common mean."""
    ours, theirs = (item.model_dump(mode="json", exclude={"folds"}) for item in (recipe, begun))
    for key in ours:
        if ours[key] != theirs[key]:
            raise MedzooError(
                f"{folder} was trained with another recipe: {key} was {theirs[key]}, now it is {ours[key]}; "
                "continue with the old recipe, or choose another folder."
            )


def finished_scores(recipes: Sequence[Recipe], output: Path) -> tuple[CaseScore, ...]:
    """The scores of every fold that is finished, in the order of the folds."""
    files = [output / f"fold-{fold}" / SCORES for fold in range(len(recipes))]
    return tuple(score for file in files if file.exists() for score in read_scores(file))


def write_summary(output: Path, recipes: Sequence[Recipe]) -> dict[str, Any]:
    """Write ``scores.csv`` and ``summary.yaml`` of the folds that are finished, and return the latter's content."""
    scores = finished_scores(recipes, output)
    write_scores(output / SCORES, scores)
    summary = summarise(recipes[0], scores)
    write_report(output / SUMMARY, summary)
    return summary


def parse_folds(text: str | None, count: int) -> tuple[int, ...]:
    """Numbers of folds from ``"0,2"``; all where it is None.

    Raises
    ------
    MedzooError
        If it is not of that form, or there is no such fold.
    """
    if text is None:
        return tuple(range(count))
    try:
        chosen = tuple(sorted({int(part) for part in text.split(",")}))
    except ValueError as error:
        raise MedzooError(f"'{text}' does not name folds; write their numbers as in 0,2.") from error
    wrong = [fold for fold in chosen if not 0 <= fold < count]
    if wrong:
        raise MedzooError(f"There is no fold {wrong[0]}; the folds are 0 to {count - 1}.")
    return chosen
