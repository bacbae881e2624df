from __future__ import annotations

import math

import pytest
import torch
from napari_medzoo_training.losses import dice_cross_entropy


def test_hand_computed_value() -> None:
    """Four voxels, two classes, every probability 3/4 or 1/4."""
    target = torch.tensor([0, 0, 1, 1]).view(1, 4, 1, 1)
    odds = math.log(3)
    right = torch.tensor([[odds, 0], [odds, 0], [0, odds], [odds, 0]]).T.reshape(1, 2, 4, 1, 1)
    cross_entropy = -(3 * math.log(0.75) + math.log(0.25)) / 4
    dice = 2 * (0.75 + 0.25) / ((0.25 + 0.25 + 0.75 + 0.25) + 2)
    assert dice_cross_entropy(right, target).item() == pytest.approx(cross_entropy + 1 - dice, abs=1e-6)


def test_a_perfect_prediction_costs_nothing_also_with_an_absent_class() -> None:
    target = torch.tensor([0, 1, 1, 0]).view(1, 4, 1, 1)
    logits = 50.0 * torch.nn.functional.one_hot(target, 4).movedim(-1, 1).float()
    assert dice_cross_entropy(logits, target).item() == pytest.approx(0, abs=1e-5)


def test_background_alone_leaves_the_cross_entropy() -> None:
    logits = torch.zeros(1, 3, 2, 2, 2)
    target = torch.zeros(1, 2, 2, 2, dtype=torch.int64)
    assert dice_cross_entropy(logits, target).item() == pytest.approx(math.log(3), abs=1e-6)


def test_gradient_matches_finite_differences() -> None:
    torch.manual_seed(0)
    logits = torch.randn(1, 3, 2, 2, 2, requires_grad=True)
    target = torch.randint(0, 3, (1, 2, 2, 2))
    dice_cross_entropy(logits, target).backward()
    step = torch.zeros_like(logits)
    step[0, 1, 0, 1, 1] = 1e-2
    with torch.no_grad():
        slope = (dice_cross_entropy(logits + step, target) - dice_cross_entropy(logits - step, target)) / 2e-2
    assert logits.grad is not None
    assert logits.grad[0, 1, 0, 1, 1].item() == pytest.approx(slope.item(), rel=0.02, abs=1e-4)


def test_half_precision_logits_are_summed_in_float32() -> None:
    """In bfloat16 a sum over 40 000 voxels would stall at 256."""
    target = torch.zeros(1, 32, 36, 36, dtype=torch.int64)
    target[:, 16:] = 1
    logits = (4.0 * torch.nn.functional.one_hot(target, 2).movedim(-1, 1)).float()
    full = dice_cross_entropy(logits, target).item()
    assert dice_cross_entropy(logits.bfloat16(), target).item() == pytest.approx(full, abs=1e-3)
