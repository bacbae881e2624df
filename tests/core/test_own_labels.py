"""A card with a numbering of its own works wherever one of the built-in numberings does."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from napari_medzoo.cards import CardLabel, ModelCard
from napari_medzoo.cli.models import _plain
from napari_medzoo.cli.outputs import write_result
from napari_medzoo.errors import MedzooError
from napari_medzoo.evaluate import comparable, evaluate
from napari_medzoo.inference import network, predict
from napari_medzoo.io import read_segmentation
from napari_medzoo.label_tables import convert
from napari_medzoo.labels import Label, LabelTable, Segmentation
from napari_medzoo.progress import run
from napari_medzoo.space import Grid
from napari_medzoo.study import Study, Volume
from tests.core.tiny_model import Nearest, make_card

OWN = (
    CardLabel(index=300, name="anterior", color=(255, 128, 0)),
    CardLabel(index=5, name="posterior", color=(0, 128, 255)),
    CardLabel(index=7, name="Left horn", color=(9, 9, 9)),
)
GRID = Grid((16, 16, 20), np.diag([-0.5, 2.0, 1.0, 1.0]))


@pytest.fixture
def card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModelCard:
    """Channels are not in ascending order, and one index does not fit a byte."""
    monkeypatch.setattr(network, "ARCHITECTURES", {"nearest": Nearest})
    return make_card(
        tmp_path, "nearest", network=Nearest(1, 3), label_scheme="hippocampus", labels=OWN, channels=(0, 300, 5)
    )


@pytest.fixture
def study() -> Study:
    """Three intensities in blocks; the middle one is "anterior", the bright one "posterior"."""
    data = np.repeat(np.arange(20) // 4 % 3, 16 * 16).reshape(20, 16, 16).transpose(1, 2, 0)
    return Study({"t1w": Volume(data.astype(np.float32), GRID, "t1w")})


def predicted(card: ModelCard, study: Study) -> Segmentation:
    return run(predict(study, card, backend="torch", device="cpu"))


def test_predict_gives_the_cards_indices_names_and_colours(card: ModelCard, study: Study) -> None:
    result = predicted(card, study)
    assert np.array_equal(result.data, np.array([0, 300, 5])[study["t1w"].data.astype(int)])
    assert result.table == LabelTable(
        "hippocampus", (Label(5, "posterior", (0, 128, 255)), Label(300, "anterior", (255, 128, 0)))
    )
    assert result.provenance["model"]["label_scheme"] == "hippocampus"


def test_what_is_written_is_read_back_and_scored(card: ModelCard, study: Study, tmp_path: Path) -> None:
    result = predicted(card, study)
    path = write_result(result, study, tmp_path / "out" / "labels.nii.gz", report=True)
    again = read_segmentation(path)
    assert [(label.index, label.name, label.color) for label in again.table.foreground] == [
        (label.index, label.name, label.color) for label in result.table.foreground
    ]
    reference = Segmentation(np.where(result.data == 300, 5, result.data), GRID, again.table)
    report = evaluate(*comparable(again, reference))
    scores = {score.name: score.dice for score in report.labels}
    assert scores["anterior"] == 0
    assert 0 < scores["posterior"] < 1


def test_it_is_not_taken_for_a_built_in_numbering(card: ModelCard, study: Study) -> None:
    """Index 5 is a ventricle in aseg; nothing may turn "posterior" into that."""
    with pytest.raises(MedzooError, match="No rule is declared that turns labels of 'hippocampus' into 'tissue'"):
        convert(predicted(card, study), "tissue")


def test_names_of_a_built_in_numbering_are_recognised(tmp_path: Path) -> None:
    labels = tuple(CardLabel(index=i, name=n, color=(i, i, i)) for i, n in ((1, "CSF"), (2, "GM"), (3, "WM")))
    card = make_card(tmp_path, label_scheme="mine", labels=labels, channels=(0, 1, 2, 3))
    data = np.arange(4, dtype=np.uint8).reshape(4, 1, 1)
    segmentation = Segmentation(data, Grid((4, 1, 1), np.eye(4)), card.label_table)
    assert np.array_equal(convert(segmentation, "tissue").data, data)


def test_the_list_of_models_names_them(card: ModelCard) -> None:
    shown = json.loads(json.dumps(_plain(card)))
    assert shown["label_scheme"] == "hippocampus"
    assert [label["name"] for label in shown["labels"]] == ["posterior", "anterior"]
