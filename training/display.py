"""How far a training is, on a terminal or in a file."""

from __future__ import annotations

import time
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import lightning.pytorch as pl
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from .fit import STARTED
from .logs import Log
from .module import DICE

if TYPE_CHECKING:
    from napari_medzoo.progress import Progress as Step

INTERVAL_S = 60.0
"""Seconds between two lines where the output is not a terminal."""


class Display(pl.Callback):
    """A progress bar on a terminal; elsewhere one line a minute. A context, so that the bar is always taken down.

    Parameters
    ----------
    title : str
    steps : int
        Of the whole training.
    console : rich.console.Console, optional
        Standard output by default.
    """

    def __init__(self, title: str, steps: int, console: Console | None = None) -> None:
        self._title = title
        self._steps = steps
        self._console = console or Console()
        self._bar = Progress(
            TextColumn("{task.description}"),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._task = self._bar.add_task(title, total=steps)
        self._smooth = 0.0
        self._taken = 0
        self._began = self._said = time.monotonic()

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._bar.stop()

    def preparing(self, step: Step) -> None:
        """Show a step of the work before the training."""
        of = f" {step.done}/{step.total}" if step.total else ""
        self._show(f"{self._title}  {step.stage}{of}")

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """A resumed training does not begin at nought; one that begins with a card's weights says what it took."""
        start = Path(trainer.default_root_dir) / STARTED
        if trainer.global_step == 0 and start.is_file():
            self._console.print(start.read_text(encoding="utf-8").strip(), soft_wrap=True, highlight=False)
        self._began, self._taken = time.monotonic(), 0
        self._bar.reset(self._task, total=self._steps, completed=trainer.global_step)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Show the loss of the newest step that the log knows."""
        row = next(callback.last for callback in trainer.callbacks if isinstance(callback, Log))  # type: ignore[attr-defined]
        if not row or (batch_idx + 1) % trainer.accumulate_grad_batches:
            return
        self._taken += 1
        # A mean over some 50 steps, from the first one on.
        self._smooth += (row["loss"] - self._smooth) * max(0.02, 1 / self._taken)
        seconds = (time.monotonic() - self._began) / self._taken
        waiting = row["data_seconds"] / row["step_seconds"] if row["step_seconds"] else 0.0
        dice = trainer.callback_metrics.get(DICE)
        self._show(
            f"{self._title}  loss {self._smooth:.3f}"
            + (f"  Dice {float(dice):.3f}" if dice is not None else "")
            + f"  {seconds:.2f} s/step  waiting for data {waiting:.0%}",
            trainer.global_step,
        )

    def _show(self, text: str, step: int | None = None) -> None:
        if self._console.is_terminal:
            self._bar.update(self._task, description=text, completed=step)
        elif (now := time.monotonic()) - self._said >= INTERVAL_S or step == self._steps:
            self._said = now
            self._console.print(
                text + (f"  step {step}/{self._steps}" if step else ""), soft_wrap=True, highlight=False
            )
