"""Which cases train, validate and are held out, and the hard Dice of a network on whole prepared cases."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from napari_medzoo.errors import MedzooError
from napari_medzoo.progress import run

from .config import IGNORED, Folds, Recipe
from .folds import make_folds, read_folds, training_subjects, write_folds

if TYPE_CHECKING:
    from napari_medzoo.labels import Segmentation
    from napari_medzoo.study import Study, Volume

    from .case_lists import Case, CaseList

MILLIMETRES = (1.0, 1.0, 1.0)
"""Taken for the spacing of scans that keep their own, which differs from case to case."""


@dataclass(frozen=True)
class Split:
    """Numbers of the prepared cases: those that teach, those that choose the checkpoint, those that are scored last."""

    training: tuple[int, ...]
    validation: tuple[int, ...] = ()
    held_out: tuple[int, ...] = ()


def split_cases(recipe: Recipe, subjects: Sequence[str], folder: Path) -> Split:
    """Divide cases by subject.

    The fold that is held out chooses nothing: validation takes its subjects from the others, and only where the recipe
    validates at all.

    Parameters
    ----------
    recipe : Recipe
    subjects : sequence of str
        Of every case.
    folder : pathlib.Path
        Of the training; ``folds.json`` is kept there where the recipe names no file.

    Raises
    ------
    MedzooError
        If there are too few subjects, or the file of folds is of others.
    """
    remaining = sorted(set(subjects))
    if recipe.folds:
        path = recipe.folds.file or folder / "folds.json"
        if path.exists():
            folds = read_folds(path, remaining)
        else:
            folds = make_folds(remaining, recipe.folds.count, recipe.seed)
            write_folds(path, folds, recipe.seed)
        remaining = sorted(training_subjects(folds, recipe.folds.fold))
    held_out = set(subjects) - set(remaining)
    validation: set[str] = set()
    if recipe.validate_every:
        share = (recipe.folds or Folds()).validation_share
        count = max(1, round(share * len(remaining)))
        if count >= len(remaining):
            raise MedzooError(
                f"{len(remaining)} subjects are too few to train and validate; add cases or leave out validate_every."
            )
        validation = set(np.random.default_rng(recipe.seed).permutation(remaining)[:count].tolist())
    training = set(remaining) - validation

    def numbers(chosen: set[str]) -> tuple[int, ...]:
        return tuple(number for number, subject in enumerate(subjects) if subject in chosen)

    return Split(numbers(training), numbers(validation), numbers(held_out))


def predict_prepared(
    network: torch.nn.Module, recipe: Recipe, scan: NDArray[Any], device: torch.device
) -> NDArray[np.uint8]:
    """Output channels ``(X, Y, Z)`` of a prepared scan ``(C, X, Y, Z)``, found as the card will find them.

    Parameters
    ----------
    network : torch.nn.Module
        In evaluation mode, on `device`.
    """
    from napari_medzoo.inference.intensities import adapt_to_scan
    from napari_medzoo.inference.plan import make_plan
    from napari_medzoo.inference.predict import scores_of
    from napari_medzoo.inference.torch_backend import TorchBackend, TorchRunner

    from .export import card_of

    card = card_of(recipe, network)
    wanted = {"32": "float32", "bf16": "bfloat16", "fp16": "float16"}[recipe.precision]
    precision = wanted if wanted in TorchBackend().precisions(device.type) else "float32"
    x, y, z = scan.shape[1:]
    plan = make_plan(
        card,
        (x, y, z),
        device=device.type,
        backend="torch",
        precision=precision,
        threads=torch.get_num_threads(),
    )
    runner = TorchRunner(network, str(device), precision, plan.threads)
    data = np.asarray(scan, dtype=np.float32)
    scores = run(scores_of(runner, data, plan))
    if card.tissues:
        adapt_to_scan(scores, data, card.tissue_channels, recipe.preprocessing.spacing or MILLIMETRES)
    return scores.argmax(axis=0).astype(np.uint8)


def hard_dice(prediction: NDArray[Any], reference: NDArray[Any], channels: int) -> NDArray[np.float64]:
    """Hard Dice of every channel but the background, ``(channels - 1,)``; NaN where neither side has it.

    Voxels that the reference ignores count nowhere.
    """
    counted = reference != IGNORED
    pairs = reference[counted].astype(np.int64) * channels + prediction[counted]
    counts = np.bincount(pairs, minlength=channels * channels).reshape(channels, channels)
    sizes = counts.sum(axis=0) + counts.sum(axis=1)
    with np.errstate(invalid="ignore"):
        dice: NDArray[np.float64] = (2 * np.diag(counts) / sizes)[1:]
    return dice


@dataclass(frozen=True)
class Compared:
    """A case as it lies on disk, with what a model made of it and what its reference says.

    Attributes
    ----------
    case : Case
    study : Study
    prediction : Segmentation
        On the reference's grid, indices of the recipe's labels.
    reference : Volume
        ``(X, Y, Z) uint8`` output channels, `IGNORED` where nothing counts.
    """

    case: Case
    study: Study
    prediction: Segmentation
    reference: Volume


def compare_cases(
    recipe: Recipe, found: CaseList, cases: Sequence[Case], segment: Callable[[Study, str], Segmentation]
) -> Iterator[Compared]:
    """Have whole cases labelled on their own grid, as they lie on disk, from the raw scans on.

    Parameters
    ----------
    recipe : Recipe
    found : CaseList
        That `cases` are of.
    cases : sequence of Case
        With references.
    segment : callable
        Labels of a study on the grid of the modality that is named.

    Raises
    ------
    MedzooError
        If a reference lies on the grid of none of its scans.
    """
    from napari_medzoo.io import read_volume
    from napari_medzoo.study import Study

    from .references import learnt_reference

    for case in cases:
        keys = {name: "unknown" if name == "any" else name for name in case.scans}
        study = Study({keys[name]: read_volume(path, keys[name]) for name, path in case.scans.items()}, case.name)
        reference = learnt_reference(recipe, found, case)
        same = [name for name, volume in study.volumes.items() if volume.grid.same_as(reference.grid)]
        if not same:
            raise MedzooError(
                f"Case {case.name}: its reference ({reference.grid}) lies on the grid of none of its scans; "
                "resample it onto one of them to have it scored."
            )
        yield Compared(case, study, segment(study, same[0]), reference)


def draw(recipe: Recipe, scan: NDArray[Any], channels: NDArray[Any]) -> NDArray[np.uint8]:
    """A picture ``(H, W, 3)`` of output channels ``(X, Y, Z)`` over one prepared modality ``(X, Y, Z)``."""
    from napari_medzoo.labels import Segmentation
    from napari_medzoo.pictures import draw_overlay
    from napari_medzoo.space import Grid
    from napari_medzoo.study import Volume

    affine = np.eye(4)
    affine[:3, :3] = 0
    for axis, letter in enumerate(recipe.preprocessing.orientation):
        row = next(row for row, pair in enumerate(("RL", "AP", "SI")) if letter in pair)
        affine[row, axis] = (recipe.preprocessing.spacing or (1.0, 1.0, 1.0))[axis] * (1 if letter in "RAS" else -1)
    grid = Grid(scan.shape, affine)
    labels = np.array(recipe.channels, dtype=np.uint16)[channels]
    volume = Volume(np.asarray(scan, dtype=np.float32), grid)
    return draw_overlay(volume, Segmentation(labels, grid, recipe.label_table))
