"""Model cards: everything needed to run, judge and reproduce a trained network, in one YAML file.

A card `NAME.yaml` lies beside its weights `NAME.safetensors`. Cards that come with the package are in
``napari_medzoo/weights``; a person's own are found in `user_cards_folder` or are given by path.
"""

from __future__ import annotations

import difflib
import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Self

import yaml
from platformdirs import user_data_path
from pydantic import BeforeValidator, Field, PlainSerializer, ValidationError, model_validator

from napari_medzoo.errors import MedzooError
from napari_medzoo.label_tables import LABEL_TABLES
from napari_medzoo.labels import Label, LabelTable
from napari_medzoo.models.geometry import Geometry, Size
from napari_medzoo.preprocess.recipe import Preprocessing
from napari_medzoo.settings import Settings
from napari_medzoo.study import MODALITIES, Study, describe

SHIPPED_CARDS = Path(__file__).parent / "weights"

ColorPart = Annotated[int, Field(ge=0, le=255)]

ByAxis = Annotated[
    tuple[Annotated[int, Field(ge=0)], Annotated[int, Field(ge=0)], Annotated[int, Field(ge=0)]],
    BeforeValidator(lambda value: (value,) * 3 if isinstance(value, int) else value),
    PlainSerializer(lambda value: value[0] if len(set(value)) == 1 else value, when_used="json"),
]
"""A number for each axis, written as one where all are alike."""


def user_cards_folder() -> Path:
    """Where a person's own cards are looked for: ``$MEDZOO_MODELS``, else ``models`` in the user's data folder."""
    return Path(os.environ.get("MEDZOO_MODELS") or user_data_path("napari-medzoo", appauthor=False) / "models")


class Score(Settings):
    """One measured figure and the command that reproduces it."""

    data: str
    metric: str
    value: float
    command: str


class CardLabel(Settings):
    """One label of a card whose numbering is not built in: voxel value, name and colour (0–255)."""

    index: int = Field(ge=0, le=65535)
    name: str = Field(min_length=1)
    color: tuple[ColorPart, ColorPart, ColorPart]

    def as_label(self) -> Label:
        """The same as the core's type."""
        return Label(self.index, self.name, self.color)


class ModelCard(Settings):
    """A trained network and how to use it.

    Attributes
    ----------
    name, title, description : str
        The name is what ``--model`` takes.
    architecture : str
        A key of `napari_medzoo.models.ARCHITECTURES`; `settings` are its further arguments.
    modalities : tuple of str
        The input channels in order, keys of `MODALITIES`; ``("any",)`` takes one volume of any contrast.
    accepts : tuple of tuple of str
        Parts of `modalities` that do as well, since the network was trained with missing ones: their channels are 0.
    label_scheme : str
        A key of `LABEL_TABLES`; `channels` gives the index that each output channel stands for, background (0) first.
    labels : tuple of CardLabel
        The table itself where `label_scheme` is not built in (a person's own classes), background or not; it may name
        more than `channels` use. `label_scheme` is then the table's name.
    preprocessing : Preprocessing
        Used by training, command line and plugin alike.
    patch : tuple of int
        Voxels of a tile where the prepared study is not run whole; the network is given these, margin included.
    whole : bool
        Whether the prepared study is run whole where memory allows. False for a network that does better in tiles:
        instance normalisation sees other statistics in a whole head than in the patches it was trained on.
    tissues : tuple of tuple of int
        Labels of one intensity each (``[[2, 41], [3, 42]]``: white and grey matter of both sides) between which the
        scan's own intensities decide beside the network: see `napari_medzoo.inference.intensities`. Empty: not done.
    keep_largest : bool
        Whether labels apart from the largest object become background (muscle taken for brain, say): see
        `napari_medzoo.inference.postprocess`. Only for models of one thick thing, as a whole brain.
    divisor, remainder, margin : tuple of int
        By axis, or one number for all: the network takes sizes of ``k·divisor + remainder`` voxels, and answers for
        `margin` less on every side (see `napari_medzoo.models.geometry`). They are the network's own, or a stricter
        multiple; running the model compares them.
    weights, sha256 : str
        File name beside the card, and its checksum.
    licence, data, command : str
        Of the weights; what they were trained on; what trained them.
    """

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")
    title: str
    description: str = ""
    version: str = "1"
    architecture: str
    settings: Mapping[str, Any] = Field(default_factory=dict)
    modalities: tuple[str, ...] = Field(min_length=1)
    accepts: tuple[tuple[str, ...], ...] = ()
    label_scheme: str
    labels: tuple[CardLabel, ...] = ()
    channels: tuple[int, ...] = Field(min_length=2)
    preprocessing: Preprocessing
    patch: Size
    whole: bool = True
    tissues: tuple[tuple[int, ...], ...] = ()
    keep_largest: bool = False
    divisor: ByAxis = (1, 1, 1)
    remainder: ByAxis = (0, 0, 0)
    margin: ByAxis = (0, 0, 0)
    weights: str
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    licence: str
    data: str
    command: str
    scores: tuple[Score, ...] = ()
    folder: Path | None = Field(None, exclude=True)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        unknown = [key for key in self.modalities if key not in MODALITIES and key != "any"]
        if unknown or ("any" in self.modalities and len(self.modalities) > 1):
            raise ValueError(f"modalities must be of {', '.join(MODALITIES)}, or 'any' alone; got {self.modalities}")
        for part in self.accepts:
            ordered = tuple(key for key in self.modalities if key in part)
            if not part or part != ordered or part == self.modalities:
                raise ValueError(f"'accepts' must list parts of {self.modalities} in that order; got {part}")
        known = ", ".join(LABEL_TABLES)
        if not self.labels and self.label_scheme not in LABEL_TABLES:
            raise ValueError(f"label_scheme must be one of {known}, or 'labels' be given; got {self.label_scheme!r}")
        if self.labels and self.label_scheme in LABEL_TABLES:
            raise ValueError(f"with its own 'labels' a model needs a label_scheme other than {known}")
        if self.channels[0] != 0 or len(set(self.channels)) != len(self.channels):
            raise ValueError("channels must begin with 0 (background) and name every index once")
        _ = self.label_table  # raises for an index outside the scheme
        named = [label for tissue in self.tissues for label in tissue]
        if len(set(named)) != len(named) or not set(named) <= set(self.channels[1:]):
            raise ValueError(
                f"'tissues' must name labels of 'channels', each once and no background; got {self.tissues}"
            )
        if min(self.divisor) < 1:
            raise ValueError(f"every divisor must be 1 or more; got {self.divisor}")
        if not self.geometry.takes(self.patch):
            raise ValueError(f"every size of patch {self.patch} must be of {self.geometry}")
        return self

    @property
    def geometry(self) -> Geometry:
        """Which sizes the network takes, and what it answers for."""
        return Geometry(self.divisor, self.remainder, self.margin)

    @property
    def label_table(self) -> LabelTable:
        """The labels this model can give."""
        if self.labels:
            return LabelTable(self.label_scheme, tuple(label.as_label() for label in self.labels)).subset(self.channels)
        return LABEL_TABLES[self.label_scheme].subset(self.channels)

    @property
    def tissue_channels(self) -> tuple[tuple[int, ...], ...]:
        """Where the labels of `tissues` are among `channels`."""
        return tuple(tuple(self.channels.index(label) for label in tissue) for tissue in self.tissues)

    @property
    def weights_path(self) -> Path:
        """The weights' file."""
        if self.folder is None:
            raise MedzooError(f"Model '{self.name}' was not read from a file, so its weights cannot be found.")
        return self.folder / self.weights

    def check_weights(self) -> Path:
        """The weights' path, after comparing the file with the card's sha256.

        Raises
        ------
        MedzooError
            If the file is absent or another.
        """
        path = self.weights_path
        if not path.is_file():
            raise MedzooError(f"Model '{self.name}': the weights {path} are missing. Run: {self.command}")
        found = sha256(path)
        if found != self.sha256:
            raise MedzooError(
                f"Model '{self.name}': {path.name} has sha256 {found[:12]}…, the card says {self.sha256[:12]}…; "
                "install the model again, the file is damaged or another."
            )
        return path

    @property
    def needs(self) -> str:
        """The modalities it takes, and which of them are enough, in words."""
        return " or ".join(describe(part) for part in (self.modalities, *self.accepts))

    def choose(self, study: Study) -> tuple[str, ...]:
        """Which of the study's modalities feed this model's channels, in order.

        A model of one input of any contrast takes the T1w, else the first volume. Where a modality is missing, the
        largest part of them that the card accepts, the first of equals.

        Raises
        ------
        MedzooError
            If a modality is missing; the sentence says which models would do.
        """
        if self.modalities == ("any",):
            return ("t1w",) if "t1w" in study.volumes else (study.modalities[0],)
        if len(self.modalities) == 1 and study.modalities == ("unknown",):
            return ("unknown",)
        possible = [part for part in (self.modalities, *self.accepts) if study.volumes.keys() >= set(part)]
        if possible:
            return max(possible, key=len)
        missing = [key for key in self.modalities if key not in study.volumes]
        others = [card.name for card in find_cards().values() if _can_run(card, study)]
        instead = f", or choose one of: {', '.join(others)}" if others else ""
        raise MedzooError(
            f"Study has {describe(study.modalities)}; model '{self.name}' needs {self.needs}. "
            f"Add {describe(missing)}{instead}."
        )

    def channels_for(self, chosen: tuple[str, ...]) -> tuple[str | None, ...]:
        """The modality of every input channel where `choose` gave `chosen`; None where it is missing."""
        if len(chosen) == len(self.modalities):
            return chosen
        return tuple(key if key in chosen else None for key in self.modalities)

    def save(self, path: Path) -> None:
        """Write the card as YAML."""
        text = yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=100)
        path.write_text(text, encoding="utf-8")


def _can_run(card: ModelCard, study: Study) -> bool:
    parts = (card.modalities, *card.accepts)
    return card.modalities == ("any",) or any(study.volumes.keys() >= set(part) for part in parts)


def sha256(path: Path) -> str:
    """The file's SHA-256 as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_card(path: Path) -> ModelCard:
    """Read a card file.

    Raises
    ------
    MedzooError
        If the file is absent, is not YAML, or does not describe a model.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        return ModelCard.model_validate({**content, "folder": path.parent})
    except OSError as error:
        raise MedzooError(f"{path}: the model card cannot be read ({error.strerror}).") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "card"
        raise MedzooError(f"{path}: not a model card: {where}: {first['msg']}.") from error
    except (yaml.YAMLError, UnicodeDecodeError, TypeError) as error:
        raise MedzooError(f"{path}: not a model card (YAML expected).") from error


def find_cards() -> dict[str, ModelCard]:
    """All cards by name: those that come with the package, then the person's own (which may replace one)."""
    paths = [*sorted(SHIPPED_CARDS.glob("*.yaml")), *sorted(user_cards_folder().glob("*.yaml"))]
    return {card.name: card for card in map(read_card, paths)}


def load_card(name_or_path: str | Path) -> ModelCard:
    """The card called so, or the one in the file of that path.

    Raises
    ------
    MedzooError
        For an unknown name; the sentence says what could have been meant.
    """
    path = Path(name_or_path)
    if path.suffix in {".yaml", ".yml"}:
        return read_card(path)
    cards = find_cards()
    name = str(name_or_path)
    if name in cards:
        return cards[name]
    close = difflib.get_close_matches(name, cards, n=3, cutoff=0.4) or list(cards)
    raise MedzooError(f"There is no model '{name}'. Choose one of: {', '.join(close)}, or give the path of a card.")
