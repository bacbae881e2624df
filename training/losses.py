"""Losses over logits ``(B, C, *spatial)`` and targets ``(B, *spatial) int64`` of output channels.

Any number of spatial dimensions. Everything is computed in float32 (float64 for float64 logits), whatever the
logits' precision. Voxels whose target is `IGNORED` neither teach nor count. The overlap losses sum over the whole
batch and average over the classes that occur in the target: an absent class is left to the cross-entropy and cannot
spoil the mean. A perfect prediction costs nothing. The batch of several processes that train together is one batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F

from napari_medzoo.errors import MedzooError

from .choices import check_choice
from .config import IGNORED
from .distances import border_weights, signed_distances
from .together import everywhere, per_process

if TYPE_CHECKING:
    from .config import LossTerm

# Numbers worked on at once: on a CPU few enough to stay in its cache from the first pass over them to the last, which
# makes the loss a third faster than whole tensors; on a GPU many, and still a bound on the memory.
CPU_CHUNK = 2**19
GPU_CHUNK = 2**28


class Outputs:
    """A network's logits and what several losses need of them, computed once.

    Attributes
    ----------
    logits : torch.Tensor
        ``(B, C, *spatial)``, float32 or half precision.
    """

    def __init__(self, logits: Tensor) -> None:
        self.logits = logits
        self._asked: tuple[Tensor, tuple[Tensor, Tensor]] | None = None

    @property
    def classes(self) -> int:
        """C."""
        return self.logits.shape[1]

    @cached_property
    def log_probabilities(self) -> Tensor:
        """``(B, C, *spatial) float32``."""
        precise = torch.promote_types(self.logits.dtype, torch.float32)
        return F.log_softmax(self.logits.to(precise), dim=1)

    @cached_property
    def probabilities(self) -> Tensor:
        """``(B, C, *spatial) float32``."""
        return self.log_probabilities.exp()

    def sums(self, target: Tensor) -> tuple[Tensor, Tensor]:
        """What most losses are made of, without a dense array of probabilities.

        Returns
        -------
        log_at_target : torch.Tensor
            ``(B, *spatial) float32``: log-probability of each voxel's own class, 0 where ignored.
        predicted : torch.Tensor
            ``(C,) float32``: sum of each class's probability over the voxels that count.
        """
        if self._asked is None or self._asked[0] is not target:
            _check(self.logits, target)
            log_at_target, predicted = _Sums.apply(self.logits.flatten(2), target.flatten(1))
            self._asked = target, (log_at_target.view(target.shape), predicted)
        return self._asked[1]


class _Sums(torch.autograd.Function):
    """`Outputs.sums` in one walk over the logits, and its gradient in another.

    Only the logits and one number per voxel are kept for the way back.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """``(B, C, V)`` and ``(B, V)`` → ``(B, V)`` and ``(C,)``."""
        precise = torch.promote_types(logits.dtype, torch.float32)
        log_at_target, log_sum = logits.new_empty((2, *target.shape), dtype=precise)
        predicted = logits.new_zeros(logits.shape[1], dtype=precise)
        # The caller may be inside autocast, which would take the product in half precision.
        with torch.autocast(logits.device.type, enabled=False):
            for part in _parts(logits):
                counts = target[:, part] != IGNORED
                x = logits[..., part].to(precise, copy=True)
                highest = x.amax(1)
                x -= highest[:, None]
                at = x.gather(1, (target[:, part] * counts)[:, None])[:, 0]
                total = x.exp_().sum(1)
                log_total = total.log()
                log_at_target[:, part] = (at - log_total) * counts
                # An infinite sum makes every probability of an ignored voxel 0 on the way back.
                log_sum[:, part] = (highest + log_total).masked_fill_(~counts, torch.inf)
                predicted += (x @ (counts / total)[..., None])[..., 0].sum(0)
        ctx.save_for_backward(logits, target, log_sum)
        return log_at_target, predicted

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, for_log: Tensor, for_predicted: Tensor) -> tuple[Tensor, None]:
        """Of the logits: p · (u − Σ p·u) for the sums, whose slope is u, and slope · (onehot − p) for the logarithm."""
        logits, target, log_sum = ctx.saved_tensors
        gradient = torch.empty_like(logits)
        with torch.autocast(logits.device.type, enabled=False):
            for part in _parts(logits):
                counts = target[:, part] != IGNORED
                at = for_log[:, part] * counts
                x = logits[..., part].to(log_sum.dtype, copy=True).sub_(log_sum[:, None, part]).exp_()
                x *= for_predicted[:, None] - (for_predicted @ x + at)[:, None]
                gradient[..., part] = x.scatter_add_(1, (target[:, part] * counts)[:, None], at[:, None])
        return gradient, None


def _parts(logits: Tensor) -> list[slice]:
    batch, classes, voxels = logits.shape
    step = max((CPU_CHUNK if logits.device.type == "cpu" else GPU_CHUNK) // (batch * classes), 1)
    return [slice(start, min(start + step, voxels)) for start in range(0, voxels, step)]


def _check(logits: Tensor, target: Tensor) -> None:
    expected = (logits.shape[0], *logits.shape[2:])
    if tuple(target.shape) != expected:
        raise MedzooError(f"Expected a target of shape {expected} for these logits, got {tuple(target.shape)}.")
    if target.device.type == "cpu":  # elsewhere the question would make the device wait
        highest = int(torch.where(target == IGNORED, 0, target).max())
        if highest >= logits.shape[1]:
            raise MedzooError(
                f"The target holds channel {highest}, the network gives 0–{logits.shape[1] - 1}; list its label in the "
                f"recipe's 'channels', 'merge' it, or name it in 'ignored'."
            )


def _class_weights(weights: Sequence[float], outputs: Outputs) -> Tensor:
    if len(weights) != outputs.classes:
        raise MedzooError(f"class_weights needs {outputs.classes} numbers, one per channel, got {len(weights)}.")
    return torch.tensor([*weights], dtype=torch.float32, device=outputs.logits.device)


def _at(target: Tensor, values: Tensor) -> Tensor:
    """Each voxel's own class's value, 0 where ignored; ``(B, *spatial)``."""
    counts = target != IGNORED
    return values[target * counts] * counts


def cross_entropy(
    outputs: Outputs,
    target: Tensor,
    class_weights: Sequence[float] | None = None,
    border_weight: float = 0.0,
    border_sigma: float = 5.0,
    spacing: Sequence[float] | None = None,
) -> Tensor:
    """Mean of −log p of each voxel's own class; weighted, the sum divided by the sum of the weights.

    Parameters
    ----------
    outputs, target
        As in the module's docstring.
    class_weights : sequence of float, optional
        One per output channel.
    border_weight, border_sigma : float
        w₀ and σ of the U-Net's border map (Ronneberger 2015, eq. 2), see `distances.border_weights`; 0: none.
    spacing : sequence of float, optional
        Lengths of a voxel, which σ is in units of; voxels where it is absent.
    """
    log_at_target, _ = outputs.sums(target)
    if class_weights is None and not border_weight:
        return -log_at_target.sum() / per_process((target != IGNORED).sum()).clamp_min(1)
    weights = _at(target, _class_weights(class_weights or [1.0] * outputs.classes, outputs))
    if border_weight:
        weights = weights + border_weights(target, border_weight, border_sigma, spacing) * (target != IGNORED)
    return -(log_at_target * weights).sum() / per_process(weights.sum()).clamp_min(1e-6)


def focal(outputs: Outputs, target: Tensor, gamma: float = 2.0, class_weights: Sequence[float] | None = None) -> Tensor:
    """Mean of −αₜ (1 − pₜ)^γ log pₜ (Lin 2017, arXiv:1708.02002); `class_weights` are α."""
    log_at_target, _ = outputs.sums(target)
    missed = (-torch.expm1(log_at_target)).clamp_min(1e-7)  # a power below 1 has no slope at 0
    each = -(missed**gamma) * log_at_target
    if class_weights is not None:
        each = each * _at(target, _class_weights(class_weights, outputs))
    return each.sum() / per_process((target != IGNORED).sum()).clamp_min(1)


def _overlap(outputs: Outputs, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Per class ``(C,)``: Σ p within the class, Σ p, and the number of its voxels."""
    log_at_target, predicted = outputs.sums(target)
    flat = target.flatten()
    flat = torch.where(flat == IGNORED, outputs.classes, flat)
    zeros = log_at_target.new_zeros(outputs.classes + 1)
    overlap = zeros.scatter_add(0, flat, log_at_target.flatten().exp())[:-1]
    expected = zeros.scatter_add(0, flat, torch.ones_like(flat, dtype=zeros.dtype))[:-1]
    overlap, predicted, expected = everywhere(torch.stack([overlap, predicted, expected]))
    return overlap, predicted, expected


def _mean_of_present(score: Tensor, expected: Tensor) -> Tensor:
    """One minus the mean over the foreground classes that occur, 0 where none does."""
    present = expected > 0
    present[0] = False
    return ((1 - score) * present).sum() / present.sum().clamp_min(1)


def dice(outputs: Outputs, target: Tensor, squared_denominator: bool = False) -> Tensor:
    """One minus the mean soft Dice of the foreground; with Σp² + Σg² below as in V-Net (Milletari 2016) if asked."""
    overlap, predicted, expected = _overlap(outputs, target)
    if squared_denominator:
        squared = (outputs.probabilities.square() * (target != IGNORED)[:, None]).movedim(1, 0).flatten(1).sum(1)
        predicted = everywhere(squared)
    return _mean_of_present(2 * overlap / (predicted + expected).clamp_min(1e-6), expected)


def generalised_dice(outputs: Outputs, target: Tensor) -> Tensor:
    """Classes, background included, weigh 1 / volume² (Sudre 2017, arXiv:1707.03237); absent ones not at all."""
    overlap, predicted, expected = _overlap(outputs, target)
    weights = torch.where(expected > 0, expected.clamp_min(1) ** -2.0, 0.0)
    return 1 - 2 * (weights * overlap).sum() / (weights * (predicted + expected)).sum().clamp_min(1e-30)


def tversky(outputs: Outputs, target: Tensor, alpha: float = 0.3, beta: float = 0.7) -> Tensor:
    """One minus the mean of TP / (TP + α FP + β FN) (Salehi 2017, arXiv:1706.05721); ½ and ½ are Dice."""
    overlap, predicted, expected = _overlap(outputs, target)
    size = overlap + alpha * (predicted - overlap) + beta * (expected - overlap)
    return _mean_of_present(overlap / size.clamp_min(1e-6), expected)


def boundary(outputs: Outputs, target: Tensor, spacing: Sequence[float] | None = None) -> Tensor:
    """Mean signed distance from the reference's surface of what is predicted wrongly (Kervadec 2019, arXiv:1812.07032).

    Σ φ (p − g) per voxel and foreground class that occurs, φ from `distances.signed_distances` in units of `spacing`.
    Departure: the paper drops the constant Σ φ g; with it a perfect prediction costs 0. Add it to an overlap loss.
    """
    _check(outputs.logits, target)
    distances, present = signed_distances(target, outputs.classes, spacing)
    channels = torch.where(target == IGNORED, 0, target)[:, None]
    wrong = outputs.probabilities - torch.zeros_like(outputs.probabilities).scatter_(1, channels, 1.0)
    voxels = per_process((target != IGNORED).sum()).clamp_min(1)
    return (distances * wrong).sum() / (voxels * (everywhere(present.float()) > 0).sum().clamp_min(1))


LOSSES: dict[str, Callable[..., Tensor]] = {
    "cross_entropy": cross_entropy,
    "focal": focal,
    "dice": dice,
    "generalised_dice": generalised_dice,
    "tversky": tversky,
    "boundary": boundary,
}
"""``f(outputs, target, **settings) -> () float32``."""


def check_terms(terms: Sequence[LossTerm]) -> None:
    """Raise a `MedzooError` for a term whose loss or setting there is not, before a training begins."""
    for term in terms:
        check_choice("loss", term.name, LOSSES, term.settings, given=2)


def total_loss(terms: Sequence[LossTerm], logits: Tensor, target: Tensor) -> Tensor:
    """Weighted sum of `terms`: ``() float32``."""
    check_terms(terms)
    outputs = Outputs(logits)
    losses = [term.weight * LOSSES[term.name](outputs, target, **term.settings) for term in terms]
    return torch.stack(losses).sum()


def deep_supervision(
    terms: Sequence[LossTerm], outputs: Tensor | Sequence[Tensor], target: Tensor, auxiliary: Sequence[float] = ()
) -> Tensor:
    """`total_loss` of every output, the finest first, weighing 1, ½, ¼, … (made to sum to 1, as in nnU-Net).

    The target of a coarser output is the nearest voxel of the full one. Where the network's paper weighs its auxiliary
    outputs, `auxiliary` gives those weights; the first output then counts 1 and nothing is divided.
    """
    if isinstance(outputs, Tensor):
        return total_loss(terms, outputs, target)
    if auxiliary:
        weights, total = [1.0, *auxiliary], 1.0
    else:
        weights = [0.5**level for level in range(len(outputs))]
        total = sum(weights)
    losses = [
        weight * total_loss(terms, logits, _nearest(target, logits.shape[2:]))
        for weight, logits in zip(weights, outputs, strict=True)
    ]
    return torch.stack(losses).sum() / total


def _nearest(target: Tensor, size: Sequence[int]) -> Tensor:
    for axis, length in enumerate(size, start=1):
        full = target.shape[axis]
        if length != full:
            centres = (torch.arange(length, device=target.device) + 0.5) * (full / length)
            target = target.index_select(axis, centres.long())
    return target
