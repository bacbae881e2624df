"""Beginning with trained weights: from any card, also of another number of modalities or of other classes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from napari_medzoo.cards import ModelCard
from napari_medzoo.errors import MedzooError
from napari_medzoo.inference.network import build_network, load_network

from .config import Recipe


@dataclass(frozen=True)
class Report:
    """What became of the network's parameters, by name.

    Attributes
    ----------
    loaded : tuple of str
        The card's values as they are.
    adapted : tuple of str
        The card's values for other modalities or classes, each with how.
    fresh : tuple of str
        Initial values, because the card has none that fit, each with why.
    """

    loaded: tuple[str, ...]
    adapted: tuple[str, ...]
    fresh: tuple[str, ...]

    def __str__(self) -> str:
        parts = [f"{len(self.loaded)} parameters as they are"]
        for title, names in (("adapted", self.adapted), ("begun anew", self.fresh)):
            if names:
                parts.append(f"{len(names)} {title}: {'; '.join(names)}")
        return ", ".join(parts)


def load_start(network: nn.Module, recipe: Recipe, card: ModelCard) -> Report:
    """Give a recipe's network the weights of a card, as far as they fit.

    Parameters of the same name and shape are copied. A first convolution for other modalities takes, for a modality
    that the card knows, its weights, and else their mean over the card's, scaled so that the sums stay alike. A head
    for other classes takes the rows of the classes that both number and call alike, and the background's.

    Parameters
    ----------
    network : torch.nn.Module
        Built from `recipe`; changed in place.
    recipe : Recipe
    card : ModelCard

    Returns
    -------
    Report

    Raises
    ------
    MedzooError
        If the card's weights are absent or damaged, or nothing in them fits.
    """
    trained = load_network(card).state_dict()
    values = network.state_dict()
    classes, inputs = (
        _grown(recipe, channels=(*recipe.channels, -1)),
        _grown(recipe, modalities=(*recipe.modalities, "")),
    )
    rows, columns = _shared_classes(recipe, card), _sources_of_inputs(recipe, card)
    loaded, adapted, fresh = [], [], []
    for name, value in values.items():
        source = trained.get(name)
        if source is None:
            fresh.append(f"{name} (the card has none)")
        elif name in inputs and source.shape[1] == len(card.modalities):
            value.copy_(_for_inputs(source, columns))
            if columns == [(number,) for number in range(len(card.modalities))]:
                loaded.append(name)
            else:
                adapted.append(f"{name} ({', '.join(card.modalities)} → {', '.join(recipe.modalities)})")
        elif name in classes and source.shape[1:] == value.shape[1:]:
            # Rows come class by class, `each` of them for one.
            each = value.shape[0] // len(recipe.channels)
            old = source.unflatten(0, (len(card.channels), each))
            value.unflatten(0, (len(recipe.channels), each))[list(rows)] = old[list(rows.values())]
            if rows == {number: number for number in range(len(card.channels))} and source.shape == value.shape:
                loaded.append(name)
            else:
                adapted.append(f"{name} ({len(rows)} of {len(recipe.channels)} classes)")
        elif source.shape == value.shape:
            value.copy_(source)
            loaded.append(name)
        else:
            fresh.append(f"{name} ({tuple(source.shape)} in the card, {tuple(value.shape)} wanted)")
    if not loaded:
        raise MedzooError(
            f"Nothing of model '{card.name}' ({card.architecture}) fits recipe '{recipe.name}' "
            f"({recipe.architecture}); give both the same architecture and widths, or begin without a card."
        )
    network.load_state_dict(values)
    return Report(tuple(loaded), tuple(adapted), tuple(fresh))


def _grown(recipe: Recipe, **changes: tuple[object, ...]) -> set[str]:
    """Names of the parameters whose shape changes when the network gets one class or one input more."""
    shapes = {name: value.shape for name, value in build_network(recipe, "meta").state_dict().items()}
    other = build_network(recipe.model_copy(update=changes), "meta").state_dict()
    return {name for name, shape in shapes.items() if other[name].shape != shape}


def _shared_classes(recipe: Recipe, card: ModelCard) -> dict[int, int]:
    """Channel of the recipe → channel of the card, for the background and every label of the same index and name."""
    ours, theirs = recipe.label_table, card.label_table
    shared = {0: 0}
    for number, index in enumerate(recipe.channels[1:], 1):
        if index in card.channels and ours[index].name == theirs[index].name:
            shared[number] = card.channels.index(index)
    return shared


def _sources_of_inputs(recipe: Recipe, card: ModelCard) -> list[tuple[int, ...]]:
    """For each modality of the recipe the card's channels that it takes the mean of."""
    every = tuple(range(len(card.modalities)))
    return [(card.modalities.index(key),) if key in card.modalities else every for key in recipe.modalities]


def _for_inputs(source: Tensor, columns: list[tuple[int, ...]]) -> Tensor:
    taken = torch.stack([source[:, list(numbers)].mean(dim=1) for numbers in columns], dim=1)
    return taken * (source.shape[1] / len(columns))
