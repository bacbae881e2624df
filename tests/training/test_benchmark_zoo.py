"""The benchmark that comes with the package: one protocol that every network of the zoo can be trained by."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from napari_medzoo_training.benchmark import choose_runs
from napari_medzoo_training.benchmark_config import Benchmark, Contestant, read_benchmark
from napari_medzoo_training.config import RECIPES, Recipe, read_recipe
from napari_medzoo_training.folds import make_folds, read_folds
from napari_medzoo_training.module import Training, refuse_short_convolutions

from napari_medzoo.errors import MedzooError
from napari_medzoo.inference.network import build_network
from napari_medzoo.models import ARCHITECTURES
from napari_medzoo.models.geometry import geometry_of

pytest.importorskip("monai.networks.nets")

ZOO = read_benchmark(Path("zoo"))
TRAINED = [pytest.param(network, id=network.name) for network in ZOO.trained]


def recipe_of(network: Contestant) -> Recipe:
    return ZOO.recipe_of(network, 0, 1)


def test_every_network_has_a_row() -> None:
    """`med3d` alone is one of its presets."""
    assert {network.architecture or network.name for network in ZOO.networks} == set(ARCHITECTURES) - {"med3d"}


@pytest.mark.parametrize("network", TRAINED)
def test_every_network_is_corrected_on_as_many_voxels(network: Contestant) -> None:
    recipe = recipe_of(network)
    answered = math.prod(geometry_of(build_network(recipe, "meta")).output_of(recipe.stages[0].patch))
    budget = network.budget * ZOO.output_voxels
    assert abs(recipe.steps * recipe.batch * answered - budget) <= recipe.batch * answered / 2
    other = recipe_of(ZOO.trained[0])
    different = {"name", "title", "architecture", "settings", "precision"}
    different |= {change.partition("=")[0] for change in network.changes}
    if network.budget != 1:
        different |= {"stages"}
    assert recipe.model_dump(exclude=different) == other.model_dump(exclude=different)


@pytest.mark.parametrize("network", TRAINED)
def test_every_network_takes_the_protocol(network: Contestant) -> None:
    """The patch, the losses and the precision suit it, and float32 stands only where bfloat16 is impossible."""
    recipe = recipe_of(network)
    built = Training(recipe, build_network(recipe, "meta")).network
    refuse_short_convolutions(built)
    scan = torch.empty(recipe.batch, 1, *recipe.stages[0].patch, device="meta")
    if recipe.precision == "bf16":
        built(scan)
    else:
        with pytest.raises(MedzooError, match="wrong gradients"):
            built(scan)


def test_the_same_networks_are_the_same_function() -> None:
    """With one modality the dense networks differ in the names of their parameters alone."""
    shared = [network for network in ZOO.networks if network.same_as]
    assert [network.name for network in shared] == ["densenet3d_late", "densenet3d_early", "hyperdensenet"]
    for network in shared:
        assert network.same_as is not None
        first, second = (build_network(recipe_of(one)) for one in (ZOO[network.same_as], network))
        with torch.no_grad():
            for buffer in first.buffers():
                buffer.copy_(torch.rand(buffer.shape))
        ours, theirs = first.state_dict(), second.state_dict()
        assert [value.shape for value in ours.values()] == [value.shape for value in theirs.values()]
        second.load_state_dict(dict(zip(theirs, ours.values(), strict=True)))
        scan = torch.rand(1, 1, 6, 7, 8)
        with torch.inference_mode():
            assert torch.equal(first(scan), second(scan))


def test_the_folds_are_those_that_the_recipe_makes() -> None:
    """So that the card `hippocampus`, which was trained without the file, is held out from the same subjects."""
    recipe, file = read_recipe(Path("hippocampus")), RECIPES / ZOO.folds
    folds = read_folds(file)
    assert recipe.folds is not None
    subjects = [subject for fold in folds for subject in fold]
    assert len(subjects) == 195
    assert folds == make_folds(subjects, recipe.folds.count, recipe.seed)
    assert json.loads(file.read_text(encoding="utf-8"))["seed"] == recipe.seed
    assert recipe_of(ZOO.trained[0]).folds == recipe.folds.model_copy(update={"file": file})


def test_the_cards_of_the_package_that_are_named_are_those_networks() -> None:
    from napari_medzoo.cards import load_card

    for network in ZOO.networks:
        if network.card:
            card, recipe = load_card(network.card), recipe_of(network)
            assert (card.architecture, dict(card.settings)) == (recipe.architecture, dict(recipe.settings))


@pytest.mark.parametrize("row", ["vnet_light_other_start", "med3d_34_other_start"])
def test_another_start_differs_in_the_seed_alone(row: str) -> None:
    other, plain = recipe_of(ZOO[row]), recipe_of(ZOO[row.removesuffix("_other_start")])
    assert (plain.seed, other.seed) == (1, 2)
    assert other.model_copy(update={"seed": 1, "name": plain.name, "title": plain.title}) == plain


def test_a_longer_training_differs_in_the_budget_alone() -> None:
    longer, plain = recipe_of(ZOO["med3d_34_longer"]), recipe_of(ZOO["med3d_34"])
    stage = plain.stages[0].model_copy(update={"steps": 2 * plain.steps})
    assert longer == plain.model_copy(update={"name": longer.name, "title": longer.title, "stages": (stage,)})


def test_only_rows_that_say_so_have_another_budget() -> None:
    """A row that is compared with all others has the protocol's; another one is named by what it changes."""
    assert [network.name for network in ZOO.networks if network.budget != 1] == ["med3d_34_longer"]


def test_runs_can_be_chosen() -> None:
    runs = choose_runs(ZOO, ["hyperdensenet", "resunet"], folds=[0, 3], seeds=[2])
    assert [str(run) for run in runs] == [
        f"{name}, fold {fold}, seed 2" for fold in (0, 3) for name in ("resunet", "densenet3d")
    ]
    with pytest.raises(MedzooError, match="no network 'resnet'"):
        choose_runs(ZOO, ["resnet"])
    assert len(choose_runs(ZOO)) == len(ZOO.trained) * len(ZOO.held_out) * len(ZOO.seeds)


def test_a_benchmark_is_no_recipe_and_the_other_way_round() -> None:
    with pytest.raises(MedzooError, match="medzoo-train benchmark zoo"):
        read_recipe(Path("zoo"))
    with pytest.raises(MedzooError, match="not a benchmark"):
        read_benchmark(Path("hippocampus"))
    with pytest.raises(MedzooError, match="come with the package are: fusion, zoo"):
        read_benchmark(Path("no-such-benchmark"))


@pytest.mark.parametrize(
    ("networks", "message"),
    [
        ([{"name": "resunet"}, {"name": "resunet"}], "listed twice"),
        ([{"name": "resunet", "precision": "32"}], "give the 'reason'"),
        ([{"name": "resunet", "changes": ["seed=2"]}], "give the 'reason'"),
        ([{"name": "resunet", "budget": 2}], "give the 'reason'"),
        ([{"name": "resunet", "same_as": "vnet", "reason": "none"}], "'vnet', which is not trained"),
        ([{"name": "resunet", "setings": {}}], "setings"),
    ],
)
def test_what_is_no_comparison_is_refused(networks: list[dict[str, object]], message: str) -> None:
    content = ZOO.model_dump(mode="json") | {"networks": networks}
    with pytest.raises(ValueError, match=message):
        Benchmark.model_validate(content)
