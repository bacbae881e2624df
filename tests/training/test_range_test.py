from __future__ import annotations

import csv
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pytest
from napari_medzoo_training import range_test as module
from napari_medzoo_training.config import Recipe
from napari_medzoo_training.labelmaps import LabelMaps
from napari_medzoo_training.overrides import override
from napari_medzoo_training.range_test import (
    HIGHEST,
    LOWEST,
    RangeTest,
    Watch,
    range_test,
    smooth,
    suggest,
    write_range_test,
)

RATES = np.geomspace(LOWEST, HIGHEST, 60)


def curve(noise: float, fall: float = 1.0) -> np.ndarray:
    """A loss that falls fastest at 1e-3 and explodes from about 0.1 on."""
    decades = np.log10(RATES)
    losses = 2 - fall / (1 + np.exp(-4 * (decades + 3))) + np.exp(8 * (decades + 0.5))
    return losses + np.random.default_rng(0).normal(0, noise, losses.shape)


@pytest.mark.parametrize("noise", [0.0, 0.03])
def test_the_rate_of_the_steepest_descent_is_suggested(noise: float) -> None:
    losses = curve(noise)
    found = suggest(RATES, losses, smooth(losses))
    assert found is not None
    assert 4e-4 < found < 2.5e-3


@pytest.mark.parametrize("losses", [curve(0.03, fall=0.0), np.full(60, 1.0), np.linspace(1, 2, 60), np.ones(3)])
def test_without_a_clear_fall_nothing_is_suggested(losses: np.ndarray) -> None:
    assert suggest(RATES[: len(losses)], losses, smooth(losses)) is None


def test_the_rate_rises_and_weights_follow_it(
    label_maps: LabelMaps, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    used: list[float] = []

    class Spy(Watch):
        def on_before_optimizer_step(self, trainer: pl.Trainer, pl_module: Any, optimizer: Any) -> None:
            used.append(optimizer.param_groups[0]["lr"])

    monkeypatch.setattr(module, "Watch", Spy)
    found = range_test(override(recipe, ["accumulate=2"]), label_maps, "cpu", steps=7)
    assert len(found.losses) == len(found.rates) == len(found.smoothed) <= 7
    np.testing.assert_allclose(used[:5], 10.0 ** np.arange(-6, -1), rtol=1e-9)
    np.testing.assert_allclose(found.rates, used[: len(found.rates)], rtol=1e-9)
    assert 1 < found.losses[0] < 6, "the loss of a step, not of one of its batches"


@pytest.mark.parametrize(("losses", "taken"), [([1.0, 0.9, math.nan], 2), ([1.0, 0.5, 100.0], 3), ([1.0, 2.0, 1.5], 3)])
def test_a_training_that_diverges_is_ended(losses: list[float], taken: int) -> None:
    trainer, watch = SimpleNamespace(accumulate_grad_batches=1, should_stop=False), Watch()
    for number, loss in enumerate(losses):
        assert not trainer.should_stop
        watch.on_train_batch_end(trainer, None, {"loss": loss}, None, number)  # type: ignore[arg-type]
    assert len(watch.losses) == taken
    assert trainer.should_stop == (losses[-1] != 1.5)


def test_the_curve_is_written_and_drawn(tmp_path: Path) -> None:
    losses = curve(0.0)
    found = RangeTest(tuple(RATES), tuple(losses), tuple(smooth(losses)), 1e-3)
    table, picture = write_range_test(tmp_path / "new", found)
    with table.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [float(row["learning_rate"]) for row in rows] == pytest.approx(RATES.tolist(), rel=1e-5)
    assert float(rows[3]["smoothed_loss"]) == pytest.approx(found.smoothed[3], rel=1e-5)
    assert picture.read_bytes().startswith(b"\x89PNG")
