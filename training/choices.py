"""What a recipe may choose by name, with settings of its own."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from napari_medzoo.errors import MedzooError


def check_choice(
    kind: str, name: str, choices: Mapping[str, Callable[..., Any]], settings: Iterable[str] = (), given: int = 0
) -> None:
    """Say what there is, before a training begins.

    Parameters
    ----------
    kind : str
        What is chosen, as in ``"loss"``.
    name : str
        What the recipe says.
    choices : mapping of str to function
        What there is. Their first `given` parameters are not the recipe's to set.
    settings : iterable of str
        Names of what the recipe sets.

    Raises
    ------
    MedzooError
        For a name that is not among the choices, and for a setting that the chosen one has not.
    """
    if name not in choices:
        raise MedzooError(f"No {kind} is called '{name}'; choose one of {', '.join(choices)}.")
    known = [*inspect.signature(choices[name]).parameters][given:]
    for key in settings:
        if key not in known:
            own = ", ".join(known) or "-"
            raise MedzooError(f"{kind.capitalize()} '{name}' has no setting '{key}'; its own are: {own}.")
