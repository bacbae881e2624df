"""Back ends give the same labels, on every network of the zoo."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from napari_medzoo.inference import BACKENDS, load_network
from tests.core.tiny_model import make_card, require_openvino
from tests.core.zoo import MONAI, NETWORKS, SMALL


def data(channels: int, shape: tuple[int, int, int], seed: int = 0) -> np.ndarray:
    smooth = np.random.default_rng(seed).normal(size=(channels, *(s // 4 for s in shape)))
    return smooth.repeat(4, 1).repeat(4, 2).repeat(4, 3).astype(np.float32)


def expected(card, x: np.ndarray) -> np.ndarray:  # type: ignore[no-untyped-def]
    with torch.inference_mode():
        return load_network(card)(torch.from_numpy(x)[None])[0].numpy()


@pytest.mark.parametrize("backend", sorted(BACKENDS))
@pytest.mark.parametrize("name", NETWORKS)
def test_float32_agrees_with_the_plain_network(tmp_path: Path, name: str, backend: str) -> None:
    if not BACKENDS[backend].devices():
        pytest.skip(f"{backend} is not installed")
    if name in MONAI:
        pytest.importorskip("monai.networks.nets")
    card = make_card(tmp_path, name, SMALL[name], modalities=("t1w", "t2w"), channels=(0, 2, 3, 4, 10, 11, 12, 41))
    runner = BACKENDS[backend].prepare(card, "cpu", "float32", 1)
    # Two shapes in a row through one runner, and the first again: nothing of a pass may reach into another.
    for shape in ((16, 32, 48), (48, 16, 16), (16, 32, 48)):
        x = data(2, shape)
        logits, reference = runner(x), expected(card, x)
        assert logits.dtype == np.float32
        assert logits.shape == reference.shape
        assert (logits.argmax(0) == reference.argmax(0)).mean() >= 0.999
        np.testing.assert_allclose(logits, reference, atol=1e-3)


@pytest.mark.parametrize("backend", sorted(BACKENDS))
def test_a_result_outlives_the_next_pass_and_the_release(tmp_path: Path, backend: str) -> None:
    if not BACKENDS[backend].devices():
        pytest.skip(f"{backend} is not installed")
    card = make_card(tmp_path)
    runner = BACKENDS[backend].prepare(card, "cpu", "float32", 1)
    x = data(1, (32, 32, 32))
    logits = runner(x)
    kept = logits.copy()
    runner(data(1, (32, 32, 32), seed=1))
    runner.release()
    assert (logits == kept).all()
    np.testing.assert_allclose(runner(x), kept, atol=1e-6)


@pytest.mark.parametrize("backend", sorted(BACKENDS))
def test_half_precision_gives_float32_logits_near_the_full_ones(tmp_path: Path, backend: str) -> None:
    precisions = BACKENDS[backend].precisions("cpu") if BACKENDS[backend].devices() else ()
    if "bfloat16" not in precisions:
        pytest.skip(f"{backend} has no bfloat16 here")
    card = make_card(tmp_path)
    x = data(1, (32, 32, 32))
    logits = BACKENDS[backend].prepare(card, "cpu", "bfloat16", 1)(x)
    assert logits.dtype == np.float32
    assert 0 < np.abs(logits - expected(card, x)).max() < 0.3
    assert (logits.argmax(0) == expected(card, x).argmax(0)).mean() > 0.95


def test_torch_restores_the_number_of_threads(tmp_path: Path) -> None:
    before = torch.get_num_threads()
    BACKENDS["torch"].prepare(make_card(tmp_path), "cpu", "float32", before + 1)(data(1, (16, 16, 16)))
    assert torch.get_num_threads() == before


def test_openvino_keeps_the_compiled_network_by_weights(tmp_path: Path) -> None:
    require_openvino()
    from napari_medzoo.inference import openvino_backend

    backend = BACKENDS["openvino"]
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    first = make_card(tmp_path / "a")
    other = make_card(tmp_path / "b", channels=(0, 2, 3))
    compiled = backend.prepare(first, "cpu", "float32", 1)._compiled  # type: ignore[attr-defined]
    assert backend.prepare(first, "cpu", "float32", 1)._compiled is compiled  # type: ignore[attr-defined]
    assert backend.prepare(other, "cpu", "float32", 1)(data(1, (16, 16, 16))).shape[0] == 3
    backend.prepare(first, "cpu", "float32", 2)
    assert len(openvino_backend._compiled) <= openvino_backend.KEPT


def test_importing_inference_loads_no_library() -> None:
    heavy = ["torch", "openvino", "SimpleITK", "safetensors", "matplotlib", "napari"]
    code = f"import sys, napari_medzoo.inference; print([m for m in {heavy} if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, encoding="utf-8")
    assert result.stdout.strip() == "[]"


def test_openvino_sends_no_statistics(tmp_path: Path) -> None:
    """By itself it reports its import and every conversion over the network."""
    require_openvino()
    card = make_card(tmp_path)
    code = (
        "import sys, socket\n"
        "def refuse(*a, **k): raise AssertionError('network')\n"
        "socket.socket.connect = socket.getaddrinfo = refuse\n"
        "from napari_medzoo.cards import read_card\n"
        "from napari_medzoo.inference import BACKENDS\n"
        "from pathlib import Path\n"
        f"BACKENDS['openvino'].prepare(read_card(Path({str(card.folder / 'tiny.yaml')!r})), 'cpu', 'float32', 1)\n"
        "assert 'openvino' in sys.modules\n"
    )
    home = tmp_path / "home"
    home.mkdir()
    quiet = {key: value for key, value in os.environ.items() if key not in ("CI", "GITHUB_ACTIONS")}
    subprocess.run([sys.executable, "-c", code], check=True, env={**quiet, "HOME": str(home)})
    assert not list(home.rglob("openvino_ga_cid")), "a client id for statistics was written"
