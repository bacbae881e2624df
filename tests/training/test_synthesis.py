from __future__ import annotations

import numpy as np
import pytest
import torch
from napari_medzoo_training.config import Recipe, Synthesis
from napari_medzoo_training.labelmaps import LabelMaps
from napari_medzoo_training.synthesis import CONTRASTS, acquire, deform, smooth, synthesise

STILL = Synthesis(
    rotation_deg=0,
    scaling=0,
    shear=0,
    translation_mm=0,
    anywhere_share=0,
    elastic_mm=(0, 0),
    stripped_share=0,
    cut_share=0,
    noise=(0, 0),
)

WHOLE = (72, 92, 76)
"""A patch that at 2 mm holds a whole brain, so that its centre does not move."""


def still(recipe: Recipe, **changes: object) -> Recipe:
    return recipe.model_copy(update={"synthesis": STILL.model_copy(update=changes)})


def test_a_pair_has_the_patch_of_its_stage(label_maps: LabelMaps, recipe: Recipe) -> None:
    channel_of = label_maps.channel_of(recipe)
    scan, target = synthesise(label_maps, recipe, recipe.stages[1], channel_of, np.random.default_rng(0))
    assert scan.shape == (1, 16, 12, 16) and scan.dtype == torch.float32
    assert target.shape == (16, 12, 16) and target.dtype == torch.int64
    assert scan.min() >= 0 and scan.max() <= 1  # the recipe's own normalisation ran


def test_the_same_seed_gives_the_same_pair(label_maps: LabelMaps, recipe: Recipe) -> None:
    channel_of = label_maps.channel_of(recipe)
    first, second, other = (
        synthesise(label_maps, recipe, recipe.stages[0], channel_of, np.random.default_rng(seed)) for seed in (5, 5, 6)
    )
    assert torch.equal(first[0], second[0]) and torch.equal(first[1], second[1])
    assert not torch.equal(first[0], other[0])


def test_mirroring_keeps_left_on_the_left(label_maps: LabelMaps) -> None:
    """The left half of every deformed head is of left classes, mirrored or not."""
    left = torch.tensor([index in (2, 3, 10) for index in label_maps.indices.tolist()])
    right = torch.tensor([index in (41, 42, 49) for index in label_maps.indices.tolist()])
    maps = set()
    for seed in range(8):
        random, noise = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
        classes = deform(label_maps, WHOLE, 2.0, STILL, random, noise)
        middle = WHOLE[0] // 2
        assert left[classes[: middle - 1]].any() and not right[classes[: middle - 1]].any()
        assert right[classes[middle + 1 :]].any() and not left[classes[middle + 1 :]].any()
        maps.add(classes.sum().item())
    assert len(maps) >= 2  # both heads, or both sides, were drawn


@pytest.mark.parametrize("kind", CONTRASTS)
def test_every_contrast_gives_each_tissue_a_mean_and_a_spread(kind: str, label_maps: LabelMaps) -> None:
    means, stds = CONTRASTS[kind](label_maps, np.random.default_rng(1))
    assert means.shape == stds.shape == (6,)
    assert (means >= 0).all() and (means <= 255).all() and (stds > 0).all()


def test_fluid_is_bright_in_t2w_and_dark_in_flair(label_maps: LabelMaps) -> None:
    t1w, t2w, flair = (CONTRASTS[kind](label_maps, np.random.default_rng(2))[0] for kind in ("t1w", "t2w", "flair"))
    assert t1w[1] < t1w[2] and t2w[1] > t2w[2] and flair[1] < flair[2]


def test_stripping_removes_the_scalp_from_scan_and_target(label_maps: LabelMaps, recipe: Recipe) -> None:
    whole, stripped = still(recipe), still(recipe, stripped_share=1.0)
    stage = recipe.stages[0].model_copy(update={"patch": WHOLE, "voxel_mm": (2.0, 2.0)})
    channel_of = label_maps.channel_of(recipe)
    sizes = []
    for chosen in (whole, stripped):
        scan, target = synthesise(label_maps, chosen, stage, channel_of, np.random.default_rng(3))
        sizes.append(int((scan > 0).sum()))
        assert (scan[0][target > 1] > 0).float().mean() > 0.9
    assert sizes[1] < 0.9 * sizes[0]


def test_a_patch_beside_a_stripped_brain_is_empty_and_background(label_maps: LabelMaps, recipe: Recipe) -> None:
    empty = still(recipe, stripped_share=1.0, cut_share=1.0, anywhere_share=1.0)
    stage = recipe.stages[0].model_copy(update={"patch": (4, 4, 4), "voxel_mm": (1.0, 1.0)})
    pairs = [
        synthesise(label_maps, empty, stage, label_maps.channel_of(recipe), np.random.default_rng(seed))
        for seed in range(20)
    ]
    blank = [target for scan, target in pairs if not scan.any()]
    assert blank and not any(target.any() for target in blank)


def test_merged_labels_are_learnt_as_their_target(label_maps: LabelMaps, recipe: Recipe) -> None:
    merged = recipe.model_copy(update={"merge": {10: 2, 516: 24}})
    channel_of = label_maps.channel_of(merged)
    of = dict(zip(label_maps.indices.tolist(), channel_of.tolist(), strict=True))
    assert of[10] == of[2] == recipe.channels.index(2)
    assert of[516] == recipe.channels.index(24)
    assert label_maps.channel_of(recipe)[label_maps.indices == 516] == 0


def test_smoothing_keeps_the_mean_and_matches_the_gaussian() -> None:
    scan = torch.zeros(1, 41, 1)
    scan[0, 20, 0] = 1
    smoothed = smooth(scan, 1, 2.0)[0, :, 0]
    expected = np.exp(-0.5 * ((np.arange(41) - 20) / 2.0) ** 2)
    np.testing.assert_allclose(smoothed.numpy(), expected / expected.sum(), atol=4e-3)
    assert smoothed.sum() == pytest.approx(1, abs=1e-5)


def test_thick_slices_smear_one_axis_only() -> None:
    settings = STILL.model_copy(update={"coarse_share": 0, "slice_share": 1, "slice_mm": (6, 6), "blur_mm": (0.1, 0.1)})
    scan = torch.zeros(32, 32, 32)
    scan[16, 16, 16] = 1
    random = np.random.default_rng(0)
    thick = acquire(scan, 1.0, settings, random)
    reach = [int((thick.amax(dim=[d for d in range(3) if d != axis]) > 1e-3).sum()) for axis in range(3)]
    assert sorted(reach)[0] <= 3 and sorted(reach)[1] <= 3 and sorted(reach)[2] >= 8
