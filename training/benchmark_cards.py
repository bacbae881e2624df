"""The cards of a benchmark: which networks come with the package, and what is written for them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from napari_medzoo.cards import ModelCard, Score
from napari_medzoo.inference.network import build_network
from napari_medzoo.io import replacing

from .benchmark import Run, choose_runs
from .benchmark_config import Benchmark
from .benchmark_outcome import read_outcomes
from .config import Recipe
from .scores import summarise

HELD_OUT = "The fold that was held out of training"
"""What the scores of a card are of."""


def card_mb(recipe: Recipe) -> float:
    """Size of a network's weights in a card, in MB (half precision)."""
    return 2 * sum(tensor.numel() for tensor in build_network(recipe, "meta").state_dict().values()) / 1e6


def shipped(benchmark: Benchmark, output: Path) -> tuple[tuple[Run, float], ...]:
    """The runs whose cards come with the package and the MB of each, the best first.

    They are those of the first fold and seed, finished, of networks with fewer than `ship_below` parameters that the
    package does not have yet; one that does not fit into what is left of `ship_mb` is passed over.
    """
    finished = {(item.network, item.fold, item.seed): item for item in read_outcomes(output)}
    small = []
    for one in choose_runs(benchmark, folds=benchmark.held_out[:1], seeds=benchmark.seeds[:1]):
        outcome = finished.get((one.network.name, one.fold, one.seed))
        if outcome and outcome.parameters < benchmark.ship_below and not one.network.card:
            recipe = benchmark.recipe_of(one.network, one.fold, one.seed)
            small.append((summarise(recipe, outcome.scores)["mean"]["dice_mean"], one, card_mb(recipe)))
    chosen, room = [], benchmark.ship_mb
    for _, one, size in sorted(small, key=lambda item: -item[0]):
        if size <= room:
            chosen.append((one, size))
            room -= size
    return tuple(chosen)


def export_cards(benchmark: Benchmark, output: Path, folder: Path) -> Iterator[ModelCard]:
    """Write the cards of `shipped` and their weights to `folder`; `output` is the benchmark's.

    Yields
    ------
    ModelCard
        As written, with the Dice of the held-out cases as its scores.
    """
    from .export import export

    outcomes = {(item.network, item.fold, item.seed): item for item in read_outcomes(output)}
    for one, _ in shipped(benchmark, output):
        command = benchmark.command(one.network)
        card = export(one.folder(output), folder, command)
        outcome = outcomes[one.network.name, one.fold, one.seed]
        summary = summarise(benchmark.recipe_of(one.network, one.fold, one.seed), outcome.scores)
        where = f"{summary['subjects']} cases, fold {one.fold} of {len(benchmark.read_folds())}"
        rows = [(f"Dice of {row['name']}, {where}", row) for row in summary["labels"]]
        rows.append((f"Dice, mean of {len(summary['labels'])} classes, {where}", summary["mean"]))
        scores = tuple(
            Score(data=HELD_OUT, metric=metric, value=row["dice_mean"], command=command) for metric, row in rows
        )
        card = card.model_copy(update={"scores": scores})
        with replacing(folder / f"{card.name}.yaml") as temporary:
            card.save(temporary)
        yield card
