"""A stroke painted in a side view, moved into the history of the layer that it belongs to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from napari.layers import Labels

Change = tuple[tuple[NDArray[np.intp], ...], NDArray[Any], Any]
"""Where (one index array for each axis), what was there before, what is there now."""


def hand_over(stroke: Sequence[Any], layer: Labels) -> None:
    """Make a stroke that another layer put into the shared array `layer`'s own: its undo, its events.

    Parameters
    ----------
    stroke : sequence
        The value of the ``paint`` event of the layer that was painted on.
    layer : napari.layers.Labels
        With the same array.
    """
    changes = [change for atom in stroke for change in _changes(atom)]
    for where, before, _ in reversed(changes):
        layer.data[where] = before
    with layer.block_history():
        for where, _, after in changes:
            layer.data_setitem(where, after, refresh=False)
    layer.refresh()


def _changes(atom: tuple[Any, ...]) -> Iterator[Change]:
    """napari writes an edit as ``(indices, before, after)`` or, since 0.9, as ``(box, mask, before, after)``."""
    if len(atom) == 3:
        yield atom
        return
    box, mask, before, after = atom
    if mask is None:
        mask, before = np.ones(before.shape, dtype=bool), before.ravel()
    inside = np.nonzero(mask)
    yield tuple(axis + part.start for axis, part in zip(inside, box, strict=True)), before, after
