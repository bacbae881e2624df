from __future__ import annotations

import numpy as np
import torch
from napari_medzoo_training.texture import BANDS, draw_bands, fold_texture

SHAPE = (40, 32, 24)


def bands(seed: int) -> torch.Tensor:
    return draw_bands(SHAPE, 1.0, np.random.default_rng(seed), torch.Generator().manual_seed(seed))


def test_bands_are_numbered_from_one_and_differ_from_draw_to_draw() -> None:
    drawn = [bands(seed) for seed in range(20)]
    assert all(item.shape == SHAPE and item.min() >= 0 and item.max() <= BANDS for item in drawn)
    assert torch.equal(drawn[3], bands(3))
    assert max(int(item.max()) for item in drawn) >= 3
    assert not torch.equal(drawn[0], drawn[1])


def test_a_share_of_the_head_has_no_texture() -> None:
    covered = [float((bands(seed) > 0).float().mean()) for seed in range(30)]
    assert min(covered) < 0.5 < np.mean(covered) < 0.95


def test_texture_is_flat_within_a_band_and_leaves_the_rest_alone() -> None:
    drawn = bands(1)
    signal = torch.rand(SHAPE) * 100
    textured = fold_texture(signal, drawn, np.random.default_rng(0))
    assert torch.equal(textured[drawn == 0], signal[drawn == 0])
    present = [int(band) for band in drawn.unique() if band > 0]
    values = [textured[drawn == band].unique() for band in present]
    assert len(present) >= 2 and all(len(value) == 1 for value in values)
    assert len({float(value) for value in values}) == len(present)
