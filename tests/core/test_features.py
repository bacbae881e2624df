"""What the network sees lies where it is, on every grid, and is what the network computed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from napari_medzoo.cards import ModelCard
from napari_medzoo.errors import MedzooError
from napari_medzoo.inference import busy
from napari_medzoo.inference import features as module
from napari_medzoo.inference.features import Feature, features, layers_of
from napari_medzoo.inference.network import load_network
from napari_medzoo.preprocess import prepare, reorient
from napari_medzoo.progress import run
from napari_medzoo.space import Grid
from napari_medzoo.study import Study, Volume
from tests.conftest import make_awkward_grids
from tests.core.test_features_places import look_straight
from tests.core.tiny_model import PLAIN, collect, make_card
from tests.core.zoo import NETWORKS, SMALL, make

SHAPE = (40, 36, 28)
AT = (16.0, 20.0, 13.0)
"""Voxel of the planted blob, nearer to one corner than to the others."""


def planted(grid: Grid) -> Study:
    """A blob of 5 mm on dark ground, placed in millimetres, in a scan on `grid`."""
    voxels = np.moveaxis(np.indices(grid.shape), 0, -1).reshape(-1, 3)
    away = np.linalg.norm(grid.to_world(voxels) - grid.to_world([AT]), axis=1)
    data = 1000 * np.exp(-(away**2) / (2 * 5.0**2))
    return Study({"t1w": Volume(data.reshape(grid.shape).astype(np.float32), grid, "t1w")})


def place_mm(feature: Feature) -> np.ndarray:
    """Centroid of what stands out of a feature volume."""
    data = np.abs(feature.volume.data)
    weight = np.where(data > data.max() / 4, data, 0)
    voxels = np.argwhere(weight > 0)
    return feature.volume.grid.to_world([np.average(voxels, axis=0, weights=weight[weight > 0])])[0]


def straight_card(folder: Path, **fields: Any) -> ModelCard:
    """A 3D U-Net that hands on what it looks at; its batch norms are as they are made, the identity."""
    settings = {**SMALL["unet3d"], **fields.pop("settings", {})}
    network = look_straight(make("unet3d", 1, 2, **settings))
    return make_card(folder, "unet3d", settings, channels=(0, 2), network=network, **fields)


@pytest.mark.parametrize("axes", make_awkward_grids())
@pytest.mark.parametrize("spacing", [None, (2.0, 1.5, 2.5)], ids=["own spacing", "resampled"])
def test_a_planted_blob_is_seen_at_its_millimetre(tmp_path: Path, axes: str, spacing: tuple | None) -> None:
    study = planted(Grid(SHAPE, make_awkward_grids()[axes].affine))
    card = straight_card(tmp_path, preprocessing=PLAIN.model_copy(update={"spacing": spacing}))
    found = run(features(study, card, layers=["encoders.0", "encoders.1", "encoders.2", "decoders.1"], count=1))
    steps = {"encoders.0": 1, "encoders.1": 2, "encoders.2": 4, "decoders.1": 2}
    assert [feature.layer for feature in found] == list(steps)
    grid = study["t1w"].grid
    for feature in found:
        assert feature.volume.grid is grid
        # Without its origin a layer of step 2 would lie half a voxel aside, one of step 4 a voxel and a half.
        tolerance = 0.1 * steps[feature.layer] * max(*grid.spacing, 2.5)
        assert place_mm(feature) == pytest.approx(grid.to_world([AT])[0], abs=tolerance), feature.name


def test_the_order_of_a_files_axes_changes_no_voxel(tmp_path: Path) -> None:
    study = planted(Grid(SHAPE, make_awkward_grids()["oblique"].affine))
    turned = Study({"t1w": reorient(study["t1w"], "PIR")})
    card = straight_card(tmp_path, preprocessing=PLAIN.model_copy(update={"spacing": (2.0, 2.0, 2.0)}))
    for one, other in zip(run(features(study, card)), run(features(turned, card)), strict=True):
        assert np.array_equal(reorient(one.volume, "PIR").data, other.volume.data)


def test_tiles_show_what_the_whole_shows(tmp_path: Path) -> None:
    study = planted(Grid(SHAPE, np.diag([1.0, 1.0, 1.5, 1.0])))
    whole = run(features(study, straight_card(tmp_path)))
    steps, tiled = collect(features(study, straight_card(tmp_path, whole=False, patch=(20, 16, 24))))
    assert {step.stage for step in steps} >= {"Choosing features", "Looking", "Restoring"}
    assert max(step.total for step in steps if step.stage == "Looking") > 8
    for one, other in zip(whole, tiled, strict=True):
        assert (one.layer, one.channel) == (other.layer, other.channel)
        assert (one.largest, one.spread) == pytest.approx((other.largest, other.spread), rel=1e-3)
        np.testing.assert_allclose(one.volume.data, other.volume.data, atol=1e-4)


@pytest.mark.parametrize("measure", ["largest", "spread"])
def test_the_strongest_channels_are_shown_as_computed(tmp_path: Path, measure: str) -> None:
    """On the network's own lattice: full resolution, nothing resampled, nothing padded."""
    shape = (16, 24, 32)
    data = np.random.default_rng(0).uniform(0, 1, shape).astype(np.float32)
    study = Study({"t1w": Volume(data, Grid(shape, np.eye(4)), "t1w")})
    card = make_card(tmp_path, "vnet_thesis", SMALL["vnet_thesis"])
    found = run(features(study, card, layers=["ups.0"], count=3, measure=measure))
    seen: list[torch.Tensor] = []
    network = load_network(card)
    network.get_submodule("ups.0").register_forward_hook(lambda module, inputs, output: seen.append(output[0]))
    low, high = data.min(), data.max()
    network(torch.from_numpy((data - low) / (high - low))[None, None])
    strength = seen[0].abs().amax((1, 2, 3)) if measure == "largest" else seen[0].std((1, 2, 3), correction=0)
    expected = strength.argsort(descending=True)[:3].tolist()
    assert [feature.channel for feature in found] == expected
    for feature in found:
        assert getattr(feature, measure) == pytest.approx(float(strength[feature.channel]), rel=1e-4)
        np.testing.assert_allclose(feature.volume.data, seen[0][feature.channel], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_shows_its_last_layers(tmp_path: Path, name: str) -> None:
    torch.manual_seed(0)
    card = make_card(tmp_path, name, SMALL[name], network=make(name, 1, 5), patch=(32, 32, 32))
    study = planted(Grid((14, 18, 30), make_awkward_grids()["awkward"].affine))
    found = run(features(study, card, count=2))
    last = [layer for layer in layers_of(card) if layer.stage][-3:]
    assert [feature.layer for feature in found] == [layer.name for layer in last for _ in range(2)]
    for feature in found:
        assert feature.volume.data.shape == (14, 18, 30)
        assert feature.volume.data.dtype == np.float32
        assert np.isfinite(feature.volume.data).all()
    assert any(np.ptp(feature.volume.data) > 0 for feature in found)


def test_a_card_of_valid_convolutions(tmp_path: Path) -> None:
    card = straight_card(tmp_path, settings={"padding": "valid"}, divisor=4, margin=(20, 20, 20), patch=(60, 60, 60))
    study = planted(Grid(SHAPE, np.eye(4)))
    for feature in run(features(study, card, layers=["encoders.1", "decoders.0"], count=1)):
        assert place_mm(feature) == pytest.approx(AT, abs=0.3), feature.name


def test_nothing_is_shown_where_nothing_was_prepared(tmp_path: Path) -> None:
    study, card = planted(Grid(SHAPE, np.eye(4))), make_card(tmp_path)
    ready = run(prepare(study, card.preprocessing, ("t1w",)))
    part = replace(ready, data=ready.data[:, 4:24, :30, 3:], grid=ready.grid.cropped((4, 0, 3), (20, 30, 25)))
    for feature in run(features(study, card, count=1, prepared=part)):
        shown = feature.volume.data != 0
        assert shown[4:24, :30, 3:].mean() > 0.9
        shown[4:24, :30, 3:] = False
        assert not shown.any()


def test_wrong_requests_say_what_there_is(tmp_path: Path) -> None:
    study, card = planted(Grid(SHAPE, np.eye(4))), make_card(tmp_path)
    with pytest.raises(MedzooError, match=r"no layer 'decoder'.*stem, encoders\.0, .*decoders\.0"):
        run(features(study, card, layers=["decoder"]))
    with pytest.raises(MedzooError, match="'mean'; choose one of: largest, spread"):
        run(features(study, card, measure="mean"))
    with pytest.raises(MedzooError, match="at least 1"):
        run(features(study, card, count=0))


def test_too_many_features_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "available_memory_bytes", lambda: 100_000)
    with pytest.raises(MedzooError, match=r"12 features.*fewer"):
        run(features(planted(Grid(SHAPE, np.eye(4))), make_card(tmp_path)))


def test_it_can_be_cancelled_at_every_step(tmp_path: Path) -> None:
    study, card = planted(Grid(SHAPE, np.eye(4))), make_card(tmp_path)
    total = len(collect(features(study, card, count=1))[0])
    for stop in range(1, total, 3):
        steps = features(study, card, count=1)
        for _ in range(stop):
            next(steps)
        steps.close()
    while busy():
        pass
