"""What a person should know about the scans that were just read, as one notification."""

from __future__ import annotations

from collections.abc import Sequence

from napari.utils.notifications import show_warning

from napari_medzoo.state import Slot
from napari_medzoo.widgets import layers as adapter


def tell(notes: Sequence[str]) -> None:
    """Show the notes that are not empty, if there are any."""
    if any(notes):
        show_warning("\n".join(filter(None, notes)))


def tell_about(slots: Sequence[Slot], notes: Sequence[str] = ()) -> None:
    """Say which scans are tilted and what was repaired in them, after `notes`."""
    repaired = [f"{slot.volume.name}: {text}" for slot in slots for text in slot.volume.warnings]
    tilted = adapter.oblique_note(slot.volume for slot in slots)
    if tilted:
        adapter.quiet_about_tilt()
    tell([*notes, tilted, *repaired])
