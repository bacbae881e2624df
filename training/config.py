"""Recipes: everything that decides how a network is trained, one YAML file each."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

import yaml
from pydantic import Field, ValidationError, model_validator

from napari_medzoo.cards import CardLabel
from napari_medzoo.errors import MedzooError
from napari_medzoo.label_tables import LABEL_TABLES
from napari_medzoo.labels import LabelTable
from napari_medzoo.preprocess.recipe import Preprocessing
from napari_medzoo.settings import Settings

from .lesion_settings import Lesions

RECIPES = Path(__file__).parent / "recipes"

IGNORED = 255
"""Output channel of voxels that neither teach nor count."""


class Synthesis(Settings):
    """How a scan is made from a label map (SynthSeg: Billot et al. 2023, doi:10.1016/j.media.2023.102789).

    Lengths are in mm, angles in degrees; every pair is a range that is drawn from uniformly.
    """

    contrasts: Mapping[str, float] = Field(
        {"t1w": 0.6, "t2w": 0.1, "flair": 0.1, "random": 0.2},
        description="Share of each kind of contrast where the recipe's modality is 'any'; keys of `CONTRASTS`.",
    )
    rotation_deg: float = 20.0
    scaling: float = Field(0.18, description="Sizes vary by this share in every axis.")
    shear: float = 0.08
    translation_mm: float = 20.0
    anywhere_share: float = Field(
        0.3, description="How often the patch lies anywhere in the head and neck, not about the brain."
    )
    elastic_mm: tuple[float, float] = (0.0, 4.0)
    elastic_nodes: tuple[int, int] = (5, 12)
    bias_field: tuple[float, float] = (0.0, 0.5)
    gamma: float = 0.3
    noise: tuple[float, float] = (0.0, 0.06)
    grain: tuple[float, float] = Field(
        (0.3, 1.0),
        description="How much of a class's spread is left. The priors' spread was measured in real scans, with the "
        "noise, shading and partial volume in it that the synthesis adds by itself.",
    )
    blur_mm: tuple[float, float] = (0.3, 0.9)
    slice_mm: tuple[float, float] = (2.0, 6.0)
    slice_share: float = Field(0.25, description="How often one axis has thick slices.")
    coarse_mm: tuple[float, float] = (1.0, 2.2)
    coarse_share: float = Field(0.3, description="How often the whole scan is of low resolution.")
    texture_share: float = Field(0.75, description="How often face and neck have folds instead of one even signal.")
    stripped_share: float = Field(0.4, description="How often the head is stripped to the brain.")
    cut_share: float = Field(0.2, description="How often part of the field of view is missing.")
    missing_share: float = Field(0.0, ge=0, lt=1, description="How often each modality but one is missing (all 0).")
    misaligned_mm: float = Field(
        0.0, ge=0, description="How far every modality but the first lies beside it, at most, in every axis."
    )
    lesions: Lesions | None = None


class DataSource(Settings):
    """Real cases with labels."""

    kind: str = Field(description="Key of `datasets.DATASETS`.")
    folder: Path = Field(description="Where the data set lies; relative to MEDZOO_DATA.")
    labels: Path | None = Field(
        None, description="Label table file (below the folder or MEDZOO_DATA) or built-in one; wins over the set's."
    )
    options: Mapping[str, Any] = Field(default_factory=dict, description="Further arguments of the data set's reader.")
    ignored: tuple[int, ...] = Field((), description="Indices in the reference that neither teach nor count.")
    drawn_on: str | None = Field(
        None, description="Modality that the references were drawn on, where their grid does not tell; aligned with it."
    )
    foreground_share: float = Field(
        0.5, ge=0, le=1, description="How often a patch is centred on a voxel of a class drawn evenly, not anywhere."
    )


class Folds(Settings):
    """Subject-level folds. Fold `fold` is held out of training and scored at the end."""

    count: int = Field(5, ge=2)
    fold: int = Field(0, ge=0)
    file: Path | None = Field(None, description="JSON that lists the subjects of every fold; made where it is absent.")
    validation_share: float = Field(
        0.1, gt=0, lt=1, description="Of the training subjects, how many choose the best checkpoint and do not teach."
    )


class Augmentation(Settings):
    """What happens to a real case before the network sees it. One spatial transform per case, labels by nearest.

    Lengths are in mm, angles in degrees; a share says how often, a pair is a range that is drawn from uniformly.
    """

    affine_share: float = 0.8
    rotation_deg: float = 15.0
    scaling: float = 0.15
    shear: float = 0.0
    translation_mm: float = 4.0
    elastic_share: float = 0.3
    elastic_mm: tuple[float, float] = (0.0, 3.0)
    elastic_nodes: tuple[int, int] = (4, 8)
    flip_axes: tuple[int, ...] = Field(
        (), description="Axes that are mirrored half the time; the first is left–right: sided labels change sides."
    )
    intensity_share: float = Field(0.3, description="A random scale and shift of each modality.")
    intensity_scale: tuple[float, float] = (0.75, 1.25)
    intensity_shift: tuple[float, float] = Field((-0.1, 0.1), description="In standard deviations of the patch.")
    bias_field_share: float = 0.2
    bias_field: tuple[float, float] = Field((0.0, 0.4), description="Spread of its logarithm.")
    blur_share: float = 0.15
    blur_mm: tuple[float, float] = (0.5, 1.2)
    noise_share: float = 0.15
    noise: tuple[float, float] = Field((0.0, 0.1), description="In standard deviations of the patch.")
    gamma_share: float = 0.3
    gamma: tuple[float, float] = (0.7, 1.5)
    low_resolution_share: float = 0.15
    low_resolution: tuple[float, float] = Field((1.0, 2.0), description="Times coarser.")
    missing_share: float = Field(0.0, ge=0, lt=1, description="How often each modality but one is missing (all 0).")


class LossTerm(Settings):
    """One summand of the loss: a key of `losses.LOSSES`, its weight, and its own settings."""

    name: str
    weight: float = Field(1.0, gt=0)
    settings: Mapping[str, Any] = Field(default_factory=dict)


class Optimiser(Settings):
    """A key of `optimisers.OPTIMISERS` and its settings; the learning rate is the stage's."""

    name: str = "adamw"
    settings: Mapping[str, Any] = Field(default_factory=dict)
    schedule: str = Field("poly", description="Key of `optimisers.SCHEDULES`.")


class Stage(Settings):
    """A stretch of training with its own patch, resolution and learning rate."""

    steps: int = Field(ge=1)
    patch: tuple[int, int, int]
    voxel_mm: tuple[float, float] = Field((1.0, 1.0), description="Of synthetic scans; real ones have the card's.")
    learning_rate: float = Field(1e-3, gt=0)
    final_learning_rate: float = Field(1e-5, ge=0)
    warmup: int = 50


class Recipe(Settings):
    """One training: the network, what it learns from, for how long, and what the card says."""

    name: str
    title: str
    description: str = ""
    architecture: str
    settings: Mapping[str, Any] = Field(default_factory=dict)
    modalities: tuple[str, ...] = ("any",)
    accepts: tuple[tuple[str, ...], ...] = Field((), description="The card's `accepts`.")
    label_scheme: str
    labels: tuple[CardLabel, ...] = Field((), description="The label table, where `label_scheme` is not built in.")
    channels: tuple[int, ...]
    merge: Mapping[int, int] = Field(
        default_factory=dict, description="Index in the label maps or references → index that is learnt instead."
    )
    preprocessing: Preprocessing
    inference_patch: tuple[int, int, int] = Field(
        (160, 160, 160), description="Voxels that the network is given per tile; enlarged to the next size it takes."
    )
    inference_whole: bool = Field(True, description="The card's `whole`.")
    tissues: tuple[tuple[int, ...], ...] = Field((), description="The card's `tissues`.")
    keep_largest: bool = Field(False, description="The card's `keep_largest`.")

    synthesis: Synthesis | None = None
    dataset: DataSource | None = None
    real_share: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="Where there are label maps and real cases: how often a pair is cut from the latter.",
    )
    folds: Folds | None = None
    augmentation: Augmentation = Augmentation()

    losses: tuple[LossTerm, ...] = Field((LossTerm(name="cross_entropy"), LossTerm(name="dice")), min_length=1)
    sampled_voxels: int | None = Field(
        None,
        ge=1,
        le=8,
        description="Of each cell of 2×2×2 voxels, how many enter the loss, drawn anew at every step; for networks "
        "that can leave the others out (neighbours teach nearly the same, and the full-resolution end costs a third).",
    )
    optimiser: Optimiser = Optimiser()
    stages: tuple[Stage, ...] = Field(min_length=1)
    batch: int = Field(1, ge=1, description="Patches per step and process.")
    accumulate: int = Field(1, ge=1, description="Batches whose gradients are summed before a step.")
    gradient_clip: float = 5.0
    ema: float = Field(0.998, ge=0, lt=1, description="Decay of the averaged weights, which are the ones exported.")
    precision: Literal["32", "bf16", "fp16"] = "bf16"
    seed: int = 1
    checkpoint_every: int = Field(200, ge=1, description="Steps.")
    validate_every: int | None = Field(None, ge=1, description="Steps between validations; a multiple of the above.")
    patience: int | None = Field(None, ge=1, description="Stop after this many validations without a better one.")
    licence: str
    data: str

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.synthesis is None and self.dataset is None:
            raise ValueError("give 'synthesis' (label maps), 'dataset' (real cases) or both")
        if (self.real_share is not None) != (self.synthesis is not None and self.dataset is not None):
            raise ValueError("give 'real_share' where there are both 'synthesis' and 'dataset', and only there")
        if self.folds and self.synthesis:
            raise ValueError("'folds' need real cases alone")
        if self.validate_every and self.validate_every % self.checkpoint_every:
            raise ValueError("validate_every must be a multiple of checkpoint_every")
        if self.labels and self.label_scheme in LABEL_TABLES:
            raise ValueError(
                f"with its own 'labels' a recipe needs a label_scheme other than {', '.join(LABEL_TABLES)}"
            )
        _ = self.label_table
        return self

    @property
    def label_table(self) -> LabelTable:
        """The labels that are learnt."""
        if self.labels:
            return LabelTable(self.label_scheme, tuple(label.as_label() for label in self.labels)).subset(self.channels)
        if self.label_scheme not in LABEL_TABLES:
            raise ValueError(f"label_scheme must be one of {', '.join(LABEL_TABLES)}, or give 'labels'")
        return LABEL_TABLES[self.label_scheme].subset(self.channels)

    @property
    def steps(self) -> int:
        """Steps of all stages together."""
        return sum(stage.steps for stage in self.stages)

    def stage_at(self, step: int) -> tuple[Stage, int]:
        """The stage that `step` (counted from 0) falls into, and the step within it."""
        for stage in self.stages:
            if step < stage.steps:
                return stage, step
            step -= stage.steps
        raise ValueError(f"The recipe ends before step {step}.")


def read_recipe(path: Path) -> Recipe:
    """Read a recipe by path, or one of `RECIPES` by its bare name (``thesis/iseg2017``).

    A relative file of folds is looked for beside the recipe first.

    Raises
    ------
    MedzooError
        If it is absent or does not describe a training.
    """
    if not path.exists() and (RECIPES / path).with_suffix(".yaml").exists():
        path = (RECIPES / path).with_suffix(".yaml")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        if isinstance(content, dict) and "networks" in content:
            raise MedzooError(f"{path}: compares networks by one recipe; run 'medzoo-train benchmark {path.stem}'.")
        recipe = Recipe.model_validate(content)
    except OSError as error:
        known = ", ".join(
            sorted(file.relative_to(RECIPES).with_suffix("").as_posix() for file in RECIPES.rglob("*.yaml"))
        )
        raise MedzooError(f"{path}: no such recipe; those that come with the package are: {known}.") from error
    except (ValidationError, yaml.YAMLError) as error:
        raise MedzooError(f"{path}: not a recipe: {error}") from error
    beside = path.parent / recipe.folds.file if recipe.folds and recipe.folds.file else None
    if recipe.folds is None or beside is None or not beside.exists():
        return recipe
    return recipe.model_copy(update={"folds": recipe.folds.model_copy(update={"file": beside})})


def data_folder() -> Path:
    """The folder with the training data: ``$MEDZOO_DATA``, else ``../shared/data``."""
    folder = Path(os.environ.get("MEDZOO_DATA", "../shared/data"))
    if not folder.is_dir():
        raise MedzooError(f"{folder}: no such folder; set MEDZOO_DATA to the folder that holds the training data.")
    return folder
