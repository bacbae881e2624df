"""Connections to another's events that can all be undone at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Ties:
    """Remembers what was connected, so that closing leaves nothing behind."""

    def __init__(self) -> None:
        self._made: list[tuple[Any, Callable[..., Any]]] = []

    def tie(self, emitter: Any, callback: Callable[..., Any]) -> None:
        """Connect `callback` to an event of napari, psygnal or Qt."""
        emitter.connect(callback)
        self._made.append((emitter, callback))

    def cut(self) -> None:
        """Disconnect everything, in the reverse order."""
        while self._made:
            emitter, callback = self._made.pop()
            emitter.disconnect(callback)
