from __future__ import annotations

import numpy as np
import pytest
import torch
from napari_medzoo_training.config import Recipe, Stage, Synthesis
from napari_medzoo_training.labelmaps import LabelMaps
from napari_medzoo_training.synthesis import deform, synthesise

from napari_medzoo.errors import MedzooError

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

CLEAN = {"bias_field": (0, 0), "gamma": 0, "blur_mm": (0.3, 0.3), "slice_share": 0, "coarse_share": 0}

WHOLE = (72, 92, 76)
"""A patch that at 2 mm holds a whole brain, so that its centre does not move."""

STUDY = ("t1w", "t2w", "flair")


def still(recipe: Recipe, modalities: tuple[str, ...] = ("any",), **changes: object) -> Recipe:
    """`recipe` without deformation, stripping, cuts and noise."""
    return recipe.model_copy(
        update={"synthesis": STILL.model_copy(update=changes), "modalities": modalities, "merge": {}}
    )


def whole(recipe: Recipe) -> Stage:
    return recipe.stages[0].model_copy(update={"patch": WHOLE, "voxel_mm": (2.0, 2.0)})


def pair(maps: LabelMaps, recipe: Recipe, seed: int, stage: Stage | None = None) -> tuple[torch.Tensor, torch.Tensor]:
    return synthesise(maps, recipe, stage or whole(recipe), maps.channel_of(recipe), np.random.default_rng(seed))


def test_a_pair_has_the_patch_of_its_stage(label_maps: LabelMaps, recipe: Recipe) -> None:
    scan, target = pair(label_maps, recipe, 0, recipe.stages[1])
    assert scan.shape == (1, 16, 12, 16) and scan.dtype == torch.float32
    assert target.shape == (16, 12, 16) and target.dtype == torch.int64
    assert scan.min() >= 0 and scan.max() <= 1  # the recipe's own normalisation ran


@pytest.mark.parametrize("modalities", [("any",), STUDY])
def test_the_same_seed_gives_the_same_pair(modalities: tuple[str, ...], label_maps: LabelMaps, recipe: Recipe) -> None:
    changed = recipe.model_copy(update={"modalities": modalities})
    first, second, other = (pair(label_maps, changed, seed, recipe.stages[0]) for seed in (5, 5, 6))
    assert torch.equal(first[0], second[0]) and torch.equal(first[1], second[1])
    assert not torch.equal(first[0], other[0])


def test_mirroring_keeps_left_on_the_left(label_maps: LabelMaps) -> None:
    """The left half of every deformed head is of left classes, mirrored or not."""
    left = torch.tensor([index in (2, 3, 10) for index in label_maps.indices.tolist()])
    right = torch.tensor([index in (41, 42, 49) for index in label_maps.indices.tolist()])
    maps = set()
    for seed in range(8):
        random, noise = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
        classes = deform(label_maps, WHOLE, 2.0, STILL, random, noise).classes.long()
        middle = WHOLE[0] // 2
        assert left[classes[: middle - 1]].any() and not right[classes[: middle - 1]].any()
        assert right[classes[middle + 1 :]].any() and not left[classes[middle + 1 :]].any()
        maps.add(classes.sum().item())
    assert len(maps) >= 2  # both heads, or both sides, were drawn


def test_outside_of_the_label_map_is_background_even_where_a_head_touches_its_edge(label_maps: LabelMaps) -> None:
    filled = LabelMaps(
        maps=[torch.full((6, 6, 6), 3, dtype=torch.uint8)],
        indices=label_maps.indices,
        tissue_of=label_maps.tissue_of,
        t1w_means=label_maps.t1w_means,
        t1w_stds=label_maps.t1w_stds,
        mirrored=torch.arange(len(label_maps.indices)),
    )
    noise = torch.Generator().manual_seed(0)
    patch = (200, 240, 210)  # at 1 mm wider than the brain in every axis: the centre does not move
    classes = deform(filled, patch, 1.0, STILL, np.random.default_rng(0), noise).classes
    assert set(classes.unique().tolist()) == {0, 3}
    assert (classes == 3).sum() == 6**3


def explained(volume: torch.Tensor, target: torch.Tensor) -> float:
    """Which share of the variance of `volume` is between the channels of `target`."""
    groups = [volume[target == channel] for channel in target.unique()]
    between = sum(len(group) * float(group.mean() - volume.mean()) ** 2 for group in groups)
    return between / float(volume.var() * volume.numel())


def test_every_modality_lies_on_the_target(label_maps: LabelMaps, recipe: Recipe) -> None:
    """Turned, scaled and bent, the borders of scan and target coincide, and not one voxel beside.

    Every class is its own channel: with the scalp among the background, most of the variance would be within a channel.
    """
    bent = {"rotation_deg": 20, "scaling": 0.15, "elastic_mm": (2, 4)}
    clean = still(recipe, STUDY, **CLEAN, **bent)
    every = torch.arange(len(label_maps.indices))
    better = []
    for seed in range(6):
        scan, target = synthesise(label_maps, clean, whole(clean), every, np.random.default_rng(seed))
        box = tuple(slice(int(axis.min()) - 2, int(axis.max()) + 3) for axis in target.nonzero(as_tuple=True))
        for axis in range(3):
            moved = target.roll(1, dims=axis)
            better += [explained(v[box], target[box]) > explained(v[box], moved[box]) for v in scan]
    assert np.mean(better) > 0.95


def test_a_study_of_one_head_has_the_order_of_its_modalities(label_maps: LabelMaps, recipe: Recipe) -> None:
    """Fluid beside white matter, on average over patients and read through the target: T1w, T2w, FLAIR."""
    clean = still(recipe, STUDY, **CLEAN)
    fluid, white = recipe.channels.index(24), recipe.channels.index(2)
    differences = []
    for seed in range(10):
        scan, target = pair(label_maps, clean, seed)
        differences.append([float(v[target == fluid].mean() - v[target == white].mean()) for v in scan])
    t1w, t2w, flair = np.mean(differences, axis=0)
    assert t1w < -0.1 and t2w > 0.2 and flair < -0.1


def test_modalities_have_noise_of_their_own(label_maps: LabelMaps, recipe: Recipe) -> None:
    noisy = still(recipe, ("t2w", "t2w"), **{**CLEAN, "noise": (0.05, 0.05)})
    scan, target = pair(label_maps, noisy, 0)
    inside = target == recipe.channels.index(2)
    assert np.corrcoef(scan[0][inside], scan[1][inside])[0, 1] < 0.8
    assert not torch.equal(scan[0], scan[1])


def test_a_modality_may_be_missing_but_never_all(label_maps: LabelMaps, recipe: Recipe) -> None:
    gappy = still(recipe, STUDY, missing_share=0.9)
    counts = []
    for seed in range(12):
        scan, target = pair(label_maps, gappy, seed)
        present = [bool(volume.any()) for volume in scan]
        assert any(present) and target.any()
        counts.append(sum(present))
    assert min(counts) == 1 and np.mean(counts) < 2
    scan, _ = pair(label_maps, still(recipe, STUDY), 0)
    assert all(volume.any() for volume in scan)


@pytest.mark.parametrize("modalities", [("any",), STUDY])
def test_stripping_removes_the_scalp_from_scan_and_target(
    modalities: tuple[str, ...], label_maps: LabelMaps, recipe: Recipe
) -> None:
    sizes = []
    for share in (0.0, 1.0):
        scan, target = pair(label_maps, still(recipe, modalities, stripped_share=share, **CLEAN), 3)
        sizes.append(int((scan.amax(0) > 0).sum()))
        assert (scan.amax(0)[target > 1] > 0).float().mean() > 0.9
    assert sizes[1] < 0.9 * sizes[0]


def test_a_cut_takes_a_slab_from_all_modalities_and_the_target(label_maps: LabelMaps, recipe: Recipe) -> None:
    complete, cut = (still(recipe, STUDY, cut_share=share) for share in (0.0, 1.0))
    for seed in range(4):
        scan, target = pair(label_maps, cut, seed)
        blank = (scan == 0).all(dim=0)
        slabs = [
            blank.all(dim=tuple(other for other in range(3) if other != axis)).nonzero().flatten() for axis in range(3)
        ]
        widest = max(slabs, key=len)
        assert len(widest) >= 3  # 5 % of the smallest axis
        assert not target[blank].any()
        assert pair(label_maps, complete, seed)[1].sum() >= target.sum()


def test_a_patch_beside_a_stripped_brain_is_empty_and_background(label_maps: LabelMaps, recipe: Recipe) -> None:
    empty = still(recipe, stripped_share=1.0, cut_share=1.0, anywhere_share=1.0)
    stage = recipe.stages[0].model_copy(update={"patch": (4, 4, 4), "voxel_mm": (1.0, 1.0)})
    pairs = [pair(label_maps, empty, seed, stage) for seed in range(20)]
    blank = [target for scan, target in pairs if not scan.any()]
    assert blank and not any(target.any() for target in blank)
    assert all(scan.isfinite().all() for scan, _ in pairs)


def test_thick_slices_are_mostly_along_one_axis_of_a_study(label_maps: LabelMaps, recipe: Recipe) -> None:
    """The scan is smoother from voxel to voxel along the thick axis; modalities of a study agree on it."""
    thick = still(recipe, ("t2w",) * 3, **{**CLEAN, "slice_share": 1.0, "slice_mm": (8.0, 8.0)})
    agree = []
    for seed in range(8):
        scan, _ = pair(label_maps, thick, seed)
        steps = torch.stack([scan.diff(dim=axis).abs().mean(dim=(1, 2, 3)) for axis in (1, 2, 3)])
        axes = [int(steps[:, c].argmin()) for c in range(3) if steps[:, c].min() < 0.75 * steps[:, c].median()]
        if len(axes) > 1:
            agree.append(len(set(axes)) == 1)
    assert len(agree) >= 4 and np.mean(agree) > 0.5


def test_an_unknown_modality_is_refused_with_those_that_exist(label_maps: LabelMaps, recipe: Recipe) -> None:
    with pytest.raises(MedzooError, match=r"'pet'.*t1w"):
        pair(label_maps, still(recipe, ("pet",)), 0)
