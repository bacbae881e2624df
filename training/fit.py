"""A training from its recipe to its last checkpoint, by Lightning's Trainer."""

from __future__ import annotations

import logging
import os
import shutil
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint, WeightAveraging
from torch import Tensor

from napari_medzoo.cards import ModelCard
from napari_medzoo.errors import MedzooError
from napari_medzoo.inference.memory import tune_malloc
from napari_medzoo.inference.network import build_network
from napari_medzoo.io import replacing

from . import checkpoint, weights
from .config import Recipe
from .data import Data
from .logs import Log
from .module import DICE, Training
from .patches import Source

PRECISIONS: dict[str, Any] = {"32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}
ACCELERATORS = {"auto": "auto", "cpu": "cpu", "cuda": "gpu", "mps": "mps"}
STARTED = "start.txt"


@dataclass(frozen=True)
class Result:
    """How a training ended: steps taken, whether early stopping ended it, best mean Dice of a validation (if any)."""

    steps: int
    stopped_early: bool
    best_dice: float | None


def choose_device(device: str) -> str:
    """``"auto"`` as a device that is there: CUDA, else MPS, else the CPU."""
    if device not in ACCELERATORS:
        raise MedzooError(f"There is no device '{device}'; choose one of: {', '.join(ACCELERATORS)}.")
    if device != "auto":
        return device
    return "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"


def fit(
    recipe: Recipe,
    source: Callable[[], Source],
    folder: Path,
    *,
    device: str = "auto",
    resume: bool = False,
    start: ModelCard | Path | None = None,
    threads: int | None = None,
    callbacks: Sequence[pl.Callback] = (),
) -> Result:
    """Train `recipe`; checkpoints and logs are left in `folder`.

    Every random number of a step follows from the recipe's seed and the step's number alone, so that a resumed training
    continues the same curve. Under ``torchrun`` every process calls this; together they take `batch` pairs each.

    Parameters
    ----------
    recipe : Recipe
    source : callable
        Gives the label maps or prepared cases; called once on every machine before its other processes call it.
    folder : pathlib.Path
    device : str
        ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"mps"``.
    resume : bool
        Continue the training in `folder` from its last checkpoint.
    start : ModelCard or pathlib.Path, optional
        Trained weights to begin with (see `weights.load_start`); what became of them goes to ``start.txt``.
    threads : int, optional
        Threads that make training pairs ahead of the network; by default as `data.loader_threads` says.
    callbacks : sequence of lightning.pytorch.Callback
        More of them, for a progress bar.

    Raises
    ------
    MedzooError
        If `folder` already holds a training and `resume` is false, or the other way round; if the recipe is of another
        network than the checkpoint; if `start` does not fit.
    """
    last = checkpoint.path_of(folder, checkpoint.LAST)
    if resume:
        state = checkpoint.load(folder)
        _require_same_network(recipe, state, folder)
        ended = _ended(recipe, state)
        if ended:
            return ended
        for unfinished in folder.glob(".*.ckpt.*"):  # a checkpoint that was being written when the process was killed
            shutil.rmtree(unfinished, ignore_errors=True)
    elif last.exists():
        raise MedzooError(f"{folder} already holds a training; continue it with 'resume' or choose another folder.")
    folder.mkdir(parents=True, exist_ok=True)
    if choose_device(device) == "cpu":
        tune_malloc()
    pl.seed_everything(recipe.seed, verbose=False)
    network = build_network(recipe)
    if start is not None and not resume:
        report = weights.load_start(network, recipe, start)
        text = f"Begun with the weights of '{start.name}': {report}.\n"
        (folder / STARTED).write_text(text, encoding="utf-8")
    data = Data(recipe, source, folder, threads)
    with quiet():
        trainer = _trainer(recipe, folder, device, callbacks)
        trainer.fit(Training(recipe, network), datamodule=data, ckpt_path=last if resume else None, weights_only=True)
    return _result(trainer.global_step, trainer.callbacks)  # type: ignore[attr-defined]


def _trainer(recipe: Recipe, folder: Path, device: str, callbacks: Sequence[pl.Callback]) -> pl.Trainer:
    """The Trainer; one of its epochs is the stretch between two checkpoints."""
    world = int(os.environ.get("WORLD_SIZE", 1))
    local = int(os.environ.get("LOCAL_WORLD_SIZE", world))
    every = recipe.validate_every // recipe.checkpoint_every if recipe.validate_every else None
    ours: list[pl.Callback] = [Average(recipe.ema), Log(recipe, folder), *callbacks]
    if every and recipe.patience:
        ours.append(EarlyStopping(DICE, mode="max", patience=recipe.patience, check_on_train_epoch_end=False))
    if every:
        ours.append(_keep(folder, checkpoint.BEST, monitor=DICE, mode="max", save_on_train_epoch_end=False))
    ours.append(_keep(folder, checkpoint.LAST, save_on_train_epoch_end=True))
    return pl.Trainer(
        **trainer_settings(recipe, folder, device),
        devices=local,
        num_nodes=world // local,
        strategy="ddp" if world > 1 else "auto",
        precision=PRECISIONS[recipe.precision],
        check_val_every_n_epoch=every or 1,
        limit_val_batches=None if every else 0,
        reload_dataloaders_every_n_epochs=1,
        callbacks=ours,
        plugins=[WholeFiles()],
    )


def trainer_settings(recipe: Recipe, folder: Path, device: str) -> dict[str, Any]:
    """What every Trainer of this package is given, so that what is timed is what trains."""
    return {
        "accelerator": ACCELERATORS[device],
        "max_steps": recipe.steps,
        "accumulate_grad_batches": recipe.accumulate,
        "gradient_clip_val": recipe.gradient_clip,
        "num_sanity_val_steps": 0,
        "use_distributed_sampler": False,
        "benchmark": True,
        "logger": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "default_root_dir": folder,
    }


def _keep(folder: Path, name: str, **settings: Any) -> ModelCheckpoint:
    return ModelCheckpoint(dirpath=folder, filename=name, enable_version_counter=False, **settings)


class WholeFiles(TorchCheckpointIO):
    """Checkpoints that appear whole or not at all (Lightning's own way passes through ``/tmp``, often another disk)."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Write to a temporary name in the same folder, then rename."""
        with replacing(path) as temporary:
            torch.save(checkpoint, temporary)


class Average(WeightAveraging):
    """Exponential moving average of the weights, which follow the noise of training less.

    What a batch normalisation has measured is averaged alike: its own average forgets all but the last few patches, and
    belongs to weights that are not the averaged ones.

    Parameters
    ----------
    decay : float
        Share of the old average kept at each step; it ramps up from 0 so that early steps do not linger.
    """

    def __init__(self, decay: float) -> None:
        super().__init__(multi_avg_fn=self._move)
        self._decay = decay

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Put the average where the network will be, and its counter on the CPU, where reading it stops nothing."""
        self._device = trainer.strategy.root_device
        super().setup(trainer, pl_module, stage)
        assert self._average_model is not None
        self._average_model.n_averaged = self._average_model.n_averaged.cpu()

    def _move(self, averages: Sequence[Tensor], currents: Sequence[Tensor], _: Tensor | int) -> None:
        assert self._average_model is not None
        if not averages[0].is_floating_point():  # the number of batches that a normalisation has seen
            torch._foreach_copy_(list(averages), list(currents))
            return
        step = int(self._average_model.n_averaged)
        decay = min(self._decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(list(averages), list(currents), 1 - decay)


def _require_same_network(recipe: Recipe, state: dict[str, Any], folder: Path) -> None:
    ours = recipe.model_dump(mode="json")
    for key in ("architecture", "settings", "modalities", "channels", "optimiser"):
        if ours[key] != state["recipe"][key]:
            raise MedzooError(
                f"The training in {folder} has {key} {state['recipe'][key]}, the recipe says {ours[key]}; "
                "resume it with the recipe it was begun with, or begin another with 'fit --start'."
            )


def _ended(recipe: Recipe, state: dict[str, Any]) -> Result | None:
    """What to report where nothing is left to do."""
    callbacks = state["callbacks"]
    stopping = next((value for key, value in callbacks.items() if key.startswith("EarlyStopping")), None)
    stopped = bool(recipe.patience and stopping and stopping["wait_count"] >= recipe.patience)
    if state["global_step"] < recipe.steps and not stopped:
        return None
    best = next(
        (value["best_model_score"] for key, value in callbacks.items() if f"'{DICE}'" in key and "ModelCh" in key), None
    )
    return Result(state["global_step"], stopped, None if best is None else float(best))


def _result(steps: int, callbacks: Sequence[pl.Callback]) -> Result:
    stopped, best = False, None
    for callback in callbacks:
        if isinstance(callback, EarlyStopping):
            stopped = callback.stopped_epoch > 0
        elif isinstance(callback, ModelCheckpoint) and callback.monitor and callback.best_model_score is not None:
            best = float(callback.best_model_score)
    return Result(steps, stopped, best)


@contextmanager
def quiet() -> Iterator[None]:
    """Without Lightning's advice on loggers, workers and folders, which fits no training of this package."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    with warnings.catch_warnings():
        for message in ("does not have many workers", "Checkpoint directory", "treespec, LeafSpec"):
            warnings.filterwarnings("ignore", f".*{message}.*")
        yield
