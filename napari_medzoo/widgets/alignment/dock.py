"""The Alignment dock: look at how one scan lies on another, find it, correct it by hand, and settle it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from magicgui.widgets import Container
from napari.layers import Image
from napari.utils.notifications import show_error, show_info
from numpy.typing import NDArray
from qtpy.QtWidgets import QLabel, QProgressBar

from napari_medzoo.preprocess.alignment import Alignment, Pose
from napari_medzoo.progress import Steps
from napari_medzoo.state import busy_problem
from napari_medzoo.widgets.alignment import mixing, placing
from napari_medzoo.widgets.alignment.history import History
from napari_medzoo.widgets.alignment.parts import LookBar, PoseBoxes, verdict
from napari_medzoo.widgets.alignment.subject import Subject, compared, searched
from napari_medzoo.widgets.dock_body import DockBody
from napari_medzoo.widgets.layers import AXIS_LABELS
from napari_medzoo.widgets.parts import button, choice, note, offer, row
from napari_medzoo.widgets.scoring.background import Newest

if TYPE_CHECKING:
    import napari

TIPS = {
    "Compare": "Show both scans in one picture: as the panel aligned them, else as they lie now",
    "Align": "Look for the position, wherever the scan is now",
}
TWO_SCANS = "Choose two different scans of one head."


class AlignmentDock(DockBody):
    """Choose a fixed and a moving scan; the picture of both is a layer.

    Parameters
    ----------
    napari_viewer : napari.Viewer
        Given by napari, because the parameter has this name.

    Attributes
    ----------
    subject : Subject or None
        What is compared.
    history : History
        The poses of the moving scan that were tried.
    found : Alignment or None
        The present pose, measured; None while that is under way.
    """

    def __init__(self, napari_viewer: napari.Viewer) -> None:
        super().__init__(napari_viewer)
        self.newest = Newest(self)
        self.subject: Subject | None = None
        self.history = History(Pose())
        self.found: Alignment | None = None
        self.picture: Image | None = None
        self._proposed: dict[tuple[Image, Image], NDArray[np.float64]] = {}  # movements that the panel found
        self._seen: tuple[Pose, NDArray[np.uint8]] | None = None  # the moving scan on the picture's grid
        self._build()
        self.ties.tie(self.state.events, self._enable)
        events = napari_viewer.layers.events
        for event in (events.inserted, events.removed, events.reordered):
            self.ties.tie(event, self._offer_layers)
        self.ties.at_last(self.newest.forget)
        self._offer_layers()

    def _build(self) -> None:
        self.fixed = choice("Stays", tip="The scan that the other one is laid on", letters=14)
        self.moving = choice("Is moved", tip="The scan whose position is judged", letters=14)
        self.compare = button("Compare", TIPS["Compare"], self.show_comparison)
        self.align = button("Align", TIPS["Align"], self.find)
        self.cancel = button("Cancel", "Stop what is running", self.jobs.cancel)
        self.bar = QProgressBar()
        self.bar.setTextVisible(False)
        self.text, self.verdict = note(), note()
        self.look, self.boxes = LookBar(), PoseBoxes()
        self.improve = button("Improve from here", "Follow the shared information from this position", self.improve_it)
        self.header = button("Header's position", "Where the scanner says that the scan lies", self.use_header)
        self.undo = button("Undo", "Back to the position before", self.undo_it)
        self.redo = button("Redo", "On to the position that was undone", self.redo_it)
        self.reset = button("Reset", "Back to where the layer lies now", self.reset_it)
        tip = "Puts the layer here (its voxels stay as they are); the panel then takes this position and looks for none"
        self.accept = button("Accept this position", tip, self.accept_it)
        self.accept.setStyleSheet("font-weight: bold; padding: 6px;")
        form = Container(widgets=[self.fixed, self.moving])
        form.margins = (0, 0, 0, 0)
        form.changed.connect(self._enable)
        self.column.addWidget(form.native)
        self.column.addLayout(row(self.compare, self.align, self.cancel))
        for widget in (self.bar, self.text, self.verdict, self.look):
            self.column.addWidget(widget)
        self.by_hand = QLabel("Correct by hand")
        self.column.addWidget(self.by_hand)
        self.column.addWidget(self.boxes)
        self.column.addLayout(row(self.improve, self.header))
        self.column.addLayout(row(self.undo, self.redo, self.reset))
        self.column.addWidget(self.accept)
        self.column.addStretch()
        self.look.look_changed.connect(self._draw)
        self.boxes.pose_changed.connect(lambda pose: self._go_on(pose, part_of="boxes"))

    # What is compared

    def use(self, fixed: Image, moving: Mapping[Image, NDArray[np.float64] | None]) -> None:
        """Compare layers of the viewer, the first of `moving` now.

        Parameters
        ----------
        fixed : napari.layers.Image
        moving : mapping of napari.layers.Image to numpy.ndarray or None
            ``(4, 4)``: RAS+ mm of `fixed` to those of the layer as it lies now, found elsewhere and to be judged here;
            None compares it as it lies.
        """
        self._proposed = {
            (fixed, layer): np.linalg.inv(transform) @ placing.movement_of(layer)
            for layer, transform in moving.items()
            if transform is not None
        }
        self.fixed.value, self.moving.value = fixed, next(iter(moving))
        self.show_comparison()

    def show_comparison(self) -> None:
        """Show both chosen scans in one picture: as the panel aligned them, else as they lie now."""
        fixed, moving = self.fixed.value, self.moving.value
        movement = self._proposed.get((fixed, moving))
        self._start("Comparing", lambda known: compared(fixed, moving, known, movement))

    def find(self) -> None:
        """Look for the position of the moving scan."""
        fixed, moving = self.fixed.value, self.moving.value
        self._start("Aligning", lambda known: searched(fixed, moving, known))

    def _start(self, work: str, steps: Callable[[Subject | None], Steps[tuple[Subject, Alignment]]]) -> None:
        if problem := self.problem():
            show_error(problem)
            return
        known = self.subject
        if known and not known.still_of(self.fixed.value, self.moving.value):
            known = None
        self.jobs.start(work, steps(known), self._found)

    def _found(self, result: tuple[Subject, Alignment]) -> None:
        subject, found = result
        if subject is not self.subject:
            self.subject, self._seen = subject, None
            self.history = History(subject.pose_now())
        self._go_on(found.pose, found)

    # The position

    def improve_it(self) -> None:
        """Follow the mutual information from the present pose."""
        if self.subject is not None and not self.state.work:
            steps = self.subject.pair.improve(self.subject.transform(self.history.pose))
            self.jobs.start("Aligning", steps, lambda found: self._go_on(found.pose, found))

    def use_header(self) -> None:
        """Go back to where the scan's header puts it."""
        self._go_on(Pose())

    def undo_it(self) -> None:
        """Go back to the pose before."""
        self.history.undo()
        self._show_pose()

    def redo_it(self) -> None:
        """Go on to the pose that was undone."""
        self.history.redo()
        self._show_pose()

    def reset_it(self) -> None:
        """Go back to where the moving layer lies now."""
        if self.subject is not None:
            self._go_on(self.subject.pose_now())

    def accept_it(self) -> None:
        """Put the moving layer where it is shown, and tell the panel that both scans lie rightly on each other."""
        if self.subject is None:
            return
        moving = self.subject.moving_layer
        self._proposed = {pair: found for pair, found in self._proposed.items() if pair[1] is not moving}
        movement = self.history.pose.movement(self.subject.pair.center_mm)
        placing.place_with_labels(moving, movement, self.viewer.layers)
        placing.PLACINGS.settled.emit(self.subject.fixed_layer, moving)
        show_info(f"'{moving.name}' lies where you accepted it; segmenting does not look for its position again.")
        self._enable()

    def _go_on(self, pose: Pose, found: Alignment | None = None, part_of: str = "") -> None:
        if self.subject is not None:
            if pose != self.history.pose:
                self.history.push(pose, part_of)
            self._show_pose(found)

    def _show_pose(self, found: Alignment | None = None) -> None:
        """Show the present pose everywhere, and measure it unless that is done."""
        subject, pose = self.subject, self.history.pose
        if subject is None:
            return
        self.found = found
        self.boxes.show_pose(pose)
        self._draw()
        if found is None:
            self.newest.ask(
                "measure", lambda: (subject, pose, subject.pair.at(subject.transform(pose))), self._measured
            )
        self._enable()

    def _measured(self, result: tuple[Subject, Pose, Alignment]) -> None:
        subject, pose, found = result
        if subject is self.subject and pose == self.history.pose:
            self.found = found
            self._enable()

    # The picture

    def _draw(self) -> None:
        subject, pose, seen, picture = self.subject, self.history.pose, self._seen, self.look.picture()
        if subject is None:
            return

        def work() -> tuple[Subject, Pose, NDArray[np.uint8], NDArray[np.uint8]]:
            known = seen is not None and seen[0] == pose
            moving = (
                seen[1] if seen and known else mixing.on_grid(subject.moving, subject.grid, subject.transform(pose))
            )
            return subject, pose, moving, picture(subject.fixed, moving, subject.grid)

        self.newest.ask("draw", work, self._drawn)

    def _drawn(self, result: tuple[Subject, Pose, NDArray[np.uint8], NDArray[np.uint8]]) -> None:
        subject, pose, moving, data = result
        if subject is not self.subject:
            return
        self._seen = pose, moving
        layer = self.picture
        if layer is not None and layer in self.viewer.layers and layer.metadata[placing.COMPARISON] is subject:
            layer.colormap = self.look.colors
            layer.data = data
            return
        if layer is not None and layer in self.viewer.layers:
            self.viewer.layers.remove(layer)
        self.picture = self.viewer.add_image(
            data,
            name=f"{subject.moving_layer.name} on {subject.fixed_layer.name}",
            affine=subject.grid.affine,
            units=("mm", "mm", "mm"),
            axis_labels=AXIS_LABELS,
            contrast_limits=(0, 255),
            colormap=self.look.colors,
            metadata={placing.COMPARISON: subject},
        )

    # What is possible

    def problem(self) -> str:
        """Why nothing can be compared now, or an empty text."""
        if busy := busy_problem(self.state):
            return busy
        chosen = self.fixed.value, self.moving.value
        return TWO_SCANS if None in chosen or chosen[0] is chosen[1] else ""

    def _offer_layers(self, event: Any = None) -> None:
        scans = [layer for layer in self.viewer.layers if placing.is_scan(layer)]
        for combo, place in ((self.fixed, 0), (self.moving, 1)):
            wanted = combo.value if combo.value in scans else next(iter(scans[place:]), None)
            offer(combo, [(layer.name, layer) for layer in scans], wanted)
        if self.subject and not {self.subject.fixed_layer, self.subject.moving_layer} <= set(scans):
            self.newest.forget()
            self.subject, self.found = None, None
        self._enable()

    def _enable(self, event: Any = None) -> None:
        problem, working = self.problem(), bool(self.state.work)
        for widget in (self.compare, self.align):
            widget.setEnabled(not problem)
            widget.setToolTip(problem or TIPS[widget.text()])
        self.cancel.setEnabled(working)
        step = self.state.progress
        # A bar of range 0 moves to and fro: something runs, nobody knows how long.
        self.bar.setRange(0, (step.total if step and step.done else 0) if working else 1)
        self.bar.setValue(step.done if working and step else 0)
        self.bar.setVisible(working)
        self.text.setText(f"{step.stage if step else self.state.work} …" if working else problem)
        self.text.setVisible(bool(self.text.text()))
        self.verdict.setText(verdict(self.subject.moving_layer.name, self.found) if self.subject else "")
        for widget in (self.by_hand, self.boxes, self.improve, self.header, self.reset, self.accept):
            widget.setEnabled(self.subject is not None and not working)
        self.undo.setEnabled(self.history.can_undo and not working)
        self.redo.setEnabled(self.history.can_redo and not working)
