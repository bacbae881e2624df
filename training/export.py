"""From a training's checkpoint to a model card that the plugin and the command line use at once."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

from napari_medzoo.cards import ModelCard, sha256
from napari_medzoo.errors import MedzooError
from napari_medzoo.inference.network import build_network
from napari_medzoo.io import replacing
from napari_medzoo.models import ARCHITECTURES
from napari_medzoo.models.geometry import geometry_of

from . import checkpoint
from .config import Recipe

EARLIER = "by the weights that this training began with"
"""Whose scores a card repeats (`export`)."""


def export(
    folder: Path, output: Path, command: str, which: str | None = None, scores_of: ModelCard | None = None
) -> ModelCard:
    """Write the averaged weights of the training in `folder` and their card to the folder `output`.

    Parameters
    ----------
    folder, output : pathlib.Path
        The training, and where ``NAME.safetensors`` (half precision) and ``NAME.yaml`` go.
    command : str
        What trained the weights; it is written into the card.
    which : str, optional
        ``"best"`` or ``"last"``; by default the best where validation chose one.
    scores_of : ModelCard, optional
        The card that the training began with, if the new one is to repeat its scores, as where the scans that it was
        scored on have taught since. The scores say whose they are.

    Raises
    ------
    MedzooError
        If there is no checkpoint, or its recipe is of another version.
    """
    state = checkpoint.load(folder, which) if which else checkpoint.load_best(folder)
    recipe = checkpoint.recipe_of(folder, state)
    network = build_network(recipe.model_copy(update={"settings": _settings(recipe)}))
    trained = checkpoint.average(state)
    network.load_state_dict({name: trained[name] for name in network.state_dict()})
    output.mkdir(parents=True, exist_ok=True)
    weights = output / f"{recipe.name}.safetensors"
    half = {name: value.to(torch.float16).contiguous() for name, value in network.state_dict().items()}
    with replacing(weights) as temporary:
        save_file(half, temporary, metadata={"step": str(state["global_step"])})
        temporary.chmod(0o644)  # safetensors lets only the owner read
    card = card_of(recipe, network, sha256(weights), command).model_copy(update={"folder": output})
    if scores_of is not None:
        earlier = [score.model_copy(update={"data": f"{score.data}; {EARLIER}"}) for score in scores_of.scores]
        card = card.model_copy(update={"scores": tuple(earlier)})
    with replacing(output / f"{recipe.name}.yaml") as temporary:
        card.save(temporary)
    return card


def card_of(recipe: Recipe, network: nn.Module, checksum: str = "0" * 64, command: str = "") -> ModelCard:
    """The card of a network that `recipe` trains; also of one that is not finished, to plan its inference.

    Its patch is the recipe's `inference_patch`, or the next larger one that the network takes.

    Raises
    ------
    MedzooError
        If the network would answer for no voxel of the recipe's patch.
    """
    geometry = geometry_of(network)
    if min(geometry.output_of(recipe.inference_patch)) < 1:
        raise MedzooError(
            f"Recipe '{recipe.name}': of the inference_patch {recipe.inference_patch} the network "
            f"'{recipe.architecture}' answers for nothing, since it loses {geometry.margin} voxels on every side; "
            "enlarge inference_patch, or train it with padding: same."
        )
    return ModelCard(
        name=recipe.name,
        title=recipe.title,
        description=recipe.description,
        architecture=recipe.architecture,
        settings=_settings(recipe),
        modalities=recipe.modalities,
        accepts=recipe.accepts,
        label_scheme=recipe.label_scheme,
        labels=recipe.labels,
        channels=recipe.channels,
        preprocessing=recipe.preprocessing,
        patch=geometry.covering(recipe.inference_patch),
        whole=recipe.inference_whole,
        tissues=recipe.tissues,
        keep_largest=recipe.keep_largest,
        divisor=geometry.divisor,
        remainder=geometry.remainder,
        margin=geometry.margin,
        weights=f"{recipe.name}.safetensors",
        sha256=checksum,
        licence=recipe.licence,
        data=recipe.data,
        command=command,
    )


def _settings(recipe: Recipe) -> dict[str, Any]:
    """The network's settings without what only training needs: the further heads of deep supervision stay behind."""
    key = "deep_supervision"
    settings = {name: value for name, value in recipe.settings.items() if name != key}
    parameter = inspect.signature(ARCHITECTURES[recipe.architecture]).parameters.get(key)
    return {**settings, key: False} if parameter and parameter.default else settings
