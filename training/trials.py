"""Short trial trainings that are timed, with the module, the loader and the trainer's loop that `fit` uses."""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
import time
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ParamSpec, TypeVar

import lightning.pytorch as pl
import torch
from lightning.pytorch.plugins import MixedPrecision

from napari_medzoo.errors import MedzooError
from napari_medzoo.inference.network import build_network

from .config import Recipe, Stage
from .data import Data
from .fit import PRECISIONS, Average, choose_device, quiet, trainer_settings
from .module import Training
from .patches import Source

WARMUP = 2
"""Steps before the clock is started: the first ones choose kernels and fetch memory."""

Arguments = ParamSpec("Arguments")
Returned = TypeVar("Returned")


@dataclass(frozen=True)
class Block:
    """Some steps, one after the other.

    Attributes
    ----------
    precision : str
        A key of `fit.PRECISIONS`.
    steps : int
    seconds, waited : float
        From its first step's beginning to its last step's end, and how much of it the network waited for data.
    peak_bytes : int
        Largest sum of tensors on a CUDA device meanwhile; 0 elsewhere, where no one counts it.
    """

    precision: str
    steps: int
    seconds: float
    waited: float
    peak_bytes: int = 0

    @property
    def seconds_per_step(self) -> float:
        """Mean over the block."""
        return self.seconds / self.steps


def excerpt(recipe: Recipe, stage: Stage, steps: int) -> Recipe:
    """The recipe with one stage of `steps` steps, on all cases and without validation, in a single epoch."""
    return recipe.model_copy(
        update={
            "stages": (stage.model_copy(update={"steps": steps}),),
            "folds": None,
            "validate_every": None,
            "patience": None,
            "checkpoint_every": steps,
        }
    )


def run_training(
    module: Training,
    source: Source,
    device: str,
    callbacks: Sequence[pl.Callback],
    precision: MixedPrecision | None = None,
) -> None:
    """Train all steps of the module's recipe as `fit` does, but leave no files.

    Parameters
    ----------
    module : Training
        Of a recipe of one epoch (see `excerpt`).
    source : LabelMaps or PreparedCases
    device : str
        ``"cpu"``, ``"cuda"`` or ``"mps"``.
    callbacks : sequence of lightning.pytorch.Callback
    precision : lightning.pytorch.plugins.MixedPrecision, optional
        Instead of the recipe's.
    """
    recipe = module.recipe
    with TemporaryDirectory() as folder, quiet():
        trainer = pl.Trainer(
            **trainer_settings(recipe, Path(folder), device),
            devices=1,
            precision=None if precision else PRECISIONS[recipe.precision],
            plugins=[precision] if precision else None,
            limit_val_batches=0,
            enable_checkpointing=False,
            callbacks=list(callbacks),
        )
        trainer.fit(module, datamodule=Data(recipe, lambda: source, Path(folder)))


def measure(recipe: Recipe, source: Source, plan: Sequence[tuple[str, int]], device: str = "auto") -> list[Block]:
    """Time blocks of steps of a recipe with a single stage.

    Parameters
    ----------
    recipe : Recipe
        Its first stage is run.
    source : LabelMaps or PreparedCases
    plan : sequence of (str, int)
        Precision and number of steps of every block, in the order in which they run on the same network.
    device : str

    Raises
    ------
    MedzooError
        If the recipe cannot be trained, or fp16 is to take turns: the scale of its gradients is no other's.
    """
    from napari_medzoo.inference.memory import tune_malloc

    device = choose_device(device)
    if device == "cpu":
        tune_malloc()  # as fit does
    kinds = {precision for precision, _ in plan}
    if len(kinds) > 1 and "fp16" in kinds:
        raise MedzooError("fp16 cannot take turns with another precision; compare bf16 and 32.")
    chosen = excerpt(recipe, recipe.stages[0], sum(steps for _, steps in plan))
    chosen = chosen.model_copy(update={"precision": plan[0][0]})
    pl.seed_everything(recipe.seed, verbose=False)
    module = Training(chosen, build_network(chosen))
    turns = ByTurns(device) if len(kinds) > 1 else None
    clock = Clock(plan, turns)
    run_training(module, source, device, [Average(recipe.ema), clock], turns)
    return clock.blocks


class ByTurns(MixedPrecision):
    """Mixed bfloat16, or plain float32, as `now` says; the weights are float32 in both."""

    def __init__(self, device: str) -> None:
        super().__init__("bf16-mixed", device)
        self.now = "bf16"

    @contextmanager
    def forward_context(self) -> Generator[None, None, None]:
        """What the forward pass runs in."""
        if self.now == "bf16":
            with super().forward_context():
                yield
        else:
            yield


class Clock(pl.Callback):
    """Times blocks of steps. A GPU is waited for between blocks only, so that within one it is never idle for that."""

    def __init__(self, plan: Sequence[tuple[str, int]], turns: ByTurns | None = None) -> None:
        self.blocks: list[Block] = []
        self._plan = list(plan)
        self._turns = turns
        self._began = self._waited = 0.0
        self._left = 0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Before the first batch is asked for."""
        self._begin(trainer)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """At the end of a block, note it and begin the next."""
        if (batch_idx + 1) % trainer.accumulate_grad_batches:
            return
        self._left -= 1
        if self._left:
            return
        _synchronise(trainer)
        peak = torch.cuda.max_memory_allocated() if _on_cuda(trainer) else 0
        seconds = time.perf_counter() - self._began
        precision, steps = self._plan[len(self.blocks)]
        self.blocks.append(Block(precision, steps, seconds, _waited(trainer) - self._waited, peak))
        if len(self.blocks) < len(self._plan):
            self._begin(trainer)

    def _begin(self, trainer: pl.Trainer) -> None:
        precision, self._left = self._plan[len(self.blocks)]
        if self._turns:
            self._turns.now = precision
        if _on_cuda(trainer):
            torch.cuda.reset_peak_memory_stats()
        self._began, self._waited = time.perf_counter(), _waited(trainer)


def _waited(trainer: pl.Trainer) -> float:
    data = trainer.datamodule  # type: ignore[attr-defined]  # Lightning attaches it without declaring it
    assert isinstance(data, Data)
    return data.loader_waited


def _on_cuda(trainer: pl.Trainer) -> bool:
    return trainer.strategy.root_device.type == "cuda"


def _synchronise(trainer: pl.Trainer) -> None:
    kind = trainer.strategy.root_device.type
    if kind == "cuda":
        torch.cuda.synchronize()
    elif kind == "mps":
        torch.mps.synchronize()


def peak_memory_bytes(device: str) -> int:
    """The most memory that this process has held so far: on the GPU where it computes, else main memory."""
    if device == "cuda":
        return torch.cuda.max_memory_reserved()
    if device == "mps":
        return int(torch.mps.driver_allocated_memory())
    status = Path("/proc/self/status")
    if status.is_file():
        # Not getrusage: its figure begins with that of the process that started this one.
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    import psutil

    if sys.platform == "win32":
        return int(psutil.Process().memory_info().peak_wset)
    # Freed tensors stay with the process (see `tune_malloc`), which makes the present figure nearly the largest.
    return int(psutil.Process().memory_info().rss)


def in_own_process(
    function: Callable[Arguments, Returned], *args: Arguments.args, **kwargs: Arguments.kwargs
) -> Returned:
    """Call a function in a fresh process, so that the peak of its memory is its own; it ends with this one.

    Raises
    ------
    MedzooError
        If the process was ended from outside; and whatever the function raises.
    """
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), initializer=_end_with_parent) as pool:
        try:
            return pool.submit(function, *args, **kwargs).result()
        except BrokenProcessPool as error:
            raise MedzooError(
                "The trial training was ended by the system, most likely for want of memory; choose a smaller patch, "
                "batch or network."
            ) from error


def _end_with_parent() -> None:
    """Were the parent killed and called again, two trainings would write into one folder."""

    def watch() -> None:
        parent = multiprocessing.parent_process()
        assert parent is not None
        parent.join()
        os._exit(1)  # nobody is left to be told

    threading.Thread(target=watch, daemon=True).start()


def open_quietly(recipe: Recipe, cache: Path, threads: int | None) -> Source:
    """What the recipe learns from, prepared before, in a process of its own."""
    from napari_medzoo.progress import run

    from .data import open_source

    if threads:
        torch.set_num_threads(threads)
    return run(open_source(recipe, cache))
