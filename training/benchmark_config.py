"""What a comparison of networks consists of: one protocol, and the networks that are trained by it, one YAML file."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

import yaml
from pydantic import Field, ValidationError, model_validator

from napari_medzoo.errors import MedzooError
from napari_medzoo.inference.network import build_network
from napari_medzoo.models.geometry import geometry_of
from napari_medzoo.settings import Settings

from .config import RECIPES, Folds, Optimiser, Recipe, Stage, read_recipe
from .folds import read_folds
from .overrides import override


class Contestant(Settings):
    """A network of the comparison: a row of its table."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_]*$", description="Of the row.")
    architecture: str | None = Field(None, description="Key of `models.ARCHITECTURES`; the name where it is left out.")
    settings: Mapping[str, Any] = Field(default_factory=dict, description="Of the network's constructor.")
    precision: Literal["32", "bf16", "fp16"] | None = Field(None, description="Instead of the protocol's.")
    budget: float = Field(1.0, gt=0, description="Share of the protocol's `output_voxels`.")
    changes: tuple[str, ...] = Field((), description="Other departures from the protocol, as ``--set`` takes them.")
    same_as: str | None = Field(
        None, description="Another row that is the same function with this protocol's modalities; it is not trained."
    )
    card: str = Field("", description="Card of the package that is this network already, trained otherwise.")
    reason: str = Field("", description="Why it departs from the protocol, or what it has in common with another row.")
    remark: str = Field("", description="What its result says, where that is not plain from the table.")

    @model_validator(mode="after")
    def _reasoned(self) -> Self:
        if (self.precision or self.changes or self.same_as or self.budget != 1) and not self.reason:
            raise ValueError(f"network '{self.name}' departs from the protocol; give the 'reason'")
        return self


class Benchmark(Settings):
    """One protocol for all networks. What it leaves unsaid is as in `recipe`."""

    name: str
    title: str
    introduction: str = Field("", description="What the page says about the comparison before anything else.")
    recipe: str = Field(description="Recipe that gives data, labels, preparation, losses and augmentation.")
    changes: tuple[str, ...] = Field((), description="Of that recipe, as ``--set`` takes them.")
    folds: Path = Field(description="JSON with the subjects (or label maps) of every fold, beside this file.")
    held_out: tuple[int, ...] = Field((0,), min_length=1, description="Folds that are held out, one training each.")
    seeds: tuple[int, ...] = Field((1,), min_length=1, description="Of the weights, the patches and their changes.")
    output_voxels: int = Field(ge=1, description="Voxels that every network is corrected on, over the whole training.")
    patch: tuple[int, int, int]
    voxel_mm: tuple[float, float] = Field((1.0, 1.0), description="Of synthetic patches.")
    study: tuple[int, int, int] | None = Field(
        None, description="Voxels of a held-out synthetic study; given where the recipe learns from label maps."
    )
    batch: int = Field(1, ge=1)
    optimiser: Optimiser
    learning_rate: float = Field(gt=0)
    final_learning_rate: float = Field(1e-5, ge=0)
    warmup: int = Field(30, ge=1, description="Steps.")
    ema: float = Field(0.99, ge=0, lt=1)
    precision: Literal["32", "bf16", "fp16"] = "32"
    checkpoint_every: int = Field(50, ge=1, description="Steps.")
    description: str = Field(description="The cards' `description`.")
    data: str = Field(description="The cards' `data`.")
    ship_below: int = Field(4_000_000, description="Networks with fewer parameters come as cards with the package …")
    ship_mb: float = Field(10.0, description="… the best first, as far as there is room in this.")
    enough: float | None = Field(0.80, description="Mean Dice that every network should reach; others are named.")
    networks: tuple[Contestant, ...] = Field(min_length=1)
    folder: Path = Field(RECIPES, exclude=True)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        names = [network.name for network in self.networks]
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise ValueError(f"network '{repeated[0]}' is listed twice")
        trained = {network.name for network in self.networks if network.same_as is None}
        for network in self.networks:
            if network.same_as is not None and network.same_as not in trained:
                raise ValueError(f"network '{network.name}' is the same as '{network.same_as}', which is not trained")
        return self

    def __getitem__(self, name: str) -> Contestant:
        """The network of that name.

        Raises
        ------
        MedzooError
            If it is not in the comparison.
        """
        for network in self.networks:
            if network.name == name:
                return network
        known = ", ".join(network.name for network in self.networks)
        raise MedzooError(f"Benchmark '{self.name}' has no network '{name}'; its own are: {known}.")

    @property
    def trained(self) -> tuple[Contestant, ...]:
        """The networks without those that are the same as another."""
        return tuple(network for network in self.networks if network.same_as is None)

    def card_name(self, network: Contestant) -> str:
        """The name of a network's recipes and card."""
        return f"{Path(self.recipe).stem}-{network.name.replace('_', '-')}"

    def command(self, network: Contestant) -> str:
        """What trains one network."""
        return f"medzoo-train benchmark {self.name} --network {network.name}"

    def read_folds(self) -> tuple[tuple[str, ...], ...]:
        """The subjects, or the label maps, of every fold."""
        return read_folds(self.folder / self.folds)

    def recipe_of(self, network: Contestant, fold: int, seed: int) -> Recipe:
        """The training of one network on one fold with one seed.

        Raises
        ------
        MedzooError
            If the recipe does not learn from what the benchmark says.
        """
        own = self.folder / self.recipe
        base = override(read_recipe(own if own.exists() else Path(self.recipe)), self.changes)
        if (base.dataset is None) == (self.study is None) or (base.dataset and base.synthesis):
            raise MedzooError(
                f"Benchmark '{self.name}': the recipe '{self.recipe}' must learn from real cases alone, or from label "
                "maps alone with the size of a 'study' given."
            )
        file = self.folder / self.folds
        named = {"architecture": network.architecture or network.name, "settings": network.settings}
        geometry = geometry_of(build_network(base.model_copy(update=named), "meta"))
        answered = self.batch * math.prod(geometry.output_of(self.patch))
        steps = max(1, round(network.budget * self.output_voxels / answered))
        stage = Stage(
            steps=steps,
            patch=self.patch,
            voxel_mm=self.voxel_mm,
            learning_rate=self.learning_rate,
            final_learning_rate=self.final_learning_rate,
            warmup=self.warmup,
        )
        changes = {
            "name": self.card_name(network),
            "title": f"{base.title}, by {network.name}",
            "description": self.description,
            "data": self.data,
            **named,
            "folds": Folds(count=len(read_folds(file)), fold=fold, file=file) if base.dataset else None,
            "stages": (stage,),
            "optimiser": self.optimiser,
            "batch": self.batch,
            "ema": self.ema,
            "precision": network.precision or self.precision,
            "seed": seed,
            "checkpoint_every": self.checkpoint_every,
            "validate_every": None,  # nothing is chosen on the way: the last weights of every network are scored
            "patience": None,
        }
        return override(base.model_copy(update=changes), network.changes)


def read_benchmark(path: Path) -> Benchmark:
    """Read a benchmark by path, or one of `RECIPES` by its bare name.

    Raises
    ------
    MedzooError
        If it is absent or does not describe a benchmark.
    """
    shipped = (RECIPES / path.name).with_suffix(".yaml")
    if not path.exists() and shipped.exists():
        path = shipped
    try:
        return Benchmark.model_validate(_content(path)).model_copy(update={"folder": path.parent})
    except OSError as error:
        known = ", ".join(sorted(file.stem for file in RECIPES.glob("*.yaml") if "networks" in _content(file)))
        raise MedzooError(f"{path}: no such benchmark; those that come with the package are: {known}.") from error
    except (ValidationError, yaml.YAMLError) as error:
        raise MedzooError(f"{path}: not a benchmark: {error}") from error


def _content(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))
