from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from napari_medzoo_training.augment import augment, mirrored_channels, sampling_grid
from napari_medzoo_training.config import Augmentation, Recipe, data_folder
from torch import Tensor

from napari_medzoo.errors import MedzooError

NOTHING: dict[str, Any] = {name: 0.0 for name in Augmentation.model_fields if name.endswith("_share")}
SPATIAL = NOTHING | {"affine_share": 1.0, "elastic_share": 1.0, "shear": 0.1}
INTENSITY = ("intensity", "bias_field", "blur", "noise", "gamma", "low_resolution")
VOXEL_MM = (1.0, 0.8, 2.0)


def _settings(**changes: object) -> Augmentation:
    return Augmentation.model_validate(NOTHING | changes)


def _blobs(shape: tuple[int, int, int] = (32, 36, 24), classes: int = 3) -> Tensor:
    """Large soft-edged regions of class numbers, ``shape`` uint8."""
    noise = torch.randn((1, 1, 4, 4, 4), generator=torch.Generator().manual_seed(3))
    field = torch.nn.functional.interpolate(noise, size=shape, mode="trilinear", align_corners=True)[0, 0]
    return ((field - field.min()) / (field.max() - field.min()) * classes * 0.999).to(torch.uint8)


def _scan(labels: Tensor, modalities: int = 1) -> Tensor:
    return torch.stack([labels.float() * (number + 1) for number in range(modalities)])


def _run(scan: Tensor, labels: Tensor, settings: Augmentation, seed: int = 5, **others: Any) -> tuple[Tensor, Tensor]:
    others = {"mirrored": None, "voxel_mm": VOXEL_MM} | others
    return augment(scan, labels, settings, random=np.random.default_rng(seed), **others)


def test_nothing_asked_nothing_changed() -> None:
    labels = _blobs()
    scan, same = _run(_scan(labels), labels, _settings())
    assert torch.equal(same, labels) and torch.equal(scan, _scan(labels))


@pytest.mark.parametrize("seed", range(4))
def test_scan_and_labels_stay_registered(seed: int) -> None:
    """A scan that equals its labels still does: wherever interpolation met one class only, the values are the same."""
    labels = _blobs()
    scan, moved = _run(_scan(labels), labels, _settings(**SPATIAL | {"flip_axes": (0, 1, 2)}), seed)
    whole = (scan[0] - scan[0].round()).abs() < 1e-4
    assert whole.float().mean() > 0.5
    assert torch.equal(scan[0][whole].round().to(torch.uint8), moved[whole])
    assert (scan[0] - moved).abs().max() <= 2
    assert (moved != labels).float().mean() > 0.1  # it did move


def test_every_modality_moves_alike() -> None:
    labels = _blobs()
    scan, _ = _run(_scan(labels, 3), labels, _settings(**SPATIAL | {"flip_axes": (0, 1)}))
    torch.testing.assert_close(scan[1], 2 * scan[0])
    torch.testing.assert_close(scan[2], 3 * scan[0])


def test_the_same_numbers_give_the_same_patch_and_others_another() -> None:
    labels = _blobs()
    settings = Augmentation(flip_axes=(0,), **dict.fromkeys(NOTHING, 0.9))
    first, again, other = (_run(_scan(labels, 2), labels, settings, seed) for seed in (1, 1, 2))
    assert torch.equal(first[0], again[0]) and torch.equal(first[1], again[1])
    assert not torch.equal(first[0], other[0]) and not torch.equal(first[1], other[1])


def test_the_input_stays_as_it_is() -> None:
    labels = _blobs()
    scan = _scan(labels, 2)
    for seed in range(3):
        _run(scan, labels, Augmentation(flip_axes=(0,), **dict.fromkeys(NOTHING, 0.9)), seed)
        assert torch.equal(scan, _scan(labels, 2)) and torch.equal(labels, _blobs())


def test_left_is_left() -> None:
    """Mirrored, the structure on the left carries the left's label still, and the scan goes with it."""
    labels = torch.zeros((8, 6, 4), dtype=torch.uint8)
    labels[5:7, 1:3, 1:3] = 1  # right half: x grows towards the right
    labels[1:3, 1:4, 1:3] = 2  # left half
    mirrored = torch.arange(256, dtype=torch.uint8)
    mirrored[1], mirrored[2] = 2, 1
    scan = labels[None].float()
    flipped = 0
    for seed in range(8):
        new_scan, new = _run(scan, labels, _settings(flip_axes=(0,)), seed, mirrored=mirrored)
        assert (new == 1).nonzero()[:, 0].min() >= 4
        assert (new == 2).nonzero()[:, 0].max() < 4
        if not torch.equal(new, labels):
            flipped += 1
            assert torch.equal(new_scan, scan.flip(1))
            assert torch.equal(new, mirrored[labels.flip(0).int()])
    assert 0 < flipped < 8


@pytest.mark.parametrize("axis", [1, 2])
def test_other_axes_swap_no_sides(axis: int) -> None:
    labels = _blobs()
    mirrored = torch.tensor([0, 2, 1] + [*range(3, 256)], dtype=torch.uint8)
    results = [_run(_scan(labels), labels, _settings(flip_axes=(axis,)), seed, mirrored=mirrored) for seed in range(8)]
    assert any(torch.equal(new, labels.flip(axis)) for _, new in results)
    assert all(torch.equal(scan[0].to(torch.uint8), new) for scan, new in results)


def test_ignored_voxels_survive() -> None:
    labels = _blobs()
    labels[10:20, 10:22, 6:16] = 255
    _, new = _run(_scan(labels), labels, _settings(**SPATIAL | {"flip_axes": (0,)}), mirrored=torch.arange(256).byte())
    assert set(new.unique().tolist()) <= {0, 1, 2, 255}
    assert (new == 255).sum() == pytest.approx(int((labels == 255).sum()), rel=0.5)


def test_what_comes_in_from_outside_is_air_and_background() -> None:
    labels = torch.ones((16, 16, 16), dtype=torch.uint8)
    scan = torch.full((2, 16, 16, 16), -3.0)
    settings = _settings(affine_share=1.0, rotation_deg=0, scaling=0, translation_mm=12.0)
    scan, labels = _run(scan, labels, settings, seed=1)
    assert (labels == 0).float().mean() > 0.2
    assert (scan[:, labels == 0] > -1.5 - 1e-5).all() and (scan == 0).any()
    assert ((scan == -3).any(0) <= (labels == 1)).all()


@pytest.mark.parametrize(("axis", "mm"), [(0, 1.0), (1, 0.8), (2, 2.0)])
def test_translation_is_in_mm(axis: int, mm: float) -> None:
    shape = (10, 12, 8)
    settings = _settings(affine_share=1.0, rotation_deg=0, scaling=0, translation_mm=3.0)
    draws = np.random.default_rng(7)
    expected = np.random.default_rng(7)
    expected.random(2), expected.uniform(-1, 1, 3), expected.uniform(-1, 1, (3, 3)), expected.uniform(1, 1, 3)
    shift_mm = expected.uniform(-1, 1, 3) * 3.0
    grid = sampling_grid(shape, settings, draws, torch.Generator(), VOXEL_MM)
    assert grid is not None
    taken_from = (grid[0, ..., 2 - axis] + 1) / 2 * shape[axis] - 0.5
    own = torch.arange(shape[axis]).view([-1 if each == axis else 1 for each in range(3)])
    torch.testing.assert_close(taken_from - own, torch.full(shape, shift_mm[axis] / mm), atol=1e-4, rtol=0)


def test_rotation_is_rigid_also_on_anisotropic_voxels() -> None:
    settings = _settings(affine_share=1.0, rotation_deg=40, scaling=0, translation_mm=0)
    grid = sampling_grid((10, 12, 8), settings, np.random.default_rng(0), torch.Generator(), VOXEL_MM)
    assert grid is not None
    taken_mm = torch.stack([(grid[0, ..., 2 - a] + 1) / 2 * n * VOXEL_MM[a] for a, n in enumerate((10, 12, 8))], -1)
    for axis in range(3):
        step = taken_mm.diff(dim=axis).norm(dim=-1)
        torch.testing.assert_close(step, torch.full_like(step, VOXEL_MM[axis]), atol=1e-4, rtol=0)
    assert (taken_mm[1, 0, 0] - taken_mm[0, 0, 0])[0] < 0.999


@pytest.mark.parametrize("seed", range(6))
def test_elastic_displacement_does_not_fold(seed: int) -> None:
    settings = _settings(elastic_share=1.0, elastic_mm=(50.0, 50.0))
    grid = sampling_grid(
        (40, 30, 20), settings, np.random.default_rng(seed), torch.Generator().manual_seed(seed), VOXEL_MM
    )
    assert grid is not None
    steps = [grid[0, ..., 2 - axis].diff(dim=axis) for axis in range(3)]
    assert sum(int((step <= 0).sum()) for step in steps) < 0.002 * sum(step.numel() for step in steps)
    assert max(float(step.std() / step.mean()) for step in steps) > 0.05


@pytest.mark.parametrize("change", INTENSITY)
def test_each_change_of_intensity_leaves_labels_and_air_alone(change: str) -> None:
    labels = _blobs()
    scan = _scan(labels, 2) + 0.1 * torch.randn((2, *labels.shape), generator=torch.Generator().manual_seed(0))
    scan[:, labels == 0] = 0
    new, same = _run(scan, labels, _settings(**{f"{change}_share": 1.0}))
    assert torch.equal(same, labels)
    assert new.dtype == torch.float32 and torch.isfinite(new).all()
    assert not new[:, labels == 0].any()
    inside = labels > 0
    assert (new - scan)[:, inside].abs().mean() > 1e-3
    assert np.corrcoef(new[0, inside], scan[0, inside])[0, 1] > 0.8
    assert not torch.allclose(new[1] / 2 - scan[1] / 2, new[0] - scan[0], atol=1e-3)  # each modality its own


@pytest.mark.parametrize("change", INTENSITY)
def test_a_patch_of_air_stays_air(change: str) -> None:
    new, _ = _run(
        torch.zeros(1, 8, 8, 8), torch.zeros((8, 8, 8), dtype=torch.uint8), _settings(**{f"{change}_share": 1})
    )
    assert not new.any()


def test_noise_and_shift_are_in_standard_deviations() -> None:
    scan = torch.randn(1, 24, 24, 24) * 50 + 300
    labels = torch.zeros((24, 24, 24), dtype=torch.uint8)
    noisy, _ = _run(scan, labels, _settings(noise_share=1.0, noise=(0.2, 0.2)))
    assert float((noisy - scan).std()) == pytest.approx(10, rel=0.1)
    fixed = {"intensity_share": 1.0, "intensity_scale": (1.0, 1.0), "intensity_shift": (0.5, 0.5)}
    shifted, _ = _run(scan, labels, _settings(**fixed))
    assert float((shifted - scan).mean()) == pytest.approx(25, rel=0.1)


def test_gamma_keeps_the_range_and_bends_what_is_between() -> None:
    scan = torch.linspace(-2, 2, 512).view(1, 8, 8, 8)
    new, _ = _run(scan, torch.zeros((8, 8, 8), dtype=torch.uint8), _settings(gamma_share=1.0, gamma=(2.0, 2.0)))
    torch.testing.assert_close(new, ((scan + 2) / 4) ** 2 * 4 - 2)


def test_low_resolution_blurs_by_its_factor_and_keeps_the_mean() -> None:
    stripes = (torch.arange(32) % 2).float().view(1, 32, 1, 1).expand(1, 32, 16, 16) + 1
    labels = torch.zeros((32, 16, 16), dtype=torch.uint8)
    half, _ = _run(stripes, labels, _settings(low_resolution_share=1.0, low_resolution=(2.0, 2.0)))
    assert half[:, 4:-4].std() < 0.1 * stripes.std()
    assert float(half.mean()) == pytest.approx(1.5, abs=0.02)
    same, _ = _run(stripes, labels, _settings(low_resolution_share=1.0, low_resolution=(1.0, 1.0)))
    torch.testing.assert_close(same, stripes)


def test_modalities_go_missing_but_never_all() -> None:
    labels = _blobs() + 1
    present = torch.stack(
        [_run(_scan(labels, 4), labels, _settings(missing_share=0.5), seed)[0].flatten(1).any(1) for seed in range(60)]
    )
    assert present.any(1).all()
    assert present.float().mean() == pytest.approx(0.25 + 0.75 * 0.5, abs=0.1)


def test_a_flat_patch_of_one_slice_is_no_trouble() -> None:
    settings = Augmentation(flip_axes=(0, 1), **dict.fromkeys(NOTHING, 0.9))
    for seed in range(4):
        scan, labels = _run(torch.rand(2, 12, 10, 1), torch.ones((12, 10, 1), dtype=torch.uint8), settings, seed)
        assert scan.shape == (2, 12, 10, 1) and labels.shape == (12, 10, 1)
        assert torch.isfinite(scan).all()


def _with(recipe: Recipe, **changes: object) -> Recipe:
    return Recipe.model_validate(recipe.model_dump() | changes)


def test_mirrored_channels_by_the_names(recipe: Recipe) -> None:
    """Channels 1–3 are the left's white matter, cortex and thalamus, 4 the fluid, 5–7 the right's."""
    recipe = _with(recipe, augmentation={"flip_axes": [0]})
    assert mirrored_channels(recipe)[:9].tolist() == [0, 5, 6, 7, 4, 1, 2, 3, 8]
    assert mirrored_channels(recipe)[255] == 255


def test_mirrored_channels_of_a_persons_own_table(recipe: Recipe) -> None:
    names = ["tumour", "hippocampus_left", "Hippocampus_Right", "ctx-lh-insula", "ctx-rh-insula", "leftover"]
    labels = [{"index": 10 * n, "name": name, "color": [n, n, n]} for n, name in enumerate(names, 1)]
    own = _with(recipe, label_scheme="own", labels=labels, channels=[0, 60, 20, 50, 30, 40, 10])
    assert mirrored_channels(own)[:7].tolist() == [0, 1, 4, 5, 2, 3, 6]


def test_a_structure_of_one_side_cannot_be_mirrored(recipe: Recipe) -> None:
    one_sided = _with(recipe, channels=[0, 2, 3])
    assert mirrored_channels(one_sided)[:3].tolist() == [0, 1, 2]
    with pytest.raises(MedzooError, match=r"learns 'left-cerebral-white-matter' but not 'right-cerebral-white-matter'"):
        mirrored_channels(_with(one_sided, augmentation={"flip_axes": [0]}))


def test_the_first_axis_must_be_left_right(recipe: Recipe) -> None:
    with pytest.raises(MedzooError, match="not left–right in the orientation ASR"):
        mirrored_channels(_with(recipe, augmentation={"flip_axes": [0]}, preprocessing={"orientation": "ASR"}))


def test_a_real_case_keeps_its_volumes() -> None:
    """Both parts of a real hippocampus are still there, about as large, and the scan still tells them from air."""
    try:
        folder: Path = data_folder() / "hippocampus"
    except MedzooError as error:
        pytest.skip(str(error))
    if not folder.is_dir():
        pytest.skip(f"{folder} is absent")
    import nibabel as nib

    file = min((folder / "labelsTr").glob("hippocampus_*.nii.gz"))
    labels = torch.from_numpy(np.asarray(nib.load(file).dataobj).astype(np.uint8))
    scan = torch.from_numpy(np.asarray(nib.load(folder / "imagesTr" / file.name).dataobj).astype(np.float32))[None]
    for seed in range(3):
        new, moved = _run(scan / scan.max(), labels, Augmentation(), seed, voxel_mm=(1.0, 1.0, 1.0))
        before, after = torch.bincount(labels.flatten(), minlength=3), torch.bincount(moved.flatten(), minlength=3)
        assert ((after / before)[1:] - 1).abs().max() < 0.5
        assert new[0, moved > 0].min() > 0
