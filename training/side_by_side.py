"""Two networks measured by turns in one run: whatever else the computer does meanwhile slows both alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn

from napari_medzoo.models.blocks import WithLoss

Pass = Callable[[], object]
"""One forward pass, or one training step."""


@dataclass(frozen=True)
class Timing:
    """Medians of passes by turns.

    Attributes
    ----------
    seconds, reference_seconds : float
        Of a pass of the network and of the one it is compared with.
    ratio : float
        Median over the rounds of the first divided by the second, both of the same round.
    """

    seconds: float
    reference_seconds: float
    ratio: float


def by_turns(network: Pass, reference: Pass, rounds: int) -> Timing:
    """Time two passes, each once per round after a warm-up; who begins changes from round to round."""
    network()
    reference()
    times: list[tuple[float, float]] = []
    for number in range(rounds):
        if number % 2:
            second = _seconds(reference)
            times.append((_seconds(network), second))
        else:
            first = _seconds(network)
            times.append((first, _seconds(reference)))
    return Timing(median(a for a, _ in times), median(b for _, b in times), median(a / b for a, b in times))


def _seconds(work: Pass) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def forward_pass(network: nn.Module, x: Tensor) -> Pass:
    """The network at inference on `x` ``(B, C, X, Y, Z)``."""

    def run() -> None:
        network.eval()
        with torch.inference_mode():
            network(x)

    return run


def training_step(network: nn.Module, x: Tensor) -> Pass:
    """A forward pass in training and the gradients of all weights.

    The loss is the cheapest that needs every output, so that the network is measured and not its loss.
    """

    def run() -> None:
        network.train()
        network.zero_grad()
        loss = torch.zeros(())
        for output in outputs_of(network(x)):
            loss = loss + (output if output.ndim == 0 else output.square().mean())
        loss.backward()

    return run


def outputs_of(result: Any) -> Sequence[Tensor]:
    """Every tensor that a network (ours or MONAI's) returns."""
    if isinstance(result, WithLoss):
        return result.logits, result.extra_loss
    parts = result if isinstance(result, (list, tuple)) else [result]
    return [part for part in parts if isinstance(part, Tensor)]


def gflop(network: nn.Module, in_channels: int, shape: tuple[int, int, int]) -> float:
    """Billions of floating-point operations of a forward pass on ``(1, in_channels, *shape)``; on the meta device.

    A multiplication and an addition count as two; only convolutions and matrix products are counted.
    """
    from torch.utils.flop_counter import FlopCounterMode

    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        network(torch.empty((1, in_channels, *shape), device="meta"))
    return float(counter.get_total_flops() / 1e9)


def use_one_thread() -> None:
    """One thread, and freed memory kept as in a training: the conditions under which times can be compared."""
    from napari_medzoo.inference.memory import tune_malloc

    tune_malloc()
    torch.set_num_threads(1)
