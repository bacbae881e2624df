"""From a training's checkpoint to a model card that the plugin and the command line use at once."""

from __future__ import annotations

from pathlib import Path

import torch
from pydantic import ValidationError
from safetensors.torch import save_file

from napari_medzoo.cards import ModelCard, sha256
from napari_medzoo.errors import MedzooError
from napari_medzoo.io import replacing

from . import checkpoint
from .config import Recipe
from .fit import build


def export(folder: Path, output: Path, command: str) -> ModelCard:
    """Write the averaged weights of the training in `folder` and their card to the folder `output`.

    Parameters
    ----------
    folder, output : pathlib.Path
        The training, and where ``NAME.safetensors`` (half precision) and ``NAME.yaml`` go.
    command : str
        What trained the weights; it is written into the card.

    Raises
    ------
    MedzooError
        If there is no checkpoint, or its recipe is of another version.
    """
    state = checkpoint.load(folder)
    try:
        recipe = Recipe.model_validate(state["recipe"])
    except ValidationError as error:
        raise MedzooError(
            f"{folder} was trained by another version, whose recipe this one cannot read; 'resume' it for a step first."
        ) from error
    network = build(recipe)
    network.load_state_dict(state["average"])
    output.mkdir(parents=True, exist_ok=True)
    weights = output / f"{recipe.name}.safetensors"
    half = {name: value.to(torch.float16).contiguous() for name, value in network.state_dict().items()}
    with replacing(weights) as temporary:
        save_file(half, temporary, metadata={"step": str(state["step"])})
        temporary.chmod(0o644)  # safetensors lets only the owner read
    card = ModelCard(
        name=recipe.name,
        title=recipe.title,
        description=recipe.description,
        architecture=recipe.architecture,
        settings=dict(recipe.settings),
        modalities=recipe.modalities,
        label_scheme=recipe.label_scheme,
        channels=recipe.channels,
        preprocessing=recipe.preprocessing,
        patch=recipe.inference_patch,
        whole=recipe.inference_whole,
        divisor=getattr(network, "divisor", 1),
        weights=weights.name,
        sha256=sha256(weights),
        licence=recipe.licence,
        data=recipe.data,
        command=command,
        folder=output,
    )
    with replacing(output / f"{recipe.name}.yaml") as temporary:
        card.save(temporary)
    return card
