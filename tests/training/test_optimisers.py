from __future__ import annotations

import copy
import math
from itertools import pairwise

import pytest
import torch
from napari_medzoo_training.config import Optimiser, Stage
from napari_medzoo_training.optimisers import (
    OPTIMISERS,
    SCHEDULES,
    Muon,
    learning_rate,
    make_optimiser,
    orthogonal,
)
from torch import nn

from napari_medzoo.errors import MedzooError
from napari_medzoo.models import ARCHITECTURES

STAGE = Stage(steps=110, patch=(8, 8, 8), learning_rate=1e-2, final_learning_rate=1e-4, warmup=10)


def _network() -> nn.Module:
    torch.manual_seed(0)
    network: nn.Module = ARCHITECTURES["strided_unet"](in_channels=1, num_classes=3, widths=(4, 8))
    return network


def _learn(network: nn.Module, optimiser: torch.optim.Optimizer, steps: int, first: int = 0) -> list[float]:
    losses = []
    for step in range(first, first + steps):
        generator = torch.Generator().manual_seed(step % 2)
        scan = torch.randn(2, 1, 8, 8, 8, generator=generator)
        loss = nn.functional.cross_entropy(network(scan), (scan[:, 0] > 0.5).long() * 2)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize(("name", "rate"), [("sgd", 0.2), ("nesterov", 0.1), ("adamw", 1e-2), ("muon", 1e-2)])
def test_every_optimiser_learns_and_goes_on_from_its_state(name: str, rate: float) -> None:
    network = _network()
    optimiser = make_optimiser(Optimiser(name=name), network, rate)
    losses = _learn(network, optimiser, 6)
    assert losses[-1] < 0.95 * losses[0]

    twin = copy.deepcopy(network)
    resumed = make_optimiser(Optimiser(name=name), twin, 1.0)
    resumed.load_state_dict(copy.deepcopy(optimiser.state_dict()))
    assert _learn(network, optimiser, 3, 6) == _learn(twin, resumed, 3, 6)


def test_defaults_are_the_published_ones() -> None:
    module = nn.Linear(2, 2)
    thesis = OPTIMISERS["sgd"](module, 1e-3).param_groups[0]
    assert (thesis["momentum"], thesis["weight_decay"], thesis["nesterov"]) == (0.9, 1e-8, False)
    nnunet = OPTIMISERS["nesterov"](module, 1e-2).param_groups[0]
    assert (nnunet["momentum"], nnunet["weight_decay"], nnunet["nesterov"]) == (0.99, 3e-5, True)


def test_frozen_parameters_are_left_out() -> None:
    network = _network()
    for parameter in network.stem.parameters():  # type: ignore[union-attr]
        parameter.requires_grad_(False)
    given = make_optimiser(Optimiser(), network, 1e-3).param_groups[0]["params"]
    assert len(given) == len([*network.parameters()]) - 2


def test_muon_takes_the_hidden_convolutions_and_adamw_the_rest() -> None:
    network = _network()
    optimiser = make_optimiser(Optimiser(name="muon"), network, 1e-3)
    hidden, rest = (group["params"] for group in optimiser.param_groups)
    kernels = [parameter for parameter in network.parameters() if parameter.ndim == 5]
    assert [id(p) for p in hidden] == [id(p) for p in kernels[1:-1]]
    assert kernels[0] is network.stem.weight and kernels[-1] is network.head.weight
    assert len(hidden) + len(rest) == len([*network.parameters()])


def test_what_muon_leaves_out_moves_as_under_adamw() -> None:
    module, twin = nn.Conv3d(2, 3, 1), nn.Conv3d(2, 3, 1)
    twin.load_state_dict(module.state_dict())
    ours = OPTIMISERS["muon"](module, 1e-2, weight_decay=0.1)
    theirs = torch.optim.AdamW(twin.parameters(), 1e-2, weight_decay=0.1)
    scan = torch.randn(1, 2, 2, 2, 2)
    for _ in range(3):
        for network, optimiser in ((module, ours), (twin, theirs)):
            optimiser.zero_grad()
            network(scan).square().sum().backward()
            optimiser.step()
    torch.testing.assert_close(module.state_dict(), twin.state_dict())


@pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="this torch has no Muon to compare with")
@pytest.mark.parametrize("shape", [(6, 20), (20, 6)])
def test_muon_is_torchs_own_for_a_matrix(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    ours, theirs = (nn.Parameter(torch.ones(shape)) for _ in range(2))
    mine = Muon([ours], [], 1e-2, 0.95, 0.1, (0.9, 0.999))
    reference = torch.optim.Muon([theirs], 1e-2, 0.1, 0.95, adjust_lr_fn="match_rms_adamw")
    for _ in range(3):
        ours.grad = torch.randn(shape)
        theirs.grad = ours.grad.clone()
        mine.step()
        reference.step()
    torch.testing.assert_close(ours, theirs, atol=1e-3, rtol=0)  # bfloat16 in another order
    assert (ours - 1).abs().max() > 1e-2


def test_an_orthogonal_update_moves_every_direction_alike() -> None:
    torch.manual_seed(0)
    uneven = torch.randn(8, 8) @ torch.diag(torch.logspace(0, -2, 8)) @ torch.randn(8, 40)
    values = torch.linalg.svdvals(orthogonal(uneven))
    assert values.min() > 0.4 and values.max() < 1.4
    assert not orthogonal(torch.zeros(3, 4)).any()


def test_muon_calls_the_closure_with_gradients() -> None:
    weight = nn.Parameter(torch.ones(1))
    optimiser = Muon([], [weight], 1e-2, 0.95, 0.0, (0.9, 0.999))

    def closure() -> torch.Tensor:
        loss = (weight**2).sum()
        loss.backward()
        return loss

    assert optimiser.step(closure).item() == 1
    assert weight.item() == pytest.approx(0.99)


@pytest.mark.parametrize("name", [*SCHEDULES])
def test_every_schedule_warms_up_and_starts_at_the_stages_rate(name: str) -> None:
    rates = [SCHEDULES[name](STAGE, step) for step in range(STAGE.steps)]
    assert rates[0] == pytest.approx(1e-3)
    assert rates[4] == pytest.approx(5e-3)
    assert rates[9] == rates[10] == pytest.approx(1e-2)
    assert all(a >= b for a, b in pairwise(rates[10:]))


def test_schedules_half_way_and_at_the_end() -> None:
    span = 1e-2 - 1e-4
    assert SCHEDULES["poly"](STAGE, 60) == pytest.approx(1e-4 + span * 0.5**0.9)
    assert SCHEDULES["cosine"](STAGE, 60) == pytest.approx(1e-4 + span / 2)
    assert SCHEDULES["cosine"](STAGE, 35) == pytest.approx(1e-4 + span * (1 + math.sqrt(0.5)) / 2)
    assert SCHEDULES["poly"](STAGE, 110) == SCHEDULES["cosine"](STAGE, 110) == pytest.approx(1e-4)
    assert SCHEDULES["constant"](STAGE, 109) == 1e-2


def test_a_stage_without_warm_up_starts_at_its_rate() -> None:
    stage = STAGE.model_copy(update={"warmup": 0})
    assert learning_rate(Optimiser(schedule="cosine"), stage, 0) == pytest.approx(1e-2)


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        (Optimiser(name="adam"), "No optimiser is called 'adam'; choose one of sgd, nesterov, adamw, muon"),
        (Optimiser(settings={"momentum": 0.9}), "'adamw' has no setting 'momentum'; its own are: weight_decay, betas"),
        (Optimiser(schedule="step"), "No schedule is called 'step'; choose one of poly, cosine, constant"),
    ],
)
def test_errors_say_what_to_do(choice: Optimiser, message: str) -> None:
    with pytest.raises(MedzooError, match=message):
        make_optimiser(choice, nn.Linear(1, 1), 1e-3)
