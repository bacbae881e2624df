"""The plan: decided from memory, refused in one sentence, repeated from its record."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from napari_medzoo.cards import ModelCard
from napari_medzoo.errors import MedzooError
from napari_medzoo.inference import BACKENDS, Plan, estimate, load_network, make_plan, plan
from napari_medzoo.inference.plan import choose_backend, default_threads
from napari_medzoo.preprocess.recipe import Preprocessing
from napari_medzoo.space import Grid
from napari_medzoo.study import Study, Volume
from tests.core.tiny_model import make_card, require_openvino

SHAPE = (50, 61, 40)


@pytest.fixture
def card(tmp_path: Path) -> ModelCard:
    return make_card(tmp_path)


def with_memory(monkeypatch: pytest.MonkeyPatch, free: int) -> None:
    monkeypatch.setattr(plan, "available_memory_bytes", lambda: free)


def test_whole_where_memory_allows(card: ModelCard, monkeypatch: pytest.MonkeyPatch) -> None:
    with_memory(monkeypatch, 8 << 30)
    made = make_plan(card, SHAPE, device="cpu", backend="torch")
    assert (made.mode, made.patch, made.overlap) == ("whole", (52, 64, 40), 0.0)
    assert made.available_bytes == 8 << 30
    assert 4 * 52 * 64 * 40 * (1 + 5) < made.memory_bytes < 100e6


def test_the_boundary_is_at_60_percent(card: ModelCard, monkeypatch: pytest.MonkeyPatch) -> None:
    peak = make_plan(card, SHAPE, device="cpu", backend="torch").memory_bytes
    with_memory(monkeypatch, int(peak / 0.6) + 2)
    assert make_plan(card, SHAPE, device="cpu", backend="torch").mode == "whole"
    with_memory(monkeypatch, int(peak / 0.6) - 2)
    tiles = make_plan(card, SHAPE, device="cpu", backend="torch")
    assert (tiles.mode, tiles.patch, tiles.overlap) == ("tiles", (16, 16, 16), 0.25)
    assert tiles.memory_bytes < peak


def test_a_card_can_ask_for_tiles_whatever_the_memory(card: ModelCard, monkeypatch: pytest.MonkeyPatch) -> None:
    with_memory(monkeypatch, 8 << 30)
    made = make_plan(card.model_copy(update={"whole": False}), SHAPE, device="cpu", backend="torch")
    assert (made.mode, made.patch) == ("tiles", card.patch)


def test_valid_convolutions_are_planned_by_what_they_answer_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two poolings: multiples of 4, 20 voxels lost on every side."""
    card = make_card(
        tmp_path, "unet3d", {"widths": [2, 4, 6]}, patch=(48, 48, 56), divisor=4, margin=20, channels=(0, 2, 3)
    )
    with_memory(monkeypatch, 8 << 30)
    made = make_plan(card, SHAPE, device="cpu", backend="torch")
    assert (made.mode, made.patch, made.padded, made.margin) == ("whole", (92, 104, 80), (92, 104, 80), (20, 20, 20))
    assert made.memory_bytes > 4 * 92 * 104 * 80
    with_memory(monkeypatch, made.memory_bytes)
    tiles = make_plan(card, SHAPE, device="cpu", backend="torch")
    assert (tiles.mode, tiles.patch, tiles.padded, tiles.overlap) == ("tiles", (48, 48, 56), (92, 104, 80), 0.0)
    logits = 4 * 3 * 52 * 64 * 40
    assert logits < tiles.memory_bytes < made.memory_bytes
    assert tiles.for_shape((7, 7, 7), card.geometry).padded == (48, 48, 48)
    assert tiles.for_shape(SHAPE, card.geometry) == tiles


def test_slices_are_planned_one_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {"widths": [2, 4, 6], "padding": "same"}
    card = make_card(tmp_path, "unet2d", settings, patch=(16, 16, 1), divisor=(4, 4, 1), channels=(0, 2, 3))
    with_memory(monkeypatch, 1_000_000)
    made = make_plan(card, (50, 61, 7), device="cpu", backend="torch")
    assert (made.mode, made.patch, made.padded) == ("tiles", (16, 16, 1), (52, 64, 7))


def test_a_card_with_wrong_sizes_is_refused(tmp_path: Path) -> None:
    card = make_card(tmp_path, "unet3d", {"widths": [2, 4, 6]}, patch=(64, 64, 64), divisor=4, margin=20)
    wrong = card.model_copy(update={"margin": (0, 0, 0)})
    for attempt in (lambda: make_plan(wrong, SHAPE, device="cpu"), lambda: load_network(wrong)):
        with pytest.raises(MedzooError, match=r"multiples of 4, more than 40; write divisor .* margin \(20, 20, 20\)"):
            attempt()


def test_tiles_are_no_larger_than_the_study(card: ModelCard, monkeypatch: pytest.MonkeyPatch) -> None:
    with_memory(monkeypatch, 1_000_000)
    assert make_plan(card, (40, 30, 5), device="cpu", backend="torch").patch == (16, 16, 8)


def test_not_enough_for_tiles_is_refused(card: ModelCard, monkeypatch: pytest.MonkeyPatch) -> None:
    with_memory(monkeypatch, 100_000)
    with pytest.raises(MedzooError, match=r"needs about \d+\.\d GB of memory .* close other programs"):
        make_plan(card, SHAPE, device="cpu", backend="torch")


def test_record_round_trip(card: ModelCard) -> None:
    made = make_plan(card, SHAPE, device="cpu")
    record = json.loads(json.dumps(made.model_dump(mode="json")))
    assert Plan.model_validate(record) == made
    with pytest.raises(ValidationError, match="turbo"):
        Plan.model_validate({**record, "turbo": True})


def test_plan_for_another_study(card: ModelCard) -> None:
    made = make_plan(card, SHAPE, device="cpu", backend="torch")
    other = made.for_shape((17, 33, 9), card.geometry)
    assert (other.shape, other.patch, other.mode) == ((17, 33, 9), (20, 36, 12), "whole")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"device": "tpu"}, "There is no device 'tpu'; choose one of: auto, cpu, cuda, mps"),
        ({"backend": "caffe"}, "There is no back end 'caffe'; choose one of: auto, openvino, torch"),
        ({"precision": "int8", "device": "cpu", "backend": "torch"}, "no precision 'int8'; choose one of: float32"),
    ],
)
def test_unknown_choices(card: ModelCard, options: dict, expected: str) -> None:
    with pytest.raises(MedzooError, match=expected):
        make_plan(card, SHAPE, **options)


@pytest.mark.parametrize("device", ["cuda", "mps"])
@pytest.mark.parametrize("backend", ["auto", "torch", "openvino"])
def test_absent_device(device: str, backend: str) -> None:
    if device in BACKENDS["torch"].devices() and backend != "openvino":
        assert choose_backend(backend, device) == ("torch", device)
        return
    if backend == "openvino":
        require_openvino()
    with pytest.raises(MedzooError, match=rf"can use {device} on this computer; choose --device .*cpu\.$"):
        choose_backend(backend, device)


def test_auto_on_a_cpu_prefers_openvino(monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose_backend("auto", "cpu")[0] == ("openvino" if BACKENDS["openvino"].devices() else "torch")
    monkeypatch.setattr(BACKENDS["openvino"], "devices", lambda: ())
    assert choose_backend("auto", "cpu") == ("torch", "cpu")
    with pytest.raises(MedzooError, match="'openvino' is not installed; run: pip install openvino"):
        choose_backend("openvino", "cpu")


def test_auto_takes_a_graphics_processor_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BACKENDS["torch"], "devices", lambda: ("cuda", "cpu"))
    assert choose_backend("auto", "auto") == ("torch", "cuda")


def test_threads(card: ModelCard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert default_threads() == make_plan(card, SHAPE, device="cpu").threads == 3
    assert make_plan(card, SHAPE, device="cpu", threads=5).threads == 5
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert default_threads() >= 1


def test_estimate_is_for_the_models_spacing_and_axes(tmp_path: Path) -> None:
    card = make_card(tmp_path, preprocessing=Preprocessing(spacing=(1.0, 1.0, 2.0)))
    grid = Grid((30, 20, 10), np.diag([1.0, 2.0, 3.0, 1.0])).reoriented("SLA")
    study = Study({"t1w": Volume(np.zeros(grid.shape), grid, "t1w")})
    assert estimate(card, study, device="cpu").shape == (30, 40, 15)
