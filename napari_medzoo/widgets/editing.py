"""Watches one labels layer while it is corrected: what each action changed, the original, the log, the journal.

It does not matter who edits: napari's brush, the tools of the dock, undo, another plugin. napari tells of strokes
(``events.paint``); of undo it tells only by drawing again, so that the array is compared once things have settled.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QObject, QTimer, Signal

from napari_medzoo.changes import Box, Change, difference
from napari_medzoo.edit_log import Edit, edit_of
from napari_medzoo.errors import MedzooError
from napari_medzoo.journal import Journal
from napari_medzoo.widgets.label_names import table_of
from napari_medzoo.widgets.preferences import who

if TYPE_CHECKING:
    from napari.layers import Labels

SETTLED_MS = 200
"""Rest after the last redrawing before the array is compared for changes that napari does not tell of."""

REMEMBERED = 100
"""As many actions can be recognised when they are undone; napari keeps as many."""

SOURCE = "medzoo file"
"""Key in a layer's metadata: the file of labels that did not come through napari's own readers."""

ACTIONS = {"paint": "Paint", "erase": "Erase", "fill": "Fill", "polygon": "Paint polygon"}
ELSEWHERE = "Change by other means"

_watched: dict[Labels, Editing] = {}  # at most one a layer: two logs of one stroke would contradict each other


class Editing(QObject):
    """One layer under correction; `watch` makes them.

    Parameters
    ----------
    layer : napari.layers.Labels
        3D, of one numpy array. Two copies of the array are kept.
    original : numpy.ndarray, optional
        ``(X, Y, Z)`` as it was before the first correction, by default as it is now.
    folder : pathlib.Path, optional
        Of the journals, by default `napari_medzoo.journal.journal_folder`.

    Attributes
    ----------
    layer : napari.layers.Labels
    original : numpy.ndarray
        ``(X, Y, Z)`` as it was when the correction began.
    edits : list of Edit
        What was done, undone and restored since.
    source : pathlib.Path or None
        The file that the labels came from or were last saved to.
    who : str
        Written into each edit.

    Raises
    ------
    MedzooError
        For a layer that is not one 3D array in memory.
    """

    edited = Signal(object)
    """The `Edit` that was just made."""

    def __init__(self, layer: Labels, original: NDArray[Any] | None = None, folder: Path | None = None) -> None:
        super().__init__()
        if layer.ndim != 3 or layer.multiscale or not isinstance(layer.data, np.ndarray):
            raise MedzooError(f"Layer '{layer.name}' is not one 3D array in memory; choose other labels to correct.")
        self.layer = layer
        self.original = np.array(layer.data if original is None else original, layer.data.dtype, order="C")
        self.edits: list[Edit] = []
        self.who = who()
        self.source = source_of(layer)
        self.saved = 0  # so many edits are in the log of `source`
        self._holders = 1
        self._folder = folder
        self._now = self.original.copy()
        self._journal = Journal(self.original, layer.name, folder)
        self._action = ""
        self._known: Sequence[Edit] = ()
        self._done: list[tuple[str, Change]] = []
        self._undone: list[tuple[str, Change]] = []
        self._settle = QTimer(self)
        self._settle.setSingleShot(True)
        self._settle.setInterval(SETTLED_MS)
        self._settle.timeout.connect(self.compare)
        for event, answer in self._ties():
            event.connect(answer)

    @property
    def problem(self) -> str:
        """Why changes would not outlive a crash, else empty."""
        return self._journal.problem

    def change(self) -> Change:
        """All that differs from the original now."""
        self.compare()
        return difference(self.original, self._now)

    def apply(self, change: Change, action: str, known: Sequence[Edit] = ()) -> None:
        """Make a change on the layer as one step of napari's own undo.

        Parameters
        ----------
        change : Change
            Voxels that somebody edited in the meantime are overwritten.
        action : str
            What it is called in the log.
        known : sequence of Edit
            What the change is made of, if that was recorded before; it then stands in the log instead.
        """
        self.compare()
        if not len(change):
            return
        self._action, self._known = action, known
        with self.layer.block_history():
            self._set(np.unravel_index(change.indices, self._now.shape), change.new)
        self.layer.refresh()
        self.compare()

    def _set(self, where: tuple[Any, ...], values: NDArray[Any]) -> None:
        try:
            self.layer.data_setitem(where, values, refresh=False)
        except IndexError:
            # napari (0.9) cannot draw on a slice outside of the labels, and tries after everything else is done.
            if not np.array_equal(self.layer.data[where], values):
                raise

    def undo(self) -> None:
        """Take back the last step, whoever made it."""
        self.compare()
        self.layer.undo()
        self.compare()

    def redo(self) -> None:
        """Make the step again that was taken back last."""
        self.compare()
        self.layer.redo()
        self.compare()

    def snapshot(self) -> NDArray[Any]:
        """A copy of the labels as they are now."""
        self.compare()
        return self._now.copy()

    def was_saved(self, path: Path, data: NDArray[Any], count: int) -> None:
        """Begin a new journal: `data` with the first `count` edits is in the file `path`; what came since is kept."""
        if not self._holders:  # let go of while the file was written
            if not len(difference(data, self._now)):
                self._journal.remove()
            return
        self.compare()
        self.source, self.saved = path, count
        before, self._journal = self._journal, Journal(data, self.layer.name, self._folder)
        since = difference(data, self._now)
        if len(since):
            self._journal.append(self.edits[count:], since)
            self._journal.flush()
        before.remove()

    def flush(self) -> None:
        """Wait until all that was done is in the journal."""
        self.compare()
        self._journal.flush()

    def close(self) -> None:
        """Let go of the layer, once for each `watch`; the journal of what was not saved stays after the last."""
        self.compare()
        self._holders -= 1
        if self._holders:
            return
        _watched.pop(self.layer, None)
        self._settle.stop()
        for event, answer in self._ties():
            event.disconnect(answer)
        self._journal.close()

    def compare(self) -> None:
        """Look for changes that nobody told of: undo, redo, other plugins."""
        self._settle.stop()
        if self.layer.data.shape == self._now.shape:
            self._take(None)
        self._action, self._known = "", ()

    def _ties(self) -> tuple[Any, ...]:
        events = self.layer.events
        return (events.paint, self.painted), (events.set_data, self._redrawn), (events.data, self._redrawn)

    def _redrawn(self, event: Any = None) -> None:
        self._settle.start()

    def painted(self, event: Any) -> None:
        """Take a stroke that napari tells of (``events.paint``)."""
        self._action = self._action or ACTIONS.get(str(self.layer.mode), "Edit")
        self._take(None if self._settle.isActive() else box_of(event.value))
        # A stroke of the mouse is in the array by now; what a program paints follows at once.
        self._settle.start()

    def _take(self, box: Box | None) -> None:
        change = difference(self._now, self.layer.data, box)
        if not len(change):
            return
        change.apply(self._now)
        name = self._action or self._recognised(change)
        edits = self._known or [edit_of(name, change, table_of(self.layer), self.who)]
        if self._action:
            self._done = [*self._done[1 - REMEMBERED :], (name, change)]
            self._undone.clear()
        self._action, self._known = "", ()
        self.edits += edits
        self._journal.append(edits, change)
        self.edited.emit(edits[-1])

    def _recognised(self, change: Change) -> str:
        """What a change without a stroke was, by what it does."""
        for past, future, word in ((self._done, self._undone, "Undo"), (self._undone, self._done, "Redo")):
            if past and change.same_as(past[-1][1].inverse if word == "Undo" else past[-1][1]):
                future.append(past.pop())
                return f"{word} {future[-1][0].lower()}"
        return ELSEWHERE


def source_of(layer: Labels) -> Path | None:
    """The file that a layer's labels were read from, by napari or by our panel."""
    path = layer.source.path or layer.metadata.get(SOURCE)
    return Path(path) if path else None


def watch(layer: Labels, original: NDArray[Any] | None = None) -> Editing:
    """The `Editing` of a layer, which all who watch it share; each of them closes it when it is done.

    Parameters
    ----------
    layer : napari.layers.Labels
    original : numpy.ndarray, optional
        For a layer that nobody watches yet: ``(X, Y, Z)`` before the first correction.

    Raises
    ------
    MedzooError
        For a layer that is not one 3D array in memory.
    """
    if layer in _watched:
        _watched[layer]._holders += 1
    else:
        _watched[layer] = Editing(layer, original)
    return _watched[layer]


def watched(data: NDArray[Any]) -> Editing | None:
    """The `Editing` of the layer that shows this very array, if somebody watches it."""
    return next((editing for layer, editing in _watched.items() if layer.data is data), None)


def box_of(stroke: Any) -> Box | None:
    """The box around a stroke that napari tells of; None (look everywhere) where its form is not known.

    Each part of a stroke begins with where it is: index arrays or, since napari 0.9, a box of slices.
    """
    low, high = np.full(3, np.iinfo(np.int64).max), np.zeros(3, dtype=np.int64)
    for part in stroke:
        where = part[0]
        if not isinstance(where, tuple) or len(where) != 3:
            return None
        if all(isinstance(cut, slice) for cut in where):
            low = np.minimum(low, [cut.start for cut in where])
            high = np.maximum(high, [cut.stop for cut in where])
        else:
            low = np.minimum(low, [np.min(axis) for axis in where])
            high = np.maximum(high, [np.max(axis) + 1 for axis in where])
    return tuple(slice(int(start), int(stop)) for start, stop in zip(low, high, strict=True))
