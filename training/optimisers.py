"""Optimisers and learning-rate schedules, chosen in the recipe."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.adamw import adamw as adamw_update

from .choices import check_choice
from .config import Optimiser, Stage


def sgd(module: nn.Module, lr: float, momentum: float = 0.9, weight_decay: float = 1e-8) -> torch.optim.Optimizer:
    """Stochastic gradient descent with momentum."""
    return torch.optim.SGD(_learnt(module), lr, momentum=momentum, weight_decay=weight_decay)


def nesterov(module: nn.Module, lr: float, momentum: float = 0.99, weight_decay: float = 3e-5) -> torch.optim.Optimizer:
    """SGD with Nesterov's momentum; the defaults are nnU-Net's (Isensee 2021, with a rate of 1e-2 and ``poly``)."""
    return torch.optim.SGD(_learnt(module), lr, momentum=momentum, weight_decay=weight_decay, nesterov=True)


def adamw(
    module: nn.Module, lr: float, weight_decay: float = 1e-4, betas: tuple[float, float] = (0.9, 0.999)
) -> torch.optim.Optimizer:
    """AdamW (Loshchilov 2019, arXiv:1711.05101)."""
    return torch.optim.AdamW(_learnt(module), lr, betas=(betas[0], betas[1]), weight_decay=weight_decay)


def muon(
    module: nn.Module,
    lr: float,
    momentum: float = 0.95,
    weight_decay: float = 1e-4,
    betas: tuple[float, float] = (0.9, 0.999),
) -> torch.optim.Optimizer:
    """`Muon` for the hidden convolutions, AdamW for the first and the last one, norms and biases."""
    learnt = _learnt(module)
    kernels = [parameter for parameter in learnt if parameter.ndim >= 4]
    hidden = kernels[1:-1]
    ids = {id(parameter) for parameter in hidden}
    rest = [parameter for parameter in learnt if id(parameter) not in ids]
    return Muon(hidden, rest, lr, momentum, weight_decay, (betas[0], betas[1]))


OPTIMISERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "sgd": sgd,
    "nesterov": nesterov,
    "adamw": adamw,
    "muon": muon,
}
"""``f(module, lr, **settings)``."""


def check_optimiser(choice: Optimiser) -> None:
    """Raise a `MedzooError` for an unknown optimiser, setting or schedule, before a training begins."""
    check_choice("optimiser", choice.name, OPTIMISERS, choice.settings, given=2)
    check_choice("schedule", choice.schedule, SCHEDULES)


def make_optimiser(choice: Optimiser, module: nn.Module, lr: float) -> torch.optim.Optimizer:
    """The recipe's optimiser of `module`'s parameters that need a gradient.

    Raises
    ------
    MedzooError
        For an unknown optimiser, setting or schedule.
    """
    check_optimiser(choice)
    return OPTIMISERS[choice.name](module, lr, **choice.settings)


def _learnt(module: nn.Module) -> list[nn.Parameter]:
    return [parameter for parameter in module.parameters() if parameter.requires_grad]


class Muon(torch.optim.Optimizer):
    """Momentum whose update of a weight matrix is made orthogonal (Jordan 2024, https://kellerjordan.github.io/posts/muon/).

    Every direction of a layer's weights then moves equally far, also those that few examples ask for. A convolution
    ``(out, in, k, k, k)`` is the matrix ``(out, in·k³)``. The update is scaled by 0.2 √max(rows, columns) (Liu 2025,
    arXiv:2502.16982), so that rates found for AdamW fit. What is no hidden weight is updated by AdamW itself.
    `torch.optim.Muon` takes matrices only and nothing else beside them.

    Parameters
    ----------
    hidden, rest : iterable of torch.nn.Parameter
        Weights of two and more dimensions, and what AdamW updates.
    lr, momentum, weight_decay : float
    betas : tuple of float
        AdamW's.
    """

    def __init__(
        self,
        hidden: Iterable[nn.Parameter],
        rest: Iterable[nn.Parameter],
        lr: float,
        momentum: float,
        weight_decay: float,
        betas: tuple[float, float],
    ) -> None:
        groups = [{"params": [*hidden], "orthogonal": True}, {"params": [*rest], "orthogonal": False}]
        defaults = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "betas": betas}
        super().__init__([group for group in groups if group["params"]], defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update every parameter that has a gradient; returns what `closure` does."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            update = self._orthogonal if group["orthogonal"] else self._adamw
            parameters = [parameter for parameter in group["params"] if parameter.grad is not None]
            update(parameters, group)
        return loss

    def _orthogonal(self, parameters: list[nn.Parameter], group: dict[str, Any]) -> None:
        for parameter in parameters:
            assert parameter.grad is not None
            average = self.state[parameter].setdefault("momentum", torch.zeros_like(parameter))
            average.lerp_(parameter.grad, 1 - group["momentum"])
            update = orthogonal(parameter.grad.lerp(average, group["momentum"]).flatten(1))
            update *= 0.2 * math.sqrt(max(update.shape))
            parameter.mul_(1 - group["lr"] * group["weight_decay"])
            parameter.add_(update.view_as(parameter), alpha=-group["lr"])

    def _adamw(self, parameters: list[nn.Parameter], group: dict[str, Any]) -> None:
        for parameter in parameters:
            if not self.state[parameter]:
                self.state[parameter].update(
                    step=torch.tensor(0.0),
                    exp_avg=torch.zeros_like(parameter),
                    exp_avg_sq=torch.zeros_like(parameter),
                )
        states = [self.state[parameter] for parameter in parameters]
        adamw_update(
            [*parameters],
            [parameter.grad for parameter in parameters if parameter.grad is not None],
            [state["exp_avg"] for state in states],
            [state["exp_avg_sq"] for state in states],
            [],
            [state["step"] for state in states],
            amsgrad=False,
            beta1=group["betas"][0],
            beta2=group["betas"][1],
            lr=group["lr"],
            weight_decay=group["weight_decay"],
            eps=1e-8,
            maximize=False,
        )


def orthogonal(matrix: Tensor) -> Tensor:
    """The nearest matrix with singular values of about 1, by five Newton–Schulz steps in bfloat16.

    Parameters
    ----------
    matrix : torch.Tensor
        ``(rows, columns)``.

    Returns
    -------
    torch.Tensor
        ``(rows, columns) float32``, singular values 0.7–1.2 (Jordan's coefficients trade exactness for speed).
    """
    x = matrix.bfloat16()
    x = x / (x.norm() + 1e-7)
    tall = x.shape[0] > x.shape[1]
    if tall:
        x = x.T
    for _ in range(5):
        gram = x @ x.T
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    return (x.T if tall else x).float()


def _warm(stage: Stage, step: int) -> float | None:
    """The rate while it rises linearly to the stage's, None afterwards."""
    return stage.learning_rate * (step + 1) / stage.warmup if step < stage.warmup else None


def _between(stage: Stage, share: float) -> float:
    return stage.final_learning_rate + (stage.learning_rate - stage.final_learning_rate) * share


def _left(stage: Stage, step: int) -> float:
    """What is left of the stage after its warm-up, from 1 down to 0."""
    return 1 - (step - stage.warmup) / max(stage.steps - stage.warmup, 1)


def constant(stage: Stage, step: int) -> float:
    """The stage's rate, after the warm-up."""
    return _warm(stage, step) or stage.learning_rate


def poly(stage: Stage, step: int) -> float:
    """Polynomial decay with power 0.9 (Chen 2017, DeepLab) to the stage's final rate."""
    return _warm(stage, step) or _between(stage, _left(stage, step) ** 0.9)


def cosine(stage: Stage, step: int) -> float:
    """Half a cosine down to the stage's final rate (Loshchilov 2017, arXiv:1608.03983)."""
    return _warm(stage, step) or _between(stage, (1 + math.cos(math.pi * (1 - _left(stage, step)))) / 2)


SCHEDULES: dict[str, Callable[[Stage, int], float]] = {"poly": poly, "cosine": cosine, "constant": constant}
"""Learning rate at a step (from 0) within a stage; all begin with the stage's linear warm-up."""


def learning_rate(choice: Optimiser, stage: Stage, step: int) -> float:
    """The recipe's rate at `step` (from 0) of `stage`."""
    return SCHEDULES[choice.schedule](stage, step)
