from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml
from napari_medzoo_training.__main__ import app
from napari_medzoo_training.config import Recipe
from napari_medzoo_training.export import card_of
from napari_medzoo_training.fit import fit
from napari_medzoo_training.labelmaps import LabelMaps
from napari_medzoo_training.overrides import override
from napari_medzoo_training.weights import find_start, load_start
from safetensors.torch import save_file
from typer.testing import CliRunner

from napari_medzoo.cards import ModelCard, sha256
from napari_medzoo.errors import MedzooError
from napari_medzoo.inference.network import build_network, load_network
from napari_medzoo.models.med3d import Med3D


def trained(recipe: Recipe, folder: Path) -> ModelCard:
    """A card of `recipe` with random weights."""
    torch.manual_seed(1)
    network = build_network(recipe)
    path = folder / f"{recipe.name}.safetensors"
    save_file(network.state_dict(), path)
    return card_of(recipe, network, sha256(path)).model_copy(update={"folder": folder})


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
    assert "2 adapted: head.weight, head.bias (3 of 4 classes)" in str(report)


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
    assert "2 begun anew: deep_heads.0.weight, deep_heads.0.bias (the card has none)" in str(report)


def test_what_the_network_has_no_place_for_is_left_out(recipe: Recipe, tmp_path: Path) -> None:
    longer = override(recipe, ["settings={widths: [4, 8, 8]}"])
    _, _, report = begun(recipe, trained(longer, tmp_path))
    assert "16 left out: downs.1.weight, downs.1.bias, " in str(report)


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


@pytest.fixture
def med3d(recipe: Recipe) -> Recipe:
    return override(recipe, ["architecture=med3d", "settings={depth: 10, width: 4}"])


def medicalnet(folder: Path, name: str = "resnet_10.pth", **settings: object) -> dict[str, torch.Tensor]:
    """Write a file as MedicalNet's are: one modality, the backbone alone, names with ``module.``; give its weights."""
    torch.manual_seed(1)
    network = Med3D(1, 2, **{"depth": 10, "width": 4, **settings})  # type: ignore[arg-type]
    backbone = {key: value for key, value in network.state_dict().items() if "conv_seg" not in key}
    torch.save({"epoch": 3, "state_dict": {f"module.{key}": value for key, value in backbone.items()}}, folder / name)
    return backbone


def test_a_file_of_medicalnet_is_taken(med3d: Recipe, tmp_path: Path) -> None:
    """Of several modalities each begins with the same weights, so that alike scans give the file's activations."""
    theirs = medicalnet(tmp_path)
    med3d = override(med3d, ["modalities=[t1w, flair]"])
    network = build_network(med3d)
    head = {key: value.clone() for key, value in network.conv_seg.state_dict().items()}
    report = load_start(network, med3d, find_start(str(tmp_path / "resnet_10.pth")))
    ours = network.state_dict()
    assert {"conv1.weight", *report.loaded} == set(theirs)
    assert all(torch.equal(ours[name], theirs[name]) for name in report.loaded)
    assert torch.equal(ours["conv1.weight"], theirs["conv1.weight"].expand(-1, 2, -1, -1, -1) / 2)
    assert all(torch.equal(network.conv_seg.state_dict()[key], value) for key, value in head.items())
    assert report.adapted == {"conv1.weight": "any → t1w, flair"}
    assert {name.split(".")[0] for name in report.fresh} == {"conv_seg"}
    assert set(report.fresh.values()) == {"the file has none"}
    scan = torch.rand(1, 1, 16, 16, 16)
    alone = torch.nn.functional.conv3d(scan, theirs["conv1.weight"])
    torch.testing.assert_close(torch.nn.functional.conv3d(scan.repeat(1, 2, 1, 1, 1), ours["conv1.weight"]), alone)


def test_the_other_kind_of_shortcut_is_left_out_or_begun_anew(med3d: Recipe, tmp_path: Path) -> None:
    medicalnet(tmp_path, "conv.pth")
    medicalnet(tmp_path, "zeros.pth", shortcut="zeros")
    zeros = override(med3d, ["settings.shortcut=zeros"])
    report = load_start(build_network(zeros), zeros, tmp_path / "conv.pth")
    assert report.left_out
    assert all(".downsample." in name for name in report.left_out)
    report = load_start(build_network(med3d), med3d, tmp_path / "zeros.pth")
    assert not report.left_out
    assert {part for name in report.fresh for part in name.split(".") if part in ("conv_seg", "downsample")} == {
        "conv_seg",
        "downsample",
    }


def test_a_head_of_unknown_classes_is_not_taken(med3d: Recipe, tmp_path: Path) -> None:
    """Even where it has as many."""
    backbone = medicalnet(tmp_path)
    head = Med3D(1, len(med3d.channels), depth=10, width=4).conv_seg.state_dict()
    torch.save({**backbone, **{f"conv_seg.{key}": value for key, value in head.items()}}, tmp_path / "own.pth")
    report = load_start(build_network(med3d), med3d, tmp_path / "own.pth")
    assert "conv_seg.0.weight" in report.loaded
    assert list(report.fresh) == ["conv_seg.6.weight"]


@pytest.mark.parametrize("settings", [{"depth": 18}, {"depth": 34}, {"depth": 50}, {"width": 8}])
def test_a_file_of_another_depth_or_width_is_refused(med3d: Recipe, tmp_path: Path, settings: dict) -> None:
    medicalnet(tmp_path, "other.pth", **settings)
    network = build_network(med3d)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    with pytest.raises(MedzooError, match=r"other\.pth is of another depth or width than 'med3d'"):
        load_start(network, med3d, tmp_path / "other.pth")
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


def test_a_file_can_only_start_med3d(recipe: Recipe, tmp_path: Path) -> None:
    medicalnet(tmp_path)
    with pytest.raises(MedzooError, match="trains 'strided_unet'; choose it with --set architecture=med3d_18"):
        load_start(build_network(recipe), recipe, tmp_path / "resnet_10.pth")


def test_what_a_training_can_begin_with(recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDZOO_MODELS", str(tmp_path))
    card = trained(recipe, tmp_path)
    card.save(tmp_path / "tiny.yaml")
    medicalnet(tmp_path)
    assert find_start("tiny") == find_start(str(tmp_path / "tiny.yaml")) == card
    assert find_start(str(tmp_path / "resnet_10.pth")) == tmp_path / "resnet_10.pth"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("absent.pth", "no such file"),
        ("absent.yaml", "cannot be read"),
        ("run", "neither a card .* nor a file of MedicalNet .* 'medzoo-train export'"),
        ("last.ckpt", "neither a card"),
        ("nonsense", "There is no model"),
    ],
)
def test_anything_else_is_refused_in_one_sentence(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "last.ckpt").write_bytes(b"checkpoint")
    with pytest.raises(MedzooError, match=message) as error:
        find_start(name if name == "nonsense" else str(tmp_path / name))
    assert "\n" not in str(error.value)


class Harmful:
    """What a pickle must not get to do."""

    def __reduce__(self) -> tuple:
        return (exec, ("raise SystemExit('the file was executed')",))


def test_a_harmful_file_is_not_executed(med3d: Recipe, tmp_path: Path) -> None:
    torch.save({"state_dict": Harmful()}, tmp_path / "resnet_10.pth")
    with pytest.raises(MedzooError, match=r"resnet_10\.pth cannot be read as weights of MedicalNet") as error:
        load_start(build_network(med3d), med3d, tmp_path / "resnet_10.pth")
    assert "\n" not in str(error.value)


def test_fit_begins_with_a_file_and_says_so(med3d: Recipe, packed_maps: Path, tmp_path: Path) -> None:
    """Through the command line: printed, and kept in the folder."""
    medicalnet(tmp_path)
    once = override(med3d, ["stages=[{steps: 1, patch: [16, 16, 16]}]"])
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(once.model_dump(mode="json")), encoding="utf-8")
    options = ["--output", str(packed_maps.parent / "run"), "--device", "cpu", "--threads", "1"]
    call = ["fit", str(tmp_path / "recipe.yaml"), "--start", str(tmp_path / "resnet_10.pth"), *options]
    said = CliRunner().invoke(app, call)
    assert said.exit_code == 0, said.output
    kept = (tmp_path / "run" / "start.txt").read_text(encoding="utf-8")
    assert kept.startswith("Begun with the weights of 'resnet_10.pth': ")
    assert "begun anew: conv_seg.0.weight" in kept
    assert kept in said.output
