"""Beginning with trained weights: of any card, also of other modalities or classes, or of a file of MedicalNet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from napari_medzoo.cards import ModelCard, load_card
from napari_medzoo.errors import MedzooError
from napari_medzoo.inference.network import build_network, load_network
from napari_medzoo.models.med3d import Med3D, read_medicalnet

from .config import Recipe

CARDS = (".yaml", ".yml")
FOREIGN = (".pth", ".pt")
"""Endings of files of weights that are not ours."""

COUNTER = "num_batches_tracked"
"""How often a batch normalisation has been trained; nothing depends on it."""


@dataclass(frozen=True)
class Report:
    """What became of the network's parameters, by name.

    Attributes
    ----------
    loaded : tuple of str
        The values that were given, as they are.
    adapted : dict of str to str
        The values that were given for other modalities or classes → how.
    fresh : dict of str to str
        Initial values, because none that fit were given → why.
    left_out : tuple of str
        What was given and the network has no place for.
    """

    loaded: tuple[str, ...]
    adapted: Mapping[str, str]
    fresh: Mapping[str, str]
    left_out: tuple[str, ...]

    def __str__(self) -> str:
        parts = [f"{len(self.loaded)} parameters as they are"]
        for title, names in (("adapted", self.adapted), ("begun anew", self.fresh)):
            if names:
                reasons = dict.fromkeys(names.values())
                lists = (f"{', '.join(n for n in names if names[n] == reason)} ({reason})" for reason in reasons)
                parts.append(f"{len(names)} {title}: {'; '.join(lists)}")
        if self.left_out:
            parts.append(f"{len(self.left_out)} left out: {', '.join(self.left_out)}")
        return ", ".join(parts)


@dataclass(frozen=True)
class _Given:
    """Trained values by parameter, and what their classes and inputs are to a recipe's.

    `classes` and `modalities` are theirs, `rows` channel of the recipe → channel of theirs, `columns` for each modality
    of the recipe those of theirs that it takes the mean of.
    """

    values: Mapping[str, Tensor]
    what: str
    classes: int
    modalities: tuple[str, ...]
    rows: Mapping[int, int]
    columns: list[tuple[int, ...]]


def find_start(name: str) -> ModelCard | Path:
    """What a training is to begin with: the card of that name or path, or the path of a file of MedicalNet.

    Raises
    ------
    MedzooError
        If there is neither.
    """
    path = Path(name)
    if path.suffix in FOREIGN:
        if not path.is_file():
            raise MedzooError(f"{path}: no such file; give a model's name, its card or a file of MedicalNet.")
        return path
    if path.suffix not in CARDS and path.exists():
        raise MedzooError(
            f"{path} is neither a card ({', '.join(CARDS)}) nor a file of MedicalNet ({', '.join(FOREIGN)}); "
            "make a card of a training with 'medzoo-train export' and begin with that."
        )
    return load_card(name)


def load_start(network: nn.Module, recipe: Recipe, start: ModelCard | Path) -> Report:
    """Give a recipe's network trained weights, as far as they fit.

    Parameters of the same name and shape are copied. A first convolution for other modalities takes, for a modality
    that the card knows, its weights, and else their mean over the card's, scaled so that the sums stay alike. A head
    for other classes takes the rows of the classes that both number and call alike, and the background's. A file of
    MedicalNet has one modality of no name, and no classes.

    Parameters
    ----------
    network : torch.nn.Module
        Built from `recipe`; changed in place.
    recipe : Recipe
    start : ModelCard or pathlib.Path
        A path is that of a file of MedicalNet (see `models.med3d.read_medicalnet`).

    Returns
    -------
    Report

    Raises
    ------
    MedzooError
        If the weights are absent or damaged, nothing in them fits, or a file is of another network.
    """
    values = network.state_dict()
    classes, inputs = (
        _grown(recipe, channels=(*recipe.channels, -1)),
        _grown(recipe, modalities=(*recipe.modalities, "")),
    )
    given = _of_card(recipe, start) if isinstance(start, ModelCard) else _of_file(network, recipe, start, classes)
    loaded: list[str] = []
    adapted: dict[str, str] = {}
    fresh: dict[str, str] = {}
    for name, value in values.items():
        source = given.values.get(name)
        if source is None:
            if not name.endswith(COUNTER):
                fresh[name] = f"the {given.what} has none"
        elif name in inputs and source.shape[1] == len(given.modalities):
            value.copy_(_for_inputs(source, given.columns))
            if given.columns == [(number,) for number in range(len(given.modalities))]:
                loaded.append(name)
            else:
                adapted[name] = f"{', '.join(given.modalities)} → {', '.join(recipe.modalities)}"
        elif name in classes and source.shape[1:] == value.shape[1:]:
            # Rows come class by class, `each` of them for one.
            each = value.shape[0] // len(recipe.channels)
            old = source.unflatten(0, (given.classes, each))
            value.unflatten(0, (len(recipe.channels), each))[list(given.rows)] = old[list(given.rows.values())]
            if given.rows == {number: number for number in range(given.classes)} and source.shape == value.shape:
                loaded.append(name)
            else:
                adapted[name] = f"{len(given.rows)} of {len(recipe.channels)} classes"
        elif source.shape == value.shape:
            value.copy_(source)
            loaded.append(name)
        else:
            fresh[name] = f"{tuple(source.shape)} in the {given.what}, {tuple(value.shape)} wanted"
    if not loaded and isinstance(start, ModelCard):
        raise MedzooError(
            f"Nothing of model '{start.name}' ({start.architecture}) fits recipe '{recipe.name}' "
            f"({recipe.architecture}); give both the same architecture and widths, or begin without a card."
        )
    network.load_state_dict(values)
    return Report(tuple(loaded), adapted, fresh, tuple(name for name in given.values if name not in values))


def _of_card(recipe: Recipe, card: ModelCard) -> _Given:
    return _Given(
        load_network(card).state_dict(),
        "card",
        len(card.channels),
        card.modalities,
        _shared_classes(recipe, card),
        _sources_of_inputs(recipe, card),
    )


def _of_file(network: nn.Module, recipe: Recipe, path: Path, classes: set[str]) -> _Given:
    """The backbone of a file of MedicalNet, after comparing it with the network's.

    Layers that answer for classes are not taken: the file does not name them.
    """
    if not isinstance(network, Med3D):
        raise MedzooError(
            f"{path} can only start the networks of Med3D, and recipe '{recipe.name}' trains '{recipe.architecture}'; "
            "choose it with --set architecture=med3d_18 (or _10, _34, _50), or begin with a card."
        )
    values = {name: value for name, value in read_medicalnet(path).items() if name not in classes}
    ours = network.state_dict()
    for name in sorted({*_backbone(ours), *_backbone(values)}):
        # The first convolution takes any number of modalities.
        first = 2 if name == "conv1.weight" else 0
        if name not in ours or name not in values or ours[name].shape[first:] != values[name].shape[first:]:
            raise MedzooError(
                f"{path} is of another depth or width than '{recipe.architecture}' in recipe '{recipe.name}' "
                f"('{name}' does not fit); choose the file of the same depth, as resnet_18.pth for med3d_18."
            )
    return _Given(values, "file", 0, ("any",), {}, [(0,)] * len(recipe.modalities))


def _backbone(names: Mapping[str, Tensor]) -> set[str]:
    """What every network of a depth has in common: not the head, and not shortcuts, which are of two kinds."""
    return {
        name
        for name in names
        if not name.startswith("conv_seg.") and ".downsample." not in name and not name.endswith(COUNTER)
    }


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
