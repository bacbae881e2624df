"""A small comparison from its file to its table, stopped, continued and changed on the way."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import yaml
from napari_medzoo_training import checkpoint
from napari_medzoo_training.benchmark import Run, choose_runs, run_benchmark, train
from napari_medzoo_training.benchmark_cards import shipped
from napari_medzoo_training.benchmark_config import Benchmark, read_benchmark
from napari_medzoo_training.benchmark_costs import Meter
from napari_medzoo_training.benchmark_outcome import (
    Costs,
    Inference,
    Outcome,
    deciding,
    read_outcomes,
    write_outcome,
)
from napari_medzoo_training.benchmark_report import rows_of, write_report
from napari_medzoo_training.config import Recipe
from napari_medzoo_training.logs import read_log
from napari_medzoo_training.scores import CaseScore
from typer.testing import CliRunner

from napari_medzoo.cards import read_card
from napari_medzoo.errors import MedzooError

SUBJECTS = [f"blob_{number:03}" for number in range(10)]
PROTOCOL: dict[str, Any] = {
    "name": "few",
    "title": "Few networks on blobs",
    "recipe": "blobs.yaml",
    "description": "Blobs.",
    "data": "Ten cases.",
    "folds": "folds.json",
    "output_voxels": 4 * 2 * 16 * 16 * 16,
    "patch": [16, 16, 16],
    "batch": 2,
    "optimiser": {"name": "adamw"},
    "learning_rate": 5e-3,
    "warmup": 1,
    "ema": 0.5,
    "precision": "32",
    "checkpoint_every": 2,
    "networks": [
        {"name": "tiny", "architecture": "strided_unet", "settings": {"widths": [4, 8]}},
        {"name": "twin", "same_as": "tiny", "reason": "It is the same."},
        {"name": "wrong", "architecture": "strided_unet", "settings": {"width": 4}},
        {
            "name": "large",
            "architecture": "strided_unet",
            "settings": {"widths": [8, 16]},
            "changes": ["gradient_clip=2", "ema=0.4"],
            "reason": "To try it.",
            "remark": "It is large.",
        },
    ],
}


@pytest.fixture
def file(cases_recipe: Recipe, tmp_path: Path) -> Path:
    """A benchmark beside its recipe and its folds: the first two subjects are fold 0."""
    text = yaml.safe_dump(cases_recipe.model_dump(mode="json"))
    (tmp_path / "blobs.yaml").write_text(text, encoding="utf-8")
    folds = {"seed": 1, "folds": [SUBJECTS[:2], SUBJECTS[2:]]}
    (tmp_path / "folds.json").write_text(json.dumps(folds), encoding="utf-8")
    path = tmp_path / "few.yaml"
    path.write_text(yaml.safe_dump(PROTOCOL), encoding="utf-8")
    return path


@pytest.fixture
def few(file: Path) -> Benchmark:
    return read_benchmark(file)


def made_up(benchmark: Benchmark, name: str, dice: float, fold: int = 0, seed: int = 1) -> Outcome:
    """An outcome of two cases, for a report."""
    recipe = benchmark.recipe_of(benchmark[name], fold, seed)
    return Outcome(
        network=name,
        fold=fold,
        seed=seed,
        recipe=deciding(recipe),
        parameters=1_500_000,
        seconds_per_step=0.25,
        gflop=1.5,
        training=Costs(device="a CPU", threads=1, cpu_seconds=90.0, wall_seconds=95.0, peak_bytes=int(7e8)),
        inference=Inference(
            backend="torch", precision="float32", cases=2, wall_seconds=0.5, cpu_seconds=0.4, peak_bytes=int(6e8)
        ),
        scores=tuple(
            CaseScore(fold, subject, subject, label, "blob", dice + change, float("nan"))
            for subject, change in (("a", -0.1), ("b", 0.1))
            for label in (1, 2)
        ),
    )


def keep(benchmark: Benchmark, output: Path, outcome: Outcome) -> None:
    folder = Run(benchmark[outcome.network], outcome.fold, outcome.seed).folder(output)
    folder.mkdir(parents=True, exist_ok=True)
    write_outcome(folder, outcome)


@pytest.mark.slow
def test_one_command_trains_scores_measures_and_reports(file: Path, tmp_path: Path) -> None:
    """One network of the four, and its twin; a second call trains nothing."""
    from napari_medzoo_training.__main__ import app

    output = tmp_path / "runs"
    call = ["benchmark", str(file), "--output", str(output), "--device", "cpu", "--network", "twin"]
    said = CliRunner().invoke(app, [*call, "--export", str(tmp_path / "cards")])
    assert said.exit_code == 0, said.exception
    assert "tiny, fold 0, seed 1: finished" in said.output
    folder = output / "tiny" / "seed-1" / "fold-0"
    (outcome,) = read_outcomes(output)
    assert {score.subject for score in outcome.scores} == set(SUBJECTS[:2])
    assert len(read_log(folder)) == 4
    assert outcome.training.cpu_seconds > 0 and outcome.training.threads == 1
    assert outcome.inference.cases == 1 and outcome.inference.cpu_seconds > 0
    assert min(outcome.training.peak_bytes, outcome.inference.peak_bytes) > 50e6
    with (output / "few.csv").open(newline="", encoding="utf-8") as stream:
        table = list(csv.DictReader(stream))
    assert [row["network"] for row in table] == ["tiny", "twin"]
    assert table[0]["dice_mean"] == table[1]["dice_mean"] and table[1]["same_as"] == "tiny"
    card = read_card(tmp_path / "cards" / "blobs-tiny.yaml")
    card.check_weights()
    assert card.command == "medzoo-train benchmark few --network tiny"
    assert card.scores[-1].value == pytest.approx(float(table[0]["dice_mean"]), abs=1e-4)
    before = (folder / "last.ckpt").stat().st_mtime_ns
    assert CliRunner().invoke(app, call).exit_code == 0
    assert (folder / "last.ckpt").stat().st_mtime_ns == before


def test_a_broken_training_is_continued_and_its_costs_add_up(
    few: Benchmark, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = few.recipe_of(few["tiny"], 0, 1)
    arguments = (recipe, tmp_path / "cache", tmp_path / "seed-1", "a command", "cpu", 1)
    start = Meter.on_train_start

    def interrupt(self: pl.Callback, trainer: pl.Trainer, *_: Any) -> None:
        if trainer.global_step == 3:
            raise RuntimeError("interrupted")

    monkeypatch.setattr(Meter, "on_train_batch_start", interrupt)
    with pytest.raises(RuntimeError, match="interrupted"):
        train(*arguments)
    monkeypatch.setattr(Meter, "on_train_batch_start", pl.Callback.on_train_batch_start)
    half = checkpoint.load(tmp_path / "seed-1" / "fold-0")["callbacks"]["Meter"]
    steps = []
    monkeypatch.setattr(Meter, "on_train_start", lambda self, *a: (steps.append(a[0].global_step), start(self, *a)))
    costs = train(*arguments)
    assert steps == [2], "from the checkpoint on"
    assert costs.wall_seconds > half["wall_seconds"] > 0
    assert costs.peak_bytes >= half["peak_bytes"] > 0
    assert [row["step"] for row in read_log(tmp_path / "seed-1" / "fold-0")] == [1, 2, 3, 4]
    assert train(*arguments) == costs, "a finished one is not trained again"
    card = read_card(tmp_path / "seed-1" / "fold-0" / "model" / "blobs-tiny.yaml")
    assert card.command == "a command"
    other = few.model_copy(update={"learning_rate": 1e-3}).recipe_of(few["tiny"], 0, 1)
    with pytest.raises(MedzooError, match="another recipe"):
        train(other, *arguments[1:])


def test_what_fails_does_not_keep_the_others_from_running(few: Benchmark, tmp_path: Path) -> None:
    keep(few, tmp_path, made_up(few, "tiny", 0.5))
    keep(few, tmp_path, made_up(few, "large", 0.5))
    found = [(one.network.name, error) for one, error in run_benchmark(few, choose_runs(few), tmp_path)]
    assert [name for name, _ in found] == ["tiny", "wrong", "large"]
    assert "do not fit the network" in str(found[1][1])
    assert found[0][1] is None and found[2][1] is None


def test_the_page_says_what_was_done_and_what_was_not(few: Benchmark, tmp_path: Path) -> None:
    keep(few, tmp_path, made_up(few, "tiny", 0.7))
    keep(few, tmp_path, made_up(few, "large", 0.85))
    keep(few, tmp_path, made_up(few, "large", 0.87, fold=1))
    (tmp_path / "docs").mkdir()
    written = write_report(few, tmp_path, tmp_path / "docs")
    assert all(path.stat().st_size > 0 for path in written)
    assert {path.name for path in written} == {"few.csv", "few.md", "few-dice.png", "few-curves.png"}
    text = (tmp_path / "docs" / "few.md").read_text(encoding="utf-8")
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("| `")]
    reached, cost = rows[:3], rows[3:6]
    assert [row[0] for row in reached] == ["`large`", "`tiny`", "`twin` (shared)"]
    assert reached[0][1:5] == ["**0.860 ± 0.141**", "0.860", "0.860", "–"]
    assert reached[0][-1] == "2 × 1" and reached[1][-1] == "1 × 1"
    assert cost[0][1:] == ["1.50", "1.5", "1.5", "22.50", "700", "32", "0.50 (0.40)", "600"]
    assert "Unfinished" in text
    assert "folds 0, 1 of 2" in text
    assert "`twin`: the same function as `tiny` here, which was trained once. It is the same." in text
    assert "Below a mean Dice of 0.80: `tiny`, `twin`." in text
    assert "`large`: trained with `gradient_clip=2`, `ema=0.4`. To try it." in text
    assert "Not trained yet: `wrong`." in text
    assert "`large`: It is large." in text


def test_two_protocols_do_not_share_a_table(few: Benchmark, tmp_path: Path) -> None:
    keep(few, tmp_path, made_up(few, "tiny", 0.7))
    changed = few.model_copy(update={"learning_rate": 1e-3})
    with pytest.raises(MedzooError, match="by another protocol: stages was"):
        rows_of(changed, tmp_path)
    reworded = few.model_copy(update={"description": "Other words.", "data": "The same."})
    assert len(rows_of(reworded, tmp_path)) == 2


def test_a_setting_that_came_after_a_training_is_no_other_protocol(few: Benchmark, tmp_path: Path) -> None:
    outcome = made_up(few, "tiny", 0.7)
    older = {key: value for key, value in outcome.recipe.items() if key != "accepts"}
    assert len(older) < len(outcome.recipe)
    keep(few, tmp_path, outcome.model_copy(update={"recipe": older}))
    assert len(rows_of(few, tmp_path)) == 2


def test_the_package_takes_the_best_small_networks_for_which_there_is_room(few: Benchmark, tmp_path: Path) -> None:
    keep(few, tmp_path, made_up(few, "large", 0.9))
    keep(few, tmp_path, made_up(few, "tiny", 0.7))
    found = shipped(few, tmp_path)
    assert [one.network.name for one, _ in found] == ["large", "tiny"]
    (_, large), (_, tiny) = found
    assert 0 < tiny < large
    for changes, names in (
        ({"ship_mb": large}, ["large"]),
        ({"ship_mb": tiny}, ["tiny"]),
        ({"ship_below": 1_500_000}, []),
        ({"networks": tuple(n.model_copy(update={"card": "other"}) for n in few.networks)}, []),
    ):
        assert [one.network.name for one, _ in shipped(few.model_copy(update=changes), tmp_path)] == names


def test_a_file_that_is_no_outcome_is_named(few: Benchmark, tmp_path: Path) -> None:
    keep(few, tmp_path, made_up(few, "tiny", 0.7))
    (path,) = tmp_path.glob("tiny/*/*/outcome.json")
    assert read_outcomes(tmp_path)[0].scores[0].hd95_mm != read_outcomes(tmp_path)[0].scores[0].hd95_mm, "NaN is kept"
    path.write_text(path.read_text(encoding="utf-8").replace("cpu_seconds", "seconds"), encoding="utf-8")
    with pytest.raises(MedzooError, match="not an outcome"):
        read_outcomes(tmp_path)
