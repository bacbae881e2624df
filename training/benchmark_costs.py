"""What a training and a pass of a benchmark cost: time, processor time and memory."""

from __future__ import annotations

import platform
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import lightning.pytorch as pl
import torch
from numpy.typing import NDArray

from napari_medzoo.cards import ModelCard
from napari_medzoo.inference.plan import Plan
from napari_medzoo.progress import run

from .benchmark_outcome import Costs, Inference
from .fit import choose_device
from .trials import peak_memory_bytes


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


@dataclass(frozen=True)
class Pass:
    """What one pass through a network took, and how it was run."""

    plan: Plan
    wall_seconds: float
    cpu_seconds: float


def timed_pass(
    card: ModelCard, scan: NDArray[Any], device: str = "auto", threads: int | None = None
) -> tuple[NDArray[Any], Pass]:
    """Run a card on a prepared scan ``(C, X, Y, Z) float32``, with the back end and the precision that a user gets.

    Returns
    -------
    scores : numpy.ndarray
        ``(K, X, Y, Z) float32`` logits.
    taken : Pass
    """
    from napari_medzoo.inference.backends import BACKENDS
    from napari_medzoo.inference.plan import make_plan
    from napari_medzoo.inference.predict import scores_of

    x, y, z = scan.shape[1:]
    plan = make_plan(card, (x, y, z), device=device, threads=threads)
    runner = BACKENDS[plan.backend].prepare(card, plan.device, plan.precision, plan.threads)
    began = time.perf_counter(), time.process_time()
    scores = run(scores_of(runner, scan, plan))
    return scores, Pass(plan, time.perf_counter() - began[0], time.process_time() - began[1])


def inference_of(passes: Sequence[Pass], device: str = "auto") -> Inference:
    """Medians of all passes but the first, which warms up, and the peak of this process's memory."""
    timed = passes[1:] or passes
    return Inference(
        backend=passes[0].plan.backend,
        precision=passes[0].plan.precision,
        cases=len(timed),
        wall_seconds=median(one.wall_seconds for one in timed),
        cpu_seconds=median(one.cpu_seconds for one in timed),
        peak_bytes=peak_memory_bytes(choose_device(device)),
    )
