"""The panel's small views for what goes in: the study, its preparation, the model, and the run.

A view shows the state it is given and emits what the person asked for; it decides nothing and keeps nothing.
"""

from __future__ import annotations

from magicgui.widgets import CheckBox, ComboBox, Container
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QGridLayout, QHBoxLayout, QProgressBar, QVBoxLayout, QWidget
from superqt import QElidingLabel

from napari_medzoo import state as possible
from napari_medzoo.inference import BACKENDS
from napari_medzoo.inference.plan import DEVICES
from napari_medzoo.state import LEFT_OUT, STEPS, State
from napari_medzoo.study import MODALITIES
from napari_medzoo.widgets.alignment.study import alignment_note
from napari_medzoo.widgets.docks import DOCKS
from napari_medzoo.widgets.parts import button, choice, note, offer, row
from napari_medzoo.widgets.view import CONVENTIONS, LOOK, PLANES

MODALITY_CHOICES = [(name, key) for key, name in MODALITIES.items()] + [("unknown", "unknown"), (LEFT_OUT, LEFT_OUT)]
BACKEND_CHOICES = ("auto", *BACKENDS)
STEP_TIPS = {
    "align": "Turn and shift the other scans onto the first: the head may have moved between them",
    "bias_correction": "Take out slow shading that comes from the scanner's coils",
    "head_crop": "Leave out the air around the head: quicker, with the same result",
    "brain_mask": "Set everything outside the brain to zero, by thresholds and shape; look at the result",
    "normalise": "Bring the brightness to the range that the model was trained with",
}
"""What each step of the preparation is good for."""
BUTTONS = {
    "views": "Four views",
    "labels": "Labels",
    "scoring": "Scoring",
    "correct": "Correct",
    "surfaces": "Surfaces",
    "uncertainty": "Uncertainty",
}
"""Dock of `DOCKS` → what its button says."""


class StudyView(QWidget):
    """The scans and what each was taken for."""

    title = "1  Study"
    fields = frozenset({"slots", "work"})
    files_wanted = Signal()
    folder_wanted = Signal()
    layers_wanted = Signal()
    clear_wanted = Signal()
    modality_chosen = Signal(int, str)

    def __init__(self) -> None:
        super().__init__()
        self.files = button("Files…", "Add scans of one person", self.files_wanted.emit)
        folder = button("Folder…", "Add all scans of a folder, or one DICOM series", self.folder_wanted.emit)
        tip = "Add the viewer's image layers; select several to add only those"
        layers = button("From viewer", tip, self.layers_wanted.emit)
        clear = button("Clear", "Forget these scans", self.clear_wanted.emit)
        self._rows = QGridLayout()
        self._rows.setColumnStretch(0, 1)
        self.problem = note()
        layout = QVBoxLayout(self)
        layout.addLayout(row(self.files, folder, layers, clear))
        layout.addLayout(self._rows)
        layout.addWidget(self.problem)
        self.combos: list[ComboBox] = []

    def refresh(self, state: State) -> None:
        """Show the slots: file, modality, why."""
        if len(self.combos) != len(state.slots):
            self._build(len(state.slots))
        for i, slot in enumerate(state.slots):
            name, reason = self._labels[i]
            name.setText(slot.volume.name)
            name.setToolTip(str(slot.volume.file.path) if slot.volume.file else slot.volume.name)
            reason.setText(f"{slot.reason}  {'; '.join(slot.volume.warnings)}".strip())
            offer(self.combos[i], MODALITY_CHOICES, slot.modality)
            self.combos[i].enabled = not state.work
        hint = "Choose files or a folder, drop them here, or take layers from the viewer."
        self.problem.setText(possible.study_problem(state) if state.slots else hint)
        self.problem.setVisible(bool(self.problem.text()))

    def _build(self, count: int) -> None:
        while self._rows.count():
            self._rows.takeAt(0).widget().deleteLater()
        self.combos, self._labels = [], []
        for i in range(count):
            name, reason = QElidingLabel(), note()
            name.setElideMode(Qt.TextElideMode.ElideMiddle)
            combo = choice(choices=MODALITY_CHOICES, tip="What this scan is; 'left out' leaves it aside")
            combo.changed.connect(lambda value, i=i: self.modality_chosen.emit(i, value))
            self._rows.addWidget(name, 2 * i, 0)
            self._rows.addWidget(combo.native, 2 * i, 1)
            self._rows.addWidget(reason, 2 * i + 1, 0, 1, 2)
            self.combos.append(combo)
            self._labels.append((name, reason))


class PrepareView(QWidget):
    """The steps of the preparation, each with a switch and the seconds it took."""

    title = "2  Prepare"
    fields = frozenset({"slots", "settled", "card", "cards", "recipe", "prepared", "segmentation", "work", "releasing"})
    step_switched = Signal(str, bool)
    preview_wanted = Signal()
    reset_wanted = Signal()
    judge_wanted = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.switches = {step: CheckBox(text=words, tooltip=STEP_TIPS[step]) for step, (words, _) in STEPS.items()}
        for step, switch in self.switches.items():
            switch.changed.connect(lambda on, step=step: self.step_switched.emit(step, on))
        form = Container(widgets=list(self.switches.values()), labels=False)
        form.margins = (0, 0, 0, 0)
        self.preview = button("Preview", "Prepare now and show the result as layers", self.preview_wanted.emit)
        tip = "Back to the model's own preparation, as it was trained"
        self.reset = button("As trained", tip, self.reset_wanted.emit)
        tip = "Look at how the scans lie on each other, correct it, or keep the scanner's position"
        self.judge = button("Alignment…", tip, self.judge_wanted.emit)
        self.alignment, self.timing, self.warning = note(), note(), note()
        layout = QVBoxLayout(self)
        layout.addWidget(form.native)
        layout.addLayout(row(self.preview, self.judge, self.reset))
        for widget in (self.alignment, self.timing, self.warning):
            layout.addWidget(widget)

    def refresh(self, state: State) -> None:
        """Show which steps are on, whether Preview is possible, and what the last one took."""
        recipe = possible.recipe(state)
        timings = dict(state.prepared.timings) if state.prepared else {}
        for step, switch in self.switches.items():
            with switch.changed.blocked():
                switch.value = getattr(recipe, step) is not None
            took = f"  ({timings.pop(step):.1f} s)" if step in timings else ""
            switch.text = f"{STEPS[step][0]}{took}"
            switch.enabled = not state.work
        problem = possible.prepare_problem(state)
        self.preview.setEnabled(not problem)
        self.preview.setToolTip(problem or "Prepare now and show the result as layers")
        self.reset.setEnabled(state.recipe is not None and not state.work)
        self.judge.setEnabled(len(state.slots) > 1 and not state.work)
        self.alignment.setText(alignment_note(state))
        self.alignment.setVisible(bool(self.alignment.text()))
        self.timing.setText(", ".join(f"{name} {seconds:.1f} s" for name, seconds in timings.items()))
        self.timing.setVisible(bool(timings))
        self.warning.setText(possible.differs_from_card(state))
        self.warning.setVisible(bool(self.warning.text()))


class ModelView(QWidget):
    """Which model, on which scan's grid its labels shall lie, and where it computes."""

    title = "3  Model"
    fields = frozenset({"slots", "card", "cards", "grid", "device", "backend", "work"})
    chosen = Signal(str, str)

    def __init__(self) -> None:
        super().__init__()
        self.card = choice("Model", [], tip="The network that says what each voxel is")
        self.grid = choice("Labels on grid of", [], tip="The scan whose voxels the labels get")
        self.device = choice("Device", DEVICES, tip="Where the model computes; auto takes the quickest there is")
        self.backend = choice("Back end", BACKEND_CHOICES, tip="What computes it; auto takes the quickest there is")
        for field in ("card", "grid", "device", "backend"):
            combo = getattr(self, field)
            combo.changed.connect(lambda value, field=field: self.chosen.emit(field, value or ""))
        form = Container(widgets=[self.card, self.grid, self.device, self.backend])
        form.margins = (0, 0, 0, 0)
        self.needs = note()
        layout = QVBoxLayout(self)
        layout.addWidget(form.native)
        layout.addWidget(self.needs)

    def refresh(self, state: State) -> None:
        """Show the models and what the chosen one needs."""
        offer(self.card, [(f"{name}: {card.title}", name) for name, card in state.cards.items()], state.card)
        modalities = [] if possible.study_problem(state) else possible.study(state).modalities
        grids = [("the model's first scan", ""), *((MODALITIES.get(key, key), key) for key in modalities)]
        offer(self.grid, grids, state.grid)
        offer(self.device, [(key, key) for key in DEVICES], state.device)
        offer(self.backend, [(key, key) for key in BACKEND_CHOICES], state.backend)
        for combo in (self.card, self.grid, self.device, self.backend):
            combo.enabled = not state.work
        self.needs.setText(possible.model_note(state))
        self.needs.setVisible(bool(self.needs.text()))


class RunView(QWidget):
    """Segment, progress and Cancel: always visible below the sections."""

    fields = frozenset({"slots", "card", "cards", "recipe", "work", "progress", "releasing"})
    segment_wanted = Signal()
    cancel_wanted = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.segment = button("4  Segment", "Label the scan with the chosen model", self.segment_wanted.emit)
        self.segment.setStyleSheet("font-weight: bold; padding: 6px;")
        self.cancel = button("Cancel", "Stop what is running", self.cancel_wanted.emit)
        self.bar = QProgressBar()
        self.bar.setTextVisible(False)
        self.text = note()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(6, 2, 6, 2)
        layout.addLayout(row((self.segment, 2), (self.cancel, 1)))
        layout.addWidget(self.bar)
        layout.addWidget(self.text)

    def refresh(self, state: State) -> None:
        """Show what runs and how far it is, or why nothing can."""
        problem = possible.segment_problem(state)
        self.segment.setEnabled(not problem)
        self.cancel.setEnabled(bool(state.work))
        step = state.progress
        # A bar of range 0 moves to and fro: something runs, nobody knows how long.
        total = step.total if step and step.done else 0
        self.bar.setRange(0, total if state.work else 1)
        self.bar.setValue(step.done if state.work and step else 0)
        if state.work:
            count = f" {step.done}/{step.total}" if step and step.total > 1 else ""
            self.text.setText(f"{step.stage if step else state.work}{count} …")
        else:
            self.text.setText(problem or "Ready.")


class PlaneView(QWidget):
    """Axial, coronal, sagittal, 3D, and which side is left."""

    plane_chosen = Signal(str)
    convention_chosen = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        line = QHBoxLayout(self)
        line.setContentsMargins(6, 7, 6, 2)  # napari's title bar reaches into the dock
        line.setSpacing(3)
        for plane in (*PLANES, "3D"):
            line.addWidget(
                button(
                    plane[0].upper() + plane[1:],
                    f"Show {plane} view",
                    lambda plane=plane: self.plane_chosen.emit(plane),
                )
            )
        self.convention = choice(choices=[(name.capitalize(), name) for name in CONVENTIONS], letters=7)
        self.convention.tooltip = "\n".join(CONVENTIONS.values())
        self.convention.changed.connect(self.convention_chosen.emit)
        line.addWidget(self.convention.native)
        self.show_convention(LOOK.convention)

    def show_convention(self, convention: str) -> None:
        """Show which way round heads are drawn."""
        with self.convention.changed.blocked():
            self.convention.value = convention


class DockView(QWidget):
    """A button for each of the other docks."""

    dock_wanted = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        grid = QGridLayout(self)
        grid.setContentsMargins(6, 0, 6, 2)
        grid.setSpacing(3)
        self.buttons = {}
        for position, (key, words) in enumerate(BUTTONS.items()):
            made = button(words, DOCKS[key].tip, lambda key=key: self.dock_wanted.emit(key))
            self.buttons[key] = made
            grid.addWidget(made, position // 3, position % 3)
