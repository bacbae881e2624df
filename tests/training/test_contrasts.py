from __future__ import annotations

import numpy as np
import pytest
import torch
from napari_medzoo_training.config import Synthesis
from napari_medzoo_training.contrasts import CONTRASTS, RELAXATION, class_weights, draw_tissues
from napari_medzoo_training.labelmaps import LabelMaps

FLUID, WHITE, GREY, MARROW = 1, 2, 3, 5  # numbers of the tissues in the tiny label maps


def drawn(maps: LabelMaps, kind: str, count: int = 60) -> np.ndarray:
    """Means of many patients, ``(patients, tissues)``."""
    means = []
    for seed in range(count):
        random = np.random.default_rng(seed)
        means.append(CONTRASTS[kind](draw_tissues(maps, random), random)[0])
    return np.array(means)


@pytest.mark.parametrize("kind", CONTRASTS)
def test_every_contrast_gives_each_tissue_a_mean_and_a_spread(kind: str, label_maps: LabelMaps) -> None:
    for seed in range(30):
        random = np.random.default_rng(seed)
        means, stds = CONTRASTS[kind](draw_tissues(label_maps, random), random)
        assert means.shape == stds.shape == (6,)
        assert np.isfinite(means).all() and (means >= 0).all() and (means <= 255).all()
        assert (stds > 0).all()
        assert means.max() > 50  # never a black scan


def test_the_recipes_default_shares_are_of_contrasts_that_exist() -> None:
    assert set(Synthesis().contrasts) <= set(CONTRASTS)


def test_t2w_shows_fluid_brightest_and_white_matter_darkest(label_maps: LabelMaps) -> None:
    means = drawn(label_maps, "t2w")
    assert (means[:, FLUID] > means[:, GREY]).all()
    assert (means[:, GREY] > means[:, WHITE]).mean() > 0.9


def test_flair_shows_fluid_dark_and_grey_matter_brighter_than_white(label_maps: LabelMaps) -> None:
    means = drawn(label_maps, "flair")
    assert (means[:, FLUID] < 0.7 * means[:, WHITE]).mean() > 0.95
    assert (means[:, GREY] > means[:, WHITE]).mean() > 0.75


def test_pdw_shows_the_brain_nearly_alike(label_maps: LabelMaps) -> None:
    pdw, t2w = (np.median(means[:, GREY] / means[:, WHITE]) for means in (drawn(label_maps, k) for k in ("pdw", "t2w")))
    assert 1.0 < pdw < 1.3 < t2w


def test_no_rule_holds_for_the_marrow(label_maps: LabelMaps) -> None:
    """Fat suppression and saturation decide: sometimes brighter than the brain, sometimes darker."""
    means = drawn(label_maps, "t2w")
    ratio = means[:, MARROW] / means[:, WHITE]
    assert (ratio > 1.2).any() and (ratio < 0.5).any()


def test_one_patient_fits_together(label_maps: LabelMaps) -> None:
    """Grey matter that is bright for grey matter in T1w (short T1) is dark for grey matter in T2w (short T2)."""
    pairs = []
    for seed in range(300):
        random = np.random.default_rng(seed)
        tissues = draw_tissues(label_maps, random)
        t2w = CONTRASTS["t2w"](tissues, np.random.default_rng(0))[0]  # one protocol
        pairs.append((tissues.t1w_means[GREY], t2w[GREY] / t2w[FLUID]))
    assert np.corrcoef(np.array(pairs).T)[0, 1] < -0.5


def test_relaxation_times_are_of_known_tissues_once() -> None:
    indices = [index for group in RELAXATION for index in group]
    assert len(indices) == len(set(indices))
    assert all(0 < density <= 1 and t1 > t2 for density, t1, t2 in RELAXATION.values())


def test_structures_of_one_tissue_differ_alike_on_both_sides(label_maps: LabelMaps) -> None:
    random = np.random.default_rng(0)
    weights = CONTRASTS["t1w"](draw_tissues(label_maps, random), random)
    for values in class_weights(label_maps, weights, random):
        by_index = dict(zip(label_maps.indices.tolist(), values.tolist(), strict=True))
        assert by_index[3] == by_index[42] and by_index[2] == by_index[41] and by_index[10] == by_index[49]
    means, grain, patches = class_weights(label_maps, weights, random)
    assert means[label_maps.indices == 3] != pytest.approx(weights[0][GREY], rel=1e-6)
    assert (grain >= 0).all() and patches[0] == 0
    outside = label_maps.indices.numpy() == 516
    assert abs(patches[outside]) > grain[outside]  # a scalp is blotched, not grainy


def test_tables_stay_on_the_cpu_when_the_maps_move(label_maps: LabelMaps) -> None:
    moved = label_maps.to(torch.device("meta"))
    assert moved.device.type == moved.mirrored.device.type == "meta"
    draw_tissues(moved, np.random.default_rng(0))
