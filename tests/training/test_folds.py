from __future__ import annotations

import json
from pathlib import Path

import pytest
from napari_medzoo_training.folds import make_folds, read_folds, training_subjects, write_folds

from napari_medzoo.errors import MedzooError

SUBJECTS = [f"s{number:02}" for number in range(13)]


def test_every_subject_is_in_one_fold_and_the_sizes_differ_by_one_at_most() -> None:
    folds = make_folds(SUBJECTS, 5, seed=1)
    assert sorted(subject for fold in folds for subject in fold) == SUBJECTS
    assert sorted(len(fold) for fold in folds) == [2, 2, 3, 3, 3]


def test_folds_depend_on_the_seed_and_not_on_the_order() -> None:
    assert make_folds(SUBJECTS, 5, seed=1) == make_folds(SUBJECTS[::-1], 5, seed=1)
    assert make_folds(SUBJECTS, 5, seed=1) != make_folds(SUBJECTS, 5, seed=2)


def test_two_visits_of_a_subject_stay_together() -> None:
    assert make_folds(["a", "a", "b"], 2, seed=1) in ((("a",), ("b",)), (("b",), ("a",)))


def test_too_few_subjects_are_an_error() -> None:
    with pytest.raises(MedzooError, match="13 subjects cannot make 14 folds"):
        make_folds(SUBJECTS, 14, seed=1)


def test_a_file_gives_back_the_folds(tmp_path: Path) -> None:
    folds = make_folds(SUBJECTS, 4, seed=3)
    write_folds(tmp_path / "new" / "folds.json", folds, seed=3)
    assert read_folds(tmp_path / "new" / "folds.json", SUBJECTS) == folds


def test_a_subject_in_two_folds_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "folds.json"
    path.write_text(json.dumps({"seed": 1, "folds": [["a", "b"], ["b"]]}))
    with pytest.raises(MedzooError, match="subject b is listed twice"):
        read_folds(path)


def test_folds_of_another_data_set_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "folds.json"
    write_folds(path, [["a"], ["b"]], seed=1)
    with pytest.raises(MedzooError, match=r"differ in 1 subjects .* c"):
        read_folds(path, ["a", "b", "c"])


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"folds": 3}'])
def test_a_damaged_file_says_what_to_do(tmp_path: Path, text: str) -> None:
    path = tmp_path / "folds.json"
    path.write_text(text)
    with pytest.raises(MedzooError, match="remove it"):
        read_folds(path)


def test_the_held_out_fold_is_not_trained_on() -> None:
    folds = make_folds(SUBJECTS, 5, seed=1)
    assert set(training_subjects(folds, 2)) == set(SUBJECTS) - set(folds[2])
    with pytest.raises(MedzooError, match="0 to 4"):
        training_subjects(folds, 5)
