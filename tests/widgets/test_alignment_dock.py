"""The Alignment dock: the picture of two scans, the numbers, the correction by hand, and what the panel makes of it."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
from napari.layers import Layer
from npe2 import PluginManifest

from napari_medzoo.io import read_segmentation, read_volume
from napari_medzoo.preprocess import Align
from napari_medzoo.preprocess.alignment import Pose
from napari_medzoo.preprocess.check import displacement_mm
from napari_medzoo.space import Grid
from napari_medzoo.widgets.alignment import mixing, placing
from napari_medzoo.widgets.alignment.dock import AlignmentDock
from napari_medzoo.widgets.alignment.history import History
from napari_medzoo.widgets.alignment.parts import CHECKERBOARD, OVERLAY, SWIPE
from napari_medzoo.widgets.alignment.study import BY_HAND, SETTLED
from napari_medzoo.widgets.docks import dock_class
from napari_medzoo.widgets.layers import (
    grid_of,
    oblique_degrees,
    volume_layer,
)
from tests.widgets.conftest import LPS_AFFINE, head

SHIFT = (8.0, -5.0, 4.0)


def test_squares_are_cubes_in_millimetres_whatever_the_voxels():
    grid = Grid((24, 12, 6), np.diag([1.0, 2.0, 4.0, 1.0]))
    fixed, moving = np.zeros(grid.shape, np.uint8), np.full(grid.shape, 9, np.uint8)
    board = mixing.checkerboard(fixed, moving, grid, 8)
    assert set(np.diff(np.flatnonzero(np.diff(board[:, 6, 3].astype(int))))) == {8}
    assert set(np.diff(np.flatnonzero(np.diff(board[12, :, 3].astype(int))))) == {4}, "4 voxels of 2 mm"
    assert board[11, 6, 3] != board[12, 6, 3], "a corner lies in the middle"
    assert 0.4 < (board > 0).mean() < 0.6


def test_a_swipe_shows_the_fixed_scan_up_to_the_border():
    fixed, moving = np.zeros((10, 4, 6), np.uint8), np.full((10, 4, 6), 9, np.uint8)
    for axis in range(3):
        assert (mixing.swiped(fixed, moving, axis, 0) == 9).all()
        assert (mixing.swiped(fixed, moving, axis, 1) == 0).all()
    assert list(mixing.swiped(fixed, moving, 0, 0.3)[:, 0, 0]) == [0] * 3 + [9] * 7


def test_red_is_the_fixed_scan_and_cyan_the_moving_one():
    fixed, moving = np.array([255, 0, 255, 0, 128], np.uint8), np.array([0, 255, 255, 0, 128], np.uint8)
    colors = mixing.RED_CYAN.map(mixing.overlaid(fixed, moving) / 255)[:, :3]
    np.testing.assert_allclose(colors[:4], [[1, 0, 0], [0, 1, 1], [1, 1, 1], [0, 0, 0]], atol=0.01)
    assert np.ptp(colors[4]) < 0.01, "equally bright is grey"


def test_the_picture_of_a_tilted_scan_lies_straight(awkward_grids):
    for name, grid in awkward_grids.items():
        picture = mixing.picture_grid(grid)
        assert oblique_degrees(picture) < 1e-6, name
        outside = picture.to_index(grid.corners_mm())
        assert (outside > -0.51).all() and (outside < np.array(picture.shape) - 0.49).all(), "it holds the whole scan"
    large = mixing.picture_grid(Grid((400, 400, 300), np.diag([0.5, 0.5, 0.7, 1])))
    assert np.prod(large.shape) < 1.05 * mixing.MOST_VOXELS


def test_steps_of_one_kind_are_undone_together():
    history = History(Pose())
    for value in (1.0, 2.0, 3.0):
        history.push(Pose((value, 0, 0)), part_of="boxes")
    history.push(Pose((9, 9, 9)))
    history.undo()
    assert history.pose == Pose((3, 0, 0))
    history.undo()
    assert history.pose == Pose() and not history.can_undo and history.can_redo
    history.push(Pose((5, 0, 0)), part_of="boxes")
    assert not history.can_redo


@pytest.fixture
def scans(tmp_path):
    """Two files of one head, the second moved by `SHIFT` in its header."""
    affine = np.array(LPS_AFFINE)
    paths = [tmp_path / "still_T1w.nii.gz", tmp_path / "moved_T2w.nii.gz"]
    nib.save(nib.Nifti1Image(head(), affine), paths[0])
    affine[:3, 3] += SHIFT
    nib.save(nib.Nifti1Image(head(), affine), paths[1])
    return paths


@pytest.fixture
def viewer(make_napari_viewer, scans):
    viewer = make_napari_viewer()
    for path in scans:
        viewer.add_layer(Layer.create(*volume_layer(read_volume(path))))
    return viewer


@pytest.fixture
def dock(viewer, qtbot):
    dock = AlignmentDock(viewer)
    viewer.window.add_dock_widget(dock, name="Alignment")
    yield dock
    dock.jobs.cancel()
    qtbot.waitUntil(lambda: not dock.state.releasing, timeout=60_000)


@pytest.fixture
def settle(qtbot):
    """``settle(dock)``: wait until the job, the picture and the numbers are done."""

    def wait(dock) -> None:
        qtbot.waitUntil(lambda: not dock.state.work, timeout=120_000)
        qtbot.waitUntil(lambda: not dock.newest.busy and dock.found is not None, timeout=60_000)

    return wait


BACK = tuple(-value for value in SHIFT)


def test_the_manifest_names_it():
    manifest = PluginManifest.from_distribution("napari-medzoo")
    command = next(one for one in manifest.contributions.commands if one.id == "napari-medzoo.alignment")
    assert command.python_name == f"{AlignmentDock.__module__}:{AlignmentDock.__name__}"
    assert dock_class("alignment") is AlignmentDock


def test_both_scans_are_compared_moved_by_hand_and_back(dock, viewer, settle):
    assert [dock.fixed.value, dock.moving.value] == list(viewer.layers)
    dock.show_comparison()
    settle(dock)
    picture, subject = dock.picture, dock.subject
    assert viewer.layers[-1] is picture and not placing.is_scan(picture)
    np.testing.assert_allclose(picture.affine.affine_matrix, subject.grid.affine)
    assert "as its header says" in dock.verdict.text()
    before = dock.found.after
    inside = (slice(6, -6),) * 3  # a scan that was moved has no voxels at one edge
    assert np.abs(picture.data[inside].astype(int) - subject.fixed[inside]).max() > 50
    for box, value in zip(dock.boxes.shifts, BACK, strict=True):
        box.setValue(value)
    settle(dock)
    assert np.abs(dock.picture.data[inside].astype(int) - subject.fixed[inside]).max() <= 1, "now it is one head"
    assert dock.picture is picture
    assert dock.found.after > before + 0.1
    assert dock.found.mean_mm == pytest.approx(np.linalg.norm(SHIFT), abs=1e-6)
    assert "8.0 mm to the left, 5.0 mm forward, 4.0 mm down" in dock.verdict.text()
    dock.undo.click()
    settle(dock)
    assert dock.history.pose == Pose(), "typing into the boxes is one step"
    assert dock.boxes.shifts[0].value() == 0
    dock.redo.click()
    dock.header.click()
    settle(dock)
    assert dock.history.pose == Pose() and dock.found.after == pytest.approx(before)
    for layer, header in zip(viewer.layers[:2], affines(viewer), strict=True):
        np.testing.assert_array_equal(layer.affine.affine_matrix, header, "nothing was accepted")


def affines(viewer) -> list[np.ndarray]:
    """Where the files' headers put the first two layers."""
    return [layer.metadata["medzoo"]["grid"].reoriented("RAS").affine for layer in viewer.layers[:2]]


def test_every_look_shows_both_scans(dock, settle):
    dock.show_comparison()
    settle(dock)
    for look in (SWIPE, OVERLAY, CHECKERBOARD):
        dock.look.look.setCurrentText(look)
        settle(dock)
        subject, moving = dock.subject, dock._seen[1]
        np.testing.assert_array_equal(dock.picture.data, dock.look.picture()(subject.fixed, moving, subject.grid))
        assert dock.picture.colormap.name == ("gray" if look != OVERLAY else mixing.RED_CYAN.name)
    squares = dock.picture.data
    dock.look.slider.setValue(60)
    settle(dock)
    assert (dock.picture.data != squares).any()


def test_it_is_found_improved_and_accepted(dock, viewer, settle, notified):
    still, moved = viewer.layers
    heard = []

    def told(*layers):
        heard.append(layers)

    placing.PLACINGS.settled.connect(told)
    header, data = affines(viewer)[1], moved.data
    dock.find()
    settle(dock)
    truth = np.eye(4)
    truth[:3, 3] = SHIFT
    found = dock.subject.transform(dock.history.pose)
    assert displacement_mm(found, truth, dock.subject.pair.points).mean() < 1
    dock.boxes.shifts[2].setValue(dock.boxes.shifts[2].value() + 3)
    settle(dock)
    worse = dock.found.after
    dock.improve.click()
    settle(dock)
    assert dock.found.after > worse
    dock.accept.click()
    placing.PLACINGS.settled.disconnect(told)
    movement = dock.history.pose.movement(dock.subject.pair.center_mm)
    np.testing.assert_allclose(moved.affine.affine_matrix, movement @ header, atol=1e-9)
    assert moved.data is data
    assert heard == [(still, moved)]
    assert "lies where you accepted it" in notified[-1]
    dock.header.click()
    dock.accept.click()
    np.testing.assert_allclose(moved.affine.affine_matrix, header, atol=1e-9)


def test_one_scan_is_not_compared_with_itself(dock, viewer, notified):
    dock.moving.value = dock.fixed.value
    assert not dock.compare.isEnabled()
    dock.show_comparison()
    assert "two different scans" in notified[-1]
    viewer.layers.pop()
    assert dock.subject is None and not dock.accept.isEnabled()


def test_the_panel_takes_what_was_accepted(panel, pair_card, finish, t1w, flair, tmp_path, settle):
    panel._find_models()
    panel.choose("card", "pair")
    finish(panel, lambda: panel.open_paths([t1w, flair]))
    panel.prepare_view.judge.click()
    dock = next(one for one in panel.viewer.window.dock_widgets.values() if isinstance(one, AlignmentDock))
    settle(dock)
    assert [dock.fixed.value.name, dock.moving.value.name] == [t1w.name, flair.name]
    dock.boxes.shifts[1].setValue(6.0)
    dock.boxes.turns[2].setValue(4.0)
    settle(dock)
    dock.accept.click()
    movement = dock.history.pose.movement(dock.subject.pair.center_mm)
    moved, file = panel.state.slots[1].volume, read_volume(flair)
    np.testing.assert_allclose(moved.grid.affine, movement @ file.grid.affine, atol=1e-9)
    assert moved.modality == "flair" and moved.name == flair.name
    assert SETTLED in panel.prepare_view.alignment.text()
    panel.choose("grid", "flair")
    finish(panel, panel.segment)
    assert "align" not in panel.state.segmentation.provenance["timings_s"], "nothing was searched for"
    np.testing.assert_array_equal(panel.state.segmentation.provenance["transforms"]["flair"], np.eye(4))
    assert any(BY_HAND in text for text in panel.state.segmentation.warnings)
    np.testing.assert_allclose(grid_of(panel.shown.result).affine, grid_of(dock.moving.value).affine, atol=1e-9)
    finish(panel, lambda: panel.save(tmp_path / "labels.nii.gz"))
    assert read_segmentation(tmp_path / "labels.nii.gz").grid.same_as(file.grid), "as the file lies, not the layer"
    panel.clear()
    assert panel.state.settled == ()


def test_the_panel_says_what_alignment_found(panel, pair_card, finish, scans, settle):
    panel._find_models()
    panel.choose("card", "pair")
    panel.state.recipe = pair_card.preprocessing.model_copy(update={"align": Align(levels_mm=(6.0, 3.0))})
    finish(panel, lambda: panel.open_paths(scans))
    panel.mark(1, "flair")
    finish(panel, panel.preview, timeout=120_000)
    assert "FLAIR: moved by 10." in panel.prepare_view.alignment.text()
    panel.prepare_view.judge.click()
    dock = next(one for one in panel.viewer.window.dock_widgets.values() if isinstance(one, AlignmentDock))
    settle(dock)
    np.testing.assert_allclose(dock.history.pose.shift_mm, BACK, atol=0.7)
    dock.header.click()
    dock.accept.click()
    assert panel.state.prepared is None, "what was prepared is out of date"
    finish(panel, panel.preview)
    assert "align" not in panel.state.prepared.timings
    assert SETTLED in panel.prepare_view.alignment.text()
