"""Lesions painted into two made-up heads with ventricles, cortex, deep grey matter, cerebellum and brain stem."""

from __future__ import annotations

import cc3d
import edt
import numpy as np
import pytest
import torch
from napari_medzoo_training.config import Recipe, Stage
from napari_medzoo_training.labelmaps import LabelMaps, Placed
from napari_medzoo_training.lesion_settings import Lesions
from napari_medzoo_training.lesion_sites import CEREBRAL, INFRATENTORIAL, PLACES, SURFACE, draw_lesions, sites_of
from napari_medzoo_training.lesions import paint
from napari_medzoo_training.synthesis import synthesise
from pydantic import ValidationError

from napari_medzoo.errors import MedzooError

from .test_synthesis import CLEAN, STILL

INDICES = (0, 24, 2, 3, 4, 10, 25, 41, 42, 43, 49, 57, 7, 46, 16)
TISSUES = (0, 1, 2, 3, 1, 4, 5, 2, 3, 1, 4, 5, 6, 6, 7)
MIRRORED = (0, 1, 7, 8, 9, 10, 11, 2, 3, 4, 5, 6, 13, 12, 14)
SHAPE = (96, 110, 90)
WHITE, CORTEX, FLUID, LESION = 3, 1, 5, 4
"""Channels of the recipe, which are MRBrainS18's numbers."""


@pytest.fixture(scope="module")
def maps() -> LabelMaps:
    """One head of 1 mm: CSF around cortex around white matter around ventricles and thalamus; a stem below."""
    x, y, z = np.meshgrid(*(np.arange(n) - (n - 1) / 2 for n in SHAPE), indexing="ij")
    head = np.zeros(SHAPE, dtype=np.uint8)

    def fill(inside: np.ndarray, left: int, right: int) -> None:
        head[inside] = np.where(x < 0, INDICES.index(left), INDICES.index(right))[inside]

    radius = np.sqrt((x / 44) ** 2 + (y / 50) ** 2 + ((z - 6) / 36) ** 2)
    for limit, left, right in ((1.0, 24, 24), (0.94, 3, 42), (0.82, 2, 41)):
        fill(radius < limit, left, right)
    fill(((np.abs(x) - 9) / 5) ** 2 + (y / 22) ** 2 + ((z - 12) / 5) ** 2 < 1, 4, 43)
    fill(((np.abs(x) - 9) / 6) ** 2 + (y / 10) ** 2 + ((z - 1) / 5) ** 2 < 1, 10, 49)
    fill(((np.abs(x) - 25) / 2) ** 2 + (y / 2) ** 2 + ((z - 12) / 2) ** 2 < 1, 25, 57)
    fill((radius >= 1) & (np.abs(x) < 25) & (np.abs(y + 15) < 12) & (z < -24), 7, 46)
    fill((np.abs(x) < 6) & (np.abs(y - 8) < 6) & (z < -24), 16, 16)
    means = np.array([5.0, 45, 160, 96, 130, 116, 136, 130])
    return LabelMaps(
        maps=[torch.from_numpy(head), torch.from_numpy(head[:, ::-1].copy())],
        indices=torch.tensor(INDICES),
        tissue_of=torch.tensor(TISSUES),
        t1w_means=torch.tensor(np.stack([means, np.full(8, 3.0)]), dtype=torch.float32),
        t1w_stds=torch.tensor(np.stack([np.full(8, 4.0), np.full(8, 1.0)]), dtype=torch.float32),
        mirrored=torch.tensor(MIRRORED),
    )


def with_lesions(recipe: Recipe, **changes: object) -> Recipe:
    """MRBrainS18's classes from T1w, T2w and FLAIR, without any fault of a scanner."""
    plain = {"none_share": 0.0, "dirty": (0, 0), "rim_share": 0.0, "flow_share": 0.0, "spaces_share": 0.0}
    lesions = Lesions.model_validate({**plain, "count": (30, 30), **changes})
    return recipe.model_copy(
        update={
            "synthesis": STILL.model_copy(update={**CLEAN, "lesions": lesions}),
            "modalities": ("t1w", "t2w", "flair"),
            "label_scheme": "mrbrains",
            "channels": tuple(range(9)),
        }
    )


STAGE = Stage(steps=1, patch=(80, 96, 80), voxel_mm=(1.0, 1.0))


def pair(maps: LabelMaps, recipe: Recipe, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    return synthesise(maps, recipe, STAGE, maps.channel_of(recipe), np.random.default_rng(seed))


def depths(maps: LabelMaps, seed: int, **changes: object) -> np.ndarray:
    """Of lesions, in the first head, where there is white matter."""
    settings = Lesions.model_validate({"count": (40, 40), "own_share": 0.0, "band_share": 0.0, **changes})
    levels = draw_lesions(sites_of(maps, 0), SHAPE, settings, np.random.default_rng(seed))
    white = np.isin(np.array(INDICES)[maps.maps[0].numpy()], (*CEREBRAL, *INFRATENTORIAL))
    return np.where(white, levels, 0)


def whole(maps: LabelMaps) -> Placed:
    """The first head as it is."""
    voxels = torch.arange(maps.maps[0].numel(), dtype=torch.int32).reshape(SHAPE)
    return Placed(0, voxels, maps.maps[0].int())


def test_lesions_lie_in_white_matter_only(maps: LabelMaps) -> None:
    index = np.array(INDICES)[maps.maps[0].numpy().ravel()]
    found = set()
    for seed in range(4):
        settings = Lesions(none_share=0, count=(60, 60), band_share=1)
        noise = torch.Generator().manual_seed(seed)
        painted = paint(maps, whole(maps), 1.0, settings, np.random.default_rng(seed), noise)
        found |= set(index[painted.lesion].tolist())
        assert painted.mix.min() >= 0 and painted.mix.max() <= 1
    assert {2, 41, 7, 46} <= found <= {*CEREBRAL, *INFRATENTORIAL}


def test_most_lesions_lie_near_the_ventricles(maps: LabelMaps) -> None:
    """Nearer than white matter does in general; as far as it where the place is not asked for."""
    index = np.array(INDICES)[maps.maps[0].numpy()]
    distance = edt.edt(~np.isin(index, (4, 43)))
    usual = np.median(distance[np.isin(index, CEREBRAL)])
    near, far = (
        np.concatenate([distance[depths(maps, seed, places={place: 1.0}) >= SURFACE] for seed in range(3)])
        for place in ("periventricular", "deep")
    )
    assert np.median(near) < 0.5 * usual < np.median(far)


@pytest.mark.parametrize("place", PLACES)
def test_every_place_can_be_asked_for(place: str, maps: LabelMaps) -> None:
    index = np.array(INDICES)[maps.maps[0].numpy()]
    lesions = depths(maps, 0, places={place: 1.0}, confluent=(0, 0), radius_mm=(1.5, 1.5)) >= SURFACE
    below = np.isin(index, INFRATENTORIAL)
    assert lesions.sum() > 100
    if place == "infratentorial":
        assert not lesions[~below].any()
    else:
        assert lesions[below].mean() < 0.02
    if place == "juxtacortical":
        assert edt.edt(~np.isin(index, (3, 42)))[lesions].max() < 7


def test_many_lesions_are_small_and_few_are_large(maps: LabelMaps) -> None:
    sizes = np.concatenate(
        [
            np.bincount(cc3d.connected_components(depths(maps, seed) >= SURFACE, connectivity=26).ravel())[1:]
            for seed in range(6)
        ]
    )
    assert np.median(sizes) < 0.4 * sizes.mean()
    assert sizes.max() > 500


def test_fingers_point_away_from_the_ventricles(maps: LabelMaps) -> None:
    """Above the middle of a ventricle that is upwards: the boxes of lesions there are higher than wide."""
    heights, widths = [], []
    for seed in range(8):
        lesions = depths(maps, seed, count=(12, 12), places={"periventricular": 1.0}, confluent=(0, 0)) >= SURFACE
        objects = cc3d.statistics(cc3d.connected_components(lesions, connectivity=26))
        for box, centre in zip(objects["bounding_boxes"][1:], objects["centroids"][1:], strict=True):
            away = np.array(centre) - (np.array(SHAPE) - 1) / 2 - (0, 0, 12)
            if abs(abs(away[0]) - 9) < 4 and abs(away[1]) < 12 and away[2] > 4:
                heights.append(box[2].stop - box[2].start)
                widths.append(box[1].stop - box[1].start)
    assert len(heights) >= 8 and np.mean(heights) > np.mean(widths)


def test_lesions_are_bright_in_t2w_and_flair_and_not_in_t1w(maps: LabelMaps, recipe: Recipe) -> None:
    learnt = with_lesions(recipe, hole_share=0.0)
    for seed in range(5):
        scan, target = pair(maps, learnt, seed)
        t1w, t2w, flair = (float(v[target == LESION].mean() - v[target == WHITE].mean()) for v in scan)
        assert t2w > 0.03 and flair > 0.05 and t1w < 0.02, seed


def test_holes_are_dark_in_t1w(maps: LabelMaps, recipe: Recipe) -> None:
    plain, holed = (with_lesions(recipe, hole_share=share, count=(60, 60)) for share in (0.0, 1.0))
    darker = []
    for seed in range(4):
        (first, target), (second, _) = pair(maps, plain, seed), pair(maps, holed, seed)
        darker.append(float(torch.quantile(first[0][target == LESION], 0.02)) > second[0][target == LESION].min())
    assert any(darker)


def test_what_is_no_lesion_changes_the_scan_and_not_the_target(maps: LabelMaps, recipe: Recipe) -> None:
    healthy = {"none_share": 1.0}
    plain = pair(maps, with_lesions(recipe, **healthy), 1)
    like = {"dirty": (0.3, 0.3), "rim_share": 1.0, "flow_share": 1.0, "spaces_share": 1.0}
    scan, target = pair(maps, with_lesions(recipe, **healthy, **like), 1)
    assert not (target == LESION).any() and torch.equal(target, plain[1])
    assert not torch.equal(scan, plain[0])


def test_the_maps_own_lesions_are_learnt_or_are_white_matter(maps: LabelMaps, recipe: Recipe) -> None:
    for share in (0.0, 1.0):
        noise = torch.Generator().manual_seed(0)
        settings = Lesions(none_share=0, count=(1, 1), own_share=share, band_share=0, places={"infratentorial": 1})
        painted = paint(maps, whole(maps), 1.0, settings, np.random.default_rng(0), noise)
        own = np.isin(np.array(INDICES)[maps.maps[0].numpy().ravel()], (25, 57))
        assert own[painted.lesion].any() == bool(share)
    channel_of = maps.channel_of(with_lesions(recipe))
    assert channel_of[INDICES.index(25)] == LESION and channel_of[INDICES.index(2)] == WHITE
    structures = recipe.model_copy(update={"channels": (0, 2, 41, 4)})
    assert maps.channel_of(structures)[INDICES.index(57)] == 2  # no word for it: white matter of its side


def test_a_recipe_without_a_word_for_lesions_sees_them_as_white_matter(maps: LabelMaps, recipe: Recipe) -> None:
    tissue = with_lesions(recipe).model_copy(update={"label_scheme": "tissue", "channels": (0, 1, 2, 3)})
    healthy = with_lesions(recipe, none_share=1.0).model_copy(
        update={"label_scheme": "tissue", "channels": (0, 1, 2, 3)}
    )
    (lesioned, target), (plain, same) = pair(maps, tissue, 2), pair(maps, healthy, 2)
    assert torch.equal(target, same) and not torch.equal(lesioned, plain)


def test_the_same_seed_gives_the_same_lesions(maps: LabelMaps, recipe: Recipe) -> None:
    learnt = with_lesions(recipe)
    first, second, other = (pair(maps, learnt, seed) for seed in (3, 3, 4))
    assert torch.equal(first[0], second[0]) and torch.equal(first[1], second[1])
    assert (first[1] == LESION).any() and not torch.equal(first[1] == LESION, other[1] == LESION)


def test_misaligned_modalities_move_and_the_first_stays(maps: LabelMaps, recipe: Recipe) -> None:
    """T2w and FLAIR lie up to half a voxel beside the T1w, which lies on the target as before."""
    aligned = with_lesions(recipe, none_share=1.0)
    assert aligned.synthesis is not None
    moved = aligned.model_copy(update={"synthesis": aligned.synthesis.model_copy(update={"misaligned_mm": 0.5})})
    before, after = pair(maps, aligned, 5), pair(maps, moved, 5)
    assert torch.equal(before[0][0], after[0][0]) and torch.equal(before[1], after[1])
    assert not torch.equal(before[0][1], after[0][1])


def test_settings_refuse_a_place_that_there_is_not() -> None:
    with pytest.raises(ValidationError, match="periventricular"):
        Lesions.model_validate({"places": {"frontal": 1.0}})


def test_label_maps_without_ventricles_are_refused(label_maps: LabelMaps, recipe: Recipe) -> None:
    with pytest.raises(MedzooError, match="class 4"):
        pair(label_maps, with_lesions(recipe), 0)
