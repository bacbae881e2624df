"""The comparison of fusions that comes with the package: one protocol, and nothing but the fusion differs."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from napari_medzoo_training.benchmark_config import Contestant, read_benchmark
from napari_medzoo_training.config import Recipe
from napari_medzoo_training.folds import make_folds
from napari_medzoo_training.module import Training, refuse_short_convolutions

from napari_medzoo.inference.network import build_network
from napari_medzoo.label_mappings import MAPPINGS

FUSION = read_benchmark(Path("fusion"))


def recipe_of(network: Contestant) -> Recipe:
    return FUSION.recipe_of(network, 0, 1)


def parameters(name: str) -> int:
    return sum(value.numel() for value in build_network(recipe_of(FUSION[name]), "meta").parameters())


@pytest.mark.parametrize("network", FUSION.networks, ids=lambda network: network.name)
def test_every_network_takes_the_same_protocol(network: Contestant) -> None:
    recipe, other = recipe_of(network), recipe_of(FUSION.networks[0])
    different = {"name", "title", "architecture", "settings", "precision"}
    assert recipe.model_dump(exclude=different) == other.model_dump(exclude=different)
    assert recipe.modalities == ("t1w", "t2w", "flair")
    built = Training(recipe, build_network(recipe, "meta")).network
    if recipe.precision == "bf16":
        refuse_short_convolutions(built)
    built(torch.empty(1, 3, *recipe.stages[0].patch, device="meta"))


def test_the_dense_networks_differ_in_their_fusion_alone() -> None:
    fusing = [FUSION[name] for name in ("densenet3d", "densenet3d_early", "densenet3d_late", "hyperdensenet")]
    assert len({str(dict(network.settings)) for network in fusing}) == 1
    assert parameters("densenet3d_wide") == pytest.approx(parameters("densenet3d_late"), rel=0.01)


def test_the_folds_are_reproducible_and_name_all_label_maps() -> None:
    names = [f"training_seg_{number:02}" for number in range(1, 17)]
    assert FUSION.read_folds() == make_folds(names, 5, 1)


def test_the_tissues_are_those_of_the_built_in_numbering() -> None:
    merge = recipe_of(FUSION.networks[0]).merge
    assert merge == {index: tissue for index, tissue in MAPPINGS["aseg", "tissue"].items() if index in merge}
    assert set(merge) >= {*range(2, 6), *range(7, 9), *range(10, 19), 24, *range(41, 45), 46, 47, *range(49, 55)}
