"""Networks compared by one protocol: trained, scored and measured one by one, each in a process of its own.

The folder of a benchmark holds ``NETWORK/seed-S/fold-F`` for every training, as a cross-validation leaves it
(checkpoints, ``log.csv``, the card in ``model``, ``scores.csv``), and in it ``outcome.json``, which is all that the
report reads beside the log. What has one is finished and not done again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from napari_medzoo.cards import read_card
from napari_medzoo.errors import MedzooError
from napari_medzoo.inference.network import build_network

from . import checkpoint
from .benchmark_config import Benchmark, Contestant
from .benchmark_costs import Meter, inference_of, timed_pass
from .benchmark_maps import MapSplit, score_on_maps, train_on_maps
from .benchmark_outcome import OUTCOME, Costs, Inference, Outcome, deciding, write_outcome
from .cases import PreparedCases
from .config import Recipe, data_folder
from .crossval import SCORES, run_fold
from .display import Display
from .held_out import split_cases
from .logs import read_log
from .scores import read_scores
from .side_by_side import gflop
from .trials import in_own_process, open_quietly

TIMED = 10
"""Held-out cases whose inference is timed, after one that is not."""


@dataclass(frozen=True)
class Run:
    """One training of a benchmark: a network, the fold that it does not see, and where its random numbers begin."""

    network: Contestant
    fold: int
    seed: int

    def folder(self, output: Path) -> Path:
        """Where it is kept; see the module's docstring."""
        return output / self.network.name / f"seed-{self.seed}" / f"fold-{self.fold}"

    def __str__(self) -> str:
        return f"{self.network.name}, fold {self.fold}, seed {self.seed}"


def choose_runs(
    benchmark: Benchmark,
    networks: Sequence[str] | None = None,
    folds: Sequence[int] | None = None,
    seeds: Sequence[int] | None = None,
) -> tuple[Run, ...]:
    """The trainings of a benchmark, all networks before the next seed or fold begins; each list restricts them.

    A network that is the same as another stands for the other. Folds and seeds beyond the benchmark's own can be asked
    for.

    Raises
    ------
    MedzooError
        If there is no such network.
    """
    chosen = [benchmark[name] for name in networks] if networks else list(benchmark.networks)
    names = {network.same_as or network.name for network in chosen}
    trained = [network for network in benchmark.trained if network.name in names]
    return tuple(
        Run(network, fold, seed)
        for seed in seeds or benchmark.seeds
        for fold in folds or benchmark.held_out
        for network in trained
    )


def run_benchmark(
    benchmark: Benchmark, runs: Iterable[Run], output: Path, *, device: str = "auto", threads: int | None = None
) -> Iterator[tuple[Run, MedzooError | None]]:
    """Train, score and measure one run after the other; what is done is not done again.

    Parameters
    ----------
    benchmark : Benchmark
    runs : iterable of Run
        Of `choose_runs`.
    output : pathlib.Path
        Of the benchmark; the prepared cases are kept there, beside the networks.
    device : str
    threads : int, optional
        Of the CPU.

    Yields
    ------
    Run
        Whose outcome is written …
    MedzooError or None
        … or why it is not: the others are worth having all the same.
    """
    for one in runs:
        try:
            _finish(benchmark, one, output, device, threads)
        except MedzooError as error:
            yield one, error
        else:
            yield one, None


def _finish(benchmark: Benchmark, one: Run, output: Path, device: str, threads: int | None) -> None:
    recipe = benchmark.recipe_of(one.network, one.fold, one.seed)
    folder = one.folder(output)
    if (folder / OUTCOME).exists():
        return
    command = benchmark.command(one.network)
    if benchmark.study is None:
        costs = in_own_process(train, recipe, output, folder.parent, command, device, threads)
        inference = in_own_process(measure_inference, recipe, output, folder, device, threads)
        scored: dict[str, Any] = {"scores": read_scores(folder / SCORES)}
    else:
        split = MapSplit(benchmark.read_folds(), one.fold)
        costs = in_own_process(train_on_maps, recipe, split, output, folder, command, device, threads)
        studied = in_own_process(score_on_maps, recipe, split, benchmark.study, output, folder, device, threads)
        inference, scored = studied.inference, {"scores": studied.scores, "lesions": studied.lesions}
    write_outcome(folder, collect(one, recipe, folder, costs, inference, **scored))


def train(
    recipe: Recipe, cache: Path, output: Path, command: str, device: str = "auto", threads: int | None = None
) -> Costs:
    """Train a fold and score it (see `crossval.run_fold`), or continue; for a process of its own."""
    source = open_quietly(recipe, cache, threads)
    assert recipe.folds is not None
    title = f"{recipe.name} fold {recipe.folds.fold} seed {recipe.seed}"
    with Display(title, recipe.steps) as display:
        callbacks = [display, Meter()]
        run_fold(
            recipe, source, data_folder(), output, device=device, threads=threads, callbacks=callbacks, command=command
        )
    state = checkpoint.load(output / f"fold-{recipe.folds.fold}")
    return Costs.model_validate(state["callbacks"][Meter.__qualname__])


def measure_inference(
    recipe: Recipe, cache: Path, folder: Path, device: str = "auto", threads: int | None = None
) -> Inference:
    """Time the trained network on held-out prepared cases, run as its card says; for a process of its own.

    Only the pass through the network is timed, on whole cases.
    """
    source = open_quietly(recipe, cache, threads)
    assert isinstance(source, PreparedCases)
    card = read_card(folder / "model" / f"{recipe.name}.yaml")
    numbers = split_cases(recipe, source.subjects, folder).held_out[: TIMED + 1]
    scans = (source.scan(number).astype(np.float32) for number in numbers)
    return inference_of([timed_pass(card, scan, device, threads)[1] for scan in scans], device)


def collect(one: Run, recipe: Recipe, folder: Path, costs: Costs, inference: Inference, **scored: Any) -> Outcome:
    """All that the report needs of a run, from its folder and what was `scored`."""
    network = build_network(recipe, "meta")
    return Outcome(
        network=one.network.name,
        fold=one.fold,
        seed=one.seed,
        recipe=deciding(recipe),
        parameters=sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad),
        seconds_per_step=median(row["step_seconds"] for row in read_log(folder)),
        gflop=gflop(build_network(recipe, "meta"), len(recipe.modalities), recipe.stages[0].patch),
        training=costs,
        inference=inference,
        **scored,
    )
