from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from napari_medzoo_training.config import Recipe
from napari_medzoo_training.fit import choose_device
from napari_medzoo_training.labelmaps import LabelMaps
from napari_medzoo_training.module import Training
from napari_medzoo_training.overrides import override
from napari_medzoo_training.trials import in_own_process, measure, peak_memory_bytes

from napari_medzoo.errors import MedzooError


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[tuple[bool, torch.dtype]]:
    """Of every training step: whether autocast was on, and what a convolution gave."""
    steps: list[tuple[bool, torch.dtype]] = []
    own = Training.training_step

    def step(self: Training, batch: tuple[torch.Tensor, torch.Tensor], index: int) -> torch.Tensor:
        weight = torch.ones(1, 1, 1, 1, 1)
        steps.append((torch.is_autocast_enabled("cpu"), torch.nn.functional.conv3d(batch[0][:1, :1], weight).dtype))
        return own(self, batch, index)

    monkeypatch.setattr(Training, "training_step", step)
    return steps


def test_blocks_take_turns_on_one_network(
    label_maps: LabelMaps, recipe: Recipe, seen: list[tuple[bool, torch.dtype]]
) -> None:
    plan = [("bf16", 1), ("32", 2), ("bf16", 2)]
    blocks = measure(recipe, label_maps, plan, "cpu")
    assert [(block.precision, block.steps) for block in blocks] == plan
    low, high = (True, torch.bfloat16), (False, torch.float32)
    assert seen == [low, high, high, low, low]
    assert all(0 < block.waited < block.seconds for block in blocks)


def test_one_precision_is_the_recipes_own_way(
    label_maps: LabelMaps, recipe: Recipe, seen: list[tuple[bool, torch.dtype]]
) -> None:
    chosen = override(recipe, ["accumulate=2"])
    blocks = measure(chosen, label_maps, [("32", 1), ("32", 2)], "cpu")
    assert [block.steps for block in blocks] == [1, 2]
    assert len(seen) == 6, "a step has two batches"
    assert not any(low for low, _ in seen)


def test_the_gradient_scale_of_fp16_is_no_others(label_maps: LabelMaps, recipe: Recipe) -> None:
    with pytest.raises(MedzooError, match="cannot take turns"):
        measure(recipe, label_maps, [("fp16", 1), ("32", 1)], "cpu")


def test_an_unknown_device_is_refused() -> None:
    with pytest.raises(MedzooError, match="choose one of: auto, cpu"):
        choose_device("gpu")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux keeps the peak of a process apart")
def test_a_process_of_its_own_has_its_own_peak() -> None:
    ballast = np.ones(1 << 27)  # 1 GB
    here = peak_memory_bytes("cpu")
    assert here > ballast.nbytes
    assert 50e6 < in_own_process(peak_memory_bytes, "cpu") < here - ballast.nbytes / 2


@pytest.mark.slow
def test_a_process_that_is_ended_from_outside_is_one_sentence() -> None:
    with pytest.raises(MedzooError, match="want of memory"):
        in_own_process(os._exit, 1)


KILLED = """
import os, signal, sys, threading
from napari_medzoo_training.trials import in_own_process

def wait():
    print("there", flush=True)
    threading.Event().wait(120)

if __name__ == "__main__":
    in_own_process(wait)
"""


@pytest.mark.slow
def test_a_process_of_its_own_ends_with_the_one_that_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "killed.py"
    script.write_text(KILLED, encoding="utf-8")
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None and parent.stdout.readline() == "there\n"
        parent.kill()
        parent.communicate(timeout=60)  # both hold the pipe, so it ends with the last of them
