"""Folds that are trained one after the other, and the scores of the subjects that each holds out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import nibabel as nib
import numpy as np
import pytest
import yaml
from napari_medzoo_training.checkpoint import recipe_of
from napari_medzoo_training.config import Recipe
from napari_medzoo_training.crossval import fold_recipes, parse_folds, run_fold, score_fold
from napari_medzoo_training.data import open_source
from napari_medzoo_training.held_out import split_cases
from napari_medzoo_training.logs import read_log
from napari_medzoo_training.overrides import override
from napari_medzoo_training.scores import read_scores
from typer.testing import CliRunner

from napari_medzoo.errors import MedzooError
from napari_medzoo.inference import network
from napari_medzoo.progress import run
from tests.core.tiny_model import Nearest, make_card

SUBJECTS = [f"blob_{number:03}" for number in range(10)]


@pytest.fixture
def short(cases_recipe: Recipe) -> Recipe:
    """Two folds of four steps without validation."""
    return override(
        cases_recipe, ["folds.count=2", "stages.0.steps=4", "checkpoint_every=2", "validate_every=null", "batch=1"]
    )


class Interrupt(pl.Callback):
    """Ends a training in the middle of a step, as a crash would."""

    def on_train_batch_start(self, trainer: pl.Trainer, *_: Any) -> None:
        if trainer.global_step == 3:
            raise RuntimeError("interrupted")


def test_every_subject_is_scored_once_by_a_network_that_has_not_seen_it(short: Recipe, tmp_path: Path) -> None:
    """`crossval` of one fold, then of all: the first is not trained again."""
    from napari_medzoo_training.__main__ import app

    (tmp_path / "blobs.yaml").write_text(yaml.safe_dump(short.model_dump(mode="json"), sort_keys=False))
    output = tmp_path / "runs" / "blobs"
    call = ["crossval", str(tmp_path / "blobs.yaml"), "--output", str(output), "--device", "cpu"]
    call += ["--folds", str(tmp_path / "folds.json"), "--threads", "1"]
    said = CliRunner().invoke(app, [*call, "--only", "1"])
    assert said.exit_code == 0, said.exception
    assert "of 1 of 2 folds" in said.output
    assert yaml.safe_load((output / "summary.yaml").read_text())["finished"] == [1]
    assert not (output / "fold-0").exists()
    before = (output / "fold-1" / "last.ckpt").stat().st_mtime_ns
    said = CliRunner().invoke(app, call)
    assert said.exit_code == 0, said.exception
    assert (output / "fold-1" / "last.ckpt").stat().st_mtime_ns == before
    folds = json.loads((tmp_path / "folds.json").read_text())["folds"]
    assert sorted(folds[0] + folds[1]) == SUBJECTS
    scores = read_scores(output / "scores.csv")
    assert sorted((score.subject, score.label) for score in scores) == [
        (s, label) for s in SUBJECTS for label in (1, 2)
    ]
    for fold in (0, 1):
        assert {score.subject for score in scores if score.fold == fold} == set(folds[fold])
        split = split_cases(recipe_of(output / f"fold-{fold}"), SUBJECTS, tmp_path / "unused")
        assert {SUBJECTS[number] for number in split.held_out} == set(folds[fold])
        assert not {SUBJECTS[number] for number in split.training} & set(folds[fold])
    header = (output / "scores.csv").read_text().splitlines()[0]
    assert header == "fold,subject,case,label,name,dice,hd95_mm"
    summary = yaml.safe_load((output / "summary.yaml").read_text())
    assert [row["name"] for row in summary["labels"]] == ["left blob", "right blob"]
    left = [score.dice for score in scores if score.label == 1]
    assert summary["labels"][0]["dice_mean"] == pytest.approx(np.mean(left), abs=1e-4)
    assert summary["labels"][0]["dice_sd"] == pytest.approx(np.std(left, ddof=1), abs=1e-4)
    assert f"{np.mean(left):.3f} ± {np.std(left, ddof=1):.3f}" in said.output


def test_a_broken_fold_is_continued(short: Recipe, tmp_path: Path) -> None:
    cases: Any = run(open_source(short, tmp_path / "cache"))
    recipes = fold_recipes(short, cases.subjects, tmp_path / "run")
    data = tmp_path / "data"
    with pytest.raises(RuntimeError, match="interrupted"):
        run_fold(recipes[0], cases, data, tmp_path / "run", device="cpu", callbacks=[Interrupt()])
    assert not (tmp_path / "run" / "fold-0" / "scores.csv").exists()
    taken: list[int] = []

    class Count(pl.Callback):
        def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
            taken.append(trainer.global_step)

    scores = run_fold(recipes[0], cases, data, tmp_path / "run", device="cpu", threads=1, callbacks=[Count()])
    assert taken == [3, 4], "from the checkpoint at step 2 on"
    assert [row["step"] for row in read_log(tmp_path / "run" / "fold-0")] == [1, 2, 3, 4]
    assert len(scores) == 10
    assert run_fold(recipes[0], None, data, tmp_path / "run") == tuple(  # type: ignore[arg-type]  # nothing is read
        read_scores(tmp_path / "run" / "fold-0" / "scores.csv")
    )
    longer = override(recipes[0], ["stages.0.learning_rate=0.5"])
    with pytest.raises(MedzooError, match="another recipe: stages was"):
        run_fold(longer, cases, data, tmp_path / "run")


def test_a_folder_keeps_to_its_folds(short: Recipe, tmp_path: Path) -> None:
    first = fold_recipes(short, SUBJECTS, tmp_path / "run")
    assert [recipe.folds.fold for recipe in first if recipe.folds] == [0, 1]
    assert fold_recipes(short, SUBJECTS[::-1], tmp_path / "run") == first
    (tmp_path / "other.json").write_text(json.dumps({"seed": 1, "folds": [SUBJECTS[:3], SUBJECTS[3:]]}))
    with pytest.raises(MedzooError, match="begun with other folds"):
        fold_recipes(override(short, [f"folds.file={tmp_path / 'other.json'}"]), SUBJECTS, tmp_path / "run")


def test_the_number_of_folds_is_the_files(short: Recipe, tmp_path: Path) -> None:
    (tmp_path / "three.json").write_text(json.dumps({"seed": 1, "folds": [SUBJECTS[:3], SUBJECTS[3:6], SUBJECTS[6:]]}))
    recipes = fold_recipes(override(short, [f"folds.file={tmp_path / 'three.json'}"]), SUBJECTS, tmp_path / "run")
    assert len(recipes) == 3
    assert len(fold_recipes(short.model_copy(update={"folds": None}), SUBJECTS, tmp_path / "five")) == 5


def test_label_maps_have_no_subjects_to_hold_out(recipe: Recipe, tmp_path: Path) -> None:
    with pytest.raises(MedzooError, match="needs a 'dataset'"):
        fold_recipes(recipe, (), tmp_path)


def test_several_processes_take_folds_not_steps(short: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(MedzooError, match="--only"):
        run_fold(fold_recipes(short, SUBJECTS, tmp_path)[0], None, tmp_path, tmp_path)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "expected"), [(None, (0, 1, 2)), ("1", (1,)), ("2, 0", (0, 2)), ("3", "0 to 2"), ("a", "as in 0,2")]
)
def test_folds_are_named_by_their_numbers(text: str | None, expected: Any) -> None:
    if isinstance(expected, tuple):
        assert parse_folds(text, 3) == expected
    else:
        with pytest.raises(MedzooError, match=expected):
            parse_folds(text, 3)


def test_scores_are_of_whole_scans_and_leave_out_what_is_ignored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A card that labels by intensity; the reference moves a border by one voxel of 1.5 mm and ignores a block."""
    monkeypatch.setattr(network, "ARCHITECTURES", {"nearest": Nearest})
    own = [{"index": 1, "name": "front", "color": [255, 0, 0]}, {"index": 2, "name": "back", "color": [0, 255, 0]}]
    common: dict[str, Any] = {"label_scheme": "crop", "labels": own, "channels": (0, 1, 2)}
    for name in ("imagesTr", "labelsTr"):
        (tmp_path / "set" / name).mkdir(parents=True)
    affine = np.diag([-1.0, 1.5, 1.0, 1.0])
    for number in range(2):
        truth = np.zeros((8, 8, 12), dtype=np.uint8)
        truth[2:6, 2:6, 2:6], truth[2:6, 2:6, 6:10] = 1, 2
        scan = truth.astype(np.float32)
        truth[2:6, 6:7, 2:6] = 1
        truth[2:6, 2:6, 8:10] = 9
        nib.Nifti1Image(scan, affine).to_filename(tmp_path / "set" / "imagesTr" / f"crop_{number}.nii.gz")
        nib.Nifti1Image(truth, affine).to_filename(tmp_path / "set" / "labelsTr" / f"crop_{number}.nii.gz")
    (tmp_path / "folds.json").write_text(json.dumps({"seed": 1, "folds": [["crop_1"], ["crop_0"]]}))
    recipe = Recipe.model_validate(
        {
            "name": "tiny",
            "title": "Tiny",
            "architecture": "nearest",
            "preprocessing": {"spacing": None, "head_crop": None, "normalise": {"method": "minmax"}},
            "dataset": {"kind": "msd", "folder": "set", "ignored": [9]},
            "folds": {"count": 2, "fold": 0, "file": tmp_path / "folds.json"},
            "stages": [{"steps": 1, "patch": [8, 8, 8]}],
            "licence": "none",
            "data": "none",
            **common,
        }
    )
    card = make_card(tmp_path, "nearest", network=Nearest(1, 3), **common)
    front, back = score_fold(card, recipe, tmp_path, device="cpu", threads=1)
    assert (front.fold, front.subject, front.case, front.label, front.name) == (0, "crop_1", "crop_1", 1, "front")
    assert front.dice == pytest.approx(2 * 64 / (64 + 80))
    assert front.hd95_mm == pytest.approx(1.5)
    assert back.dice == 1 and back.hd95_mm == 0
