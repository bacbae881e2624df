from __future__ import annotations

import csv
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from napari_medzoo_training import checkpoint
from napari_medzoo_training.config import RECIPES, Recipe, read_recipe
from napari_medzoo_training.export import export
from napari_medzoo_training.fit import fit, learning_rate
from napari_medzoo_training.labelmaps import LabelMaps, load_packed, pack

from napari_medzoo.cards import read_card
from napari_medzoo.errors import MedzooError
from napari_medzoo.inference.network import load_network
from napari_medzoo.label_tables import LABEL_TABLES

CPU = torch.device("cpu")


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_shipped_recipe_describes_a_training(path: Path) -> None:
    recipe = read_recipe(Path(path.stem))
    assert recipe.name == path.stem
    LABEL_TABLES[recipe.label_scheme].subset(recipe.channels)


def test_an_unknown_recipe_names_the_known_ones() -> None:
    with pytest.raises(MedzooError, match="structures"):
        read_recipe(Path("no-such-recipe"))


def test_unknown_keys_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_text((RECIPES / "structures.yaml").read_text() + "\nlerning_rate: 1\n")
    with pytest.raises(MedzooError, match="lerning_rate"):
        read_recipe(path)


def test_training_lowers_the_loss(label_maps: LabelMaps, recipe: Recipe, tmp_path: Path) -> None:
    stage = recipe.stages[0].model_copy(update={"steps": 40, "learning_rate": 0.01})
    longer = recipe.model_copy(update={"stages": (stage,)})
    losses = [step.loss for step in fit(longer, label_maps, tmp_path / "run", CPU)]
    assert sum(losses[-8:]) < 0.9 * sum(losses[:8])


def test_a_resumed_training_continues_the_same_curve(label_maps: LabelMaps, recipe: Recipe, tmp_path: Path) -> None:
    whole = [step.loss for step in fit(recipe, label_maps, tmp_path / "whole", CPU)]
    broken = fit(recipe, label_maps, tmp_path / "broken", CPU)
    for _ in range(4):  # one step beyond the checkpoint at 3, as a killed process would be
        next(broken)
    broken.close()
    continued = list(fit(recipe, label_maps, tmp_path / "broken", CPU, resume=True))
    assert [step.number for step in continued] == [4, 5, 6]
    assert [step.loss for step in continued] == whole[3:]
    first, second = (checkpoint.load(tmp_path / name) for name in ("whole", "broken"))
    for name, value in first["average"].items():
        assert torch.equal(value, second["average"][name])
    with (tmp_path / "whole" / "log.csv").open() as stream:
        assert [float(row["loss"]) for row in csv.DictReader(stream)] == pytest.approx(whole, abs=1e-4)


def test_a_second_training_does_not_touch_the_first(label_maps: LabelMaps, recipe: Recipe, tmp_path: Path) -> None:
    list(fit(recipe, label_maps, tmp_path, CPU))
    before = (tmp_path / checkpoint.LAST).read_bytes()
    with pytest.raises(MedzooError, match="already holds a training"):
        next(fit(recipe, label_maps, tmp_path, CPU))
    assert (tmp_path / checkpoint.LAST).read_bytes() == before


def test_resuming_nothing_says_what_to_do(label_maps: LabelMaps, recipe: Recipe, tmp_path: Path) -> None:
    with pytest.raises(MedzooError, match="medzoo-train fit"):
        next(fit(recipe, label_maps, tmp_path, CPU, resume=True))


def test_the_exported_card_gives_the_trained_network(label_maps: LabelMaps, recipe: Recipe, tmp_path: Path) -> None:
    list(fit(recipe, label_maps, tmp_path / "run", CPU))
    export(tmp_path / "run", tmp_path / "cards", "medzoo-train fit tiny")
    card = read_card(tmp_path / "cards" / "tiny.yaml")
    assert card.channels == recipe.channels and card.preprocessing == recipe.preprocessing
    network = load_network(card)
    average = checkpoint.load(tmp_path / "run")["average"]
    for name, value in network.state_dict().items():
        torch.testing.assert_close(value.float(), average[name].half().float())


def test_a_training_can_begin_with_trained_weights(label_maps: LabelMaps, recipe: Recipe, tmp_path: Path) -> None:
    list(fit(recipe, label_maps, tmp_path / "first", CPU))
    export(tmp_path / "first", tmp_path / "cards", "medzoo-train fit tiny")
    trained = load_network(read_card(tmp_path / "cards" / "tiny.yaml"))
    still = recipe.stages[0].model_copy(update={"steps": 1, "learning_rate": 1e-12, "final_learning_rate": 0})
    once = recipe.model_copy(update={"stages": (still,), "weight_decay": 0.0})
    list(fit(once, label_maps, tmp_path / "second", CPU, start=trained))
    begun = checkpoint.load(tmp_path / "second")["network"]
    for name, value in trained.state_dict().items():
        torch.testing.assert_close(begun[name], value, atol=1e-6, rtol=0)
    other = recipe.model_copy(update={"settings": {"widths": [8, 8]}})
    with pytest.raises(MedzooError, match="another network"):
        next(fit(other, label_maps, tmp_path / "third", CPU, start=trained))


def test_the_learning_rate_warms_up_and_decays(recipe: Recipe) -> None:
    stage = recipe.stages[0].model_copy(update={"steps": 100, "warmup": 10})
    rates = [learning_rate(stage, step) for step in range(100)]
    assert rates[0] == pytest.approx(stage.learning_rate / 10)
    assert max(rates) == rates[10] == stage.learning_rate
    assert all(later < earlier for earlier, later in pairwise(rates[10:]))
    assert rates[-1] == pytest.approx(stage.final_learning_rate, abs=0.05 * stage.learning_rate)


def test_packing_real_label_maps(data_dir: Path, tmp_path: Path) -> None:
    source = tmp_path / "labelmaps"
    source.mkdir()
    for file in (data_dir / "labelmaps").glob("*.npy"):
        (source / file.name).symlink_to(file)
    (source / "training_seg_01.nii.gz").symlink_to(data_dir / "labelmaps" / "training_seg_01.nii.gz")
    maps = load_packed(pack(source, tmp_path / "packed.npz"))
    labels = maps.indices[maps.maps[0].long()]
    # RAS: the left cortex (3) lies at smaller x than the right (42), the brain stem (16) below both.
    positions = {index: (labels == index).nonzero().float().mean(dim=0) for index in (3, 42, 16)}
    assert positions[3][0] < positions[42][0]
    assert positions[16][2] < positions[3][2]
    assert 3e5 < (labels == 3).sum() + (labels == 42).sum() < 8e5  # mm³ of cortex
