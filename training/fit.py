"""The training loop, from the recipe to the last checkpoint."""

from __future__ import annotations

import csv
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from napari_medzoo.errors import MedzooError
from napari_medzoo.inference.memory import tune_malloc
from napari_medzoo.models import ARCHITECTURES

from . import checkpoint
from .config import Recipe, Stage
from .labelmaps import LabelMaps
from .losses import dice_cross_entropy
from .synthesis import synthesise

LOG = "log.csv"


@dataclass(frozen=True)
class Step:
    """What one step of training reports: its number (from 1), the loss, and seconds for data and for the network."""

    number: int
    loss: float
    data_seconds: float
    network_seconds: float


def fit(
    recipe: Recipe,
    maps: LabelMaps,
    folder: Path,
    device: torch.device,
    resume: bool = False,
    start: nn.Module | None = None,
) -> Iterator[Step]:
    """Train `recipe` and leave checkpoints and ``log.csv`` in `folder`; yields every step.

    Every random number of step *n* follows from the recipe's seed and *n* alone, so that a resumed training
    continues the same curve.

    Parameters
    ----------
    recipe : Recipe
    maps : LabelMaps
    folder : pathlib.Path
    device : torch.device
    resume : bool
        Continue the training in `folder`.
    start : torch.nn.Module, optional
        A trained network of the same architecture, to begin with its weights instead of random ones.

    Raises
    ------
    MedzooError
        If `folder` already holds a training and `resume` is false, or the other way round, or if `start` is of
        another architecture.
    """
    tune_malloc()
    folder.mkdir(parents=True, exist_ok=True)
    if not resume and (folder / checkpoint.LAST).exists():
        raise MedzooError(f"{folder} already holds a training; continue it with 'resume' or choose another folder.")
    torch.manual_seed(recipe.seed)
    network = build(recipe)
    if start is not None:
        _take_weights(network, start, recipe)
    network = network.to(device)
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-3, weight_decay=recipe.weight_decay)
    average = checkpoint.Average(network, recipe.ema)
    done = 0
    if resume:
        state = checkpoint.load(folder)
        network.load_state_dict(state["network"])
        optimiser.load_state_dict(state["optimiser"])
        average.weights = {name: value.to(device) for name, value in state["average"].items()}
        done = int(state["step"])
    maps = maps.to(device)
    channel_of = maps.channel_of(recipe)

    for number in range(done, recipe.steps):
        stage, within = recipe.stage_at(number)
        started = time.perf_counter()
        pairs = [
            synthesise(maps, recipe, stage, channel_of, np.random.default_rng([recipe.seed, number, item]))
            for item in range(recipe.batch)
        ]
        scan = torch.stack([pair[0] for pair in pairs])  # (B, C, X, Y, Z)
        target = torch.stack([pair[1] for pair in pairs])  # (B, X, Y, Z)
        ready = time.perf_counter()
        rate = learning_rate(stage, within)
        for group in optimiser.param_groups:
            group["lr"] = rate
        with torch.autocast(device.type, torch.bfloat16, enabled=recipe.bfloat16):
            logits = network(scan)
        loss = dice_cross_entropy(logits, target)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), recipe.gradient_clip)
        optimiser.step()
        average.update(network, number)
        step = Step(number + 1, float(loss.detach()), ready - started, time.perf_counter() - ready)
        _log(folder / LOG, step, rate)
        if step.number % recipe.checkpoint_every == 0 or step.number == recipe.steps:
            checkpoint.save(folder, _state(recipe, network, optimiser, average, step.number))
        yield step


def build(recipe: Recipe) -> nn.Module:
    """The recipe's network with fresh weights."""
    network: nn.Module = ARCHITECTURES[recipe.architecture](
        in_channels=len(recipe.modalities), num_classes=len(recipe.channels), **recipe.settings
    )
    return network


def _take_weights(network: nn.Module, start: nn.Module, recipe: Recipe) -> None:
    try:
        network.load_state_dict(start.state_dict())
    except RuntimeError as error:
        raise MedzooError(
            f"Recipe '{recipe.name}' builds another network than the one to start from; give both the same "
            "architecture, settings, modalities and number of channels."
        ) from error


def learning_rate(stage: Stage, step: int) -> float:
    """Linear warm-up, then polynomial decay with power 0.9 (Chen 2017, DeepLab) to the stage's final rate."""
    if step < stage.warmup:
        return stage.learning_rate * (step + 1) / stage.warmup
    left = 1 - (step - stage.warmup) / max(stage.steps - stage.warmup, 1)
    return stage.final_learning_rate + (stage.learning_rate - stage.final_learning_rate) * left**0.9


def _state(
    recipe: Recipe, network: nn.Module, optimiser: torch.optim.Optimizer, average: checkpoint.Average, step: int
) -> dict[str, Any]:
    return {
        "recipe": recipe.model_dump(mode="json"),
        "step": step,
        "network": network.state_dict(),
        "optimiser": optimiser.state_dict(),
        "average": average.weights,
    }


def _log(path: Path, step: Step, rate: float) -> None:
    new = not path.exists()
    with path.open("a", newline="") as stream:
        writer = csv.writer(stream)
        if new:
            writer.writerow(["step", "loss", "learning_rate", "data_seconds", "network_seconds"])
        seconds = [f"{step.data_seconds:.3f}", f"{step.network_seconds:.3f}"]
        writer.writerow([step.number, f"{step.loss:.5f}", f"{rate:.3e}", *seconds])
