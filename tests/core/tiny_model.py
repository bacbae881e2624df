"""Small models for tests: a card with weights on disk. Never the source of a figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from napari_medzoo.cards import ModelCard, read_card, sha256
from napari_medzoo.inference import BACKENDS
from napari_medzoo.models import ARCHITECTURES
from napari_medzoo.preprocess.recipe import Preprocessing
from napari_medzoo.progress import Progress, Result, Steps

PLAIN = Preprocessing(spacing=None, align=None, head_crop=None, normalise={"method": "minmax"})
"""Reorientation and scaling to 0–1 only, so that a test can compute the expected labels by itself."""


class Nearest(nn.Module):
    """Class k wins where the first channel is nearest to k / (classes - 1): a segmentation that a test can predict."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__()
        self.centers = nn.Parameter(torch.linspace(0, 1, num_classes).reshape(1, -1, 1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return 20 * (2 * self.centers * x[:, :1] - self.centers**2)


def make_card(
    folder: Path,
    architecture: str = "strided_unet",
    settings: Mapping[str, Any] | None = None,
    modalities: Sequence[str] = ("any",),
    channels: Sequence[int] = (0, 2, 3, 41, 42),
    network: nn.Module | None = None,
    **fields: Any,
) -> ModelCard:
    """Write ``tiny.yaml`` and random, fixed ``tiny.safetensors`` to `folder` and read the card back."""
    if settings is None:
        settings = {"widths": [4, 8]} if architecture == "strided_unet" else {}
    if network is None:
        torch.manual_seed(0)
        network = ARCHITECTURES[architecture](in_channels=len(modalities), num_classes=len(channels), **settings)
    weights = folder / "tiny.safetensors"
    save_file(network.state_dict(), weights)
    content = {
        "name": "tiny",
        "title": "A tiny model",
        "architecture": architecture,
        "settings": settings,
        "modalities": modalities,
        "label_scheme": "aseg",
        "channels": channels,
        "preprocessing": PLAIN,
        "patch": (16, 16, 16),
        "divisor": getattr(network, "divisor", 1),
        "weights": weights.name,
        "sha256": sha256(weights),
        "licence": "BSD-3-Clause",
        "data": "none",
        "command": "none",
        **fields,
    }
    ModelCard.model_validate(content).save(folder / "tiny.yaml")
    return read_card(folder / "tiny.yaml")


def collect(steps: Steps[Result]) -> tuple[list[Progress], Result]:
    """Everything that `steps` yields, and its result."""
    seen = []
    while True:
        try:
            seen.append(next(steps))
        except StopIteration as stop:
            return seen, stop.value


def require_openvino() -> None:
    """Skip where OpenVINO is not installed, without importing it: importing it directly reports usage."""
    if not BACKENDS["openvino"].devices():
        pytest.skip("openvino is not installed")
