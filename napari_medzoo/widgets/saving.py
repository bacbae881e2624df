"""Saving the labels of a layer, with the log of its corrections: one way for every button and for napari's own menu."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_medzoo import edit_log
from napari_medzoo.edit_log import Edit
from napari_medzoo.labels import Segmentation
from napari_medzoo.progress import Progress, Steps
from napari_medzoo.study import FileInfo
from napari_medzoo.widgets import tasks
from napari_medzoo.widgets.editing import Editing
from napari_medzoo.widgets.jobs import Jobs
from napari_medzoo.widgets.layers import file_of, segmentation_from_layer, with_painted


def save_labels(jobs: Jobs, editing: Editing, path: Path, told: Callable[[str], None]) -> None:
    """Start to write what a layer shows now; a file that corrected labels replace stays as ``<name>_original``.

    Parameters
    ----------
    jobs : Jobs
        Runs it; nothing else may run there.
    editing : Editing
        Of the layer.
    path : pathlib.Path
    told : callable
        Gets a sentence about what was written.
    """
    snapshot, steps = saving(editing, path)
    count = len(editing.edits)

    def done(written: Path) -> None:
        editing.was_saved(written, snapshot, count)
        log = edit_log.log_path(written)
        told(f"Saved to {written.name}" + (f"; the log is {log.name}." if log.exists() else "."))

    jobs.start("Saving", steps, done)


def saving(editing: Editing, path: Path) -> tuple[NDArray[Any], Steps[Path]]:
    """The labels as they are now ``(X, Y, Z)``, and the steps that write them; later strokes do not get into the file.

    Whoever runs the steps then calls ``editing.was_saved``.
    """
    snapshot, layer = editing.snapshot(), editing.layer
    labels = segmentation_from_layer(layer)
    labels = replace(labels, data=np.array(labels.data))
    unsaved = editing.edits[editing.saved :]
    return snapshot, write_with_log(labels, path, file_of(layer), unsaved, editing.source)


def write_with_log(
    labels: Segmentation, path: Path, like: FileInfo | None, edits: Sequence[Edit], source: Path | None
) -> Steps[Path]:
    """Write labels and continue the log of the file they came from.

    Parameters
    ----------
    labels : Segmentation
        Nobody paints on them meanwhile; values that their table does not name get one.
    path : pathlib.Path
    like : FileInfo or None
        Of the volume whose grid the labels share.
    edits : sequence of Edit
        What is not in the log of `source` yet.
    source : pathlib.Path or None
        The file that the labels came from; None where there was none but perhaps the one at `path`.
    """
    yield Progress(f"Writing {path.name}")
    before = edit_log.read_log(source or path)
    corrected = bool(edits or before.edits)
    if corrected:
        edit_log.keep_original(path)
    written = tasks.write_labels(with_painted(labels), path, like)
    if corrected:
        edit_log.add_to_log(path, edits, before)
    return written
