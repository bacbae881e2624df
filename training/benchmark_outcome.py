"""What one training of a benchmark has shown, as it is kept in ``outcome.json``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ConfigDict

from napari_medzoo.errors import MedzooError
from napari_medzoo.io import replacing
from napari_medzoo.lesions import LesionAgreement
from napari_medzoo.settings import Settings

from .config import Recipe
from .scores import CaseScore

OUTCOME = "outcome.json"


class Costs(Settings):
    """Of a training, without the preparation of its data and the scoring.

    Attributes
    ----------
    device : str
        The CPU's or the graphics card's name.
    threads : int
        Of the CPU.
    cpu_seconds, wall_seconds : float
        Of all processors together, and on the clock.
    peak_bytes : int
        The most memory that its process has held (on a graphics card: there), with the libraries.
    """

    device: str
    threads: int
    cpu_seconds: float = 0.0
    wall_seconds: float = 0.0
    peak_bytes: int = 0


class Inference(Settings):
    """Of a trained network on whole held-out cases: medians of the pass alone.

    Attributes
    ----------
    backend, precision : str
        See `napari_medzoo.inference.plan.Plan`.
    cases : int
    wall_seconds, cpu_seconds : float
    peak_bytes : int
        As in `Costs`.
    """

    backend: str
    precision: str
    cases: int
    wall_seconds: float
    cpu_seconds: float
    peak_bytes: int


class Outcome(Settings):
    """One training and what came of it.

    Attributes
    ----------
    network : str
        The row.
    fold, seed : int
    recipe : dict
        What decided the training, as `deciding` gives it.
    parameters : int
        Trainable ones.
    seconds_per_step : float
        Median on the clock.
    gflop : float
        See `side_by_side.gflop`, of one training patch.
    training : Costs
    inference : Inference
    scores : tuple of CaseScore
        Of every held-out case and label.
    lesions : LesionAgreement or None
        Of a real patient, where lesions are among the labels of a benchmark on label maps.
    """

    model_config = ConfigDict(ser_json_inf_nan="strings")  # JSON has no NaN

    network: str
    fold: int
    seed: int
    recipe: dict[str, Any]
    parameters: int
    seconds_per_step: float
    gflop: float
    training: Costs
    inference: Inference
    scores: tuple[CaseScore, ...]
    lesions: LesionAgreement | None = None


def deciding(recipe: Recipe) -> dict[str, Any]:
    """What of a recipe decides the weights: all but its words, and where the file of folds lies."""
    return recipe.model_dump(mode="json", exclude={"title", "description", "data", "licence", "folds"})


def require_same_protocol(recipe: Recipe, network: str, trained: Mapping[str, Any]) -> None:
    """Compare a recipe with what a network was trained by; settings that came since had their defaults then.

    Parameters
    ----------
    recipe : Recipe
    network : str
        For the message.
    trained : mapping
        As `deciding` gave it then.

    Raises
    ------
    MedzooError
        If they differ: figures of two protocols have no place in one table.
    """
    words = recipe.model_dump(mode="json", include={"title", "description", "data", "licence"})
    theirs = deciding(Recipe.model_validate({**words, **trained}))
    for key, value in deciding(recipe).items():
        before = theirs[key]
        if before != value:
            raise MedzooError(
                f"Network '{network}' was trained by another protocol: {key} was {before}, now it is {value}; "
                "choose another --output, or remove the old training."
            )


def write_outcome(folder: Path, outcome: Outcome) -> None:
    """Write ``outcome.json`` into the folder of a training."""
    with replacing(folder / OUTCOME) as temporary:
        temporary.write_text(outcome.model_dump_json(indent=1) + "\n", encoding="utf-8")


def read_outcomes(output: Path) -> tuple[Outcome, ...]:
    """The outcomes of all finished trainings in the folder of a benchmark, by network, seed and fold.

    Raises
    ------
    MedzooError
        If a file is not an outcome.
    """
    found = []
    for path in sorted(output.glob(f"*/seed-*/fold-*/{OUTCOME}")):
        try:
            found.append(Outcome.model_validate_json(path.read_text(encoding="utf-8")))
        except ValueError as error:
            raise MedzooError(f"{path}: not an outcome of this version; remove it, and measure again.") from error
    return tuple(found)
