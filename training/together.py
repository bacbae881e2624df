"""Sums over the processes that train together, so that a batch that is spread over them counts as one."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, distributed


def world() -> int:
    """How many processes train together."""
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


def everywhere(values: Tensor) -> Tensor:
    """The sum of `values` over all processes, in each of them; differentiable."""
    if world() == 1:
        return values
    total: Tensor = _Sum.apply(values)
    return total


def per_process(count: Tensor) -> Tensor:
    """The mean of `count` over all processes.

    A process that divides its own sum by this has a loss whose mean over the processes, which is what they descend
    along, is the sum of everything divided by the count of everything.
    """
    return count if world() == 1 else everywhere(count.float()) / world()


class _Sum(torch.autograd.Function):
    """Every process computes the same loss from the sum, and descends along the mean of all gradients."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        total = values.contiguous().clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        # The loss is the same everywhere, so each process's gradient is as well: their sum, which the mean undoes.
        return gradient * world()
