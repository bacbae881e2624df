"""Networks compared by one protocol: trained, scored and measured one by one, each in a process of its own.

The folder of a benchmark holds ``NETWORK/seed-S/fold-F`` for every training, as a cross-validation leaves it
(checkpoints, ``log.csv``, the card in ``model``, ``scores.csv``), and in it ``outcome.json``, which is all that the
report reads beside the log. What has one is finished and not done again.
"""

from __future__ import annotations

import multiprocessing
import os
import platform
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from statistics import median
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch

from napari_medzoo.cards import ModelCard, Score, read_card
from napari_medzoo.errors import MedzooError
from napari_medzoo.inference.network import build_network
from napari_medzoo.io import replacing
from napari_medzoo.progress import run

from . import checkpoint
from .benchmark_config import Benchmark, Contestant
from .benchmark_outcome import OUTCOME, Costs, Inference, Outcome, deciding, read_outcomes, write_outcome
from .config import Recipe, data_folder
from .crossval import SCORES, run_fold
from .display import Display
from .held_out import split_cases
from .labelmaps import LabelMaps
from .logs import read_log
from .scores import read_scores, summarise
from .side_by_side import gflop
from .trials import choose_device, in_own_process, open_quietly, peak_memory_bytes

HELD_OUT = "The fold that was held out of training"
"""What the scores of a card are of."""

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
    if not (folder / OUTCOME).exists():
        command = benchmark.command(one.network)
        costs = in_own_process(train, recipe, output, folder.parent, command, device, threads)
        inference = in_own_process(measure_inference, recipe, output, folder, device, threads)
        write_outcome(folder, collect(one, recipe, folder, costs, inference))


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


class Meter(pl.Callback):
    """What a training costs, kept in its checkpoint, so that a resumed one adds to what was spent before."""

    def __init__(self) -> None:
        self._before = Costs(device="", threads=0)
        self._began = (0.0, 0.0)
        self._device = ""

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clocks."""
        self._device = trainer.strategy.root_device.type
        self._began = time.process_time(), time.perf_counter()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """End with the benchmark: were it killed and called again, two trainings would write into one folder."""
        parent = multiprocessing.parent_process()
        if parent is not None and not parent.is_alive():
            os._exit(1)  # an exception would leave the process waiting for more work from the dead one

    def state_dict(self) -> dict[str, Any]:
        """`Costs` up to now, for the checkpoint."""
        return Costs(
            device=_name_of(self._device),
            threads=torch.get_num_threads(),
            cpu_seconds=self._before.cpu_seconds + time.process_time() - self._began[0],
            wall_seconds=self._before.wall_seconds + time.perf_counter() - self._began[1],
            peak_bytes=max(self._before.peak_bytes, peak_memory_bytes(self._device)),
        ).model_dump()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from the checkpoint's costs; what was spent after it is not in the weights either."""
        self._before = Costs.model_validate(state_dict)


def _name_of(device: str) -> str:
    if device == "cuda":
        return torch.cuda.get_device_name()
    described = Path("/proc/cpuinfo")  # Python's own `platform.processor` is empty on most Linux systems
    lines = described.read_text(encoding="utf-8").splitlines() if device == "cpu" and described.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or device


def measure_inference(
    recipe: Recipe, cache: Path, folder: Path, device: str = "auto", threads: int | None = None
) -> Inference:
    """Time the trained network on held-out prepared cases, run as its card says; for a process of its own.

    Only the pass through the network is timed, on whole cases, with the back end and the precision that a user gets.
    """
    from napari_medzoo.inference.backends import BACKENDS
    from napari_medzoo.inference.plan import make_plan
    from napari_medzoo.inference.predict import scores_of

    source = open_quietly(recipe, cache, threads)
    assert not isinstance(source, LabelMaps)
    card = read_card(folder / "model" / f"{recipe.name}.yaml")
    wall, cpu = [], []
    for number in split_cases(recipe, source.subjects, folder).held_out[: TIMED + 1]:
        scan = source.scan(number).astype(np.float32)
        plan = make_plan(card, scan.shape[1:], device=device, threads=threads)
        runner = BACKENDS[plan.backend].prepare(card, plan.device, plan.precision, plan.threads)
        began = time.perf_counter(), time.process_time()
        run(scores_of(runner, scan, plan))
        wall.append(time.perf_counter() - began[0])
        cpu.append(time.process_time() - began[1])
    return Inference(
        backend=plan.backend,
        precision=plan.precision,
        cases=len(wall[1:]),
        wall_seconds=median(wall[1:]),
        cpu_seconds=median(cpu[1:]),
        peak_bytes=peak_memory_bytes(choose_device(device)),
    )


def collect(one: Run, recipe: Recipe, folder: Path, costs: Costs, inference: Inference) -> Outcome:
    """All that the report needs of a run, from its folder."""
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
        scores=read_scores(folder / SCORES),
    )


def card_mb(recipe: Recipe) -> float:
    """Size of a network's weights in a card, in MB (half precision)."""
    return 2 * sum(tensor.numel() for tensor in build_network(recipe, "meta").state_dict().values()) / 1e6


def shipped(benchmark: Benchmark, output: Path) -> tuple[tuple[Run, float], ...]:
    """The runs whose cards come with the package and the MB of each, smallest first.

    They are those of the first fold and seed, finished, of networks with fewer than `ship_below` parameters that the
    package does not have yet, as long as `ship_mb` allows.
    """
    finished = {(item.network, item.fold, item.seed): item for item in read_outcomes(output)}
    small = []
    for one in choose_runs(benchmark, folds=benchmark.held_out[:1], seeds=benchmark.seeds[:1]):
        outcome = finished.get((one.network.name, one.fold, one.seed))
        if outcome and outcome.parameters < benchmark.ship_below and not one.network.card:
            small.append((one, card_mb(benchmark.recipe_of(one.network, one.fold, one.seed))))
    small.sort(key=lambda item: item[1])
    together = accumulate(size for _, size in small)
    return tuple(item for item, total in zip(small, together, strict=True) if total <= benchmark.ship_mb)


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
        where = f"{summary['subjects']} cases, fold {one.fold} of {summary['folds']}"
        rows = [(f"Dice of {row['name']}, {where}", row) for row in summary["labels"]]
        rows.append((f"Dice, mean of {len(summary['labels'])} classes, {where}", summary["mean"]))
        scores = tuple(
            Score(data=HELD_OUT, metric=metric, value=row["dice_mean"], command=command) for metric, row in rows
        )
        card = card.model_copy(update={"scores": scores})
        with replacing(folder / f"{card.name}.yaml") as temporary:
            card.save(temporary)
        yield card
