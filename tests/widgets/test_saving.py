"""Saving what a layer shows: the window only takes the copy, a thread does the rest."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from napari.layers import Layer

from napari_medzoo.io import read_segmentation
from napari_medzoo.label_tables import LABEL_TABLES
from napari_medzoo.labels import Segmentation
from napari_medzoo.state import State
from napari_medzoo.widgets.editing import watch
from napari_medzoo.widgets.jobs import Jobs
from napari_medzoo.widgets.layers import segmentation_layer
from napari_medzoo.widgets.saving import save_labels

UNNAMED = 9


@pytest.mark.parametrize("name", ["anisotropic", "awkward"])
def test_a_class_without_a_name_is_found_in_a_thread_and_a_stroke_meanwhile_is_not_saved(
    awkward_grids, tmp_path, qtbot, qapp, monkeypatch, name
):
    def unknown(segmentation: Segmentation) -> tuple[int, ...]:
        threads.append(threading.get_ident())
        return real(segmentation)

    threads: list[int] = []
    real = Segmentation.unknown_indices
    monkeypatch.setattr(Segmentation, "unknown_indices", unknown)
    grid = awkward_grids[name]
    data = np.zeros(grid.shape, np.uint8)
    data[1:4, 2:5, 1:3] = 2
    layer = Layer.create(*segmentation_layer(Segmentation(data, grid, LABEL_TABLES["tissue"])))
    editing, jobs, told = watch(layer), Jobs(State()), []
    corner = tuple(np.zeros(1, int) for _ in range(3))
    layer.data_setitem(corner, UNNAMED)
    saved = np.array(layer.data)
    save_labels(jobs, editing, tmp_path / "labels.nii.gz", told.append)
    layer.data_setitem(tuple(axis + 1 for axis in corner), 3)
    qtbot.waitUntil(lambda: bool(told), timeout=30_000)
    assert threads and threading.get_ident() not in threads
    written = read_segmentation(tmp_path / "labels.nii.gz")
    assert written.table[UNNAMED].name == f"label {UNNAMED}"
    shown = segmentation_layer(written)[0]
    np.testing.assert_array_equal(shown, saved)
    assert len(editing.edits) == 2 and editing.saved == 1
    editing.close()
