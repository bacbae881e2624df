"""A benchmark on label maps: some are held out, and synthetic studies of their heads are scored, with a real patient.

What the folder of a training holds is as in `benchmark`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from napari_medzoo.cards import ModelCard, read_card
from napari_medzoo.errors import MedzooError
from napari_medzoo.evaluate import evaluate
from napari_medzoo.inference import predict
from napari_medzoo.labels import Segmentation
from napari_medzoo.lesions import LesionAgreement, compare_lesions
from napari_medzoo.progress import run
from napari_medzoo.space import Grid

from . import checkpoint
from .benchmark_costs import Meter, Pass, inference_of, timed_pass
from .benchmark_outcome import Costs, Inference, deciding, require_same_protocol
from .config import Recipe, data_folder
from .display import Display
from .folds import training_subjects
from .labelmaps import LabelMaps
from .lesion_validation import labels_lesions, read_patient
from .scores import CaseScore
from .synthesis import synthesise
from .trials import open_quietly

STUDIES = 2026
"""Seed of the held-out studies: whatever the seed of a training is, they are the same."""


@dataclass(frozen=True)
class MapSplit:
    """Label maps by name, in folds, and the fold that is held out."""

    folds: tuple[tuple[str, ...], ...]
    fold: int

    def teaching(self, maps: LabelMaps) -> LabelMaps:
        """The maps of all other folds."""
        names = training_subjects(self.folds, self.fold)
        return replace(maps, maps=[one for name, one in self._named(maps) if name in names])

    def held_out(self, maps: LabelMaps) -> Iterator[tuple[int, str, LabelMaps]]:
        """Number, name and content of each map of the fold."""
        for number, (name, one) in enumerate(self._named(maps)):
            if name in self.folds[self.fold]:
                yield number, name, replace(maps, maps=[one])

    def _named(self, maps: LabelMaps) -> list[tuple[str, torch.Tensor]]:
        names = sorted(name for part in self.folds for name in part)  # as `labelmaps.pack` orders them
        if len(names) != len(maps.maps):
            raise MedzooError(
                f"The folds name {len(names)} label maps, the data have {len(maps.maps)}; give the folder of label "
                "maps that the folds were made for, or other folds."
            )
        return list(zip(names, maps.maps, strict=True))


@dataclass(frozen=True)
class Scored:
    """What a trained network does with held-out studies, and with the lesions of a real patient, if it labels any."""

    inference: Inference
    scores: tuple[CaseScore, ...]
    lesions: LesionAgreement | None


def train_on_maps(
    recipe: Recipe,
    split: MapSplit,
    cache: Path,
    folder: Path,
    command: str,
    device: str = "auto",
    threads: int | None = None,
) -> Costs:
    """Train on the maps that are not held out, or continue, and write the card; for a process of its own.

    Raises
    ------
    MedzooError
        If `folder` holds a training by another protocol.
    """
    from .export import export
    from .fit import fit

    source = open_quietly(recipe, cache, threads)
    assert isinstance(source, LabelMaps)
    teaching = split.teaching(source)
    begun = checkpoint.path_of(folder, checkpoint.LAST).exists()
    if begun:
        require_same_protocol(recipe, recipe.name, deciding(checkpoint.recipe_of(folder)))
    with Display(f"{recipe.name} fold {split.fold} seed {recipe.seed}", recipe.steps) as display:
        fit(recipe, lambda: teaching, folder, device=device, resume=begun, callbacks=[display, Meter()])
    export(folder, folder / "model", command)
    return Costs.model_validate(checkpoint.load(folder)["callbacks"][Meter.__qualname__])


def score_on_maps(
    recipe: Recipe,
    split: MapSplit,
    size: tuple[int, int, int],
    cache: Path,
    folder: Path,
    device: str = "auto",
    threads: int | None = None,
) -> Scored:
    """Score and time the trained network on one study of every held-out map; for a process of its own.

    The network runs as its card says, with the back end and the precision that a user gets.
    """
    source = open_quietly(recipe, cache, threads)
    assert isinstance(source, LabelMaps)
    card = read_card(folder / "model" / f"{recipe.name}.yaml")
    grid = Grid(size, np.diag([*[_spacing(recipe)] * 3, 1.0]))
    indices = np.array(recipe.channels, dtype=np.uint16)
    passes: list[Pass] = []
    scores: list[CaseScore] = []
    for number, name, maps in split.held_out(source):
        scan, reference = make_study(maps, recipe, size, number)
        logits, taken = timed_pass(card, scan, device, threads)
        passes.append(taken)
        prediction = Segmentation(indices[logits.argmax(axis=0)], grid, recipe.label_table)
        for one in evaluate(prediction, Segmentation(indices[reference], grid, recipe.label_table)).labels:
            scores.append(CaseScore(split.fold, name, name, one.index, one.name, one.dice, one.hd95_mm))
    inference = inference_of(passes, device)
    return Scored(inference, tuple(scores), _patient(card, device, threads) if labels_lesions(card) else None)


def make_study(
    maps: LabelMaps, recipe: Recipe, size: tuple[int, int, int], number: int
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """A head with all its modalities, of the kind that the recipe trains on.

    The brain lies in its middle (in a smaller study: part of it), nothing is cut away, and where the recipe paints
    lesions, there are some.

    Parameters
    ----------
    maps : LabelMaps
        One map.
    recipe : Recipe
    size : tuple of int
        Voxels, of the mean size of the first stage's.
    number : int
        The same number gives the same study.

    Returns
    -------
    scan : numpy.ndarray
        ``(C, *size) float32``, prepared.
    reference : numpy.ndarray
        ``size`` int64 output channels.
    """
    settings = recipe.synthesis
    assert settings is not None
    whole: dict[str, Any] = {"anywhere_share": 0.0, "translation_mm": 0.0, "cut_share": 0.0, "missing_share": 0.0}
    if settings.lesions:
        whole["lesions"] = settings.lesions.model_copy(update={"none_share": 0.0})
    recipe = recipe.model_copy(update={"synthesis": settings.model_copy(update=whole)})
    stage = recipe.stages[0].model_copy(update={"patch": size, "voxel_mm": (_spacing(recipe),) * 2})
    random = np.random.default_rng([STUDIES, number])
    scan, target = synthesise(maps, recipe, stage, maps.channel_of(recipe), random)
    return scan.numpy(), target.numpy()


def _spacing(recipe: Recipe) -> float:
    return mean(recipe.stages[0].voxel_mm)


def _patient(card: ModelCard, device: str, threads: int | None) -> LesionAgreement:
    study, reference = read_patient(data_folder(), card.modalities)
    return compare_lesions(run(predict(study, card, device=device, threads=threads)), reference)
