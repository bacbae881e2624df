"""The single steps: scaling, bias field, head box and brain mask."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from pydantic import ValidationError

from napari_medzoo.errors import MedzooError
from napari_medzoo.preprocess import (
    Align,
    BiasCorrection,
    BrainMask,
    HeadCrop,
    Normalise,
    Preprocessing,
    brain_mask,
    correct_bias,
    head_box,
    head_mask,
    normalise,
    reorient,
)
from napari_medzoo.space import Grid
from napari_medzoo.study import Volume

SLICES = np.array([[-0.9, 0, 0, 40], [0, 0, 0.9, -30], [0, -3.0, 0, 50], [0, 0, 0, 1]])


def head(noise: float, grid: Grid, center_mm: np.ndarray, stripped: bool = False) -> Volume:
    """A head of scalp, dark skull and brain, with Rician noise in the air."""
    points = grid.to_world(np.argwhere(np.ones(grid.shape)))
    far = (np.linalg.norm((points - center_mm) / (1, 1.2, 1), axis=1)).reshape(grid.shape)
    brain, scalp = far < 24, (far >= 30) & (far < 35)
    clean = 100.0 * brain + 130 * scalp * (not stripped)
    generator = np.random.default_rng(0)
    noisy = np.hypot(clean + noise * generator.normal(size=grid.shape), noise * generator.normal(size=grid.shape))
    return Volume(np.where(brain | (not stripped), noisy, 0).astype(np.float32), grid, "t1w")


def thick_slices() -> Grid:
    return Grid((120, 34, 130), SLICES)


def middle(grid: Grid) -> np.ndarray:
    return grid.center_mm + (4, -5, 3)


def test_zscore_is_over_the_voxels_that_are_not_zero() -> None:
    data = np.random.default_rng(0).normal(50, 7, (9, 8, 7))
    data[:3] = 0
    before = data.copy()
    result = normalise(data, Normalise(method="zscore"))
    assert result.dtype == np.float32 and (data == before).all()
    assert not result[:3].any()
    assert result[3:].mean() == pytest.approx(0, abs=1e-5) and result[3:].std() == pytest.approx(1, abs=1e-5)


def test_percentiles_are_of_the_voxels_that_are_not_zero() -> None:
    data = np.zeros(300)
    data[100:] = np.linspace(100, 299, 200)
    result = normalise(data, Normalise(method="percentile", lower=10, upper=90))
    low, high = np.percentile(data[100:], (10, 90))
    assert np.allclose(result, np.clip((data - low) / (high - low), 0, 1), atol=1e-6)
    assert result.min() == 0 and result.max() == 1


def test_minmax_uses_every_voxel() -> None:
    result = normalise(np.array([[-5, 0, 15]], dtype=np.int16), Normalise(method="minmax"))
    assert np.allclose(result, [[0, 0.25, 1]])


def test_scaling_does_not_depend_on_the_scanners_units() -> None:
    data = np.random.default_rng(0).uniform(0, 1000, (20, 20, 20)).astype(np.float32)
    for method in ("zscore", "percentile", "minmax"):
        settings = Normalise(method=method)
        assert np.allclose(normalise(data, settings), normalise(data * 37, settings), atol=1e-5)


def test_masks_can_be_scaled_by_percentiles() -> None:
    mask = np.zeros((5, 5, 5))
    mask[2] = 7
    assert (normalise(mask) == (mask > 0)).all()
    mostly = np.full(10_000, 5.0)
    mostly[:3] = (1, 9, 0)
    assert np.isfinite(normalise(mostly)).all() and len(np.unique(normalise(mostly))) == 3


@pytest.mark.parametrize("method", ["zscore", "percentile", "minmax"])
@pytest.mark.parametrize("value", [0, 3.5])
def test_constant_volumes_are_refused_by_name(method: str, value: float) -> None:
    with pytest.raises(MedzooError, match=r"T1w\.nii\.gz: every voxel is"):
        normalise(np.full((4, 4, 4), value), Normalise(method=method), "T1w.nii.gz")  # type: ignore[arg-type]


def test_zscore_of_a_mask_is_refused() -> None:
    with pytest.raises(MedzooError, match="no standard deviation"):
        normalise(np.array([0, 0, 4.0, 4.0]), Normalise(method="zscore"))


def test_n4_takes_the_shading_off() -> None:
    grid = thick_slices()
    flat = head(2, grid, middle(grid))
    shading = np.exp(np.linspace(-0.9, 0.9, grid.shape[0]))[:, None, None]
    shaded = replace(flat, data=(flat.data * shading).astype(np.float32))
    brain = np.linalg.norm((_points(grid) - middle(grid)) / (1, 1.2, 1), axis=-1) < 22
    result = correct_bias(shaded, BiasCorrection(iterations=(20, 20, 20)))
    assert result.grid is shaded.grid and result.data.dtype == np.float32

    def variation(data: np.ndarray) -> float:
        return float(data[brain].std() / data[brain].mean())

    assert variation(shaded.data) > 0.15
    assert variation(result.data) < 0.4 * variation(shaded.data)


def test_n4_keeps_zeros_and_refuses_constant_volumes() -> None:
    grid = thick_slices()
    stripped = head(2, grid, middle(grid), stripped=True)
    result = correct_bias(stripped, BiasCorrection(iterations=(5,)))
    assert ((result.data == 0) == (stripped.data == 0)).all()
    with pytest.raises(MedzooError, match="every voxel is 3"):
        correct_bias(Volume(np.full((8, 8, 8), 3), Grid((8, 8, 8), np.eye(4)), "t1w"))


def test_n4_refuses_a_single_slice() -> None:
    data = np.random.default_rng(0).uniform(1, 9, (20, 20, 1))
    with pytest.raises(MedzooError, match="too thin"):
        correct_bias(Volume(data, Grid(data.shape, np.eye(4)), "t1w"))


def _points(grid: Grid) -> np.ndarray:
    return grid.to_world(np.argwhere(np.ones(grid.shape))).reshape(*grid.shape, 3)


@pytest.mark.parametrize("noise", [0, 4, 12])
@pytest.mark.parametrize("stripped", [False, True])
def test_the_box_holds_the_head_and_little_air(noise: float, stripped: bool) -> None:
    grid = thick_slices()
    volume = head(noise, grid, middle(grid), stripped)
    settings = HeadCrop(margin_mm=6)
    start, shape = head_box(volume, settings)
    radius = (24 if stripped else 35) * np.array([1, 1.2, 1])
    far = np.abs(_points(grid) - middle(grid))
    inside = np.zeros(grid.shape, dtype=bool)
    inside[tuple(slice(a, a + n) for a, n in zip(start, shape, strict=True))] = True
    assert inside[(np.linalg.norm(far / radius, axis=-1) < 1)].all(), "nothing of the head is lost"
    assert (far[inside].max(axis=0) < radius + 6 + 2 * 4).all(), "the margin and at most two blocks of air remain"


def test_the_box_of_a_volume_without_a_head_is_the_volume() -> None:
    volume = Volume(np.zeros((9, 8, 7)), Grid((9, 8, 7), np.eye(4)))
    assert head_box(volume) == ((0, 0, 0), (9, 8, 7))
    assert not head_mask(volume).any() and not brain_mask(volume).any()


@pytest.mark.parametrize("stripped", [False, True])
def test_the_brain_comes_off_the_scalp(stripped: bool) -> None:
    grid = thick_slices()
    volume = head(5, grid, middle(grid), stripped)
    mask = brain_mask(volume, BrainMask())
    brain = np.linalg.norm((_points(grid) - middle(grid)) / (1, 1.2, 1), axis=-1) < 24
    assert mask.dtype == bool
    assert 2 * (mask & brain).sum() / (mask.sum() + brain.sum()) > 0.93


def test_real_brains(data_dir: Path) -> None:
    """Whole head at 2 mm against DLMUSE's labels; the box cuts no label off."""
    folder = data_dir / "structures" / "ixi012"
    scan, labels = nib.load(folder / "T1w.nii.gz"), nib.load(folder / "dlmuse.nii.gz")
    volume = Volume(np.asarray(scan.dataobj), Grid(scan.shape, scan.affine), "t1w")
    brain = np.asarray(labels.dataobj) > 0
    mask = brain_mask(volume)
    assert 2 * (mask & brain).sum() / (mask.sum() + brain.sum()) > 0.9
    start, shape = head_box(volume)
    assert brain[tuple(slice(a, a + n) for a, n in zip(start, shape, strict=True))].sum() == brain.sum()


@pytest.mark.parametrize("modality", ["T1w", "T2w", "FLAIR"])
def test_real_stripped_brains(data_dir: Path, modality: str) -> None:
    scan = nib.load(data_dir / "ms" / "patient26_mni" / f"{modality}.nii.gz")
    volume = Volume(np.asarray(scan.dataobj), Grid(scan.shape, scan.affine))
    brain = volume.data != 0
    mask = brain_mask(volume)
    assert 2 * (mask & brain).sum() / (mask.sum() + brain.sum()) > 0.95
    start, shape = head_box(volume)
    assert brain[tuple(slice(a, a + n) for a, n in zip(start, shape, strict=True))].sum() == brain.sum()
    assert np.prod(shape) < 0.55 * brain.size


def test_masks_do_not_depend_on_the_files_axes_once_reoriented() -> None:
    grid = thick_slices()
    volume = head(5, grid, middle(grid))
    turned = reorient(volume, "PSL")
    assert head_box(reorient(turned, "RAS")) == head_box(reorient(volume, "RAS"))


@pytest.mark.parametrize(
    ("settings", "values"),
    [
        (Preprocessing, {"orientation": "RAX"}),
        (Preprocessing, {"spacing": (1, 0, 1)}),
        (Preprocessing, {"unknown": 1}),
        (Normalise, {"lower": 60, "upper": 40}),
        (Normalise, {"method": "magic"}),
        (Align, {"levels_mm": ()}),
        (Align, {"levels_mm": (4.0, -1.0)}),
        (HeadCrop, {"margin_mm": -1}),
    ],
)
def test_impossible_settings_are_refused(settings: type, values: dict) -> None:
    with pytest.raises(ValidationError):
        settings(**values)


def test_the_recipe_survives_a_file() -> None:
    recipe = Preprocessing(bias_correction=BiasCorrection(), brain_mask=BrainMask(), spacing=None, orientation="LIA")
    assert Preprocessing.model_validate_json(recipe.model_dump_json()) == recipe
