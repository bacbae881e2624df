"""The whole story in the real window, by mouse and keys: load, segment, score, go to the worst place, correct, save.

Only the dialogs that choose a file are answered by the test; everything else is pressed, typed or dragged in a window
that is shown, and every step is checked by what it left behind.
"""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from napari.qt import QtViewer
from qtpy.QtCore import QPoint, Qt
from qtpy.QtWidgets import QComboBox, QFileDialog, QTabBar, QWidget

from napari_medzoo.error_maps import worst_place
from napari_medzoo.evaluate import comparable
from napari_medzoo.inference import predict
from napari_medzoo.io import load_study, read_segmentation, write_segmentation
from napari_medzoo.labels import Segmentation
from napari_medzoo.progress import run
from napari_medzoo.widgets.docks import dock_class, open_dock
from napari_medzoo.widgets.layers import segmentation_from_layer
from napari_medzoo.widgets.ortho.geometry import on_canvas

LEFT = Qt.MouseButton.LeftButton
LONG = 60_000  # milliseconds, for a busy machine that draws without a graphics card


class Person:
    """Hands at the mouse and the keyboard of one window."""

    def __init__(self, qtbot, viewer) -> None:
        self.qtbot, self.viewer = qtbot, viewer
        self.canvas: QWidget = self.dock("panel").window().centralWidget().findChild(QtViewer).canvas.native

    def dock(self, key: str) -> QWidget:
        """The dock of a kind that is open."""
        (found,) = [one for one in self.viewer.window.dock_widgets.values() if isinstance(one, dock_class(key))]
        return found

    def wait(self, condition) -> None:
        self.qtbot.waitUntil(condition, timeout=LONG)

    def press(self, button: QWidget) -> None:
        self.wait(lambda: button.isVisible() and button.isEnabled())
        self.qtbot.mouseClick(button, LEFT)

    def pick(self, combo: QComboBox, text: str) -> None:
        """Choose an entry with the arrow keys."""
        steps = combo.findText(text, Qt.MatchFlag.MatchStartsWith) - combo.currentIndex()
        for _ in range(abs(steps)):
            self.qtbot.keyClick(combo, Qt.Key.Key_Down if steps > 0 else Qt.Key.Key_Up)
        assert combo.currentText().startswith(text)

    def type(self, field: QWidget, text: str) -> None:
        """Replace what a field says."""
        field.selectAll()
        self.qtbot.keyClicks(field, text)
        self.qtbot.keyClick(field, Qt.Key.Key_Return)

    def click_tab(self, title: str) -> None:
        """Bring the dock with this tab to the front."""
        for bar in self.dock("panel").window().findChildren(QTabBar):
            for i in range(bar.count()):
                if bar.isVisible() and bar.tabText(i).startswith(title):
                    self.qtbot.mouseClick(bar, LEFT, pos=bar.tabRect(i).center())
                    return
        raise AssertionError(f"no tab {title}")

    def click_row(self, table, name: str) -> None:
        """Click the row of a class by its name."""
        (cell,) = [table.item(row, 1) for row in range(table.rowCount()) if table.item(row, 1).text() == name]
        table.scrollToItem(cell)
        self.qtbot.mouseClick(table.viewport(), LEFT, pos=table.visualItemRect(cell).center())

    def pixel(self, point_mm) -> QPoint:
        """Where a point of the world is on the canvas now."""
        x, y = on_canvas(self.viewer, [point_mm], (self.canvas.width(), self.canvas.height()))[0]
        return QPoint(round(x), round(y))

    def drag(self, *points_mm) -> None:
        """Draw with the left button from point to point."""
        first, *others = [self.pixel(point) for point in points_mm]
        self.qtbot.mouseMove(self.canvas, first)
        self.qtbot.mousePress(self.canvas, LEFT, pos=first)
        for place in others:
            self.qtbot.mouseMove(self.canvas, place)
        self.qtbot.mouseRelease(self.canvas, LEFT, pos=others[-1] if others else first)


@pytest.fixture
def truth(tiny_card, t1w, tmp_path):
    """Labels in a file: what the tiny network will say of the scan, but for a block that it calls something else."""
    said = run(predict(load_study([t1w]), tiny_card, backend="torch"))
    values, counts = np.unique(said.data[said.data > 0], return_counts=True)
    most, other = [int(values[i]) for i in np.argsort(counts)[[-1, 0]]]
    data = said.data.copy()
    middle = [round(float(c)) for c in np.argwhere(data == most).mean(axis=0)]
    block = tuple(slice(c - 3, c + 4) for c in middle)
    data[block] = other
    reference = Segmentation(data, said.grid, said.table)
    path = write_segmentation(reference, tmp_path / "expert_seg.nii.gz")
    return path, reference, other, reference.grid.to_world([middle])[0]


@pytest.fixture
def person(make_napari_viewer, tiny_card, qtbot):
    viewer = make_napari_viewer(show=True)
    viewer.window.resize(1500, 1000)
    panel = open_dock(viewer, "panel")
    yield Person(qtbot, viewer)
    for widget in viewer.window.dock_widgets.values():
        if hasattr(widget, "jobs"):
            widget.jobs.cancel()
    qtbot.waitUntil(lambda: not panel.state.releasing, timeout=LONG)


def test_the_whole_story(person, truth, t1w, tmp_path, monkeypatch, journals):
    expert, reference, index, middle_mm = truth
    name = reference.table[index].name
    viewer, panel = person.viewer, person.dock("panel")
    saved = tmp_path / "corrected.nii.gz"
    monkeypatch.setattr(QFileDialog, "getOpenFileNames", lambda *_, **__: ([str(t1w), str(expert)], ""))
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_, **__: (str(saved), ""))

    # Load: one scan and the labels that an expert drew
    person.press(panel.study_view.files)
    person.wait(lambda: len(viewer.layers) == 2)
    assert [slot.modality for slot in panel.state.slots] == ["t1w"]

    # Segment with the chosen model
    person.pick(panel.model_view.card.native, "tiny")
    person.pick(panel.model_view.backend.native, "torch")
    person.press(panel.run_view.segment)
    person.wait(lambda: panel.state.segmentation is not None and not panel.state.work)
    layer = viewer.layers[-1]
    before = segmentation_from_layer(layer)
    before = replace(before, data=before.data.copy())  # not a view that painting would change
    assert not np.array_equal(before.data, reference.data)

    # Score against the expert, and go to the worst place of a class by its row
    person.press(panel.dock_view.buttons["scoring"])
    scoring = person.dock("scoring")
    person.pick(scoring.form.prediction.native, layer.name)
    person.pick(scoring.form.reference.native, expert.name)
    person.pick(scoring.form.reference_numbering.native, "aseg")
    person.press(scoring.score)
    person.wait(lambda: scoring.scored is not None)
    dice = {row[0]: row[2] for row in scoring.table.values()}[index]
    worst = worst_place(*comparable(before, reference), index)
    person.click_row(scoring.table, name)
    person.wait(lambda: np.allclose(viewer.dims.point, worst.point_mm, atol=0.51 * max(before.grid.spacing)))
    assert worst.note in scoring.place.text()

    # Correct it there: the class by its name, drawn with the mouse; a slip is taken back with Ctrl+Z
    person.click_tab("MedZoo")
    person.press(panel.dock_view.buttons["correct"])
    correct = person.dock("correct")
    assert correct.layer is layer
    person.type(correct.who, "Dr. Maier")
    person.pick(correct.classes, name)
    person.type(correct.brush.radius, "6")
    person.press(correct.brush.modes["paint"])
    inward = np.array(worst.point_mm)
    inward[[0, 1]] = middle_mm[[0, 1]]  # in the axial slice that is shown
    person.drag(worst.point_mm, inward)
    person.wait(lambda: [edit.action for edit in correct.editing.edits] == ["Paint"])
    assert layer.data[tuple(np.rint(layer.world_to_data(worst.point_mm)).astype(int))] == index
    drawn = layer.data.copy()
    person.drag(inward + (25, 0, 0), inward + (35, 0, 0))
    person.wait(lambda: len(correct.editing.edits) == 2)
    person.qtbot.keyClick(person.canvas, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    person.wait(lambda: len(correct.editing.edits) == 3)
    np.testing.assert_array_equal(layer.data, drawn)
    correct.editing.flush()
    assert len(list(journals.iterdir())) == 1, "a crash would lose nothing of this"

    # Score again: better
    person.click_tab("Scoring")
    former = scoring.scored
    person.press(scoring.score)
    person.wait(lambda: scoring.scored is not former)
    after = {row[0]: row[2] for row in scoring.table.values()}[index]
    assert after > dice

    # Save: the file holds the correction, the log says who did what, and the journal is gone
    person.click_tab("MedZoo")
    person.press(panel.result_view.save)
    person.wait(lambda: saved.exists() and not panel.state.work)
    written = read_segmentation(saved, reference.table)
    np.testing.assert_array_equal(written.data, segmentation_from_layer(layer).data)
    assert written.grid.same_as(before.grid, tolerance_mm=1e-3)
    changed = int(np.count_nonzero(written.data != before.data))
    edits = json.loads((tmp_path / "corrected_edits.json").read_text(encoding="utf-8"))["edits"]
    assert [(edit["who"], edit["action"]) for edit in edits] == [
        ("Dr. Maier", "Paint"),
        ("Dr. Maier", "Paint"),
        ("Dr. Maier", "Undo paint"),
    ]
    assert edits[0]["voxels"] == changed > 0
    assert {one["name"]: one["gained"] for one in edits[0]["classes"]}[name] == changed
    assert list(journals.iterdir()) == []
