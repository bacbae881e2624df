from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
import yaml
from napari_medzoo_training import checkpoint
from napari_medzoo_training.config import RECIPES, Recipe, read_recipe
from napari_medzoo_training.data import open_source
from napari_medzoo_training.export import export
from napari_medzoo_training.fit import Result, fit
from napari_medzoo_training.labelmaps import LabelMaps, load_packed
from napari_medzoo_training.logs import read_log
from napari_medzoo_training.overrides import override
from typer.testing import CliRunner

from napari_medzoo.cards import Score, read_card
from napari_medzoo.errors import MedzooError
from napari_medzoo.inference.network import load_network
from napari_medzoo.progress import run


class Interrupt(pl.Callback):
    """Ends a training in the middle of a step, as a crash would."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_start(self, trainer: pl.Trainer, *_: Any) -> None:
        if trainer.global_step == self.step:
            raise RuntimeError("interrupted")


def train(recipe: Recipe, source: Any, folder: Path, **options: Any) -> Result:
    return fit(recipe, lambda: source, folder, device="cpu", **options)


def losses(folder: Path) -> list[float]:
    return [row["loss"] for row in read_log(folder)]


def same_training(first: Path, second: Path) -> None:
    """The same curve to the last digit and the same weights."""
    assert losses(first) == losses(second)
    states = [checkpoint.load(folder) for folder in (first, second)]
    for weights in (checkpoint.average, checkpoint.current):
        for name, value in weights(states[0]).items():
            assert torch.equal(value, weights(states[1])[name]), name


COMPARISONS = {RECIPES / "fusion.yaml", RECIPES / "zoo.yaml"}


@pytest.mark.parametrize("path", sorted({*RECIPES.glob("*.yaml")} - COMPARISONS), ids=lambda path: path.stem)
def test_every_shipped_recipe_describes_a_training(path: Path) -> None:
    assert read_recipe(Path(path.stem)).name == path.stem


def test_an_unknown_recipe_names_the_known_ones() -> None:
    with pytest.raises(MedzooError, match="structures"):
        read_recipe(Path("no-such-recipe"))


def test_unknown_keys_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_text((RECIPES / "structures.yaml").read_text() + "\nlerning_rate: 1\n")
    with pytest.raises(MedzooError, match="lerning_rate"):
        read_recipe(path)


def test_training_lowers_the_loss(label_maps: LabelMaps, recipe: Recipe, tmp_path: Path) -> None:
    longer = override(recipe, ["stages.0.steps=40", "stages.0.learning_rate=0.01", "checkpoint_every=20"])
    train(longer, label_maps, tmp_path / "run")
    found = losses(tmp_path / "run")
    assert len(found) == 42
    assert sum(found[32:40]) < 0.9 * sum(found[:8])


@pytest.mark.parametrize("changes", [[], ["accumulate=2", "batch=2", "optimiser.name=muon"], ["precision=bf16"]])
def test_an_interrupted_training_continues_the_same_curve(
    changes: list[str], label_maps: LabelMaps, recipe: Recipe, tmp_path: Path
) -> None:
    chosen = override(recipe, changes)
    train(chosen, label_maps, tmp_path / "whole")
    with pytest.raises(RuntimeError, match="interrupted"):
        train(chosen, label_maps, tmp_path / "broken", callbacks=[Interrupt(4)])
    assert len(losses(tmp_path / "broken")) == 4, "one step beyond the checkpoint at 3 was logged"
    result = train(chosen, label_maps, tmp_path / "broken", resume=True)
    assert result == Result(6, False, None)
    same_training(tmp_path / "whole", tmp_path / "broken")


@pytest.mark.slow
def test_a_killed_training_continues_the_same_curve(packed_maps: Path, recipe: Recipe, tmp_path: Path) -> None:
    """A process is killed with SIGKILL, which it cannot see coming; resumed, it ends as if nothing had happened."""
    chosen = override(recipe, ["stages.0.steps=60", "checkpoint_every=5", "stages.0.patch=[32, 32, 32]"])
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(chosen.model_dump(mode="json"), sort_keys=False))
    command = [sys.executable, "-m", "napari_medzoo_training", "fit", str(tmp_path / "tiny.yaml")]
    command += ["--output", str(tmp_path / "killed"), "--device", "cpu", "--threads", "1"]
    log = tmp_path / "killed" / "log.csv"
    with subprocess.Popen(command, env=os.environ | {"OMP_NUM_THREADS": "1"}) as process:
        while process.poll() is None and not (log.exists() and len(read_log(tmp_path / "killed")) > 7):
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL, "it was still training"
    assert checkpoint.load(tmp_path / "killed")["global_step"] < 62
    with log.open("a") as stream:
        stream.write("61,0.1")  # a row that the kill cut short
    (tmp_path / "killed" / ".last.ckpt.abc").mkdir()  # and a checkpoint
    train(chosen, load_packed(packed_maps), tmp_path / "killed", resume=True)
    assert not list((tmp_path / "killed").glob(".*"))
    train(chosen, load_packed(packed_maps), tmp_path / "whole")
    assert [row["step"] for row in read_log(tmp_path / "killed")] == list(range(1, 63))
    same_training(tmp_path / "whole", tmp_path / "killed")


def test_validation_stopping_and_resuming(cases_recipe: Recipe, tmp_path: Path) -> None:
    """An interrupted training ends with the same metrics and the same best checkpoint."""
    cases = run(open_source(cases_recipe, tmp_path / "cache"))
    result = train(cases_recipe, cases, tmp_path / "whole")
    with pytest.raises(RuntimeError, match="interrupted"):
        train(cases_recipe, cases, tmp_path / "broken", callbacks=[Interrupt(8)])
    assert train(cases_recipe, cases, tmp_path / "broken", resume=True) == result
    same_training(tmp_path / "whole", tmp_path / "broken")
    rows = [read_log(tmp_path / name, "validation.csv") for name in ("whole", "broken")]
    assert rows[0] == rows[1]
    assert [row["step"] for row in rows[0]] == [3, 6, 9, 12]
    assert result.best_dice == pytest.approx(max(row["dice"] for row in rows[0]), abs=1e-5)
    best = [checkpoint.load_best(tmp_path / name) for name in ("whole", "broken")]
    assert best[0]["global_step"] == best[1]["global_step"] == max(rows[0], key=lambda row: row["dice"])["step"]


def test_training_stops_where_validation_no_longer_improves(cases_recipe: Recipe, tmp_path: Path) -> None:
    still = override(cases_recipe, ["patience=2", "stages.0.learning_rate=1e-12", "stages.0.final_learning_rate=0"])
    cases = run(open_source(still, tmp_path / "cache"))
    result = train(still, cases, tmp_path / "run")
    assert result.stopped_early and result.steps == 9
    assert train(still, cases, tmp_path / "run", resume=True) == result, "nothing is left to do"


def test_validation_needs_cases(label_maps: LabelMaps, recipe: Recipe, tmp_path: Path) -> None:
    with pytest.raises(MedzooError, match="no cases to validate on"):
        train(override(recipe, ["validate_every=3"]), label_maps, tmp_path)


def test_a_second_training_does_not_touch_the_first(label_maps: LabelMaps, recipe: Recipe, tmp_path: Path) -> None:
    train(recipe, label_maps, tmp_path / "run")
    before = (tmp_path / "run" / "last.ckpt").read_bytes()
    with pytest.raises(MedzooError, match="already holds a training"):
        train(recipe, label_maps, tmp_path / "run")
    assert (tmp_path / "run" / "last.ckpt").read_bytes() == before


def test_resuming_nothing_says_what_to_do(label_maps: LabelMaps, recipe: Recipe, tmp_path: Path) -> None:
    with pytest.raises(MedzooError, match="medzoo-train fit"):
        train(recipe, label_maps, tmp_path, resume=True)


def test_resuming_takes_more_steps_but_no_other_network(label_maps: LabelMaps, recipe: Recipe, tmp_path: Path) -> None:
    train(recipe, label_maps, tmp_path / "run")
    with pytest.raises(MedzooError, match="has settings"):
        train(override(recipe, ["settings.widths=[8, 8]"]), label_maps, tmp_path / "run", resume=True)
    assert train(override(recipe, ["stages.1.steps=5"]), label_maps, tmp_path / "run", resume=True).steps == 9
    assert [row["step"] for row in read_log(tmp_path / "run")] == list(range(1, 10))


def test_a_loss_that_is_not_a_number_ends_the_training(label_maps: LabelMaps, recipe: Recipe, tmp_path: Path) -> None:
    wild = override(recipe, ["stages.0.learning_rate=1e30", "gradient_clip=1e30", "stages.0.warmup=1"])
    with pytest.raises(MedzooError, match="not a number at step"):
        train(wild, label_maps, tmp_path / "run")


def test_the_exported_card_gives_the_trained_network(label_maps: LabelMaps, recipe: Recipe, tmp_path: Path) -> None:
    deep = override(recipe, ["settings={widths: [4, 8, 8], deep_supervision: 1}", "stages.1.patch=[16, 16, 8]"])
    train(deep, label_maps, tmp_path / "run")
    export(tmp_path / "run", tmp_path / "cards", "medzoo-train fit tiny")
    card = read_card(tmp_path / "cards" / "tiny.yaml")
    assert card.channels == recipe.channels and card.preprocessing == recipe.preprocessing
    assert "deep_supervision" not in card.settings
    average = checkpoint.average(checkpoint.load(tmp_path / "run"))
    for name, value in load_network(card).state_dict().items():
        torch.testing.assert_close(value.float(), average[name].half().float())


def test_a_card_that_repeats_the_scores_of_another_says_so(
    label_maps: LabelMaps, recipe: Recipe, tmp_path: Path
) -> None:
    train(recipe, label_maps, tmp_path / "run")
    own = Score(data="one patient", metric="Dice", value=0.5, command="medzoo-train evaluate tiny")
    first = export(tmp_path / "run", tmp_path / "first", "fit").model_copy(update={"scores": (own,)})
    export(tmp_path / "run", tmp_path / "second", "fit", scores_of=first)
    (score,) = read_card(tmp_path / "second" / "tiny.yaml").scores
    assert score == own.model_copy(update={"data": "one patient; by the weights that this training began with"})


def test_the_commands(packed_maps: Path, recipe: Recipe, tmp_path: Path) -> None:
    """Fit, a second fit that is refused, export; what is printed is a few lines however many steps there are."""
    from napari_medzoo_training.__main__ import app

    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False))
    call = ["fit", str(tmp_path / "tiny.yaml"), "--output", str(tmp_path / "run"), "--device", "cpu"]
    said = CliRunner().invoke(app, [*call, "--set", "stages.0.steps=10", "--set", "name=other"])
    assert said.exit_code == 0, said.output
    assert "other: 12 steps" in said.output.replace("\n", " ")
    assert len(said.output.splitlines()) < 5
    refused = CliRunner().invoke(app, call)
    assert isinstance(refused.exception, MedzooError)
    said = CliRunner().invoke(app, ["export", str(tmp_path / "run"), "--output", str(tmp_path / "cards")])
    assert said.exit_code == 0 and (tmp_path / "cards" / "other.yaml").is_file()


@pytest.mark.parametrize(
    ("assignment", "message"),
    [("batch", "key=value"), ("bacth=2", "bacth"), ("stages.7.steps=1", "no such field"), ("batch=0", "batch")],
)
def test_overrides_that_make_no_recipe_say_why(assignment: str, message: str, recipe: Recipe) -> None:
    with pytest.raises(MedzooError, match=message):
        override(recipe, [assignment])


def test_overrides_reach_lists_and_parts_left_out(cases_recipe: Recipe) -> None:
    changed = override(cases_recipe, ["stages.0.patch=[8, 8, 8]", "folds.fold=3", "optimiser.settings.momentum=0.5"])
    assert changed.stages[0].patch == (8, 8, 8)
    assert changed.folds is not None and changed.folds.fold == 3 and changed.folds.count == 5
    assert changed.optimiser.settings == {"momentum": 0.5}
    bare = override(cases_recipe, ["folds=null"])
    assert override(bare, ["folds.fold=1"]).folds is not None


NORMALISED = ["architecture=densenet3d", "settings={widths: [2, 2], head: [2], padding: same}"]


@pytest.mark.parametrize(
    ("changes", "name"),
    [([], "stem.weight"), (NORMALISED, "stream.layers.0.norm.running_var")],
    ids=["weights", "statistics of a batch normalisation"],
)
def test_the_network_averages_its_steps(
    label_maps: LabelMaps, recipe: Recipe, tmp_path: Path, changes: list[str], name: str
) -> None:
    """The average follows the steps as its decay says: min(ema, (1 + n) / (10 + n))."""
    seen: list[dict[str, np.ndarray]] = []

    class Watch(pl.Callback):
        def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, *_: Any) -> None:
            seen.append({name: value.numpy().copy() for name, value in pl_module.network.state_dict().items()})

    train(override(recipe, ["ema=0.25", *changes]), label_maps, tmp_path / "run", callbacks=[Watch()])
    expected = seen[0][name]
    for step, weights in enumerate(seen[1:], 1):
        decay = min(0.25, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * weights[name]
    average = checkpoint.average(checkpoint.load(tmp_path / "run"))
    np.testing.assert_allclose(average[name].numpy(), expected, rtol=1e-5)
    counted = {key: int(value) for key, value in average.items() if key.endswith("num_batches_tracked")}
    assert set(counted.values()) == ({len(seen)} if changes else set())
