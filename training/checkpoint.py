"""The state of a training on disk: written whole or not at all, read back to continue the same curve."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from napari_medzoo.errors import MedzooError
from napari_medzoo.io import replacing

LAST = "last.pt"


def save(folder: Path, state: Mapping[str, Any]) -> Path:
    """Write ``last.pt`` of `folder`, replacing the previous one in one move."""
    with replacing(folder / LAST) as temporary:
        torch.save(dict(state), temporary)
    return folder / LAST


def load(folder: Path) -> dict[str, Any]:
    """Read ``last.pt`` of `folder`.

    Raises
    ------
    MedzooError
        If there is none.
    """
    path = folder / LAST
    if not path.is_file():
        raise MedzooError(f"{folder} holds no checkpoint ({LAST}); start with 'medzoo-train fit'.")
    content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return content


class Average:
    """Exponential moving average of a network's weights, which follow the noise of training less.

    Parameters
    ----------
    network : torch.nn.Module
    decay : float
        Share of the old average kept at each step; it ramps up from 0 so that early steps do not linger.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay = decay
        self.weights: dict[str, Tensor] = {name: value.detach().clone() for name, value in network.state_dict().items()}

    def update(self, network: nn.Module, step: int) -> None:
        """Move towards the network's weights after step number `step`."""
        decay = min(self.decay, (1 + step) / (10 + step))
        for name, value in network.state_dict().items():
            self.weights[name].lerp_(value.detach(), 1 - decay)
