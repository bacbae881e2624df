"""Tissues told apart by the scan's own intensities beside the network."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from napari_medzoo.inference import network, predict
from napari_medzoo.inference.intensities import SURE, WEIGHT, adapt_to_scan
from napari_medzoo.inference.uncertainty import from_probabilities
from napari_medzoo.progress import run
from napari_medzoo.space import Grid
from napari_medzoo.study import Study, Volume
from tests.core.tiny_model import Nearest, make_card

TISSUES = ((1, 2), (3,))
"""Left and right of the one, the other; 0 is background and 4 another class."""
SHAPE, SPACING = (24, 20, 16), (1.0, 1.2, 2.0)


def truth() -> NDArray[np.int64]:
    """A block of each tissue, the first one's right half another channel; background and class 4 around."""
    labels = np.zeros(SHAPE, dtype=np.int64)
    labels[:2] = 4
    labels[4:12, 4:16, 3:8], labels[4:12, 4:16, 8:13] = 1, 2
    labels[12:20, 4:16, 3:13] = 3
    return labels


def logits(labels: NDArray[np.int64], sure: float = 6.0) -> NDArray[np.float32]:
    return (sure * (labels == np.arange(5)[:, None, None, None])).astype(np.float32)


def soft_max(scores: NDArray[np.float32]) -> NDArray[np.float64]:
    powers = np.exp(scores.astype(np.float64))
    return powers / powers.sum(axis=0)


@pytest.fixture
def scan() -> NDArray[np.float32]:
    """Dark and bright with a little noise, and a field that grows by half from one end to the other."""
    labels = truth()
    clean = np.choose(labels, [0.1, 0.4, 0.4, 0.8, 0.2]) * np.linspace(1, 1.5, SHAPE[1])[None, :, None]
    return (clean + np.random.default_rng(0).normal(0, 0.02, SHAPE)).astype(np.float32)[None]


@pytest.mark.parametrize("contrast", [1, -1])
def test_where_the_network_hesitates_the_intensity_decides(scan, contrast):
    labels, scan = truth(), contrast * scan
    blurred = labels.copy()
    blurred[11], blurred[12] = 3, 1  # a border that lies wrong by a voxel
    scores = logits(labels)
    scores[:, 11:13] = logits(blurred, 0.5)[:, 11:13]
    assert (scores.argmax(axis=0) != labels).sum() > 100
    adapt_to_scan(scores, scan, TISSUES, SPACING)
    inside = np.isin(labels, (1, 2, 3))
    found = scores.argmax(axis=0)
    assert (np.isin(found, (1, 2)) == np.isin(labels, (1, 2)))[inside].all()


def test_what_is_no_tissue_and_the_sides_of_one_keep_their_shares(scan):
    scores = np.random.default_rng(1).normal(0, 1, (5, *SHAPE)).astype(np.float32) + logits(truth(), 4)
    before = soft_max(scores)
    adapt_to_scan(scores, scan, TISSUES, SPACING)
    after = soft_max(scores)
    for channel in (0, 4):
        np.testing.assert_allclose(after[channel], before[channel], rtol=1e-4)
    np.testing.assert_allclose(after[1] / after[2], before[1] / before[2], rtol=1e-3)
    assert not np.allclose(after[3], before[3], rtol=1e-2)


def test_the_odds_are_those_of_bayes_by_hand():
    """In so small a scan all is one neighbourhood, so that the means are those of the whole tissues."""
    labels = truth()
    scan = np.where(labels == 3, 0.8, 0.4).astype(np.float32)
    scan += np.where(np.indices(SHAPE).sum(axis=0) % 2, 0.1, -0.1).astype(np.float32)
    scores = logits(labels)
    scores[:, 8, 8, 8] = 0
    scan[8, 8, 8] = 0.7
    before = soft_max(scores)
    assert (before.max(axis=0) >= SURE).sum() == labels.size - 1
    adapt_to_scan(scores, scan[None], TISSUES, (0.02, 0.02, 0.02))
    after = soft_max(scores)[:, 8, 8, 8]
    odds = (after[3] / (after[1] + after[2])) / (1 / 2)
    assert np.log(odds) == pytest.approx(WEIGHT * ((0.7 - 0.4) ** 2 - (0.7 - 0.8) ** 2) / (2 * 0.1**2), rel=0.02)


def test_nothing_changes_where_tissues_look_alike_or_one_is_missing(scan):
    scores = logits(truth()) + np.random.default_rng(2).normal(0, 0.1, (5, *SHAPE)).astype(np.float32)
    for data, tissues in ((np.ones_like(scan), TISSUES), (scan, ((1, 2),)), (np.zeros_like(scan), TISSUES)):
        changed = scores.copy()
        adapt_to_scan(changed, data, tissues, SPACING)
        np.testing.assert_array_equal(changed, scores)
    absent = scores.copy()
    absent[3] -= 100
    changed = absent.copy()
    adapt_to_scan(changed, scan, TISSUES, SPACING)
    np.testing.assert_array_equal(changed, absent)


def test_a_missing_modality_says_nothing_beside_one_that_is_there(scan):
    alone, beside = (logits(truth(), 1.5) for _ in range(2))
    alone += 2 * (alone > 0)
    beside += 2 * (beside > 0)
    adapt_to_scan(alone, scan, TISSUES, SPACING)
    adapt_to_scan(beside, np.concatenate([scan, np.zeros_like(scan)]), TISSUES, SPACING)
    np.testing.assert_allclose(alone, beside, atol=1e-5)


@pytest.mark.parametrize("backend", ["torch", "openvino"])
def test_predict_and_uncertainty_adapt_where_the_card_says_so(tmp_path, monkeypatch, backend):
    monkeypatch.setattr(network, "ARCHITECTURES", {"nearest": Nearest})
    grid = Grid((40, 36, 32), np.diag([-1.0, 1.0, 1.5, 1.0]))
    data = np.zeros(grid.shape, dtype=np.float32)
    data[4:20, 4:30, 4:28], data[20:36, 4:30, 4:28] = 0.5, 0.85
    data += (data > 0) * np.random.default_rng(0).normal(0, 0.02, grid.shape)
    dim = (slice(24, 26), slice(10, 14), slice(10, 14))
    data[dim], data[0, 0, 0] = 0.7, 1.0  # nearer to the network's 0.5 than to its 1, and to 0.85 than to 0.5
    study = Study({"t1w": Volume(data.astype(np.float32), grid, "t1w")})
    found = {}
    for tissues in ((), ((2,), (3,))):
        card = make_card(tmp_path, "nearest", network=Nearest(1, 3), channels=(0, 2, 3), tissues=tissues)
        labels = run(predict(study, card, backend=backend, device="cpu"))
        found[tissues] = labels.data
        unsure = run(from_probabilities(study, card, backend=backend, device="cpu"))
        np.testing.assert_array_equal(unsure.segmentation.data, labels.data)
        assert ("Adapting to the scan" in str(labels.provenance)) == bool(tissues)
    assert (found[()][dim] == 2).all() and (found[(2,), (3,)][dim] == 3).all()


@pytest.mark.parametrize("tissues", [((2,), (2, 3)), ((0,), (2,)), ((2,), (7,))])
def test_tissues_that_are_not_the_card_s_labels_are_refused(tmp_path, tissues):
    with pytest.raises(ValueError, match="'tissues' must name labels of 'channels'"):
        make_card(tmp_path, channels=(0, 2, 3), tissues=tissues)
