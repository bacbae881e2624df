"""Connections to another's events that can all be undone at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Ties:
    """Remembers what was connected, so that closing leaves nothing behind."""

    def __init__(self) -> None:
        self._undo: list[Callable[[], Any]] = []

    def tie(self, emitter: Any, callback: Callable[..., Any]) -> None:
        """Connect `callback` to an event of napari, psygnal or Qt."""
        emitter.connect(callback)
        self._undo.append(lambda: emitter.disconnect(callback))

    def at_last(self, farewell: Callable[[], Any]) -> None:
        """Call `farewell` when the ties are cut."""
        self._undo.append(farewell)

    def cut(self) -> None:
        """Disconnect everything, in the reverse order."""
        while self._undo:
            self._undo.pop()()
