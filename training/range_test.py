"""Learning-rate range test: the rate rises from step to step, and the loss says where it is worth to begin.

Smith 2017, "Cyclical learning rates for training neural networks" (arXiv:1506.01186). Departures: the rate rises
exponentially, not linearly; the loss is smoothed evenly to both sides, which a running mean would shift towards higher
rates; and the rate that is suggested is the one of the steepest descent.
"""

from __future__ import annotations

import csv
import importlib.util
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
from numpy.typing import NDArray

from napari_medzoo.inference.network import build_network
from napari_medzoo.io import replacing

from .config import Recipe
from .fit import choose_device
from .module import Training
from .patches import Source
from .trials import excerpt, run_training

LOWEST, HIGHEST = 1e-6, 1.0
"""The rates of the first and the last step."""

STEPS = 60

SMOOTH = 2.0
"""Standard deviation of the smoothing, in steps."""

DIVERGED = 4.0
"""The test ends where the running mean of the loss is so many times its best; what follows says nothing more."""


@dataclass(frozen=True)
class RangeTest:
    """What was found; the three sequences are of one length, one item a step.

    Attributes
    ----------
    rates, losses, smoothed : tuple of float
        Shorter than `STEPS` where the training diverged.
    suggested : float or None
        Rate at the steepest descent of the smoothed loss; None where it does not fall clearly.
    """

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    smoothed: tuple[float, ...]
    suggested: float | None


class Rising(Training):
    """A training whose rate rises exponentially."""

    def learning_rate(self, step: int) -> float:
        """From `LOWEST` at step 0 to `HIGHEST` at the last."""
        return float(LOWEST * (HIGHEST / LOWEST) ** (step / max(self.recipe.steps - 1, 1)))


class Watch(pl.Callback):
    """Notes the loss of every step and ends the training where it diverges."""

    def __init__(self) -> None:
        self.losses: list[float] = []
        self._sum = 0.0
        self._running = self._best = math.inf

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Note a step once all its batches are through."""
        self._sum += float(outputs["loss"])  # divided by the number of batches in a step
        if (batch_idx + 1) % trainer.accumulate_grad_batches:
            return
        loss, self._sum = self._sum, 0.0
        if math.isfinite(loss):
            self.losses.append(loss)
            self._running = loss if math.isinf(self._running) else 0.7 * self._running + 0.3 * loss
            self._best = min(self._best, self._running)
        trainer.should_stop = not math.isfinite(loss) or self._running > DIVERGED * self._best


def range_test(recipe: Recipe, source: Source, device: str = "auto", steps: int = STEPS) -> RangeTest:
    """Train the recipe's first stage from fresh weights at rates from `LOWEST` to `HIGHEST`.

    Parameters
    ----------
    recipe : Recipe
    source : LabelMaps or PreparedCases
    device : str
    steps : int
    """
    chosen = excerpt(recipe, recipe.stages[0], steps)
    pl.seed_everything(recipe.seed, verbose=False)
    module = Rising(chosen, build_network(chosen))
    watch = Watch()
    run_training(module, source, choose_device(device), [watch])
    rates = np.array([module.learning_rate(step) for step in range(len(watch.losses))])
    losses = np.array(watch.losses)
    smoothed = smooth(losses)
    return RangeTest(
        tuple(rates.tolist()), tuple(losses.tolist()), tuple(smoothed.tolist()), suggest(rates, losses, smoothed)
    )


def smooth(losses: NDArray[np.float64]) -> NDArray[np.float64]:
    """The losses, smoothed by a Gaussian of `SMOOTH` steps."""
    from scipy.ndimage import gaussian_filter1d

    smoothed: NDArray[np.float64] = (
        gaussian_filter1d(losses, SMOOTH, mode="nearest") if len(losses) else np.zeros(0, dtype=np.float64)
    )
    return smoothed


def suggest(rates: NDArray[np.float64], losses: NDArray[np.float64], smoothed: NDArray[np.float64]) -> float | None:
    """The rate at which the smoothed loss falls fastest, against the rate's logarithm, before its lowest point.

    Returns
    -------
    float or None
        None where the loss falls by no more than twice its scatter: such a slope would be chance.
    """
    if len(losses) < 5:
        return None
    end = int(np.argmin(smoothed))
    scatter = float(np.std((losses - smoothed)[: end + 1]))
    if end < 2 or smoothed[: end + 1].max() - smoothed[end] <= 2 * scatter:
        return None
    slope = np.gradient(smoothed, np.log(rates))[: end + 1]
    return float(rates[int(np.argmin(slope))])


def write_range_test(folder: Path, found: RangeTest) -> Sequence[Path]:
    """Write ``range_test.csv`` and, where matplotlib is installed, ``range_test.png``; returns what was written."""
    folder.mkdir(parents=True, exist_ok=True)
    table = folder / "range_test.csv"
    with replacing(table) as temporary, temporary.open("w", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(("step", "learning_rate", "loss", "smoothed_loss"))
        for step, row in enumerate(zip(found.rates, found.losses, found.smoothed, strict=True), start=1):
            writer.writerow((step, *(f"{value:.6g}" for value in row)))
    if importlib.util.find_spec("matplotlib") is None:
        return (table,)
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.add_subplot(xscale="log", xlabel="learning rate", ylabel="loss")
    axes.plot(found.rates, found.losses, color="0.75", label="loss")
    axes.plot(found.rates, found.smoothed, color="C0", label="smoothed")
    if found.suggested is not None:
        axes.axvline(found.suggested, color="C1", label=f"steepest descent, {found.suggested:.2g}")
    if found.losses:
        axes.set_ylim(0.9 * min(found.losses), 1.3 * found.losses[0])  # the end, where it diverges, would hide the fall
    axes.legend()
    picture = folder / "range_test.png"
    with replacing(picture) as temporary:
        figure.savefig(temporary, dpi=120, format="png")
    return table, picture
