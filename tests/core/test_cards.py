"""Model cards: what is read is what was written, and nothing wrong gets through."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml
from safetensors.torch import load_file, save_file

from napari_medzoo import cards
from napari_medzoo.cards import SHIPPED_CARDS, ModelCard, Score, find_cards, load_card, read_card, sha256
from napari_medzoo.errors import MedzooError
from napari_medzoo.inference import load_network
from napari_medzoo.models.geometry import Geometry, geometry_of
from napari_medzoo.space import Grid
from napari_medzoo.study import Study, Volume
from tests.core.tiny_model import make_card

OWN = [
    {"index": 1, "name": "anterior", "color": [255, 128, 0]},
    {"index": 2, "name": "posterior", "color": [0, 128, 255]},
    {"index": 7, "name": "not learnt", "color": [9, 9, 9]},
]
"""A person's own numbering, without its background."""


def study(*modalities: str) -> Study:
    return Study({key: Volume(np.zeros((2, 2, 2)), Grid((2, 2, 2), np.eye(4)), key) for key in modalities})


@pytest.fixture
def own_cards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user folder with one card, `tiny`."""
    monkeypatch.setenv("MEDZOO_MODELS", str(tmp_path))
    make_card(tmp_path)
    return tmp_path


def test_round_trip(tmp_path: Path) -> None:
    score = Score(data="MNI152", metric="Dice", value=0.5, command="medzoo evaluate a b")
    card = make_card(tmp_path, modalities=("t1w", "flair"), scores=(score,), description="Größe µ")
    (tmp_path / "copy").mkdir()
    card.save(tmp_path / "copy" / "other.yaml")
    again = read_card(tmp_path / "copy" / "other.yaml")
    assert again == card.model_copy(update={"folder": tmp_path / "copy"})
    assert again.preprocessing == card.preprocessing
    assert again.scores == (score,)


def test_sizes_are_one_number_or_one_for_each_axis(tmp_path: Path) -> None:
    """Written as they were: a plain network's card keeps its single divisor."""
    assert make_card(tmp_path).geometry == Geometry((4, 4, 4))
    assert "divisor: 4\n" in (tmp_path / "tiny.yaml").read_text()
    sliced = {"divisor": (4, 4, 1), "remainder": (2, 2, 0), "margin": [20, 20, 0], "patch": (46, 50, 1)}
    card = make_card(tmp_path, **sliced)
    assert card.geometry == Geometry((4, 4, 1), (2, 2, 0), (20, 20, 0))
    assert yaml.safe_load((tmp_path / "tiny.yaml").read_text())["margin"] == [20, 20, 0]


def test_a_card_cannot_be_changed(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="frozen"):
        make_card(tmp_path).name = "other"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"colour": "red"}, "colour"),
        ({"modalities": ["t1w", "any"]}, "'any' alone"),
        ({"modalities": ["ct"]}, "modalities must be of"),
        *(
            ({"modalities": ["t1w", "flair"], "accepts": [part]}, "'accepts' must list parts")
            for part in ([], ["flair", "t1w"], ["t2w"], ["t1w", "flair"])
        ),
        ({"label_scheme": "mine"}, "label_scheme must be one of"),
        ({"labels": OWN, "label_scheme": "mine", "channels": [0, 1, 3]}, "no index 3"),
        ({"labels": OWN, "label_scheme": "aseg", "channels": [0, 1, 2]}, "label_scheme other than"),
        ({"labels": [*OWN, OWN[0]], "label_scheme": "mine", "channels": [0, 1, 2]}, "twice"),
        ({"labels": [{**OWN[0], "color": [0, 0, 256]}], "label_scheme": "mine", "channels": [0, 1]}, "255"),
        ({"labels": [{**OWN[0], "name": ""}], "label_scheme": "mine", "channels": [0, 1]}, "name"),
        ({"channels": [2, 0, 3]}, "begin with 0"),
        ({"channels": [0, 2, 2]}, "once"),
        ({"channels": [0, 2, 31337]}, "no index 31337"),
        ({"patch": [16, 16, 18]}, "multiples of 4"),
        ({"margin": 8}, "multiples of 4, more than 16"),
        ({"remainder": 1}, "multiples of 4 plus 1"),
        ({"divisor": 0}, "1 or more"),
        ({"divisor": [4, 4]}, "divisor"),
        ({"margin": -1}, "margin"),
        ({"sha256": "abc"}, "sha256"),
        ({"name": "../evil"}, "name"),
        ({"preprocessing": {"orientation": "RAS", "blur": 1}}, "blur"),
    ],
)
def test_wrong_content_is_refused_in_one_sentence(tmp_path: Path, change: dict, expected: str) -> None:
    make_card(tmp_path)
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **change}))
    with pytest.raises(MedzooError, match=expected) as error:
        read_card(path)
    assert "tiny.yaml" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", ["", "just words", "[1, 2]", "name: [", "\x00"])
def test_a_file_that_is_no_card(tmp_path: Path, content: str) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text(content)
    with pytest.raises(MedzooError, match=r"broken\.yaml"):
        read_card(path)


def test_absent_card(tmp_path: Path) -> None:
    with pytest.raises(MedzooError, match=r"none\.yaml.*cannot be read"):
        load_card(tmp_path / "none.yaml")


def test_weights_of_another_sha256_are_refused(tmp_path: Path) -> None:
    card = make_card(tmp_path)
    assert card.check_weights() == tmp_path / "tiny.safetensors"
    damaged = bytearray((tmp_path / "tiny.safetensors").read_bytes())
    damaged[-1] ^= 1
    (tmp_path / "tiny.safetensors").write_bytes(damaged)
    for check in (card.check_weights, lambda: load_network(card)):
        with pytest.raises(MedzooError, match=r"tiny\.safetensors has sha256"):
            check()


def test_missing_weights_say_how_to_get_them(tmp_path: Path) -> None:
    card = make_card(tmp_path, command="medzoo-train tiny")
    (tmp_path / "tiny.safetensors").unlink()
    with pytest.raises(MedzooError, match=r"missing.*medzoo-train tiny"):
        card.check_weights()


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    make_card(tmp_path)
    path = tmp_path / "tiny.yaml"
    wider = {**yaml.safe_load(path.read_text()), "settings": {"widths": [4, 16]}}
    path.write_text(yaml.safe_dump(wider))
    with pytest.raises(MedzooError, match="does not hold the weights of 'strided_unet'"):
        load_network(read_card(path))


def test_a_file_that_only_looks_like_weights_is_refused(tmp_path: Path) -> None:
    card = make_card(tmp_path)
    (tmp_path / "tiny.safetensors").write_bytes(b"not safetensors")
    card = card.model_copy(update={"sha256": sha256(tmp_path / "tiny.safetensors")})
    with pytest.raises(MedzooError, match="install the model again"):
        load_network(card)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [({"architecture": "unet9d"}, "does not have"), ({"settings": {"depth": 3}}, "do not fit the network")],
)
def test_unknown_network_or_settings(tmp_path: Path, fields: dict, expected: str) -> None:
    card = make_card(tmp_path).model_copy(update=fields)
    with pytest.raises(MedzooError, match=expected):
        load_network(card)


def test_loaded_network_is_float32_in_evaluation_mode(tmp_path: Path) -> None:
    card = make_card(tmp_path)
    path = tmp_path / "tiny.safetensors"
    halves = {key: value.half() for key, value in load_file(path).items()}
    save_file(halves, path)
    network = load_network(card.model_copy(update={"sha256": sha256(path)}))
    assert not network.training
    state = network.state_dict()
    assert {str(value.dtype) for value in state.values()} == {"torch.float32"}
    assert all((state[key] == value.float()).all() for key, value in halves.items())


def test_missing_modality_names_the_remedy_and_other_models(own_cards: Path) -> None:
    card = load_card("tiny").model_copy(update={"name": "lesions", "modalities": ("t1w", "t2w", "flair")})
    with pytest.raises(MedzooError) as error:
        card.choose(study("t1w"))
    sentence = str(error.value)
    assert sentence.startswith("Study has T1w; model 'lesions' needs T1w, T2w and FLAIR. Add T2w and FLAIR")
    assert "tiny" in sentence.split("choose one of:")[1]


def test_choose_keeps_the_cards_order(tmp_path: Path) -> None:
    card = make_card(tmp_path, modalities=("flair", "t1w"))
    assert card.choose(study("t1w", "t2w", "flair")) == ("flair", "t1w")


def test_accepted_parts_stand_in_for_all_modalities(own_cards: Path) -> None:
    """The largest part that the study has; missing channels are named None."""
    card = make_card(own_cards, modalities=("t1w", "t2w", "flair"), accepts=(("flair",), ("t1w", "flair")))
    assert card.choose(study("flair", "t1w", "t2w")) == ("t1w", "t2w", "flair")
    assert card.choose(study("flair", "t1w")) == ("t1w", "flair")
    assert card.choose(study("t2w", "flair")) == ("flair",)
    assert card.channels_for(("t1w", "flair")) == ("t1w", None, "flair")
    assert card.channels_for(("t1w", "t2w", "flair")) == ("t1w", "t2w", "flair")
    with pytest.raises(MedzooError, match=r"needs T1w, T2w and FLAIR or FLAIR or T1w and FLAIR\. Add"):
        card.choose(study("t1w"))
    other = card.model_copy(update={"name": "other", "accepts": ()})
    with pytest.raises(MedzooError, match=r"choose one of:.*tiny"):
        other.choose(study("flair"))


@pytest.mark.parametrize(
    ("modalities", "given", "chosen"),
    [
        (("any",), ("flair", "t1w"), "t1w"),
        (("any",), ("flair", "t2w"), "flair"),
        (("any",), ("unknown",), "unknown"),
        (("t1w",), ("unknown",), "unknown"),
    ],
)
def test_one_input_models(tmp_path: Path, modalities: tuple, given: tuple, chosen: str) -> None:
    assert make_card(tmp_path, modalities=modalities).choose(study(*given)) == (chosen,)


def test_own_cards_are_found_by_name_and_path(own_cards: Path) -> None:
    assert find_cards()["tiny"].folder == own_cards
    assert load_card("tiny") == load_card(own_cards / "tiny.yaml") == load_card(str(own_cards / "tiny.yaml"))
    with pytest.raises(MedzooError, match=r"no model 'tinny'\. Choose one of: tiny"):
        load_card("tinny")


def test_label_table_has_the_cards_channels_only(tmp_path: Path) -> None:
    assert make_card(tmp_path, channels=(0, 42, 3)).label_table.indices == (0, 3, 42)


def test_own_labels_come_back_from_the_file_with_their_background(tmp_path: Path) -> None:
    card = make_card(tmp_path, label_scheme="mine", labels=OWN, channels=(0, 2, 1), keep_largest=True)
    assert card.keep_largest
    assert card.label_table.name == "mine"
    assert [(label.index, label.name) for label in card.label_table] == [
        (0, "background"),
        (1, "anterior"),
        (2, "posterior"),
    ]
    assert card.label_table[2].color == (0, 128, 255)
    (tmp_path / "copy").mkdir()
    card.save(tmp_path / "copy" / "tiny.yaml")
    assert read_card(tmp_path / "copy" / "tiny.yaml").label_table == card.label_table


def test_a_background_of_ones_own_is_kept(tmp_path: Path) -> None:
    labels = [{"index": 0, "name": "elsewhere", "color": [1, 2, 3]}, *OWN]
    assert make_card(tmp_path, label_scheme="mine", labels=labels, channels=(0, 1)).label_table[0].name == "elsewhere"


def shipped() -> list[Path]:
    return sorted(SHIPPED_CARDS.glob("*.yaml"))


@pytest.mark.parametrize("path", shipped(), ids=lambda path: path.stem)
def test_every_shipped_card_parses_and_its_weights_fit(path: Path) -> None:
    card = read_card(path)
    assert isinstance(card, ModelCard)
    assert card.name == path.stem
    assert card.check_weights().stat().st_size <= 12e6, "shipped weights must stay small"
    network = load_network(card)
    assert card.geometry.suits(geometry_of(network))
    assert card.licence
    for score in card.scores:
        assert score.command.startswith(("medzoo ", "medzoo-train ", "make ")), (
            "a figure needs the command that reproduces it"
        )


def test_every_shipped_weight_has_a_card() -> None:
    assert {path.stem for path in SHIPPED_CARDS.glob("*.safetensors")} == {path.stem for path in shipped()}


def test_user_folder_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MEDZOO_MODELS", str(tmp_path / "mine"))
    assert cards.user_cards_folder() == tmp_path / "mine"
