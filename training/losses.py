"""Losses over logits ``(B, C, X, Y, Z)`` and targets ``(B, X, Y, Z) int64``."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def dice_cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy plus one minus the mean soft Dice of the foreground classes.

    Dice (Milletari 2016, with the plain sum in the denominator) is computed over the whole batch, and its mean over
    the classes that occur in the target: an absent class is left to the cross-entropy and cannot spoil the mean.
    Works in float32 whatever the logits' precision.
    """
    classes = logits.shape[1]
    log_probabilities = F.log_softmax(logits.float(), dim=1)
    cross_entropy = F.nll_loss(log_probabilities, target)
    probabilities = log_probabilities.exp()
    flat = target.flatten()
    at_target = probabilities.gather(1, target[:, None]).flatten()
    overlap = torch.zeros(classes, device=logits.device).scatter_add(0, flat, at_target)
    predicted = probabilities.sum(dim=(0, 2, 3, 4))
    expected = torch.bincount(flat, minlength=classes)
    dice = 2 * overlap / (predicted + expected).clamp_min(1e-6)
    present = expected > 0
    present[0] = False
    if not present.any():
        return cross_entropy
    return cross_entropy + 1 - dice[present].mean()
