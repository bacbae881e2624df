"""A reference that lies where the header says, beside labels of a scan that was moved by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from napari.layers import Layer

from napari_medzoo.errors import MedzooError
from napari_medzoo.io import read_segmentation, write_segmentation
from napari_medzoo.label_tables import LABEL_TABLES
from napari_medzoo.labels import Label, LabelTable, Segmentation
from napari_medzoo.preprocess.alignment import Pose
from napari_medzoo.progress import run
from napari_medzoo.space import Grid
from napari_medzoo.study import FileInfo
from napari_medzoo.widgets.alignment import placing
from napari_medzoo.widgets.alignment.references import Scan, take_along
from napari_medzoo.widgets.layers import segmentation_layer
from napari_medzoo.widgets.lesion_tasks import list_lesions
from napari_medzoo.widgets.scoring.dock import ScoringDock

MOVEMENT = Pose((6.0, -4.0, 3.0), (5, -8, 12)).movement((1, 2, 3))
FLAIR, T1W = Path("FLAIR.nii.gz"), Path("T1w.nii.gz")
MOVED, STILL = FileInfo(FLAIR, "nifti", moved=MOVEMENT), FileInfo(FLAIR, "nifti")
BRAIN = LABEL_TABLES["mrbrains"]


def labels_on(grid: Grid, movement: np.ndarray | None = None) -> Segmentation:
    data = np.random.default_rng(0).integers(0, 4, grid.shape).astype(np.uint8)
    place = grid if movement is None else Grid(grid.shape, movement @ grid.affine)
    return Segmentation(data, place, BRAIN)


def test_the_reference_goes_to_where_the_scan_is(awkward_grids):
    for name, grid in awkward_grids.items():
        moved, still = labels_on(grid, MOVEMENT), labels_on(grid)
        brought, note = take_along(moved, still, (MOVED, None), ())
        np.testing.assert_allclose(brought.grid.affine, moved.grid.affine, atol=1e-9, err_msg=name)
        assert brought.data is still.data and FLAIR.name in note
        back, note = take_along(still, moved, (None, MOVED), ())
        np.testing.assert_allclose(back.grid.affine, grid.affine, atol=1e-9)
        assert note
        again = FileInfo(FLAIR, "nifti", moved=np.linalg.inv(MOVEMENT))
        twice, _ = take_along(labels_on(grid, again.moved), moved, (again, MOVED), ())
        np.testing.assert_allclose(twice.grid.affine, again.moved @ grid.affine, atol=1e-9)


def test_a_file_with_its_axes_in_another_order_is_still_the_scan_s(awkward_grids):
    grid = awkward_grids["awkward"]
    moved, other = labels_on(grid, MOVEMENT), grid.reoriented("LPS")
    brought, note = take_along(moved, labels_on(other), (MOVED, None), ())
    np.testing.assert_allclose(brought.grid.affine, MOVEMENT @ other.affine, atol=1e-9)
    assert note


def test_what_does_not_belong_to_the_scan_stays_where_it_is(awkward_grids):
    grid = awkward_grids["oblique"]
    moved, still = labels_on(grid, MOVEMENT), labels_on(grid)
    elsewhere = labels_on(grid, Pose((0.5, 0, 0)).movement((0, 0, 0)))
    for pair, files in (
        ((moved, elsewhere), (MOVED, None)),
        ((moved, moved), (MOVED, None)),
        ((still, elsewhere), (STILL, None)),
        ((moved, still), (MOVED, FileInfo(T1W, "nifti"))),
    ):
        assert take_along(*pair, files, ()) == (pair[1], "")


def test_a_reference_that_fits_two_scans_is_refused(awkward_grids):
    grid = awkward_grids["flipped"]
    moved, still = labels_on(grid, MOVEMENT), labels_on(grid)
    scans = (Scan("FLAIR", MOVED, moved.grid), Scan("T1w", FileInfo(T1W, "nifti"), grid))
    with pytest.raises(MedzooError, match=r"FLAIR\.nii\.gz was moved by hand.* that of 'T1w'.* save the labels"):
        take_along(moved, still, (MOVED, None), scans)
    with pytest.raises(MedzooError, match="the prediction fits"):
        take_along(still, moved, (None, MOVED), scans)
    assert take_along(moved, still, (MOVED, STILL), scans)[1], "that side knows its scan"
    assert take_along(moved, still, (MOVED, None), scans[:1])[1]


@pytest.fixture
def moved(panel, pair_card, finish, t1w, flair, tmp_path):
    """A panel with labels of a FLAIR that was moved by hand, and the file in which they were saved."""
    panel._find_models()
    panel.choose("card", "pair")
    finish(panel, lambda: panel.open_paths([t1w, flair]))
    layers = {layer.name: layer for layer in panel.viewer.layers}
    placing.place(layers[flair.name], MOVEMENT)
    placing.PLACINGS.settled.emit(layers[t1w.name], layers[flair.name])
    panel.choose("grid", "flair")
    finish(panel, panel.segment)
    path = tmp_path / "rater.nii.gz"
    finish(panel, lambda: panel.save(path))
    return panel, path


def test_the_panel_and_the_dock_score_a_moved_scan(moved, finish, flair, qtbot, notified):
    panel, path = moved
    result, saved = panel.shown.result, read_segmentation(path)
    # One voxel more in the reference: the way to it must lead to where the scan lies now.
    voxel = tuple(np.argwhere(saved.data == 0)[0])
    data = np.array(saved.data)
    data[voxel] = 16
    write_segmentation(replace(saved, data=data), path, overwrite=True)
    finish(panel, lambda: panel.score(result, path, "", ""))
    report = panel.state.report
    assert report.mean.dice > 0.9
    assert flair.name in report.notes[0] and "moved by hand" in report.notes[0]
    assert report.notes[0] in panel.score_view.mean.text()
    finish(panel, lambda: panel.go_to_worst(16))
    wanted = MOVEMENT @ [*saved.grid.to_world([voxel])[0], 1]
    np.testing.assert_allclose(panel.viewer.dims.point, wanted[:3], atol=max(saved.grid.spacing))

    finish(panel, lambda: panel.open_paths([path]))
    dock = ScoringDock(panel.viewer)
    panel.viewer.window.add_dock_widget(dock, name="Scoring")
    dock.form.prediction.value, dock.form.reference.value = result, panel.viewer.layers[path.name]
    dock.score.click()
    qtbot.waitUntil(lambda: not dock.state.work and not dock.newest.busy, timeout=60_000)
    assert dock.scored.report == report and report.notes[0] in dock.summary.text()
    prediction, reference = dock.scored.live.pair()
    assert reference.grid.same_as(prediction.grid)

    panel.viewer.layers[flair.name].metadata["medzoo"]["file"] = FileInfo(T1W, "nifti")
    panel.viewer.layers[flair.name].affine = panel.viewer.layers[path.name].affine
    dock.score.click()
    qtbot.waitUntil(lambda: not dock.state.work and not dock.state.releasing, timeout=60_000)
    assert "that of 'sub-01_FLAIR.nii.gz'" in notified[-1]
    dock.newest.forget()


def test_lesions_of_a_moved_scan_are_compared(awkward_grids):
    grid = awkward_grids["awkward"]
    table = LabelTable("mask", (Label(1, "lesion", (255, 200, 0)),))
    data = np.zeros(grid.shape, np.uint8)
    data[2:5, 2:5, 2:5] = 1
    layers = [
        Layer.create(*segmentation_layer(Segmentation(data, place, table), file=file))
        for place, file in ((Grid(grid.shape, MOVEMENT @ grid.affine), MOVED), (grid, None))
    ]
    listing = run(list_lesions(layers[0], table, (1,), 0.0, layers[1]))
    assert listing.agreement.found == listing.agreement.lesions == 1 and listing.agreement.dice == 1
    assert "taken along" in listing.comparison
    scans = [Scan("T1w", FileInfo(T1W, "nifti"), grid)]
    with pytest.raises(MedzooError, match="that of 'T1w'"):
        run(list_lesions(layers[0], table, (1,), 0.0, layers[1], scans))
