"""`predict`: a study and a model card in, labels on the study's own grid out."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_medzoo.cards import ModelCard
from napari_medzoo.errors import MedzooError
from napari_medzoo.inference.backends import BACKENDS, Runner
from napari_medzoo.inference.background import in_background, wait_for_discarded
from napari_medzoo.inference.checks import plausibility
from napari_medzoo.inference.memory import tune_malloc
from napari_medzoo.inference.plan import Plan, choose_backend, make_plan
from napari_medzoo.inference.postprocess import keep_largest
from napari_medzoo.inference.provenance import provenance
from napari_medzoo.inference.tiles import fitting_patch, pad, tiled
from napari_medzoo.labels import Segmentation
from napari_medzoo.preprocess import Prepared, prepare
from napari_medzoo.progress import Progress, Steps
from napari_medzoo.study import Study, describe

MUCH_REMOVED = 0.1
"""From this share of removed labels on, a person is told."""


def predict(
    study: Study,
    card: ModelCard,
    *,
    grid: str | None = None,
    device: str = "auto",
    backend: str = "auto",
    precision: str = "auto",
    threads: int | None = None,
    plan: Plan | None = None,
    prepared: Prepared | None = None,
) -> Steps[Segmentation]:
    """Segment a study.

    A generator: iterate it for `Progress`, take the `Segmentation` from its return value (or `progress.run` it), close
    it to cancel. Nothing runs before the first step; a forward pass under way when it is closed ends by itself and
    is thrown away (`busy` says until when).

    Parameters
    ----------
    study : Study
        Holds the modalities that the card needs, or a part that it accepts; others are left alone.
    card : ModelCard
    grid : str, optional
        The modality on whose grid the result lies; default the model's first.
    device, backend, precision, threads
        See `make_plan`; ignored where `plan` is given.
    plan : Plan, optional
        A recorded plan to repeat exactly (`segmentation.provenance["plan"]`).
    prepared : Prepared, optional
        The study as `prepare` with the card's recipe gave it, to save doing it again.

    Returns
    -------
    Segmentation
        On the grid of ``study[grid]``, indices of the card's label table, with provenance and warnings.

    Raises
    ------
    MedzooError
        If the study, the card or this computer does not allow it, mostly before anything has run.
    """
    modalities = card.choose(study)
    grid = grid or modalities[0]
    target = study[grid].grid
    wanted = modalities if grid in modalities else (*modalities, grid)
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
    ready = prepared or (yield from prepare(study, card.preprocessing, wanted, reference=modalities[0]))
    _require(ready, wanted)
    inputs = card.channels_for(modalities)
    data = ready.stack(inputs)
    shape = ready.grid.shape

    clock = time.perf_counter()
    timings = dict(ready.timings)

    def lap(stage: str) -> None:
        nonlocal clock
        timings[stage], clock = time.perf_counter() - clock, time.perf_counter()

    def start() -> tuple[Plan, Runner]:
        final = (
            plan.for_shape(shape, card.geometry)
            if plan
            else make_plan(card, shape, device=device, backend=backend, precision=precision, threads=threads)
        )
        return final, BACKENDS[final.backend].prepare(card, final.device, final.precision, final.threads)

    used, runner = yield from in_background(start, Progress("Loading model"))
    lap("Loading model")
    scores = yield from scores_of(runner, data, used)
    lap("Segmenting")

    def restore() -> NDArray[Any]:
        if grid == ready.reference:
            return ready.restore_scores(scores)
        return ready.restore_scores(scores, target=target, transform=ready.transforms[grid])

    channels = yield from in_background(restore, Progress("Restoring"))
    lap("Restoring")
    removed = None
    if card.keep_largest:
        labelled = np.count_nonzero(channels)
        removed = yield from in_background(lambda: keep_largest(channels, target.spacing), Progress("Tidying up"))
        lap("Tidying up")
    indices = np.array(card.channels)
    labels = indices.astype(np.min_scalar_type(int(indices.max())))[channels]

    record = provenance(study, card, used, ready, wanted, grid, timings)
    missing = [key for key, found in zip(card.modalities, inputs, strict=True) if found is None]
    if missing:
        record["missing_modalities"] = missing
    warnings = [*study.warnings, *ready.warnings, *_left_out(study, card, modalities, missing)]
    if removed is not None:
        volume = removed * target.voxel_volume_ml
        record["removed_apart_from_largest_ml"] = round(volume, 3)
        if removed > MUCH_REMOVED * labelled:
            warnings.append(
                f"{volume:.0f} mL of labels ({removed / labelled:.0%}) lay apart from the largest object and were "
                "removed; check at the edge of the overlay that nothing is missing."
            )
    segmentation = Segmentation(labels, target, card.label_table, record, tuple(warnings))
    return segmentation.with_warnings(*plausibility(segmentation))


def scores_of(runner: Runner, data: NDArray[Any], plan: Plan) -> Steps[NDArray[Any]]:
    """Logits ``(K, X, Y, Z) float32`` of prepared data ``(C, X, Y, Z) float32``, whole or in tiles as planned."""
    padded, inner = pad(data, plan.padded, plan.margin)
    progress = Progress("Segmenting")
    if plan.mode == "whole":
        scores = yield from in_background(lambda: runner(padded), progress, runner.release)
    else:
        patch = fitting_patch(plan.patch, plan.padded)
        scores = yield from tiled(runner, padded, patch, plan.overlap, plan.margin, runner.release)
    yield from in_background(runner.release, progress)  # giving gigabytes back takes its time as well
    return scores[inner]


def _require(prepared: Prepared, modalities: tuple[str, ...]) -> None:
    missing = [key for key in modalities if key not in prepared.modalities]
    if missing:
        raise MedzooError(f"The prepared study lacks {describe(missing)}; prepare it with {describe(modalities)}.")


def _left_out(study: Study, card: ModelCard, used: tuple[str, ...], missing: list[str]) -> tuple[str, ...]:
    if missing:
        return (f"Model '{card.name}' was given {describe(used)} without {describe(missing)}: expect less of it.",)
    others = [key for key in study.modalities if key not in used]
    if len(card.modalities) > 1 or not others:
        return ()
    return (f"Model '{card.name}' takes one scan: it was given the {describe(used)} and not {describe(others)}.",)
