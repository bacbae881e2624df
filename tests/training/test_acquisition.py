from __future__ import annotations

import numpy as np
import pytest
import torch
from napari_medzoo_training.acquisition import (
    acquire,
    along,
    bias_field,
    draw_spacing,
    normalise,
    resampling,
    smoothing,
    upsample,
)
from napari_medzoo_training.config import Synthesis
from torch.nn import functional as F

from napari_medzoo import preprocess
from napari_medzoo.preprocess.recipe import Normalise


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_smoothing_keeps_the_mean_and_matches_the_gaussian() -> None:
    scan = torch.zeros(1, 41, 1)
    scan[0, 20, 0] = 1
    smoothed = along(scan, 1, smoothing(41, 2.0))[0, :, 0]
    expected = np.exp(-0.5 * ((np.arange(41) - 20) / 2.0) ** 2)
    np.testing.assert_allclose(smoothed.numpy(), expected / expected.sum(), atol=4e-3)
    assert smoothed.sum() == pytest.approx(1, abs=1e-5)


def test_smoothing_continues_the_border() -> None:
    np.testing.assert_allclose(smoothing(7, 3.0).sum(axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(smoothing(7, 3.0) @ np.ones(7, dtype=np.float32), 1, atol=1e-6)


@pytest.mark.parametrize("shape", [(7, 8, 9), (20, 5, 16)])
def test_resampling_is_that_of_torch(shape: tuple[int, int, int]) -> None:
    scan = torch.rand(shape, generator=generator())
    for count in (3, 11):
        for axis, length in enumerate(shape):
            size = [*shape]
            size[axis] = count
            expected = F.interpolate(scan[None, None], size=size, mode="trilinear", align_corners=False)[0, 0]
            torch.testing.assert_close(along(scan, axis, resampling(length, count)), expected)


def test_upsampling_is_that_of_torch() -> None:
    field = torch.randn((5, 4, 3), generator=generator())
    expected = F.interpolate(field[None, None], size=(11, 9, 8), mode="trilinear", align_corners=True)[0, 0]
    torch.testing.assert_close(upsample(field, (11, 9, 8)), expected)


def test_thick_slices_smear_one_axis_only() -> None:
    scan = torch.zeros(32, 32, 32)
    scan[16, 16, 16] = 1
    for axis in range(3):
        spacing = [1.0, 1.0, 1.0]
        spacing[axis] = 6.0
        thick = acquire(scan.clone(), 1.0, spacing, 0.1, 0.0, generator())
        reach = [int((thick.amax(dim=[d for d in range(3) if d != other]) > 1e-3).sum()) for other in range(3)]
        assert reach[axis] >= 8 and all(reach[other] <= 3 for other in range(3) if other != axis)
        assert thick.shape == scan.shape


def test_the_finest_spacing_leaves_the_scan_as_it_is() -> None:
    scan = torch.rand((10, 12, 9), generator=generator())
    torch.testing.assert_close(acquire(scan.clone(), 1.0, (1.0, 1.0, 1.0), 1e-4, 0.0, generator()), scan)


def test_noise_is_of_the_voxels_that_are_measured_and_spares_exact_zeros() -> None:
    scan = torch.full((24, 24, 24), 0.5)
    scan[:, :, :8] = 0
    fine = acquire(scan.clone(), 1.0, (1.0, 1.0, 1.0), 1e-4, 0.1, generator())
    assert (fine[:, :, :7] == 0).all() and (fine >= 0).all()
    assert fine[:, :, 12:].std() == pytest.approx(0.05, rel=0.1)  # a share of the brightest voxel
    thick = acquire(scan.clone(), 1.0, (1.0, 3.0, 1.0), 1e-4, 0.1, generator())[:, :, 12:]
    assert thick.diff(dim=1).std() < 0.6 * thick.diff(dim=0).std()  # interpolation smooths it across the slices


def test_the_spacing_is_never_finer_than_the_grid() -> None:
    settings = Synthesis(coarse_share=1.0, coarse_mm=(0.5, 0.5), slice_mm=(4.0, 4.0))
    random = np.random.default_rng(0)
    np.testing.assert_array_equal(draw_spacing(1.2, settings, random, None), [1.2, 1.2, 1.2])
    np.testing.assert_array_equal(draw_spacing(1.2, settings, random, 1), [1.2, 4.0, 1.2])


def test_the_bias_field_is_smooth_and_positive() -> None:
    field = bias_field((20, 24, 16), Synthesis(bias_field=(0.5, 0.5)), np.random.default_rng(1), generator())
    assert field.shape == (20, 24, 16) and (field > 0).all()
    assert field.diff(dim=0).abs().max() < 0.5 * (field.max() - field.min()) < 5
    flat = bias_field((4, 4, 4), Synthesis(bias_field=(0, 0)), np.random.default_rng(1), generator())
    torch.testing.assert_close(flat, torch.ones(4, 4, 4))


def scans() -> list[torch.Tensor]:
    """Scans without negative values: noise, mostly air, few values, few voxels."""
    draws = [torch.rand((13, 11, 9), generator=generator(seed)) for seed in range(6)]
    airy = [torch.where(draw > 0.7, draw, 0.0) for draw in draws]
    rare = [torch.where(draw > 0.995, draw, 0.0) for draw in draws]
    steps = [(draw * 4).floor() for draw in draws]
    mask = (draws[0] > 0.5).float()
    return [*draws, *airy, *rare, *steps, mask, torch.rand((2, 1, 1), generator=generator())]


@pytest.mark.parametrize(
    "settings",
    [Normalise(), Normalise(lower=0, upper=100), Normalise(lower=2.5, upper=97.3), Normalise(method="minmax")],
    ids=str,
)
def test_normalising_is_exactly_the_cards(settings: Normalise) -> None:
    for scan in scans():
        np.testing.assert_array_equal(normalise(scan, settings).numpy(), preprocess.normalise(scan.numpy(), settings))


def test_normalising_by_z_score_is_the_cards() -> None:
    settings = Normalise(method="zscore")
    for scan in scans():
        if len(scan[scan > 0].unique()) > 1:
            expected = preprocess.normalise(scan.numpy(), settings)
            np.testing.assert_allclose(normalise(scan, settings).numpy(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("method", ["percentile", "zscore", "minmax"])
def test_an_empty_scan_stays_empty(method: str) -> None:
    scaled = normalise(torch.zeros(3, 4, 5), Normalise.model_validate({"method": method}))
    assert scaled.dtype == torch.float32 and not scaled.any()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_normalises_as_the_cpu() -> None:
    for scan in scans():
        torch.testing.assert_close(normalise(scan.cuda(), Normalise()).cpu(), normalise(scan, Normalise()))
