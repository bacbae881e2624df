"""Recipes: everything that decides how a network is trained, one YAML file each."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field, ValidationError

from napari_medzoo.errors import MedzooError
from napari_medzoo.preprocess.recipe import Preprocessing
from napari_medzoo.settings import Settings

RECIPES = Path(__file__).parent / "recipes"


class Synthesis(Settings):
    """How a scan is made from a label map (SynthSeg: Billot et al. 2023, doi:10.1016/j.media.2023.102789).

    Lengths are in mm, angles in degrees; every pair is a range that is drawn from uniformly.
    """

    contrasts: Mapping[str, float] = Field(
        {"t1w": 0.6, "t2w": 0.1, "flair": 0.1, "random": 0.2},
        description="Share of each kind of contrast; keys of `synthesis.CONTRASTS`.",
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
    blur_mm: tuple[float, float] = (0.3, 0.9)
    slice_mm: tuple[float, float] = (2.0, 6.0)
    slice_share: float = Field(0.25, description="How often one axis has thick slices.")
    coarse_mm: tuple[float, float] = (1.0, 2.2)
    coarse_share: float = Field(0.3, description="How often the whole scan is of low resolution.")
    stripped_share: float = Field(0.4, description="How often the head is stripped to the brain.")
    cut_share: float = Field(0.2, description="How often part of the field of view is missing.")


class Stage(Settings):
    """A stretch of training with its own patch, resolution and learning rate."""

    steps: int = Field(ge=1)
    patch: tuple[int, int, int]
    voxel_mm: tuple[float, float] = (1.0, 1.0)
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
    label_scheme: str
    channels: tuple[int, ...]
    merge: Mapping[int, int] = Field(
        default_factory=dict, description="Index in the label maps → index that is learnt instead."
    )
    preprocessing: Preprocessing
    inference_patch: tuple[int, int, int] = (160, 160, 160)
    inference_whole: bool = Field(True, description="The card's `whole`.")
    synthesis: Synthesis = Synthesis()
    stages: tuple[Stage, ...] = Field(min_length=1)
    batch: int = Field(1, ge=1)
    weight_decay: float = 1e-4
    ema: float = Field(0.998, ge=0, lt=1, description="Decay of the averaged weights, which are the ones exported.")
    gradient_clip: float = 5.0
    bfloat16: bool = True
    seed: int = 1
    checkpoint_every: int = 200
    licence: str
    data: str

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
    """Read a recipe by path, or one of `RECIPES` by its bare name.

    Raises
    ------
    MedzooError
        If it is absent or does not describe a training.
    """
    if not path.exists() and (RECIPES / path).with_suffix(".yaml").exists():
        path = (RECIPES / path).with_suffix(".yaml")
    try:
        return Recipe.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except OSError as error:
        known = ", ".join(sorted(file.stem for file in RECIPES.glob("*.yaml")))
        raise MedzooError(f"{path}: no such recipe; those that come with the package are: {known}.") from error
    except (ValidationError, yaml.YAMLError) as error:
        raise MedzooError(f"{path}: not a recipe: {error}") from error


def data_folder() -> Path:
    """The folder with the training data: ``$MEDZOO_DATA``, else ``../shared/data``."""
    folder = Path(os.environ.get("MEDZOO_DATA", "../shared/data"))
    if not folder.is_dir():
        raise MedzooError(f"{folder}: no such folder; set MEDZOO_DATA to the folder that holds 'labelmaps'.")
    return folder
