"""`predict`: a study and a model card in, labels on the study's own grid out."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_medzoo.cards import ModelCard
from napari_medzoo.inference.backends import Runner
from napari_medzoo.inference.background import in_background
from napari_medzoo.inference.checks import plausibility
from napari_medzoo.inference.intensities import adapt_to_scan
from napari_medzoo.inference.plan import Plan
from napari_medzoo.inference.postprocess import keep_largest
from napari_medzoo.inference.provenance import provenance
from napari_medzoo.inference.start import Run, begin, labels_in
from napari_medzoo.inference.tiles import fitting_patch, pad, tiled
from napari_medzoo.labels import Segmentation
from napari_medzoo.preprocess import Prepared
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
    transforms: Mapping[str, ArrayLike] | None = None,
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
    transforms : mapping of str to array_like, optional
        What is known of how the scans lie on each other, as for `prepare`; ignored where `prepared` is given.

    Returns
    -------
    Segmentation
        On the grid of ``study[grid]``, indices of the card's label table, with provenance and warnings.

    Raises
    ------
    MedzooError
        If the study, the card or this computer does not allow it, mostly before anything has run.
    """
    run = yield from begin(study, card, grid, device, backend, precision, threads, prepared, plan, transforms)
    target, clock = run.target, time.perf_counter()
    timings = {**run.prepared.timings, "Loading model": run.loading_s}

    def lap(stage: str) -> None:
        nonlocal clock
        timings[stage], clock = time.perf_counter() - clock, time.perf_counter()

    scores = yield from scores_of(run.runner, run.data, run.plan)
    lap("Segmenting")
    if run.tissues:
        yield from adapt(scores, run.data, run)
        lap("Adapting to the scan")

    channels = yield from in_background(lambda: run.restore(scores), Progress("Restoring"))
    lap("Restoring")
    removed = None
    if card.keep_largest:
        labelled = np.count_nonzero(channels)
        removed = yield from in_background(lambda: keep_largest(channels, target.spacing), Progress("Tidying up"))
        lap("Tidying up")

    record = provenance(study, card, run.plan, run.prepared, run.needed, grid or run.modalities[0], timings)
    inputs = zip(card.modalities, card.channels_for(run.modalities), strict=True)
    missing = [key for key, found in inputs if found is None]
    if missing:
        record["missing_modalities"] = missing
    warnings = [*study.warnings, *run.prepared.warnings, *_left_out(study, card, run.modalities, missing)]
    if removed is not None:
        volume = removed * target.voxel_volume_ml
        record["removed_apart_from_largest_ml"] = round(volume, 3)
        if removed > MUCH_REMOVED * labelled:
            warnings.append(
                f"{volume:.0f} mL of labels ({removed / labelled:.0%}) lay apart from the largest object and were "
                "removed; check at the edge of the overlay that nothing is missing."
            )
    segmentation = Segmentation(labels_in(channels, card), target, card.label_table, record, tuple(warnings))
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


def adapt(scores: NDArray[np.float32], data: NDArray[np.float32], run: Run) -> Steps[None]:
    """Change the logits of `data` in place as the card's `tissues` say."""
    if run.tissues:
        spacing = run.prepared.grid.spacing
        yield from in_background(
            lambda: adapt_to_scan(scores, data, run.tissues, spacing), Progress("Adapting to the scan")
        )


def _left_out(study: Study, card: ModelCard, used: tuple[str, ...], missing: list[str]) -> tuple[str, ...]:
    if missing:
        return (f"Model '{card.name}' was given {describe(used)} without {describe(missing)}: expect less of it.",)
    others = [key for key in study.modalities if key not in used]
    if len(card.modalities) > 1 or not others:
        return ()
    return (f"Model '{card.name}' takes one scan: it was given the {describe(used)} and not {describe(others)}.",)
