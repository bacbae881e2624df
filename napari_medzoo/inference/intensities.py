"""Let the scan's own intensities decide between tissues where the network hesitates.

A network that was trained on every contrast knows where grey matter is to be expected better than how bright it is in
this very scan. The other half is what mixture models of intensities do (Van Leemput 1999, doi:10.1109/42.811270;
Ashburner and Friston 2005, doi:10.1016/j.neuroimage.2005.02.018): the network's probabilities take the place of their
atlas, and one step of expectation maximisation follows.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

SURE = 0.8
"""Voxels to which the network gives a tissue with at least this probability tell how bright the tissue is."""

REACH_MM = 12.0
"""Standard deviation of the neighbourhood whose mean counts: what is left of the bias field changes more slowly."""

BLOCK_MM = 4.0
"""Edge of the blocks in which means are gathered."""

GLOBAL_SHARE = 0.05
"""Weight of the tissue's mean over the whole scan, in sure voxels for each voxel of the neighbourhood."""

WEIGHT = 0.75
"""Of the intensities beside the network, which has seen them too: counted in full they would be counted twice.

Settled on the scans of `medzoo-train evaluate`: the scores of `structures` with 0.5 or 1 are within 0.011.
"""

TINY = 1e-12
"""Less than this is rounding."""

_PLANES = 16
"""About how many planes are worked on at once, in whole blocks: beside the logits no whole volume is in memory."""


def adapt_to_scan(
    scores: NDArray[np.float32], data: NDArray[np.float32], tissues: Sequence[Sequence[int]], spacing: Sequence[float]
) -> None:
    """Move probability between tissues by how well each explains the intensities, in place.

    In each voxel a tissue's probability *p* becomes one in proportion to *p* N(x; μ, σ²)^`WEIGHT`, where μ is the
    tissue's mean near the voxel and σ² the mean variance within tissues, channel by channel of the scan. What the
    tissues have together stays, and so do the shares of the channels within a tissue (its left and its right side).
    Where tissues look alike in a scan nothing changes.

    Parameters
    ----------
    scores : numpy.ndarray
        Logits ``(K, X, Y, Z) float32``; changed.
    data : numpy.ndarray
        ``(C, X, Y, Z) float32``, what the network was given. A channel without contrast (a missing modality) tells
        nothing.
    tissues : sequence of sequence of int
        Output channels of one intensity each.
    spacing : sequence of float
        mm along X, Y, Z.
    """
    blocks = [max(1, round(BLOCK_MM / edge)) for edge in spacing]
    sigmas = [REACH_MM / (block * edge) for block, edge in zip(blocks, spacing, strict=True)]
    planes = max(blocks[0], _PLANES // blocks[0] * blocks[0])
    slabs = [slice(start, start + planes) for start in range(0, data.shape[1], planes)]
    gathered = [_gather(_probabilities(scores[:, slab], tissues), data[:, slab], blocks) for slab in slabs]
    # (C, tissues, 3, blocks): sums of the weights, of weight × intensity and of weight × intensity²
    sums = np.concatenate(gathered, axis=3)
    present = [row for row, sure in enumerate(sums[0, :, 0].sum(axis=(1, 2, 3))) if sure > 0]
    if len(present) < 2:
        return
    found = [_model(channel[present], blocks, sigmas) for channel in sums]
    models = [(channel, model) for channel, model in zip(data, found, strict=True) if model is not None]
    for slab in slabs if models else ():
        _apply(scores[:, slab], [tissues[row] for row in present], slab, models, blocks)


def _probabilities(scores: NDArray[np.float32], tissues: Sequence[Sequence[int]]) -> NDArray[np.float32]:
    """``(len(tissues), X, Y, Z)``: the probability of each tissue."""
    powers = np.exp(scores - scores.max(axis=0))
    return np.stack([powers[list(channels)].sum(axis=0) for channels in tissues]) / powers.sum(axis=0)


def _gather(
    probabilities: NDArray[np.float32], data: NDArray[np.float32], blocks: Sequence[int]
) -> NDArray[np.float64]:
    """``(C, tissues, 3, blocks)``: of the sure voxels of every block; see `adapt_to_scan`."""
    sure = np.where(probabilities >= SURE, probabilities, 0)
    powers = (np.ones_like(data), data, data**2)
    return np.stack(
        [
            [[_block_sums(weight * power[row], blocks) for power in powers] for weight in sure]
            for row in range(len(data))
        ]
    )


def _model(
    sums: NDArray[np.float64], blocks: Sequence[int], sigmas: Sequence[float]
) -> tuple[NDArray[np.float32], float] | None:
    """``(tissues, blocks)``, the mean of each tissue near each block, and the mean variance within tissues.

    None where the channel has no variance.
    """
    from scipy.ndimage import gaussian_filter

    means, size = np.empty_like(sums[:, 0]), np.prod(blocks, dtype=np.float64)
    for mean, (weight, first, _) in zip(means, sums, strict=True):
        overall = first.sum() / weight.sum()
        near = [gaussian_filter(part / size, sigmas) for part in (first, weight)]
        mean[...] = (near[0] + GLOBAL_SHARE * overall) / (near[1] + GLOBAL_SHARE)
    weight, first, second = sums.swapaxes(0, 1)
    variance = float((second - 2 * means * first + means**2 * weight).sum() / weight.sum())
    return (means.astype(np.float32), variance) if variance > TINY else None


def _apply(
    scores: NDArray[np.float32],
    tissues: Sequence[Sequence[int]],
    slab: slice,
    models: Sequence[tuple[NDArray[np.float32], tuple[NDArray[np.float32], float]]],
    blocks: Sequence[int],
) -> None:
    """Change the logits of one slab."""
    probabilities = _probabilities(scores, tissues)
    likelihood = np.zeros_like(probabilities)
    for channel, (means, variance) in models:
        values = channel[slab]
        here = means[:, slab.start // blocks[0] : -(-slab.stop // blocks[0])]
        for row, mean in zip(likelihood, here, strict=True):
            for axis, block in enumerate(blocks):
                mean = mean.repeat(block, axis=axis)
            row -= (WEIGHT / (2 * variance)) * (values - mean[tuple(slice(size) for size in values.shape)]) ** 2
    likelihood -= likelihood.max(axis=0)
    together = probabilities.sum(axis=0)
    explained = (probabilities * np.exp(likelihood)).sum(axis=0)
    known = (together > TINY) & (explained > TINY)  # elsewhere no tissue is in question
    likelihood += np.log(np.divide(together, explained, out=np.ones_like(together), where=known))
    for row, channels in zip(likelihood, tissues, strict=True):
        for channel_number in channels:
            scores[channel_number] += np.where(known, row, 0)


def _block_sums(values: NDArray[np.float32], blocks: Sequence[int]) -> NDArray[np.float64]:
    sums = values.astype(np.float64)
    for axis, block in enumerate(blocks):
        sums = np.add.reduceat(sums, np.arange(0, sums.shape[axis], block), axis=axis)
    return sums
