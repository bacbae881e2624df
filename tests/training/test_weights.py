from __future__ import annotations

from pathlib import Path

import pytest
import torch
from napari_medzoo_training.config import Recipe
from napari_medzoo_training.export import card_of
from napari_medzoo_training.fit import fit
from napari_medzoo_training.labelmaps import LabelMaps
from napari_medzoo_training.overrides import override
from napari_medzoo_training.weights import load_start
from safetensors.torch import save_file

from napari_medzoo.cards import ModelCard, sha256
from napari_medzoo.errors import MedzooError
from napari_medzoo.inference.network import build_network, load_network


def trained(recipe: Recipe, folder: Path) -> ModelCard:
    """A card of `recipe` with random weights."""
    torch.manual_seed(1)
    network = build_network(recipe)
    path = folder / f"{recipe.name}.safetensors"
    save_file(network.state_dict(), path)
    return card_of(recipe, 4, sha256(path)).model_copy(update={"folder": folder})


def begun(recipe: Recipe, card: ModelCard) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor], object]:
    torch.manual_seed(2)
    network = build_network(recipe)
    report = load_start(network, recipe, card)
    return network.state_dict(), load_network(card).state_dict(), report


def test_the_same_network_is_taken_as_it_is(recipe: Recipe, tmp_path: Path) -> None:
    ours, theirs, report = begun(recipe, trained(recipe, tmp_path))
    assert all(torch.equal(ours[name], value) for name, value in theirs.items())
    assert str(report) == f"{len(theirs)} parameters as they are"


def test_other_classes_keep_the_rows_they_share(recipe: Recipe, tmp_path: Path) -> None:
    """Of the card's classes 0, 2, 3, 10 … the recipe learns 0, 10, 2 and 4, which is new."""
    other = override(recipe, ["channels=[0, 10, 2, 4]"])
    ours, theirs, report = begun(other, trained(recipe, tmp_path))
    torch.manual_seed(2)
    fresh = build_network(other).state_dict()
    for name in ("head.weight", "head.bias"):
        rows, source = ours[name].unflatten(0, (4, 8)), theirs[name].unflatten(0, (8, 8))
        assert torch.equal(rows[0], source[0])
        assert torch.equal(rows[1], source[recipe.channels.index(10)])
        assert torch.equal(rows[2], source[recipe.channels.index(2)])
        assert torch.equal(rows[3], fresh[name].unflatten(0, (4, 8))[3])
    assert torch.equal(ours["stem.weight"], theirs["stem.weight"])
    assert "2 adapted: head.weight (3 of 4 classes)" in str(report)


def test_a_class_of_the_same_number_but_another_name_begins_anew(
    recipe: Recipe, cases_recipe: Recipe, tmp_path: Path
) -> None:
    blobs = override(cases_recipe, ["modalities=[any]"])
    card = trained(override(recipe, ["channels=[0, 2, 3]"]), tmp_path)
    ours, theirs, report = begun(blobs, card)
    assert torch.equal(ours["head.bias"][:8], theirs["head.bias"][:8])
    assert not torch.isin(ours["head.bias"][8:], theirs["head.bias"]).any()
    assert "1 of 3 classes" in str(report)


def test_other_modalities_take_their_own_or_the_mean(recipe: Recipe, tmp_path: Path) -> None:
    card = trained(override(recipe, ["modalities=[t1w, t2w]"]), tmp_path)
    ours, theirs, report = begun(override(recipe, ["modalities=[flair, t2w, t1w]"]), card)
    weight, source = ours["stem.weight"], theirs["stem.weight"]
    torch.testing.assert_close(weight[:, 0], source.mean(1) * 2 / 3)
    torch.testing.assert_close(weight[:, 1], source[:, 1] * 2 / 3)
    torch.testing.assert_close(weight[:, 2], source[:, 0] * 2 / 3)
    assert "stem.weight (t1w, t2w → flair, t2w, t1w)" in str(report)
    same, theirs, _ = begun(override(recipe, ["modalities=[t2w, t1w]"]), card)
    torch.testing.assert_close(same["stem.weight"], theirs["stem.weight"].flip(1))


def test_any_contrast_becomes_one_modality_unchanged(recipe: Recipe, tmp_path: Path) -> None:
    ours, theirs, report = begun(override(recipe, ["modalities=[t1w]"]), trained(recipe, tmp_path))
    assert torch.equal(ours["stem.weight"], theirs["stem.weight"])
    assert "adapted" not in str(report)


def test_further_heads_begin_anew(recipe: Recipe, tmp_path: Path) -> None:
    plain = override(recipe, ["settings={widths: [4, 8, 8]}"])
    deeper = override(recipe, ["settings={widths: [4, 8, 8], deep_supervision: 1}"])
    _, _, report = begun(deeper, trained(plain, tmp_path))
    assert "begun anew: deep_heads.0.weight (the card has none)" in str(report)


def test_a_network_that_shares_nothing_is_refused(recipe: Recipe, tmp_path: Path) -> None:
    card = trained(recipe, tmp_path)
    with pytest.raises(MedzooError, match="Nothing of model 'tiny'"):
        load_start(torch.nn.Conv3d(1, 1, 5), recipe, card)


def test_a_training_begins_with_a_cards_weights(label_maps: LabelMaps, recipe: Recipe, tmp_path: Path) -> None:
    """One step at a rate of nearly nought leaves them as they were; the folder says what was loaded."""
    from napari_medzoo_training import checkpoint

    card = trained(recipe, tmp_path)
    still = ["stages.0.steps=1", "stages.0.learning_rate=1e-12", "stages.0.final_learning_rate=0"]
    once = override(recipe, [*still, "optimiser.settings.weight_decay=0"])
    once = once.model_copy(update={"stages": once.stages[:1]})
    fit(once, lambda: label_maps, tmp_path / "run", device="cpu", start=card)
    begun_with = checkpoint.current(checkpoint.load(tmp_path / "run"))
    for name, value in load_network(card).state_dict().items():
        torch.testing.assert_close(begun_with[name], value, atol=1e-6, rtol=0)
    assert "weights of 'tiny'" in (tmp_path / "run" / "start.txt").read_text()
