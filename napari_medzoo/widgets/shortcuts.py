"""Every key that MedZoo answers to, in one place.

napari's own keys (Preferences ▸ Shortcuts) go on working beside them; a test compares the two lists.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Shortcut:
    """A key and what it does.

    Attributes
    ----------
    keys : tuple of str
        Any of these, as Qt writes them: ``"Up"``, ``"Ctrl+Shift+S"``.
    does : str
        For the person who reads the list.
    where : str
        Where the keys are heard.
    """

    keys: tuple[str, ...]
    does: str
    where: str


VIEWS = "MedZoo views"
LESIONS = "Anywhere in the window while Lesions is seen"

SHORTCUTS = {
    "next_slice": Shortcut(("Up", "Right"), "Next slice in the view under the mouse", VIEWS),
    "previous_slice": Shortcut(("Down", "Left"), "Previous slice in the view under the mouse", VIEWS),
    "ten_slices_on": Shortcut(("PgUp",), "Ten slices on in the view under the mouse", VIEWS),
    "ten_slices_back": Shortcut(("PgDown",), "Ten slices back in the view under the mouse", VIEWS),
    "switch_convention": Shortcut(("N",), "Neurological ↔ radiological; the data stay as they are", VIEWS),
    "large_view": Shortcut(("W",), "Make the view under the mouse the large one", VIEWS),
    "hide_crosshair": Shortcut(("H",), "Hide or show the crosshair", VIEWS),
    "fit_views": Shortcut(("Home",), "Fit the head into every view", VIEWS),
    "next_lesion": Shortcut(("F3", "Alt+PgDown"), "Next lesion of the list, in every view", LESIONS),
    "previous_lesion": Shortcut(("Shift+F3", "Alt+PgUp"), "Previous lesion of the list, in every view", LESIONS),
}


def shortcut_of(event: Any) -> str:
    """The key of `SHORTCUTS` that a ``QKeyEvent`` in the views stands for, or an empty text."""
    from qtpy.QtCore import Qt
    from qtpy.QtGui import QKeySequence

    # The arrows of a keyboard count as its number pad on macOS.
    modifiers = event.modifiers() & ~Qt.KeyboardModifier.KeypadModifier
    pressed = QKeySequence(event.key() | modifiers.value)
    for name, shortcut in SHORTCUTS.items():
        if shortcut.where == VIEWS and any(QKeySequence(keys) == pressed for keys in shortcut.keys):
            return name
    return ""
