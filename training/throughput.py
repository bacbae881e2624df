"""Benchmark of the training loop: bfloat16 against float32.

The two are compared in one run and by turns, a few steps each: whatever else the computer does meanwhile slows both
alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import torch

from .config import Recipe
from .fit import choose_device
from .trials import WARMUP, Block, measure, open_quietly, peak_memory_bytes

BLOCK = 5
"""Steps of one precision before it is the other's turn."""


def compare_precisions(
    recipe: Recipe, cache: Path, steps: int = 20, device: str = "auto", threads: int | None = None
) -> dict[str, Any]:
    """Benchmark the training loop in bfloat16 against float32, by turns in one run; for a process of its own.

    Parameters
    ----------
    recipe : Recipe
        Its first stage is run.
    cache : pathlib.Path
        Where `data.open_source` has prepared the cases or label maps.
    steps : int
        Of each precision, rounded up to whole blocks of `BLOCK`.
    device : str
    threads : int, optional
        Of the CPU.

    Returns
    -------
    dict
        Ready for YAML. Times are medians over blocks, ``bf16_speedup`` the median over neighbouring blocks of the time
        in float32 divided by that in bfloat16.
    """
    source = open_quietly(recipe, cache, threads)
    device = choose_device(device)
    size = min(BLOCK, steps)
    warm = [("bf16", WARMUP), ("32", WARMUP)]
    blocks = measure(recipe, source, [*warm, *[("bf16", size), ("32", size)] * -(-steps // size)], device)[len(warm) :]
    return {
        "recipe": recipe.name,
        "device": torch.cuda.get_device_name() if device == "cuda" else device,
        "threads": torch.get_num_threads(),
        "torch": str(torch.__version__),
        "patch": list(recipe.stages[0].patch),
        "batch": recipe.batch * recipe.accumulate,
        "steps_of_each": sum(block.steps for block in blocks) // 2,
        "steps_of_a_block": size,
        "precisions": {kind: _figures([b for b in blocks if b.precision == kind]) for kind in ("bf16", "32")},
        "bf16_speedup": round(speedup(blocks), 3),
        "peak_memory_mb": round(peak_memory_bytes(device) / 1e6),
    }


def speedup(blocks: Sequence[Block]) -> float:
    """Median over neighbouring blocks of the time of a step in float32 divided by that in bfloat16."""
    ratios = []
    for pair in pairwise(blocks):
        times = {block.precision: block.seconds_per_step for block in pair}
        ratios.append(times["32"] / times["bf16"])
    return median(ratios)


def _figures(blocks: Sequence[Block]) -> dict[str, Any]:
    times = sorted(block.seconds_per_step for block in blocks)
    figures: dict[str, Any] = {
        "steps_per_second": round(1 / median(times), 3),
        "seconds_per_step": round(median(times), 4),
        "fastest_and_slowest_block": [round(times[0], 4), round(times[-1], 4)],
        "share_waiting_for_data": round(median(block.waited / block.seconds for block in blocks), 3),
    }
    if blocks[0].peak_bytes:
        figures["peak_tensors_mb"] = round(max(block.peak_bytes for block in blocks) / 1e6)
    return figures


def as_lines(report: dict[str, Any]) -> str:
    """The report of `compare_precisions` for a terminal."""
    lines = [
        f"{report['recipe']}: patch {report['patch']}, batch {report['batch']}, on {report['device']}, "
        f"{report['threads']} CPU threads, torch {report['torch']}"
    ]
    for kind, figures in report["precisions"].items():
        peak = f", tensors up to {figures['peak_tensors_mb']} MB" if "peak_tensors_mb" in figures else ""
        low, high = figures["fastest_and_slowest_block"]
        lines.append(
            f"  {kind:4s}  {figures['steps_per_second']:.2f} steps/s ({figures['seconds_per_step']:.3f} s/step, blocks "
            f"{low:.3f} to {high:.3f}), waiting for data {figures['share_waiting_for_data']:.0%}{peak}"
        )
    lines.append(
        f"  bf16 is {report['bf16_speedup']:.2f} times as fast as float32 ({report['steps_of_each']} steps each, by "
        f"turns of {report['steps_of_a_block']}); peak memory of both {report['peak_memory_mb']} MB"
    )
    return "\n".join(lines)
