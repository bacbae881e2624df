"""Connections to another's events that can all be undone at once."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from qtpy.QtCore import QObject


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

    def end_with(self, owner: QObject) -> None:
        """Cut the ties when Qt destroys `owner`."""
        # No bound method: Qt would forget it with the object that is just being destroyed.
        owner.destroyed.connect(partial(_cut, self))

    def cut(self) -> None:
        """Disconnect everything, in the reverse order."""
        while self._undo:
            self._undo.pop()()


def _cut(ties: Ties) -> None:
    ties.cut()
