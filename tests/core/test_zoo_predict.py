"""Every network of the zoo from a study to labels: whole and in tiles, with every back end, against a plain account."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from torch import nn

from napari_medzoo.cards import ModelCard
from napari_medzoo.inference import BACKENDS, Plan, load_network, make_plan, predict
from napari_medzoo.inference.tiles import tile_starts
from napari_medzoo.models import ARCHITECTURES
from napari_medzoo.models.geometry import geometry_of
from napari_medzoo.progress import run
from napari_medzoo.space import Grid
from napari_medzoo.study import Study, Volume
from tests.conftest import make_awkward_grids
from tests.core.tiny_model import make_card
from tests.core.zoo import SMALL, make

CHANNELS = (0, 42, 2, 3)
AFFINE = make_awkward_grids()["awkward"].affine
SHAPE = (10, 13, 38)
"""Of the study in RAS: a few tiles along the last axis, one along the others."""
CASES = [*((name, False) for name in ARCHITECTURES), *((name, True) for name in SMALL if "padding" in SMALL[name])]
"""Network, and whether its convolutions are valid."""


def test_every_network_is_in_the_test() -> None:
    assert set(SMALL) == set(ARCHITECTURES)


@pytest.fixture
def study() -> Study:
    """Two scans of smooth blocks on one oblique, permuted and flipped grid."""
    turned = Grid(SHAPE, np.diag([2.0, 1.0, 1.5, 1.0])).reoriented("PIL")
    grid = Grid(turned.shape, AFFINE)
    volumes = {}
    for seed, key in enumerate(("t1w", "t2w")):
        blocks = np.random.default_rng(seed).uniform(0, 100, tuple(-(-size // 3) for size in grid.shape))
        data = blocks.repeat(3, 0).repeat(3, 1).repeat(3, 2)[tuple(map(slice, grid.shape))]
        volumes[key] = Volume(data.astype(np.float32), grid, key)
    return Study(volumes)


def card_of(folder: Path, name: str, valid: bool) -> ModelCard:
    """A card of the small network with random weights that favour no class."""
    torch.manual_seed(3)
    settings = {"padding": "valid"} if valid else {}
    network = make(name, 2, len(CHANNELS), **settings)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm3d):
            nn.init.uniform_(module.running_mean, -0.2, 0.2)  # type: ignore[arg-type]
            nn.init.uniform_(module.running_var, 0.5, 2)  # type: ignore[arg-type]
    geometry = geometry_of(network)
    balance(network.eval(), torch.rand(1, 2, *geometry.input_for((16, 16, 16))))
    return make_card(
        folder,
        name,
        {**SMALL[name], **settings},
        modalities=("t1w", "t2w"),
        channels=CHANNELS,
        network=network,
        patch=geometry.input_for((8, 8, 8)),
        divisor=geometry.divisor,
        remainder=geometry.remainder,
        margin=geometry.margin,
    )


def balance(network: nn.Module, x: torch.Tensor) -> None:
    """Move the last layer so that the logits of `x` have a mean of 0 in each class: a random one has a favourite."""
    means = network(x).mean((0, 2, 3, 4))
    for parameter in reversed(list(network.parameters())):
        steps = [torch.autograd.grad(mean, parameter, retain_graph=True, allow_unused=True)[0] for mean in means]
        if steps[0] is not None:
            with torch.no_grad():
                for mean, step in zip(means, steps, strict=True):
                    parameter -= mean * step / step.square().sum()
            return


def plain_account(card: ModelCard, study: Study, plan: Plan) -> np.ndarray:
    """The labels as a person would work them out: turned to RAS, scaled, padded, tile by tile, blended, turned back."""
    network, margin = load_network(card), np.array(card.margin)
    turn = nib.orientations.io_orientation(study["t1w"].grid.affine)
    scans = [nib.orientations.apply_orientation(study[key].data, turn) for key in card.modalities]
    scans = [(scan - scan.min()) / (scan.max() - scan.min()) for scan in scans]
    spare = np.array(plan.padded) - scans[0].shape
    around = list(zip(spare // 2, spare - spare // 2, strict=True))
    data = torch.from_numpy(np.stack([np.pad(scan, around) for scan in scans]).astype(np.float32))

    patch = np.array(plan.patch)
    answer = patch - 2 * margin
    bells = [np.exp(-32 * ((np.arange(size) - (size - 1) / 2) / size) ** 2) for size in answer]
    bell = bells[0][:, None, None] * bells[1][:, None] * bells[2]
    sums = np.zeros((len(CHANNELS), *(np.array(plan.padded) - 2 * margin)))
    weights = np.zeros(sums.shape[1:])
    for corner in product(*map(tile_starts, sums.shape[1:], answer, [plan.overlap] * 3)):
        seen = (slice(None), *(slice(a, a + size) for a, size in zip(corner, patch, strict=True)))
        given = (slice(None), *(slice(a, a + size) for a, size in zip(corner, answer, strict=True)))
        with torch.inference_mode():
            sums[given] += bell * network(data[seen][None].contiguous())[0].numpy()
        weights[given[1:]] += bell
    channels = (sums / weights).argmax(0)
    inside = tuple(
        slice(before - lost, before - lost + size)
        for (before, _), lost, size in zip(around, margin, scans[0].shape, strict=True)
    )
    back = nib.orientations.ornt_transform(nib.orientations.axcodes2ornt("RAS"), turn)
    return np.array(CHANNELS)[nib.orientations.apply_orientation(channels[inside], back)]


@pytest.mark.parametrize(("name", "valid"), CASES)
def test_labels_are_those_of_a_plain_account(name: str, valid: bool, study: Study, tmp_path: Path) -> None:
    card = card_of(tmp_path, name, valid)
    whole = make_plan(card, SHAPE, device="cpu", backend="torch", precision="float32", threads=1)
    tiles = whole.model_copy(update={"mode": "tiles", "patch": card.patch, "overlap": 0.25})
    for plan in (whole, tiles):
        expected = plain_account(card, study, plan)
        assert len(np.unique(expected)) > 1, "a constant result would prove nothing"
        for backend in [key for key in BACKENDS if BACKENDS[key].devices()]:
            used = plan.model_copy(update={"backend": backend})
            result = run(predict(study, card, plan=used))
            assert result.grid.same_as(study["t1w"].grid)
            assert (result.data == expected).mean() > 0.999, (plan.mode, backend)
            assert Plan.model_validate(result.provenance["plan"]) == used
    assert plan.patch != plan.padded, "one tile would prove nothing"
