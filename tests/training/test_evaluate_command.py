"""`medzoo-train evaluate`: what it hands on, and which scores a card has afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from napari_medzoo_training import validation
from napari_medzoo_training.__main__ import app
from napari_medzoo_training.config import read_recipe
from typer.testing import CliRunner

from napari_medzoo.cards import ModelCard, Score, read_card
from napari_medzoo.errors import MedzooError
from tests.core.tiny_model import make_card


def score(data: str, metric: str, value: float) -> Score:
    return Score(data=data, metric=metric, value=value, command="medzoo-train evaluate tiny")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[dict[str, Any]]:
    """Let `validate` note its arguments and find two scores; the card ``tiny.yaml`` has two of its own."""
    calls: list[dict[str, Any]] = []

    def validate(
        card: ModelCard, data: Path, cases: Any = None, threads: int | None = None, **options: Any
    ) -> Iterator[Score]:
        calls.append({"cases": cases, "threads": threads, **options})
        yield score("A", "Dice", 0.9)
        yield score("B", "Dice", 0.5)

    monkeypatch.setattr(validation, "validate", validate)
    monkeypatch.setenv("MEDZOO_DATA", str(tmp_path))
    card = make_card(tmp_path)
    card.model_copy(update={"scores": (score("A", "Dice", 0.1), score("C", "HD95", 3.0))}).save(tmp_path / "tiny.yaml")
    return calls


def call(folder: Path, *options: str) -> dict[tuple[str, str], float]:
    """Run the command on the card; returns its scores."""
    said = CliRunner().invoke(app, ["evaluate", str(folder / "tiny.yaml"), *options])
    if said.exception:
        raise said.exception
    return {(found.data, found.metric): found.value for found in read_card(folder / "tiny.yaml").scores}


def test_all_that_was_asked_for_is_handed_on(asked: list[dict[str, Any]], tmp_path: Path) -> None:
    call(tmp_path, "--recipe", "hippocampus", "--show", str(tmp_path / "shown"), "--threads", "1", "--case", "held_out")
    expected = {"cases": ("held_out",), "threads": 1, "show": tmp_path / "shown"}
    assert asked == [expected | {"recipe": read_recipe(Path("hippocampus"))}]


def test_without_cases_and_recipe_the_choice_is_left_to_validate(asked: list[dict[str, Any]], tmp_path: Path) -> None:
    call(tmp_path)
    assert asked == [{"cases": None, "threads": None, "recipe": None, "show": None}]


def test_writing_some_cases_keeps_the_scores_of_the_others(asked: list[dict[str, Any]], tmp_path: Path) -> None:
    found = call(tmp_path, "--write", "--case", "held_out")
    assert found == {("A", "Dice"): 0.9, ("C", "HD95"): 3.0, ("B", "Dice"): 0.5}


def test_writing_all_cases_leaves_no_older_score(asked: list[dict[str, Any]], tmp_path: Path) -> None:
    assert call(tmp_path, "--write") == {("A", "Dice"): 0.9, ("B", "Dice"): 0.5}


def test_without_write_the_card_stays(asked: list[dict[str, Any]], tmp_path: Path) -> None:
    assert call(tmp_path) == {("A", "Dice"): 0.1, ("C", "HD95"): 3.0}


def test_an_unknown_case_is_refused(asked: list[dict[str, Any]], tmp_path: Path) -> None:
    with pytest.raises(MedzooError, match="no case 'moon'; choose from: ixi012"):
        call(tmp_path, "--case", "moon")
    assert not asked
