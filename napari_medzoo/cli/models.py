"""``medzoo models``: what can be run."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from napari_medzoo.cards import ModelCard


def models(as_json: Annotated[bool, typer.Option("--json", help="As a list of JSON objects.")] = False) -> None:
    """List the models, what they need and what they label.

    A model of your own is a card (NAME.yaml) with its weights beside it. Cards are looked for in the folder
    that the environment variable MEDZOO_MODELS names, else in the user's data folder (the list ends with its
    path); 'medzoo segment --model path/to/NAME.yaml' takes any other.

    \b
      medzoo models
      medzoo models --json
    """
    from napari_medzoo.cards import find_cards, user_cards_folder
    from napari_medzoo.cli.show import table

    cards = find_cards().values()
    if as_json:
        typer.echo(json.dumps([_plain(card) for card in cards], indent=2, ensure_ascii=False))
        return
    rows = [("Name", "Needs", "Labels", "What it is")]
    rows += [(card.name, card.needs, str(len(card.label_table.foreground)), card.title) for card in cards]
    typer.echo(table(rows, numbers=(2,)))
    typer.echo(f"\nYour own cards: {user_cards_folder()}")


def _plain(card: ModelCard) -> dict[str, object]:
    return {
        "name": card.name,
        "title": card.title,
        "description": card.description,
        "version": card.version,
        "modalities": list(card.modalities),
        "accepts": [list(part) for part in card.accepts],
        "label_scheme": card.label_scheme,
        "labels": [
            {"index": label.index, "name": label.name, "color": list(label.color)}
            for label in card.label_table.foreground
        ],
        "licence": card.licence,
        "data": card.data,
        "scores": [score.model_dump() for score in card.scores],
        "sha256": card.sha256,
    }
