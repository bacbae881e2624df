"""What a recipe will cost, before it is trained: memory, time, and a learning rate to begin with."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from napari_medzoo.errors import MedzooError
from napari_medzoo.inference.network import build_network
from napari_medzoo.inference.plan import Plan, make_plan

from .config import Recipe
from .export import card_of
from .fit import choose_device
from .labelmaps import LabelMaps
from .patches import Mixed, Source
from .range_test import STEPS, RangeTest, range_test
from .trials import WARMUP, excerpt, measure, open_quietly, peak_memory_bytes

BLOCKS = 3
"""Each stage is timed in so many parts, of which the median counts."""


@dataclass(frozen=True)
class Trial:
    """What a short training has shown.

    Attributes
    ----------
    device : str
    seconds_per_step, waiting : tuple of float
        Of every stage: median time of a step, and the share of it spent waiting for data, 0–1.
    memory_bytes : int
        Peak of the process, or of the GPU where it computes.
    range_test : RangeTest or None
    """

    device: str
    seconds_per_step: tuple[float, ...]
    waiting: tuple[float, ...]
    memory_bytes: int
    range_test: RangeTest | None


def try_out(
    recipe: Recipe,
    cache: Path,
    steps: int = 6,
    range_steps: int = STEPS,
    device: str = "auto",
    threads: int | None = None,
) -> Trial:
    """Train a few steps of every stage, then do a range test; for a process of its own, whose memory is measured.

    Parameters
    ----------
    recipe : Recipe
    cache : pathlib.Path
        Where `data.open_source` has prepared the cases or label maps.
    steps : int
        Of every stage, after `trials.WARMUP` steps that do not count.
    range_steps : int
        Of the range test; 0 for none.
    device : str
    threads : int, optional
        Of the CPU.
    """
    source = open_quietly(recipe, cache, threads)
    device = choose_device(device)
    plan = [(recipe.precision, WARMUP), *[(recipe.precision, max(1, steps // BLOCKS))] * BLOCKS]
    times, waiting = [], []
    for stage in recipe.stages:
        blocks = measure(excerpt(recipe, stage, stage.steps), source, plan, device)[1:]
        times.append(median(block.seconds_per_step for block in blocks))
        waiting.append(median(block.waited / block.seconds for block in blocks))
    memory = peak_memory_bytes(device)
    found = range_test(recipe, source, device, range_steps) if range_steps else None
    return Trial(device, tuple(times), tuple(waiting), memory, found)


def largest_shape(source: Source) -> tuple[int, int, int]:
    """``(X, Y, Z)`` of the prepared case, or else of the label map, with the most voxels."""
    if isinstance(source, Mixed):
        return max(largest_shape(source.maps), largest_shape(source.cases), key=math.prod)
    if isinstance(source, LabelMaps):
        shapes = [tuple(item.shape) for item in source.maps]
    else:
        shapes = [source.labels(number).shape for number in range(len(source))]
    x, y, z = max(shapes, key=math.prod)
    return int(x), int(y), int(z)


def estimate(recipe: Recipe, trial: Trial, shape: tuple[int, int, int]) -> dict[str, Any]:
    """What a recipe costs, ready for YAML.

    Parameters
    ----------
    recipe : Recipe
    trial : Trial
    shape : tuple of int
        Voxels of a prepared study, for the memory of inference.
    """
    network = build_network(recipe, "meta")
    parameters = sum(parameter.numel() for parameter in network.parameters())
    card = card_of(recipe, network)
    kept = sum(tensor.numel() for tensor in build_network(card, "meta").state_dict().values())
    seconds = sum(stage.steps * time for stage, time in zip(recipe.stages, trial.seconds_per_step, strict=True))
    stages = [
        {
            "steps": stage.steps,
            "patch": list(stage.patch),
            "seconds_per_step": round(time, 4),
            "share_waiting_for_data": round(share, 3),
        }
        for stage, time, share in zip(recipe.stages, trial.seconds_per_step, trial.waiting, strict=True)
    ]
    suggested = trial.range_test.suggested if trial.range_test else None
    return {
        "recipe": recipe.name,
        "device": trial.device,
        "parameters": parameters,
        "weights_mb": round(kept * 2 / 1e6, 3),  # a card's are float16
        "training_memory_mb": round(trial.memory_bytes / 1e6),
        "training_hours": round(seconds / 3600, 4),
        "stages": stages,
        "inference": _inference(recipe, shape, trial.device),
        "learning_rate": recipe.stages[0].learning_rate,
        "suggested_learning_rate": None if suggested is None else float(f"{suggested:.2g}"),
    }


def _inference(recipe: Recipe, shape: tuple[int, int, int], device: str) -> dict[str, Any]:
    network = build_network(recipe, "meta")
    content: dict[str, Any] = {"shape": list(shape)}
    try:
        plan: Plan = make_plan(card_of(recipe, network), shape, device=device)
    except MedzooError as error:
        return content | {"problem": str(error)}
    return content | {
        "mode": plan.mode,
        "patch": list(plan.patch),
        "back_end": plan.backend,
        "memory_mb": round(plan.memory_bytes / 1e6),
    }


def as_lines(report: dict[str, Any], range_was_tested: bool = True) -> str:
    """The content of `estimate` for a terminal."""
    inference = report["inference"]
    where = "GPU memory" if report["device"] != "cpu" else "memory"
    lines = [
        f"{report['recipe']}: {report['parameters']:,} parameters, weights of {report['weights_mb']:.1f} MB",
        f"  training on {report['device']}: {report['training_memory_mb']} MB of {where}; about "
        f"{_duration(3600 * report['training_hours'])} for all steps, validation not counted",
    ]
    lines += [
        f"    {stage['steps']} steps of {stage['patch']}: {stage['seconds_per_step']:.3f} s/step, "
        f"{stage['share_waiting_for_data']:.0%} of it waiting for data"
        for stage in report["stages"]
    ]
    if "problem" in inference:
        lines.append(f"  inference: {inference['problem']}")
    else:
        lines.append(
            f"  inference on a study of {inference['shape']}: {inference['mode']}, patch {inference['patch']}, about "
            f"{inference['memory_mb']} MB ({inference['back_end']})"
        )
    if range_was_tested:
        suggested = report["suggested_learning_rate"]
        lines.append(
            f"  learning rate: the recipe begins with {report['learning_rate']:g}; the loss falls fastest at "
            f"{suggested:g} (range test)"
            if suggested
            else f"  learning rate: the recipe begins with {report['learning_rate']:g}; in the range test the loss "
            "does not fall clearly at any (take more steps, or a larger batch)"
        )
    return "\n".join(lines)


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
