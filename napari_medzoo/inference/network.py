"""The network of a card or a recipe: built from `ARCHITECTURES`; a card's is filled from safetensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from napari_medzoo.cards import ModelCard
from napari_medzoo.errors import MedzooError
from napari_medzoo.models import ARCHITECTURES
from napari_medzoo.models.geometry import geometry_of

if TYPE_CHECKING:
    from torch import nn


class Describes(Protocol):
    """What says which network is meant: a model card, or a training recipe."""

    @property
    def name(self) -> str: ...
    @property
    def architecture(self) -> str: ...
    @property
    def settings(self) -> Mapping[str, Any]: ...
    @property
    def modalities(self) -> tuple[str, ...]: ...
    @property
    def channels(self) -> tuple[int, ...]: ...


def build_network(card: Describes, device: str = "cpu") -> nn.Module:
    """The architecture that a card (or recipe) names, with initial weights, in evaluation mode.

    Parameters
    ----------
    card : ModelCard or the like
    device : str
        On ``"meta"`` the network takes no memory.

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
    except MedzooError:
        raise  # a library is missing
    except (TypeError, ValueError) as error:
        raise MedzooError(
            f"Model '{card.name}': its settings do not fit the network '{card.architecture}' ({error}); "
            "correct 'settings' in the card or recipe."
        ) from error
    return network.eval()


def check_geometry(card: ModelCard, network: nn.Module) -> None:
    """Compare the sizes that a card states with those that its network takes.

    Raises
    ------
    MedzooError
        If the network does not take them, or answers for another part of them.
    """
    found = geometry_of(network)
    if not card.geometry.suits(found):
        raise MedzooError(
            f"Model '{card.name}': the card says sizes of {card.geometry}, but its network '{card.architecture}' takes "
            f"{found}; write divisor {found.divisor}, remainder {found.remainder} and margin {found.margin} into the "
            "card, or export the model again."
        )


def load_network(card: ModelCard) -> nn.Module:
    """The trained network on the CPU, float32, in evaluation mode, after comparing the weights' sha256.

    Raises
    ------
    MedzooError
        If the weights are absent, another file, or of another network, or the card states wrong sizes.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = card.check_weights()
    network = build_network(card)
    check_geometry(card, network)
    try:
        network.load_state_dict(load_file(path))
    except (SafetensorError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise MedzooError(
            f"Model '{card.name}': {path.name} does not hold the weights of '{card.architecture}' with "
            f"{len(card.modalities)} inputs and {len(card.channels)} classes ({reason[:200]}); install the model again."
        ) from error
    return network.requires_grad_(False)
