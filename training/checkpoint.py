"""The state of a training on disk: ``last.ckpt`` to continue from, ``best.ckpt`` where validation chose one.

Both are Lightning's checkpoints. ``state_dict`` holds the averaged weights, which are the ones exported;
``current_model_state`` those that the optimiser moves; ``recipe`` the recipe.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor

from napari_medzoo.errors import MedzooError

from .config import Recipe

LAST = "last"
BEST = "best"
PREFIX = "network."


def path_of(folder: Path, which: str) -> Path:
    """Where the training in `folder` keeps its checkpoint `which`."""
    return folder / f"{which}.ckpt"


def load(folder: Path, which: str = LAST) -> dict[str, Any]:
    """Read a checkpoint of the training in `folder`.

    Raises
    ------
    MedzooError
        If there is none.
    """
    path = path_of(folder, which)
    if not path.is_file():
        raise MedzooError(f"{folder} holds no checkpoint {path.name}; start with 'medzoo-train fit'.")
    content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return content


def load_best(folder: Path) -> dict[str, Any]:
    """The best checkpoint where validation chose one, else the last."""
    return load(folder, BEST if path_of(folder, BEST).is_file() else LAST)


def recipe_of(folder: Path, state: dict[str, Any] | None = None) -> Recipe:
    """The recipe of the training in `folder` (that of `state`, where it has been read already).

    Raises
    ------
    MedzooError
        If there is no checkpoint, or its recipe is of another version.
    """
    try:
        return Recipe.model_validate((state or load(folder))["recipe"])
    except (ValidationError, KeyError) as error:
        raise MedzooError(
            f"{folder} was trained by another version, whose recipe this one cannot read; train it again."
        ) from error


def average(state: dict[str, Any]) -> dict[str, Tensor]:
    """The averaged weights in a checkpoint, by the names of the network's parameters."""
    return {name.removeprefix(PREFIX): value for name, value in state["state_dict"].items()}


def current(state: dict[str, Any]) -> dict[str, Tensor]:
    """The weights that the optimiser moves, by the names of the network's parameters."""
    return {name.removeprefix(PREFIX): value for name, value in state["current_model_state"].items()}
