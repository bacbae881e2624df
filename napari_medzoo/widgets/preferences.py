"""What the person chose on napari's preferences page (Preferences ▸ Plugins ▸ MedZoo).

napari keeps such a page for plugins since 0.9; before, the defaults hold and the environment variables of the command
line (``MEDZOO_MODELS``, ``MEDZOO_STATE``) do the same. A variable that was set outside wins over the page.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from typing import Any, Literal

from pydantic import Field

from napari_medzoo.edit_log import user_name
from napari_medzoo.settings import Settings
from napari_medzoo.widgets.view import LOOK

PLUGIN, PAGE = "napari-medzoo", "medzoo"
VARIABLES = {"MEDZOO_MODELS": "model_folder", "MEDZOO_STATE": "journal_folder"}
"""What the core reads → the field that sets it for this window."""

_set_here: dict[str, str] = {}  # what `apply` gave the variables; anything else was set outside
_followed: list[Any] = []  # pages that tell of their changes already


class Preferences(Settings):
    """One answer for every window.

    Attributes
    ----------
    model : str
        Chosen when the panel opens; another where there is none of this name.
    device : str
        Where a model computes.
    convention : str
        Which way round heads are shown.
    spare_threads : int
        Processors that a model leaves to the window.
    user_name : str
        Written into the log of corrections; empty takes the name that the person is logged in under.
    model_folder, journal_folder : str
        Where own models and unsaved corrections lie; empty takes the usual place.
    """

    model: str = "structures"
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    convention: Literal["neurological", "radiological"] = "neurological"
    spare_threads: int = Field(1, ge=0, le=16)
    user_name: str = ""
    model_folder: str = ""
    journal_folder: str = ""


def default_model(names: Collection[str]) -> str:
    """The preferred model of these, else the first of them; empty where there is none."""
    wanted = preferences().model
    return wanted if wanted in names else next(iter(names), "")


def preferences() -> Preferences:
    """What is chosen now."""
    page = _page()
    fields = Preferences.model_fields if page is not None else ()
    return Preferences(**{field: getattr(page, field) for field in fields})


def follow() -> Preferences:
    """Use what is chosen now, and from here on every change of it."""
    page = _page()
    if page is not None and not any(page is known for known in _followed):
        _followed.append(page)
        page.events.connect(lambda event: apply(preferences()))
        apply(preferences())
    return preferences()


def apply(chosen: Preferences) -> None:
    """Make the settings true for this program."""
    for name, field in VARIABLES.items():
        if os.environ.get(name) != _set_here.get(name):
            continue
        if value := getattr(chosen, field):
            os.environ[name] = _set_here[name] = value
        elif name in _set_here:
            del os.environ[name], _set_here[name]
    LOOK.convention = chosen.convention


def who() -> str:
    """The name for the log of corrections."""
    return preferences().user_name.strip() or user_name()


def _page() -> Any:
    try:
        from napari.settings import get_plugin_settings
    except ImportError:  # napari before 0.9
        return None
    try:
        return getattr(get_plugin_settings(PLUGIN), PAGE)
    except KeyError:  # the plugin is not installed as one (run from its source) or switched off
        return None
