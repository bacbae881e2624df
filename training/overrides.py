"""Changing a recipe without editing its file: ``stages.0.steps=500``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import yaml
from pydantic import ValidationError

from napari_medzoo.errors import MedzooError

from .config import Recipe


def override(recipe: Recipe, assignments: Sequence[str]) -> Recipe:
    """The recipe with some fields changed.

    Parameters
    ----------
    recipe : Recipe
    assignments : sequence of str
        ``key=value`` each; dots lead into a field's own fields, a number to an item of a list, and the value is YAML:
        ``batch=2``, ``stages.0.patch=[64, 64, 64]``, ``optimiser.name=muon``.

    Raises
    ------
    MedzooError
        If one is not of that form, or the result is not a recipe.
    """
    content: Any = recipe.model_dump(mode="json")
    for assignment in assignments:
        path, equals, text = assignment.partition("=")
        if not equals:
            raise MedzooError(f"'{assignment}' is not of the form key=value; write for example batch=2.")
        try:
            _assign(content, path.strip().split("."), yaml.safe_load(text))
        except (yaml.YAMLError, LookupError, TypeError, ValueError) as error:
            raise MedzooError(f"'{assignment}': the recipe has no such field, or the value is not YAML.") from error
    try:
        return Recipe.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "recipe"
        raise MedzooError(f"{', '.join(assignments)}: not a recipe any more: {where}: {first['msg']}.") from error


def _assign(content: Any, keys: Sequence[str], value: Any) -> None:
    key, *rest = keys
    place: Any = int(key) if isinstance(content, list) else key
    if not rest:
        content[place] = value
        return
    if isinstance(content, dict) and content.get(place) is None:
        content[place] = {}  # a part that was left out, such as folds
    _assign(content[place], rest, value)
