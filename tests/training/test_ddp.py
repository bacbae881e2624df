"""Several processes through Lightning, started as torchrun starts them, over gloo on the CPU."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml
from napari_medzoo_training import checkpoint
from napari_medzoo_training.config import Recipe
from napari_medzoo_training.data import open_source
from napari_medzoo_training.fit import fit
from napari_medzoo_training.logs import read_log
from napari_medzoo_training.overrides import override

from napari_medzoo.inference.network import build_network
from napari_medzoo.progress import run


def train_on_two(recipe: Recipe, folder: Path) -> None:
    """`medzoo-train fit` in two processes with the environment that torchrun gives them."""
    folder.parent.mkdir(exist_ok=True)
    path = folder.parent / f"{folder.name}.yaml"
    path.write_text(yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "napari_medzoo_training", "fit", str(path), "--output", str(folder)]
    command += ["--device", "cpu", "--threads", "1"]
    environment = {
        "OMP_NUM_THREADS": "1",
        "WORLD_SIZE": "2",
        "LOCAL_WORLD_SIZE": "2",
        "GROUP_RANK": "0",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "TORCHELASTIC_RUN_ID": "test",
    }
    processes = [
        subprocess.Popen(command, env=os.environ | environment | {"RANK": str(rank), "LOCAL_RANK": str(rank)})
        for rank in range(2)
    ]
    try:
        while any(process.poll() is None for process in processes) and not any(p.returncode for p in processes):
            time.sleep(0.05)
        assert [process.returncode for process in processes] == [0, 0]
    finally:
        for process in processes:
            process.kill()


def flat(weights: dict[str, torch.Tensor]) -> torch.Tensor:
    return torch.cat([weights[name].flatten() for name in sorted(weights)])


@pytest.mark.slow
def test_two_processes_equal_one_with_the_doubled_batch(cases_recipe: Recipe, tmp_path: Path) -> None:
    """The same losses and weights, and the same Dice: the second process has no case to validate on."""
    # Momentum, not AdamW: that divides gradients of nearly nought by themselves, and rounding with them.
    changes = ["optimiser.name=sgd", "stages.0.learning_rate=0.01", "stages.0.steps=6", "accumulate=2"]
    chosen = override(cases_recipe, [*changes, "batch=1", "folds.validation_share=0.1"])
    train_on_two(chosen, tmp_path / "two")
    cases = run(open_source(chosen, tmp_path))
    fit(override(chosen, ["batch=2"]), lambda: cases, tmp_path / "one", device="cpu")
    losses = [[row["loss"] for row in read_log(tmp_path / name)] for name in ("two", "one")]
    assert len(losses[0]) == 6
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    torch.manual_seed(chosen.seed)
    begun = build_network(chosen).state_dict()
    for weights in (checkpoint.average, checkpoint.current):
        two, one = (flat(weights(checkpoint.load(tmp_path / name))) for name in ("two", "one"))
        torch.testing.assert_close(two, one, rtol=1e-3, atol=2e-5)
        assert (two - one).norm() < 0.01 * (one - flat(begun)).norm()
    two_dice, one_dice = (read_log(tmp_path / name, "validation.csv") for name in ("two", "one"))
    assert len(two_dice) == 2
    assert two_dice[1] == pytest.approx(one_dice[1], abs=2e-3)
