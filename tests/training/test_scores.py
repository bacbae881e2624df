from __future__ import annotations

import math
from pathlib import Path

import pytest
from napari_medzoo_training.config import Recipe
from napari_medzoo_training.scores import CaseScore, as_table, read_scores, summarise, write_scores

from napari_medzoo.errors import MedzooError

NAN = math.nan


def score(subject: str, label: int, dice: float, hd95: float = 1.0, visit: int = 0, fold: int = 0) -> CaseScore:
    return CaseScore(fold, subject, f"{subject}_{visit}", label, "", dice, hd95)


def test_the_mean_is_over_subjects_and_undefined_figures_are_left_out(cases_recipe: Recipe) -> None:
    scores = [
        score("a", 1, 0.5), score("a", 1, 0.7, visit=1), score("a", 2, 1.0, 3.0),
        score("b", 1, 0.8), score("b", 2, NAN, NAN),
        score("c", 1, 0.0, NAN, fold=2), score("c", 2, 0.4, 1.0, fold=2),
    ]  # fmt: skip
    summary = summarise(cases_recipe, scores)
    left, right = summary["labels"]
    assert (left["index"], left["name"], left["dice_subjects"]) == (1, "left blob", 3)
    assert left["dice_mean"] == pytest.approx((0.6 + 0.8 + 0.0) / 3, abs=1e-4), "a's two visits count once"
    assert left["hd95_subjects"] == 2 and left["hd95_mean_mm"] == 1.0
    assert (right["dice_mean"], right["dice_subjects"]) == (pytest.approx(0.7), 2)
    assert right["dice_sd"] == pytest.approx(0.6 / math.sqrt(2), abs=1e-4)
    assert right["hd95_mean_mm"] == 2.0
    assert summary["mean"]["dice_mean"] == pytest.approx((0.8 + 0.8 + 0.2) / 3, abs=1e-4)
    assert summary["finished"] == [0, 2] and summary["folds"] == 5 and summary["subjects"] == 3


def test_the_background_is_in_no_figure(cases_recipe: Recipe) -> None:
    scores = [score("a", 0, 1.0), score("a", 1, 0.2), score("a", 2, 0.4)]
    summary = summarise(cases_recipe, scores)
    assert [row["index"] for row in summary["labels"]] == [1, 2]
    assert summary["mean"]["dice_mean"] == pytest.approx(0.3)
    assert summary["mean"]["dice_sd"] is None, "one subject has no deviation"


def test_the_table_shows_what_is_known(cases_recipe: Recipe) -> None:
    text = as_table(summarise(cases_recipe, [score("a", 1, 0.5), score("b", 1, 0.7), score("a", 2, NAN, NAN)]))
    lines = text.splitlines()
    assert lines[1].split("  ")[0] == "left blob" and "0.600 ± 0.141" in lines[1]
    assert "–" in lines[2] and lines[3].startswith("mean of labels")
    assert "2 held-out subjects of 1 of 5 folds; the background is left out" in lines[-1]


def test_a_table_is_read_as_it_was_written(tmp_path: Path) -> None:
    scores = (score("a", 1, 0.12345, 2.5), score("b,c", 2, 1.0, fold=3))
    write_scores(tmp_path / "scores.csv", (*scores, score("d", 1, NAN, NAN)))
    *found, last = read_scores(tmp_path / "scores.csv")
    assert tuple(found) == scores
    assert math.isnan(last.dice) and math.isnan(last.hd95_mm)


@pytest.mark.parametrize("text", ["fold,subject\n1,a\n", "fold,subject,case,label,name,dice,hd95_mm\nx,a,a,1,n,1,1\n"])
def test_a_damaged_table_says_what_to_do(tmp_path: Path, text: str) -> None:
    (tmp_path / "scores.csv").write_text(text)
    with pytest.raises(MedzooError, match="remove it"):
        read_scores(tmp_path / "scores.csv")
