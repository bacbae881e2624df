"""The command `medzoo-train evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from napari_medzoo.errors import MedzooError


def evaluate(
    model: Annotated[str, typer.Argument(help="A model's name or the path of its card.")],
    case: Annotated[list[str] | None, typer.Option(help="Only this case; may be repeated.")] = None,
    write: Annotated[bool, typer.Option("--write", help="Store the scores in the card.")] = False,
    recipe: Annotated[
        Path | None, typer.Option(help="Recipe of the card, to score the fold it held out; default the shipped one.")
    ] = None,
    show: Annotated[Path | None, typer.Option(help="Folder for pictures of what was found.")] = None,
    threads: Annotated[int | None, typer.Option(help="CPU threads; default all.")] = None,
) -> None:
    """Score a model on real scans that no training has seen (those below MEDZOO_DATA, and the embedded one)."""
    from napari_medzoo.cards import load_card
    from napari_medzoo.io import replacing

    from .config import data_folder, read_recipe
    from .validation import CASES, validate

    unknown = [key for key in case or () if key not in CASES]
    if unknown:
        raise MedzooError(f"There is no case '{unknown[0]}'; choose from: {', '.join(CASES)}.")
    card = load_card(model)
    chosen = tuple(case) if case else None
    scores = []
    found = validate(card, data_folder(), chosen, threads, recipe=read_recipe(recipe) if recipe else None, show=show)
    for score in found:
        print(f"{score.value:.3f}  {score.metric}  ({score.data})", flush=True)
        scores.append(score)
    if write:
        # What was not measured again stays, where only some cases were asked for.
        kept = {(score.data, score.metric): score for score in (*(card.scores if chosen else ()), *scores)}
        path = card.weights_path.with_name(f"{card.name}.yaml")
        with replacing(path) as temporary:
            card.model_copy(update={"scores": tuple(kept.values())}).save(temporary)
