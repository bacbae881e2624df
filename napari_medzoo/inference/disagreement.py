"""Where several label maps of one scan disagree: a model with itself on changed input, or models with each other.

``disagreement`` is the share of the label maps that do not give the label that most of them give: 0 where all agree.
Only label maps are kept, never probabilities, so that memory does not grow with the number of classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from napari_medzoo.cards import ModelCard
from napari_medzoo.comparison import require_same_grids
from napari_medzoo.errors import MedzooError
from napari_medzoo.inference.background import in_background
from napari_medzoo.inference.predict import adapt, predict, scores_of
from napari_medzoo.inference.start import begin
from napari_medzoo.inference.uncertainty import Uncertainty, labels_of
from napari_medzoo.label_tables import LABEL_TABLES, convert, find_mapping, scheme_of
from napari_medzoo.labels import LabelTable, Segmentation
from napari_medzoo.preprocess import Prepared
from napari_medzoo.progress import Progress, Result, Steps
from napari_medzoo.settings import Settings
from napari_medzoo.sides import other_sides
from napari_medzoo.study import Study, Volume


class Variant(Settings):
    """One way of changing the prepared scan that must not change its labels.

    Attributes
    ----------
    mirrored : bool
        Left and right exchanged, in the scan and (back) in the labels.
    gamma : float
        Exponent on intensities relative to the 99th percentile of their size; air stays at 0.
    """

    mirrored: bool = False
    gamma: float = Field(1.0, gt=0)


VARIANTS: dict[str, Variant] = {
    "as it is": Variant(),
    "mirrored": Variant(mirrored=True),
    "darker": Variant(gamma=1.15),
    "brighter": Variant(gamma=1 / 1.15),
}
"""The runs of `augmented`; every one is a forward pass."""


def augmented(
    study: Study,
    card: ModelCard,
    variants: Mapping[str, Variant] = VARIANTS,
    *,
    grid: str | None = None,
    device: str = "auto",
    backend: str = "auto",
    precision: str = "auto",
    threads: int | None = None,
    prepared: Prepared | None = None,
) -> Steps[Uncertainty]:
    """``disagreement`` of one model with itself when its input is changed a little (test-time augmentation).

    A model whose labels cannot be mirrored (see `other_sides`) is run without the mirrored variants; a note says so.

    Parameters
    ----------
    variants : mapping of str to Variant
        At least two; the keys are shown as progress.
    study, card, grid, device, backend, precision, threads, prepared
        As `napari_medzoo.inference.predict`.

    Raises
    ------
    MedzooError
        For fewer than two variants, and as `predict`.
    """
    notes: list[str] = []
    swap = np.arange(len(card.channels))
    if any(variant.mirrored for variant in variants.values()):
        try:
            others = other_sides(card.label_table)
            swap = np.array([card.channels.index(others[index]) for index in card.channels])
        except MedzooError as error:
            variants = {name: variant for name, variant in variants.items() if not variant.mirrored}
            notes.append(f"Run without mirroring: {error}")
    if len(variants) < 2:
        raise MedzooError(f"Disagreement needs two variants of the scan at least, got {len(variants)}; add another.")
    run = yield from begin(study, card, grid, device, backend, precision, threads, prepared)
    across = next(axis for axis, code in enumerate(run.prepared.grid.axis_codes) if code in "LR")
    maps = []
    for done, (name, variant) in enumerate(variants.items()):
        yield Progress(f"Scan {name}", done, len(variants))
        data = _changed(run.data, variant, across)
        scores = yield from _told(name, scores_of(run.runner, data, run.plan))
        yield from _told(name, adapt(scores, data, run))
        turned = np.flip(scores, across + 1) if variant.mirrored else scores
        channels = yield from in_background(
            lambda turned=turned: run.restore(turned),  # type: ignore[misc]
            Progress(f"Restoring, scan {name}"),
        )
        maps.append((swap if variant.mirrored else np.arange(len(swap))).astype(channels.dtype)[channels])
        del scores, turned
    chosen, share = yield from in_background(lambda: vote(maps), Progress("Comparing"))
    volumes = {"disagreement": Volume(share, run.target)}
    return Uncertainty(volumes, labels_of(chosen, card, run.target), (*run.prepared.warnings, *notes))


def between_models(
    study: Study,
    cards: Sequence[ModelCard],
    *,
    grid: str | None = None,
    device: str = "auto",
    backend: str = "auto",
    precision: str = "auto",
    threads: int | None = None,
) -> Steps[Uncertainty]:
    """``disagreement`` between several models, in the numbering that all of them can be brought into.

    Parameters
    ----------
    cards : sequence of ModelCard
        At least two.
    grid : str, optional
        The modality on whose grid the result lies; default the first model's first.
    study, device, backend, precision, threads
        As `napari_medzoo.inference.predict`.

    Raises
    ------
    MedzooError
        For fewer than two models, models without a common numbering, and as `predict`.
    """
    if len(cards) < 2:
        raise MedzooError(f"Disagreement between models needs two at least, got {len(cards)}; choose another one.")
    _common_scheme([card.label_table for card in cards])  # refuse before anything has run
    grid = grid or cards[0].choose(study)[0]
    found = []
    for card in cards:
        steps = predict(study, card, grid=grid, device=device, backend=backend, precision=precision, threads=threads)
        found.append((yield from _told(card.name, steps)))
    return (yield from in_background(lambda: compare(found), Progress("Comparing")))


def compare(segmentations: Sequence[Segmentation]) -> Uncertainty:
    """``disagreement`` of several segmentations of one study on one grid.

    They are converted to the numbering with the fewest conversions. Voxels where one of them has a label for which
    that has no word do not count as disagreement.

    Raises
    ------
    MedzooError
        For different grids or no common numbering.
    """
    first = segmentations[0]
    for other in segmentations[1:]:
        require_same_grids(other, first)
    scheme = _common_scheme([one.table for one in segmentations])
    converted = [one if scheme is None else convert(one, scheme) for one in segmentations]
    chosen, share = vote([one.data for one in converted])
    for before, after in zip(segmentations, converted, strict=True):
        if scheme not in (None, scheme_of(before.table)):
            share[(before.data > 0) & (after.data == 0)] = 0
    indices = sorted({index for one in converted for index in one.table.indices})
    table = first.table if scheme is None else LABEL_TABLES[scheme].subset(indices)
    notes = tuple(text for one in converted for text in one.warnings)
    return Uncertainty({"disagreement": Volume(share, first.grid)}, Segmentation(chosen, first.grid, table), notes)


def vote(maps: Sequence[NDArray[np.integer]]) -> tuple[NDArray[Any], NDArray[np.float32]]:
    """The label that most of several label maps give, and the share of them that give another.

    Parameters
    ----------
    maps : sequence of numpy.ndarray
        ``(X, Y, Z)`` integers, all of one shape.

    Returns
    -------
    chosen : numpy.ndarray
        The most frequent label of each voxel; of equally frequent ones the earliest map's.
    disagreement : numpy.ndarray
        ``(X, Y, Z) float32`` of 0 to 1 − 1/M.
    """
    chosen = np.array(maps[0])
    most = np.zeros(chosen.shape, dtype=np.uint8)
    for one in maps:
        votes = np.zeros(chosen.shape, dtype=np.uint8)
        for other in maps:
            votes += one == other
        better = votes > most
        chosen[better] = one[better]
        most[better] = votes[better]
    return chosen, 1 - most.astype(np.float32) / np.float32(len(maps))


def _changed(data: NDArray[np.float32], variant: Variant, across: int) -> NDArray[np.float32]:
    """Prepared data ``(C, X, Y, Z)`` as a variant shows it; `across` is the left–right axis of the grid."""
    if variant.gamma != 1:
        channels = []
        for channel in data:
            size = np.float32(np.percentile(np.abs(channel), 99)) or np.float32(1)
            channels.append(np.sign(channel) * size * (np.abs(channel) / size) ** np.float32(variant.gamma))
        data = np.stack(channels)
    return np.ascontiguousarray(np.flip(data, across + 1)) if variant.mirrored else data


def _common_scheme(tables: Sequence[LabelTable]) -> str | None:
    """The scheme with the fewest conversions for all tables; None where they are the same already."""
    if all(table.indices == tables[0].indices and table.name == tables[0].name for table in tables):
        return None
    ways = []
    for position, target in enumerate(LABEL_TABLES):
        chains = [find_mapping(scheme_of(table), target) for table in tables]
        if all(chains):
            ways.append((sum(len(chain) for chain in chains), position, target))
    if not ways:
        names = " and ".join(sorted({f"'{table.name}'" for table in tables}))
        raise MedzooError(f"No rule is declared that compares labels of {names}; choose models of related numberings.")
    return min(ways)[2]


def _told(name: str, steps: Steps[Result]) -> Steps[Result]:
    """The same steps with `name` before what they say."""
    try:
        while True:
            try:
                step = next(steps)
            except StopIteration as stop:
                return stop.value
            yield replace(step, stage=f"{name}: {step.stage}")
    finally:
        steps.close()
