"""A card's network: built from `ARCHITECTURES`, filled from safetensors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_medzoo.cards import ModelCard
from napari_medzoo.errors import MedzooError
from napari_medzoo.models import ARCHITECTURES

if TYPE_CHECKING:
    from torch import nn


def build_network(card: ModelCard, device: str = "cpu") -> nn.Module:
    """The card's architecture with its initial weights, in evaluation mode (on ``"meta"`` it takes no memory).

    Raises
    ------
    MedzooError
        For an architecture that the zoo does not have, or settings it does not take.
    """
    import torch

    if card.architecture not in ARCHITECTURES:
        raise MedzooError(
            f"Model '{card.name}' uses the network '{card.architecture}', which this version does not have; "
            f"it has {', '.join(sorted(ARCHITECTURES))}. Install a newer napari-medzoo."
        )
    try:
        with torch.device(device):
            network = ARCHITECTURES[card.architecture](
                in_channels=len(card.modalities), num_classes=len(card.channels), **card.settings
            )
    except (TypeError, ValueError) as error:
        raise MedzooError(
            f"Model '{card.name}': its settings do not fit the network '{card.architecture}' ({error}); "
            "correct 'settings' in the card."
        ) from error
    return network.eval()


def load_network(card: ModelCard) -> nn.Module:
    """The trained network on the CPU, float32, in evaluation mode, after comparing the weights' sha256.

    Raises
    ------
    MedzooError
        If the weights are absent, another file, or of another network.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = card.check_weights()
    network = build_network(card)
    try:
        network.load_state_dict(load_file(path))
    except (SafetensorError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise MedzooError(
            f"Model '{card.name}': {path.name} does not hold the weights of '{card.architecture}' with "
            f"{len(card.modalities)} inputs and {len(card.channels)} classes ({reason[:200]}); install the model again."
        ) from error
    return network.requires_grad_(False)
