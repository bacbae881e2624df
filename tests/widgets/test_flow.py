"""The whole flow in the panel with a tiny network: the same labels as Python's, Cancel, Score, Save."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
from napari.layers import Image

from napari_medzoo.cards import find_cards
from napari_medzoo.error_maps import worst_place
from napari_medzoo.evaluate import comparable
from napari_medzoo.inference import Plan, predict
from napari_medzoo.io import load_study, read_segmentation, read_volume, write_segmentation
from napari_medzoo.label_tables import LABEL_TABLES
from napari_medzoo.labels import Segmentation
from napari_medzoo.preprocess import prepare
from napari_medzoo.progress import run
from napari_medzoo.widgets.layers import segmentation_from_layer


@pytest.fixture
def segmented(panel, finish, t1w):
    """The panel after Segment."""
    finish(panel, lambda: panel.open_paths([t1w]))
    panel.choose("backend", "torch")
    finish(panel, panel.run_view.segment_wanted.emit)
    return panel


def test_the_panel_gives_the_same_labels_as_python_for_the_same_plan(segmented, tiny_card, t1w):
    result = segmented.state.segmentation
    plan = Plan.model_validate(result.provenance["plan"])
    expected = run(predict(load_study([t1w]), tiny_card, plan=plan))
    assert len(np.unique(expected.data)) > 1, "the tiny network must say more than one thing"
    np.testing.assert_array_equal(result.data, expected.data)
    layer = segmented.shown.result
    shown = segmentation_from_layer(layer)
    np.testing.assert_array_equal(shown.data, expected.data)
    np.testing.assert_array_equal(shown.grid.affine, read_volume(t1w).grid.affine)
    np.testing.assert_allclose(layer.affine.affine_matrix, read_volume(t1w).grid.reoriented("RAS").affine)
    assert segmented.viewer.layers[-1] is layer
    for label in tiny_card.label_table.foreground:
        np.testing.assert_allclose(layer.get_color(label.index)[:3], np.array(label.color) / 255, atol=1e-6)


def test_layers_of_the_viewer_give_the_same_labels_as_their_files(segmented, finish):
    from_file = segmented.state.segmentation
    scan = segmented.viewer.layers[0]
    segmented.state.slots = ()
    segmented.viewer.layers.selection = {scan}
    finish(segmented, segmented.use_layers)
    assert segmented.state.slots[0].modality == "t1w"
    finish(segmented, segmented.segment)
    np.testing.assert_array_equal(segmented.state.segmentation.data, from_file.data)
    assert segmented.state.segmentation.grid.same_as(from_file.grid)


def test_volumes_are_listed_and_a_row_leads_to_its_label(segmented):
    rows = segmented.result_view.table.values()
    volumes = segmented.state.segmentation.volumes_ml()
    assert [row[2] for row in rows] == sorted((v for v in volumes.values() if v > 0), reverse=True)
    assert {row[1] for row in rows} <= {"Left-Thalamus", "Right-Thalamus", "Brain-Stem"}
    index = rows[0][0]
    segmented.result_view.label_chosen.emit(index)
    layer = segmented.shown.result
    voxel = np.rint(layer.world_to_data(segmented.viewer.dims.point)).astype(int)
    assert layer.data[tuple(voxel)] == index
    assert layer.selected_label == index


def test_scoring_against_a_layer_and_against_a_file_agree(segmented, finish, tmp_path):
    result = segmented.state.segmentation
    changed = result.data.copy()
    changed[: changed.shape[0] // 2] = 0
    reference = Segmentation(changed, result.grid, result.table)
    path = write_segmentation(reference, tmp_path / "reference_seg.nii.gz")
    layer = segmented.shown.add_labels(reference, "reference")
    view = segmented.score_view
    view.reference.value = layer
    assert view.score.isEnabled()
    finish(segmented, view.score.click)
    by_layer = view.table.values()
    index = by_layer[0][0]
    ours, theirs = result.data == index, changed == index
    dice = 2 * (ours & theirs).sum() / (ours.sum() + theirs.sum())
    assert by_layer[0][2] == pytest.approx(dice)
    assert 0 < dice < 1
    assert f"{segmented.state.report.mean.dice:.3f}" in view.mean.text()
    finish(segmented, lambda: view.table.row_chosen.emit(index))
    place = worst_place(*comparable(result, reference), index)
    np.testing.assert_allclose(segmented.viewer.dims.point, place.point_mm, atol=0.51 * max(result.grid.spacing))
    assert view.place.text() == place.note
    view.file.value = path
    view.reference_numbering.value = "aseg"
    segmented.state.report = None
    finish(segmented, view.score.click)
    dices = {row[0]: row[2] for row in view.table.values()}
    assert dices[index] == pytest.approx(dice)


def test_a_reference_on_another_grid_is_refused_in_one_sentence(segmented, finish, notified, flair):
    other = read_volume(flair)
    labels = Segmentation((other.data > 300).astype(np.uint8) * 10, other.grid, LABEL_TABLES["aseg"])
    layer = segmented.shown.add_labels(labels, "elsewhere")
    segmented.score_view.reference.value = layer
    finish(segmented, segmented.score_view.score.click)
    assert segmented.state.report is None
    assert "grid" in notified[-1]
    assert "Traceback" not in notified[-1]


def test_corrections_by_hand_are_what_is_saved(segmented, finish, tmp_path, monkeypatch):
    from qtpy.QtWidgets import QFileDialog

    path = tmp_path / "corrected.nii.gz"
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_, **__: (str(path), ""))
    layer = segmented.shown.result
    layer.data[:3] = 16
    finish(segmented, segmented.result_view.save.click)
    saved = read_segmentation(path, LABEL_TABLES["aseg"])
    np.testing.assert_array_equal(saved.data, segmentation_from_layer(layer).data)
    assert (saved.data != segmented.state.segmentation.data).any()
    np.testing.assert_allclose(saved.grid.affine, segmented.state.segmentation.grid.affine, atol=1e-5)


def test_preview_shows_the_prepared_scans_together_and_segment_uses_them(segmented, finish, flair):
    panel = segmented
    before = panel.state.segmentation
    finish(panel, panel.preview)
    kept = panel.state.prepared
    assert f"({kept.timings['normalise']:.1f} s)" in panel.prepare_view.switches["normalise"].text
    layer = panel.viewer.layers["prepared T1w"]
    np.testing.assert_array_equal(layer.data, kept.volume("t1w").data)
    np.testing.assert_allclose(layer.affine.affine_matrix, kept.grid.affine)
    finish(panel, panel.segment)
    np.testing.assert_array_equal(panel.state.segmentation.data, before.data)
    assert panel.state.prepared is kept
    finish(panel, lambda: panel.open_paths([flair]))
    finish(panel, panel.preview)
    both = [layer for layer in panel.viewer.layers if layer.name.startswith("prepared")]
    assert {layer.name for layer in both} == {"prepared T1w", "prepared FLAIR"}
    assert both[0].data.shape == both[1].data.shape
    np.testing.assert_array_equal(both[0].affine.affine_matrix, both[1].affine.affine_matrix)


def test_a_step_that_is_switched_off_is_left_out(panel, finish, t1w, tiny_card):
    finish(panel, lambda: panel.open_paths([t1w]))
    panel.prepare_view.switches["normalise"].value = False
    panel.prepare_view.switches["head_crop"].value = False
    assert "scale intensities" in panel.prepare_view.warning.text()
    finish(panel, panel.prepare_view.preview_wanted.emit)
    recipe = tiny_card.preprocessing.model_copy(update={"normalise": None, "head_crop": None})
    expected = run(prepare(load_study([t1w]), recipe, ("t1w",)))
    np.testing.assert_array_equal(panel.viewer.layers["prepared T1w"].data, expected.volume("t1w").data)
    panel.prepare_view.reset_wanted.emit()
    assert panel.prepare_view.switches["normalise"].value
    assert panel.prepare_view.warning.text() == ""


def test_the_grid_of_the_labels_can_be_chosen(panel, finish, t1w, flair):
    finish(panel, lambda: panel.open_paths([t1w, flair]))
    panel.switch("align", False)
    panel.choose("backend", "torch")
    panel.model_view.grid.value = "flair"
    finish(panel, panel.segment)
    result = panel.state.segmentation
    assert result.grid.same_as(read_volume(flair).grid)
    layer = panel.shown.result
    np.testing.assert_allclose(layer.affine.affine_matrix, read_volume(flair).grid.reoriented("RAS").affine)


def test_cancel_during_a_forward_pass_frees_the_panel_and_the_next_run_waits(segmented, finish, qtbot, monkeypatch):
    from napari_medzoo.inference import BACKENDS

    panel = segmented
    entered, let_go, passes = threading.Event(), threading.Event(), []
    runner = type(BACKENDS["torch"].prepare(panel.state.cards["tiny"], "cpu", "float32", 1))
    real = runner.__call__

    def slow(self, data):
        passes.append(data.shape)
        entered.set()
        assert let_go.wait(60)
        return real(self, data)

    monkeypatch.setattr(runner, "__call__", slow)
    layers, before = len(panel.viewer.layers), panel.state.segmentation
    panel.segment()
    qtbot.waitUntil(entered.is_set, timeout=60_000)
    begin = time.perf_counter()
    panel.run_view.cancel.click()
    qtbot.waitUntil(lambda: not panel.state.work, timeout=1000)
    assert time.perf_counter() - begin < 1
    assert panel.study_view.combos[0].enabled, "the panel is free"
    qtbot.wait(700)  # the generator is closed by now; the pass in flight is not
    assert panel.state.releasing
    assert not panel.run_view.segment.isEnabled()
    assert "memory" in panel.run_view.text.text()
    panel.segment()
    assert not panel.state.work, "no second run beside the memory of the first"
    let_go.set()
    qtbot.waitUntil(lambda: not panel.state.releasing, timeout=60_000)
    assert len(passes) == 1
    assert len(panel.viewer.layers) == layers
    assert panel.state.segmentation is before
    finish(panel, panel.segment)
    np.testing.assert_array_equal(panel.state.segmentation.data, before.data)


def test_progress_is_shown_while_a_run_lasts(panel, finish, t1w):
    finish(panel, lambda: panel.open_paths([t1w]))
    seen = []
    panel.state.events.progress.connect(lambda step: seen.append(panel.run_view.text.text()))
    finish(panel, panel.segment)
    said = " ".join(seen)
    assert "Loading model" in said
    assert "Segmenting" in said
    assert panel.run_view.text.text() == "Ready."


def test_weights_that_were_changed_are_refused_and_nothing_is_added(panel, finish, t1w, tiny_card, notified):
    finish(panel, lambda: panel.open_paths([t1w]))
    tiny_card.weights_path.write_bytes(b"other")
    finish(panel, panel.segment)
    assert "sha256" in notified[-1]
    assert all(isinstance(layer, Image) for layer in panel.viewer.layers)


def test_a_model_that_needs_more_says_what_is_missing(panel, finish, t1w, pair_card):
    finish(panel, lambda: panel.open_paths([t1w]))
    panel.state.cards = find_cards()
    panel.model_view.card.value = "pair"
    assert not panel.run_view.segment.isEnabled()
    assert "model 'pair' needs T1w and FLAIR" in panel.run_view.text.text()
    assert "tiny" in panel.run_view.text.text(), "and which model would do"
