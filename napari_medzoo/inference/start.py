"""What comes before every pass of a model through a study: the choices, the preparation and the loaded network."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_medzoo.cards import ModelCard
from napari_medzoo.errors import MedzooError
from napari_medzoo.inference.backends import BACKENDS, Runner
from napari_medzoo.inference.background import in_background, wait_for_discarded
from napari_medzoo.inference.memory import tune_malloc, without_collection
from napari_medzoo.inference.plan import Plan, choose_backend, make_plan
from napari_medzoo.preprocess import Prepared, prepare
from napari_medzoo.progress import Progress, Steps
from napari_medzoo.space import Grid
from napari_medzoo.study import Study, describe


@dataclass(frozen=True, eq=False)
class Run:
    """A model ready to run on a prepared study, and where its result shall lie.

    Attributes
    ----------
    prepared : Prepared
    data : numpy.ndarray
        ``(C, X, Y, Z) float32``, the network's input.
    modalities : tuple of str
        Those of the study that were chosen for the model; `needed` is these and the one of the target grid.
    plan : Plan
    runner : Runner
    tissues : tuple of tuple of int
        Output channels of the card's `tissues`.
    target : Grid
        Where the result shall lie.
    transform : numpy.ndarray or None
        ``(4, 4)``: RAS+ mm of the reference to RAS+ mm of the target's file; None where it is the reference's.
    loading_s : float
        Seconds that planning and loading took.
    """

    prepared: Prepared
    data: NDArray[np.float32]
    modalities: tuple[str, ...]
    needed: tuple[str, ...]
    plan: Plan
    runner: Runner
    tissues: tuple[tuple[int, ...], ...]
    target: Grid
    transform: NDArray[np.float64] | None
    loading_s: float

    def restore(self, scores: NDArray[np.float32]) -> NDArray[np.uint16]:
        """The likeliest channel on the target grid, from logits ``(K, X, Y, Z)`` on the prepared one."""
        return self.prepared.restore_scores(scores, target=self.target, transform=self.transform)


def begin(
    study: Study,
    card: ModelCard,
    grid: str | None,
    device: str,
    backend: str,
    precision: str,
    threads: int | None,
    prepared: Prepared | None,
    plan: Plan | None = None,
    transforms: Mapping[str, ArrayLike] | None = None,
) -> Steps[Run]:
    """Prepare the study and load the model; parameters and errors are those of `predict`."""
    modalities = card.choose(study)
    grid = grid or modalities[0]
    target = study[grid].grid
    needed = modalities if grid in modalities else (*modalities, grid)
    if plan is None:
        chosen = choose_backend(backend, device)
    else:
        chosen = plan.backend, plan.device
        if not card.geometry.takes(plan.patch) or plan.margin != card.margin:
            raise MedzooError(
                f"The plan is of another model: its patch {plan.patch} with a margin of {plan.margin} does not suit "
                f"'{card.name}', which takes {card.geometry} with a margin of {card.margin}."
            )
    card.check_weights()
    if chosen == ("torch", "cpu"):
        tune_malloc()

    yield from wait_for_discarded()
    ready = prepared or (yield from prepare(study, card.preprocessing, needed, modalities[0], transforms))
    _require(ready, needed)
    data, shape = ready.stack(card.channels_for(modalities)), ready.grid.shape
    clock = time.perf_counter()

    @without_collection()
    def start() -> tuple[Plan, Runner]:
        final = (
            plan.for_shape(shape, card.geometry)
            if plan
            else make_plan(card, shape, device=device, backend=backend, precision=precision, threads=threads)
        )
        return final, BACKENDS[final.backend].prepare(card, final.device, final.precision, final.threads)

    used, runner = yield from in_background(start, Progress("Loading model"))
    transform = None if grid == ready.reference else ready.transforms[grid]
    loading_s = time.perf_counter() - clock
    return Run(ready, data, modalities, needed, used, runner, card.tissue_channels, target, transform, loading_s)


def labels_in(channels: NDArray[Any], card: ModelCard) -> NDArray[Any]:
    """Channel numbers as the card's label indices, in the smallest type that holds them all."""
    indices = np.array(card.channels)
    return indices.astype(np.min_scalar_type(int(indices.max())))[channels]


def _require(prepared: Prepared, modalities: tuple[str, ...]) -> None:
    missing = [key for key in modalities if key not in prepared.modalities]
    if missing:
        raise MedzooError(f"The prepared study lacks {describe(missing)}; prepare it with {describe(modalities)}.")
