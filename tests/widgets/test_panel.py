"""The panel's flow: what the person asks for and what then stands in the viewer."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
from napari.layers import Image, Labels
from qtpy.QtCore import QMimeData, QPoint, Qt, QUrl
from qtpy.QtGui import QDropEvent

from napari_medzoo.io import read_volume, write_segmentation
from napari_medzoo.label_tables import LABEL_TABLES
from napari_medzoo.labels import Segmentation
from napari_medzoo.progress import Progress
from napari_medzoo.state import LEFT_OUT, State
from napari_medzoo.widgets import result_views
from napari_medzoo.widgets.layers import segmentation_from_layer


def names(panel) -> list[str]:
    return [layer.name for layer in panel.viewer.layers]


def test_files_become_slots_and_layers_with_the_reason_of_each_guess(panel, finish, t1w, flair):
    finish(panel, lambda: panel.open_paths([t1w, flair]))
    assert [slot.modality for slot in panel.state.slots] == ["t1w", "flair"]
    assert "BIDS suffix '_T1w'" in panel.study_view._labels[0][1].text()
    assert names(panel) == ["sub-01_T1w.nii.gz", "sub-01_FLAIR.nii.gz"]
    for layer, path in zip(panel.viewer.layers, (t1w, flair), strict=True):
        grid = read_volume(path).grid.reoriented("RAS")
        np.testing.assert_allclose(layer.affine.affine_matrix, grid.affine)
        assert layer.data.shape == grid.shape
    assert panel.viewer.dims.order == (2, 1, 0), "the first picture is an axial slice"


def test_a_folder_is_read_with_the_labels_in_it(panel, finish, t1w, flair):
    volume = read_volume(t1w)
    labels = Segmentation((volume.data > 300).astype(np.uint8), volume.grid, LABEL_TABLES["brats"])
    write_segmentation(labels, t1w.parent / "sub-01_dseg.nii.gz")
    finish(panel, lambda: panel.open_paths([t1w.parent]))
    assert {slot.modality for slot in panel.state.slots} == {"t1w", "flair"}
    (layer,) = panel.shown.label_layers()
    np.testing.assert_array_equal(segmentation_from_layer(layer).data, labels.data)
    assert layer in list(panel.score_view.reference.choices)


def test_files_dropped_on_the_panel_join_the_study(panel, finish, t1w):
    mime = QMimeData()
    mime.setUrls([QUrl.fromLocalFile(str(t1w))])
    actions, buttons = Qt.DropAction.CopyAction, Qt.MouseButton.LeftButton
    event = QDropEvent(QPoint(5, 5).toPointF(), actions, mime, buttons, Qt.KeyboardModifier.NoModifier)
    finish(panel, lambda: panel.dropEvent(event))
    assert [slot.volume.name for slot in panel.state.slots] == [t1w.name]


def test_layers_of_the_viewer_make_a_study(panel, finish, t1w):
    panel.viewer.add_image(read_volume(t1w).data, name="patient T1w", scale=(2, 2, 2))
    finish(panel, panel.use_layers)
    (slot,) = panel.state.slots
    assert slot.modality == "t1w"
    assert slot.volume.grid.spacing == (2, 2, 2)
    np.testing.assert_array_equal(slot.volume.data, read_volume(t1w).data)


def test_several_selected_layers_win_over_the_others(panel, finish, t1w):
    data = read_volume(t1w).data
    one = panel.viewer.add_image(data, name="one T1w")
    panel.viewer.add_image(data + 1, name="PD of another person")
    other = panel.viewer.add_image(data + 2, name="other FLAIR")
    panel.viewer.layers.selection = {one, other}
    finish(panel, panel.use_layers)
    finish(panel, panel.use_layers)
    assert [slot.modality for slot in panel.state.slots] == ["t1w", "flair"], "and none stands there twice"


def test_no_layer_to_take_is_said(panel, notified):
    panel.use_layers()
    assert "no image layer" in notified[-1]


def test_a_guess_can_be_changed_by_hand_and_segment_follows(panel, finish, pair_card, t1w, tmp_path):
    from napari_medzoo.cards import find_cards

    panel.state.cards = find_cards()
    panel.choose("card", "pair")
    other = tmp_path / "scan.nii.gz"
    other.write_bytes(t1w.read_bytes())
    finish(panel, lambda: panel.open_paths([t1w, other]))
    assert [slot.modality for slot in panel.state.slots] == ["t1w", "unknown"]
    assert not panel.run_view.segment.isEnabled()
    assert "needs T1w and FLAIR" in panel.run_view.text.text()
    panel.study_view.combos[1].value = "flair"
    assert panel.state.slots[1].modality == "flair"
    assert panel.run_view.segment.isEnabled()
    panel.study_view.combos[1].value = "t1w"
    assert "all marked T1w" in panel.study_view.problem.text()
    panel.study_view.combos[1].value = LEFT_OUT
    assert "needs T1w and FLAIR" in panel.run_view.text.text()


def test_a_bad_file_gives_one_sentence_and_no_layer(panel, finish, notified, tmp_path):
    bad = tmp_path / "broken_T1w.nii.gz"
    bad.write_bytes(b"\x1f\x8b not gzip")
    finish(panel, lambda: panel.open_paths([bad]))
    assert names(panel) == []
    assert panel.state.slots == ()
    assert "broken_T1w.nii.gz" in notified[-1]
    assert "Traceback" not in notified[-1]
    assert "\n" not in notified[-1].strip()


def test_clear_takes_only_what_the_panel_brought(panel, finish, t1w):
    mine = panel.viewer.add_image(np.eye(4)[None].repeat(3, 0), name="mine")
    finish(panel, lambda: panel.open_paths([t1w]))
    panel.clear()
    assert list(panel.viewer.layers) == [mine]
    assert panel.state.slots == ()


def test_the_warning_is_always_in_sight(panel):
    assert panel.banner.text() == "Research use only, not for diagnosis"
    assert panel.banner.parent() is panel, "outside the part that scrolls"


def test_a_single_file_opens_through_the_study_buttons(panel, finish, t1w, monkeypatch):
    from qtpy.QtWidgets import QFileDialog

    monkeypatch.setattr(QFileDialog, "getOpenFileNames", lambda *_, **__: ([str(t1w)], ""))
    finish(panel, panel.study_view.files_wanted.emit)
    assert isinstance(panel.viewer.layers[0], Image)
    assert not [layer for layer in panel.viewer.layers if isinstance(layer, Labels)]
    assert Path(panel.state.slots[0].volume.file.path) == t1w


def test_a_closed_panel_lets_go_of_its_work_and_of_the_viewer(panel, qtbot, t1w):
    closed = threading.Event()

    def steps():
        try:
            while True:
                yield Progress("Segmenting")
        finally:
            closed.set()

    panel.jobs.start("Segmenting", steps(), lambda _: None)
    qtbot.waitUntil(lambda: panel.state.progress is not None)
    viewer = panel.viewer
    with qtbot.waitSignal(panel.destroyed):
        viewer.window.remove_dock_widget(panel)
        panel.deleteLater()
    qtbot.waitUntil(closed.is_set)
    assert panel.state.work == ""
    viewer.add_labels(np.zeros((3, 4, 5), np.uint8))
    panel.state.study_name = "nobody listens any more"


def test_the_volumes_are_counted_once_not_at_every_change_of_what_runs(qtbot, t1w, monkeypatch):
    volume = read_volume(t1w)
    state = State(segmentation=Segmentation((volume.data > 300).astype(np.uint8), volume.grid, LABEL_TABLES["brats"]))
    counted = []
    count = result_views.possible.volume_rows
    monkeypatch.setattr(result_views.possible, "volume_rows", lambda result: counted.append(result) or count(result))
    result_view = result_views.ResultView()
    qtbot.addWidget(result_view)
    for work in ("", "Saving", ""):
        state.work = work
        result_view.refresh(state)
        assert result_view.copy.isEnabled()
        assert result_view.save.isEnabled() is not bool(work)
    assert counted == [state.segmentation]
    state.segmentation = None
    result_view.refresh(state)
    assert not result_view.copy.isEnabled()
    assert not result_view.table.rowCount()
