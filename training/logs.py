"""What a training leaves to be read: ``log.csv``, ``validation.csv`` and, where tensorboard is installed, its events.

``log.csv`` has one row a step: step (from 1), loss, learning rate, seconds spent waiting for data, seconds of the whole
step (on a GPU as the host sees them: it runs ahead, so only sums over many steps mean something). ``validation.csv``
has one row a validation: step, mean hard Dice, and the Dice of every label by its index.
"""

from __future__ import annotations

import csv
import importlib.util
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lightning.pytorch as pl
import numpy as np
import torch
from torch import Tensor

from napari_medzoo.errors import MedzooError
from napari_medzoo.io import replacing

from .config import Recipe
from .data import Data
from .module import DICE, Training

if TYPE_CHECKING:
    from torch.utils.tensorboard.writer import SummaryWriter

STEPS = "log.csv"
VALIDATIONS = "validation.csv"
FIELDS = ("step", "loss", "learning_rate", "data_seconds", "step_seconds")

AHEAD = 20
"""On a GPU the losses of so many steps are fetched at once: asking for each would make the next one wait."""


def read_log(folder: Path, name: str = STEPS) -> list[dict[str, float]]:
    """The rows of a training's log, oldest first; NaN where a field is empty."""
    path = folder / name
    if not path.is_file():
        return []
    with path.open(newline="") as stream:
        return [{key: float(value or "nan") for key, value in row.items()} for row in csv.DictReader(stream)]


def idle_share(rows: Sequence[Mapping[str, float]]) -> float:
    """Share of the time in which the network waited for data, 0–1."""
    total = sum(row["step_seconds"] for row in rows)
    return sum(row["data_seconds"] for row in rows) / total if total else 0.0


def cut(path: Path, step: int) -> None:
    """Drop the rows after `step`, and a last one that was not written to its end: a resumed training repeats them."""
    if not path.is_file():
        return
    lines = path.read_text().splitlines(keepends=True)
    whole = [line for line in lines if line.endswith("\n")]
    kept = [line for row, line in enumerate(whole) if row == 0 or int(line.split(",")[0]) <= step]
    if len(kept) < len(lines):
        with replacing(path) as temporary:
            temporary.write_text("".join(kept))


def append(path: Path, fields: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Add rows in one write, and first the line of names to a new file."""
    with path.open("a", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        if stream.tell() == 0:
            writer.writerow(fields)
        writer.writerows(rows)


class Log(pl.Callback):
    """Writes the logs of a training into its folder, from its first process.

    Parameters
    ----------
    recipe : Recipe
    folder : pathlib.Path

    Attributes
    ----------
    last : dict of str to float
        The newest row, for a progress bar.
    """

    def __init__(self, recipe: Recipe, folder: Path) -> None:
        self.last: dict[str, float] = {}
        self._recipe = recipe
        self._folder = folder
        self._events: SummaryWriter | None = None
        self._loss: Tensor | None = None
        self._waiting: list[tuple[int, Tensor, float, float, float]] = []
        self._clock = 0.0
        self._waited = 0.0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Continue the files where the checkpoint was written."""
        self._clock = time.perf_counter()
        if not trainer.is_global_zero:
            return
        for name in (STEPS, VALIDATIONS):
            cut(self._folder / name, trainer.global_step)
        if importlib.util.find_spec("tensorboard"):
            from torch.utils.tensorboard.writer import SummaryWriter

            self._events = SummaryWriter(str(self._folder / "tensorboard"), purge_step=trainer.global_step + 1)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """An epoch begins with a new loader; what lies between two is no step's time."""
        self._clock, self._waited = time.perf_counter(), 0.0

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Note a step once all its batches are through."""
        loss = outputs["loss"]  # divided by the number of batches in a step
        self._loss = loss if self._loss is None else self._loss + loss
        if (batch_idx + 1) % self._recipe.accumulate:
            return
        assert isinstance(pl_module, Training)
        waited, now = _data(trainer).loader_waited, time.perf_counter()
        step = trainer.global_step
        row = (step, self._loss, pl_module.learning_rate(step - 1), waited - self._waited, now - self._clock)
        self._waiting.append(row)
        self._loss, self._clock, self._waited = None, now, waited
        if pl_module.device.type != "cuda" or len(self._waiting) >= AHEAD:
            self._flush(trainer)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Everything is written before the checkpoint is, which it precedes in the order of callbacks."""
        self._flush(trainer)
        if self._events and isinstance(pl_module, Training) and not _data(trainer).split.validation:
            self._show_patch(self._events, trainer, pl_module)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the Dice of every class, and a picture of the first case."""
        if not trainer.is_global_zero or not isinstance(pl_module, Training) or pl_module.class_dice is None:
            return
        names = [str(index) for index in self._recipe.channels[1:]]
        values = ["" if math.isnan(value) else f"{value:.5f}" for value in pl_module.class_dice]
        mean = float(trainer.callback_metrics[DICE])
        append(self._folder / VALIDATIONS, ("step", DICE, *names), [(trainer.global_step, f"{mean:.5f}", *values)])
        if self._events:
            self._write_dice(self._events, pl_module.class_dice, mean, trainer.global_step)
            if pl_module.picture is not None:
                self._events.add_image("validation", pl_module.picture, trainer.global_step, dataformats="HWC")
            self._events.flush()

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Close the files."""
        if self._events:
            self._events.close()
            self._events = None

    def _flush(self, trainer: pl.Trainer) -> None:
        if not self._waiting:
            return
        losses = torch.stack([row[1] for row in self._waiting]).float()
        losses = trainer.strategy.reduce(losses, reduce_op="mean").cpu()
        rows = [
            (step, loss, rate, data, whole)
            for (step, _, rate, data, whole), loss in zip(self._waiting, losses.tolist(), strict=True)
        ]
        self._waiting.clear()
        for step, loss, *_ in rows:
            if not math.isfinite(loss):
                raise MedzooError(
                    f"The loss is not a number at step {step}; lower the learning rate, or set precision to 32, and "
                    f"resume from the checkpoint in {self._folder}."
                )
        self.last = dict(zip(FIELDS, rows[-1], strict=True))
        if not trainer.is_global_zero:
            return
        text = [
            (step, f"{loss:.6g}", f"{rate:.4g}", f"{data:.4f}", f"{whole:.4f}")
            for step, loss, rate, data, whole in rows
        ]
        append(self._folder / STEPS, FIELDS, text)
        if self._events:
            for step, loss, rate, data, whole in rows:
                self._events.add_scalar("loss", loss, step)
                self._events.add_scalar("learning_rate", rate, step)
                self._events.add_scalar("share_of_time_waiting_for_data", data / whole, step)

    def _write_dice(self, events: SummaryWriter, values: Sequence[float] | Any, mean: float, step: int) -> None:
        events.add_scalar("dice/mean", mean, step)
        for index, value in zip(self._recipe.channels[1:], values, strict=True):
            if not math.isnan(value):
                events.add_scalar(f"dice/{self._recipe.label_table[index].name}", float(value), step)

    def _show_patch(self, events: SummaryWriter, trainer: pl.Trainer, module: Training) -> None:
        """What the network makes of one fresh training pair: there are no cases to validate on."""
        from napari_medzoo.models.blocks import crop_to

        from .held_out import draw, hard_dice

        scan, target = _data(trainer).pair(trainer.global_step)
        module.network.eval()
        with torch.inference_mode(), trainer.precision_plugin.forward_context():
            channels = module.network(scan[None])[0].argmax(dim=0).cpu().numpy()
        module.network.train()
        scan, target = crop_to(scan, channels.shape), crop_to(target, channels.shape)  # valid convolutions
        dice = hard_dice(channels, target.cpu().numpy(), len(self._recipe.channels))
        mean = float(np.nanmean(dice)) if np.isfinite(dice).any() else 0.0
        self._write_dice(events, dice, mean, trainer.global_step)
        picture = draw(self._recipe, scan[0].float().cpu().numpy(), channels)
        events.add_image("patch", picture, trainer.global_step, dataformats="HWC")
        events.flush()


def _data(trainer: pl.Trainer) -> Data:
    data = trainer.datamodule  # type: ignore[attr-defined]  # Lightning attaches it without declaring it
    assert isinstance(data, Data)
    return data
