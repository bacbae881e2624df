"""The MedZoo panel: puts the small views together and answers what they ask for.

The panel owns one `State`. Requests change it (or start a job that will); changes redraw the views that show them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari.layers import Labels
from napari.utils.notifications import show_error, show_warning
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFileDialog, QLabel, QScrollArea, QVBoxLayout, QWidget

from napari_medzoo import state as possible
from napari_medzoo.cards import find_cards
from napari_medzoo.errors import MedzooError
from napari_medzoo.labels import Segmentation
from napari_medzoo.progress import run
from napari_medzoo.state import Slot, State
from napari_medzoo.study import FileInfo, Study
from napari_medzoo.widgets import layers as adapter
from napari_medzoo.widgets import tasks
from napari_medzoo.widgets.jobs import Jobs
from napari_medzoo.widgets.parts import Fold
from napari_medzoo.widgets.result_views import ResultView, ScoreView
from napari_medzoo.widgets.shown import Shown
from napari_medzoo.widgets.views import ModelView, PlaneView, PrepareView, RunView, StudyView, paths_of

if TYPE_CHECKING:
    import napari

    from napari_medzoo.preprocess import Prepared

RESEARCH_ONLY = "Research use only, not for diagnosis"
DEFAULT_CARD = "structures"


class MedzooPanel(QWidget):
    """From a study to named, coloured, scored labels.

    Parameters
    ----------
    napari_viewer : napari.Viewer
        Given by napari, because the parameter has this name.

    Attributes
    ----------
    state : State
        What the panel shows.
    shown : Shown
        Its layers in the viewer.
    """

    def __init__(self, napari_viewer: napari.Viewer) -> None:
        super().__init__()
        self.viewer = napari_viewer
        self.shown = Shown(napari_viewer)
        self.state = State()
        self.jobs = Jobs(self.state)
        self.setAcceptDrops(True)
        self._build()
        self._connect()
        self._find_models()
        for widget in self._views:
            widget.refresh(self.state)
        self._offer_layers()

    def _build(self) -> None:
        self.study_view, self.prepare_view, self.model_view = StudyView(), PrepareView(), ModelView()
        self.result_view, self.score_view = ResultView(), ScoreView()
        self.run_view, self.plane_view = RunView(), PlaneView()
        sections = (self.study_view, self.prepare_view, self.model_view, self.result_view, self.score_view)
        self._views = (*sections, self.run_view)
        inside = QWidget()
        column = QVBoxLayout(inside)
        column.setContentsMargins(4, 4, 4, 4)
        folded = (self.prepare_view, self.score_view)
        self.folds = {section: Fold(section.title, section, section not in folded) for section in sections}
        for fold in self.folds.values():
            column.addWidget(fold)
        column.addStretch()
        self.scroll = QScrollArea()
        self.scroll.setWidgetResizable(True)
        self.scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.scroll.setWidget(inside)
        self.banner = QLabel(RESEARCH_ONLY)
        self.banner.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.banner.setStyleSheet("background: #7a4b00; color: white; font-weight: bold; padding: 4px;")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        layout.addWidget(self.plane_view)
        layout.addWidget(self.scroll, 1)
        layout.addWidget(self.run_view)
        layout.addWidget(self.banner)
        self.setMinimumWidth(420)

    def _connect(self) -> None:
        self.study_view.files_wanted.connect(self._ask_files)
        self.study_view.folder_wanted.connect(self._ask_folder)
        self.study_view.layers_wanted.connect(self.use_layers)
        self.study_view.clear_wanted.connect(self.clear)
        self.study_view.modality_chosen.connect(self.mark)
        self.prepare_view.step_switched.connect(self.switch)
        self.prepare_view.reset_wanted.connect(lambda: setattr(self.state, "recipe", None))
        self.prepare_view.preview_wanted.connect(self.preview)
        self.model_view.chosen.connect(self.choose)
        self.run_view.segment_wanted.connect(self.segment)
        self.run_view.cancel_wanted.connect(self.jobs.cancel)
        self.result_view.save_wanted.connect(self._ask_save)
        self.result_view.label_chosen.connect(self.shown.go_to)
        self.score_view.score_wanted.connect(self.score)
        self.plane_view.plane_chosen.connect(self.shown.turn_to)
        self.plane_view.convention_chosen.connect(self.shown.use_convention)
        self.state.events.connect(self._changed)
        for event in self._layer_events():
            event.connect(self._offer_layers)
        self.destroyed.connect(_Farewell(self))

    def _layer_events(self) -> tuple[Any, ...]:
        events = self.viewer.layers.events
        return events.inserted, events.removed, events.reordered

    def _changed(self, info: Any) -> None:
        for widget in self._views:
            if info.signal.name in widget.fields:
                widget.refresh(self.state)

    def _offer_layers(self, event: Any = None) -> None:
        self.score_view.offer_layers(self.shown.label_layers(), self.shown.result)

    # The study

    def open_paths(self, paths: Sequence[Path]) -> None:
        """Read files and folders into the study and show them."""
        if paths and self._idle():
            self.jobs.start("Reading", tasks.read_scans(list(paths)), self._scans_read)

    def use_layers(self) -> None:
        """Take the viewer's image layers as scans of the study, or the selected ones if several are."""
        scans = self.shown.chosen_scans()
        if not scans:
            show_error("There is no image layer in the viewer; open a scan first.")
        elif self._idle():
            self.jobs.start("Reading", tasks.read_layers(scans), self._layers_read)

    def clear(self) -> None:
        """Forget the study and take its layers from the viewer."""
        if self._idle():
            self.shown.clear()
            self.state.slots = ()
            self._forget_results()

    def mark(self, position: int, modality: str) -> None:
        """Say what a scan is, whatever was guessed."""
        self.state.slots = possible.with_modality(self.state.slots, position, modality)
        self._forget_results()

    def _scans_read(self, scans: tasks.Scans) -> None:
        self._show_scans(scans)
        self._tell_about(scans.slots, scans.notes)

    def _show_scans(self, scans: tasks.Scans) -> None:
        self.shown.add_scans([slot.volume for slot in scans.slots])
        for labels in scans.labels:
            self.shown.add_labels(labels.segmentation, labels.path.name)
        if not self.state.slots:
            self.state.study_name = scans.name
        self._add_slots(scans.slots)

    def _layers_read(self, slots: Sequence[Slot]) -> None:
        self._add_slots(slots)
        self._tell_about(slots)

    def _add_slots(self, slots: Sequence[Slot]) -> None:
        if slots:
            self.state.slots = possible.with_scans(self.state.slots, tuple(slots))
            self._forget_results()

    def _tell_about(self, slots: Sequence[Slot], notes: Sequence[str] = ()) -> None:
        repaired = [f"{slot.volume.name}: {text}" for slot in slots for text in slot.volume.warnings]
        tilted = adapter.oblique_note(slot.volume for slot in slots)
        if tilted:
            adapter.quiet_about_tilt()
        _tell([*notes, tilted, *repaired])

    def _forget_results(self) -> None:
        self.state.prepared, self.state.prepared_for = None, ()
        self.state.segmentation, self.state.report = None, None

    # Preparation and model

    def _find_models(self) -> None:
        try:
            self.state.cards = find_cards()
        except MedzooError as error:
            show_error(str(error))
        names = list(self.state.cards)
        if names:
            self.state.card = DEFAULT_CARD if DEFAULT_CARD in names else names[0]

    def choose(self, field: str, value: str) -> None:
        """Set the model (``"card"``), ``"grid"``, ``"device"`` or ``"backend"``."""
        if field == "card" and value != self.state.card:
            self.state.recipe = None  # another model, another preparation
        setattr(self.state, field, value)

    def switch(self, step: str, on: bool) -> None:
        """Switch a step of the preparation on or off."""
        self.state.recipe = possible.switched(self.state, step, on)

    def preview(self) -> None:
        """Prepare the whole study and show every prepared volume as a layer."""
        if problem := possible.prepare_problem(self.state):
            show_error(problem)
            return
        state, key = self.state, possible.preparation_key(self.state)
        modalities = possible.preview_modalities(state)
        steps = tasks.prepare_study(possible.study(state), possible.recipe(state), modalities, modalities[0])

        def done(prepared: Prepared) -> None:
            state.prepared, state.prepared_for = prepared, key
            self.shown.add_prepared(prepared)
            _tell(prepared.warnings)

        self.jobs.start("Preparing", steps, done)

    # Segment, score, save

    def segment(self) -> None:
        """Label the study with the chosen model."""
        if problem := possible.segment_problem(self.state):
            show_error(problem)
            return
        state = self.state
        study, card, grid = possible.study(state), possible.chosen_card(state), possible.result_grid(state)
        steps = tasks.segment(study, card, grid, state.device, state.backend, possible.kept_preparation(state))
        name = f"{card.name} of {study[grid].name}"
        self.jobs.start("Segmenting", steps, lambda result: self._segmented(result, name, study[grid].file))

    def _segmented(self, segmentation: Segmentation, name: str, file: FileInfo | None) -> None:
        self._show_segmentation(segmentation, name, file)
        _tell(segmentation.warnings)

    def _show_segmentation(self, segmentation: Segmentation, name: str, file: FileInfo | None) -> None:
        self.shown.add_result(segmentation, name, file)
        self._offer_layers()
        self.state.report = None
        self.state.segmentation = segmentation

    def score(self, prediction: Labels, reference: Labels | Path, numbering: str, reference_numbering: str) -> None:
        """Compare a labels layer with a reference layer or file; an empty numbering is the layer's own."""
        if not self._idle():
            return
        try:
            predicted = adapter.segmentation_from_layer(prediction)
            known = reference if isinstance(reference, Path) else adapter.segmentation_from_layer(reference)
        except MedzooError as error:
            show_error(str(error))
            return
        steps = tasks.score(predicted, known, numbering, reference_numbering)
        self.jobs.start("Scoring", steps, lambda report: setattr(self.state, "report", report))

    def save(self, path: Path) -> None:
        """Write the result layer as it is now, corrections by hand included."""
        layer = self.shown.result
        if layer is not None and self._idle():
            labels = adapter.with_painted(adapter.segmentation_from_layer(layer))
            steps = tasks.save(labels, path, adapter.file_of(layer))
            self.jobs.start("Saving", steps, lambda written: None)

    def show_result(self, study: Study, segmentation: Segmentation, reference: Segmentation | None = None) -> None:
        """Show what was computed elsewhere as if it had been computed here, scores against `reference` included."""
        slots = tuple(Slot(volume, key, study.reasons.get(key, "")) for key, volume in study.volumes.items())
        self._show_scans(tasks.Scans(slots, (), study.name))
        volume = next((v for v in study.volumes.values() if v.grid.same_as(segmentation.grid)), None)
        known = self.shown.add_labels(reference, "reference", visible=False) if reference is not None else None
        name = f"labels of {volume.name if volume and volume.file else study.name}"
        self._show_segmentation(segmentation, name, volume.file if volume else None)
        if reference is not None:
            self.score_view.offer_layers(self.shown.label_layers(), self.shown.result, known)
            self.state.report = run(tasks.score(segmentation, reference))
            self.folds[self.score_view].open()

    # Asking and dropping

    def _ask_files(self) -> None:
        names, _ = QFileDialog.getOpenFileNames(self, "Scans of one person")
        self.open_paths([Path(name) for name in names])

    def _ask_folder(self) -> None:
        name = QFileDialog.getExistingDirectory(self, "Folder of one study or one DICOM series")
        self.open_paths([Path(name)] if name else [])

    def _ask_save(self) -> None:
        file = adapter.file_of(self.shown.result) if self.shown.result is not None else None
        start = file.path.parent / f"{file.path.name.split('.')[0]}_labels.nii.gz" if file else Path("labels.nii.gz")
        name, _ = QFileDialog.getSaveFileName(self, "Save labels (.nii.gz, .mgz, .nrrd, .mha)", str(start))
        if name:
            self.save(Path(name))

    def dragEnterEvent(self, event: Any) -> None:
        """Local files and folders may be dropped here."""
        if paths_of(event.mimeData()):
            event.acceptProposedAction()

    def dropEvent(self, event: Any) -> None:
        """Dropped files and folders join the study."""
        self.open_paths(paths_of(event.mimeData()))
        event.acceptProposedAction()

    def _idle(self) -> bool:
        if self.state.work:
            show_error(possible.busy_problem(self.state))
        return not self.state.work


def _tell(notes: Sequence[str]) -> None:
    if any(notes):
        show_warning("\n".join(filter(None, notes)))


class _Farewell:
    """Cuts the panel's ties when Qt destroys it; holds only what outlives the widget."""

    def __init__(self, panel: MedzooPanel) -> None:
        self._state, self._jobs = panel.state, panel.jobs
        self._events, self._offer = panel._layer_events(), panel._offer_layers

    def __call__(self) -> None:
        self._state.events.disconnect()
        for event in self._events:
            event.disconnect(self._offer)
        self._jobs.cancel()
