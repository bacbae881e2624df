"""The MedZoo panel: puts the small views together and answers what they ask for.

The panel owns one `State`. Requests change it (or start a job that will); changes redraw the views that show them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari.layers import Image, Labels
from napari.utils.notifications import show_error, show_info

from napari_medzoo import state as possible
from napari_medzoo.cards import find_cards
from napari_medzoo.errors import MedzooError
from napari_medzoo.labels import Segmentation
from napari_medzoo.progress import run
from napari_medzoo.state import Slot, State
from napari_medzoo.study import FileInfo, Study
from napari_medzoo.widgets import layers as adapter
from napari_medzoo.widgets import tasks, view
from napari_medzoo.widgets.alignment import references
from napari_medzoo.widgets.alignment import study as alignment
from napari_medzoo.widgets.alignment.placing import PLACINGS, is_scan
from napari_medzoo.widgets.asking import ask_files, ask_folder, ask_labels_file
from napari_medzoo.widgets.docks import open_dock
from napari_medzoo.widgets.jobs import Jobs
from napari_medzoo.widgets.panel_views import PanelViews
from napari_medzoo.widgets.preferences import default_model, follow
from napari_medzoo.widgets.saving import save_labels
from napari_medzoo.widgets.shown import Shown
from napari_medzoo.widgets.telling import tell, tell_about
from napari_medzoo.widgets.ties import Ties

if TYPE_CHECKING:
    import napari

    from napari_medzoo.error_maps import Place
    from napari_medzoo.evaluate import EvaluationReport
    from napari_medzoo.preprocess import Prepared


class MedzooPanel(PanelViews):
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
        self._scored: tuple[Segmentation, Segmentation, str, str] | None = None  # what the report is of
        chosen = follow()
        self.state = State(device=chosen.device)
        self.jobs = Jobs(self.state)
        self._connect()
        self._find_models()
        self.refresh(self.state)
        self._offer_layers()

    def _connect(self) -> None:
        self.study_view.files_wanted.connect(lambda: self.open_paths(ask_files(self)))
        self.study_view.folder_wanted.connect(lambda: self.open_paths(ask_folder(self)))
        self.study_view.layers_wanted.connect(self.use_layers)
        self.study_view.clear_wanted.connect(self.clear)
        self.study_view.modality_chosen.connect(self.mark)
        self.prepare_view.step_switched.connect(self.switch)
        self.prepare_view.reset_wanted.connect(lambda: setattr(self.state, "recipe", None))
        self.prepare_view.preview_wanted.connect(self.preview)
        self.prepare_view.judge_wanted.connect(lambda: alignment.judge(self.viewer, self.state))
        self.model_view.chosen.connect(self.choose)
        self.run_view.segment_wanted.connect(self.segment)
        self.run_view.cancel_wanted.connect(self.jobs.cancel)
        self.result_view.save_wanted.connect(self._ask_save)
        self.result_view.label_chosen.connect(self.shown.go_to)
        self.result_view.lesions_wanted.connect(lambda: open_dock(self.viewer, "lesions").use(self.shown.result))
        self.score_view.score_wanted.connect(self.score)
        self.score_view.label_chosen.connect(self.go_to_worst)
        self.plane_view.plane_chosen.connect(self.shown.turn_to)
        self.plane_view.convention_chosen.connect(lambda convention: setattr(view.LOOK, "convention", convention))
        self.dock_view.dock_wanted.connect(lambda key: open_dock(self.viewer, key))
        self.paths_dropped.connect(self.open_paths)
        ties, events = Ties(), self.viewer.layers.events
        for event in (events.inserted, events.removed, events.reordered):
            ties.tie(event, self._offer_layers)
        ties.tie(view.LOOK.events.convention, self._convention_changed)
        ties.tie(PLACINGS.settled, self._settled)
        ties.tie(self.state.events, self._changed)
        for farewell in (self.shown.close, self.jobs.cancel):
            ties.at_last(farewell)
        ties.end_with(self)

    def _changed(self, info: Any) -> None:
        self.refresh(self.state, info.signal.name)

    def _convention_changed(self, convention: str) -> None:
        self.plane_view.show_convention(convention)
        self.shown.turn_round()

    def _offer_layers(self, event: Any = None) -> None:
        self.score_view.offer_layers(self.shown.label_layers(), self.shown.result)

    # The study

    def open_paths(self, paths: Sequence[Path]) -> None:
        """Read files and folders into the study and show them."""
        if paths and self._idle():
            self.jobs.start("Reading", tasks.read_scans(list(paths)), self._scans_read)

    def use_layers(self) -> None:
        """Take the viewer's image layers as scans of the study, or the selected ones if several are."""
        scans = [layer for layer in self.shown.chosen_scans() if is_scan(layer)]
        if not scans:
            show_error("There is no image layer in the viewer; open a scan first.")
        elif self._idle():
            self.jobs.start("Reading", tasks.read_layers(scans), self._layers_read)

    def clear(self) -> None:
        """Forget the study and take its layers from the viewer."""
        if self._idle():
            self.shown.clear()
            self.state.slots, self.state.settled = (), ()
            self._forget_results()

    def mark(self, position: int, modality: str) -> None:
        """Say what a scan is, whatever was guessed."""
        self.state.slots = possible.with_modality(self.state.slots, position, modality)
        self._forget_results()

    def _scans_read(self, scans: tasks.Scans) -> None:
        self._show_scans(scans)
        tell_about(scans.slots, scans.notes)

    def _show_scans(self, scans: tasks.Scans) -> None:
        self.shown.add_scans([slot.volume for slot in scans.slots])
        for labels in scans.labels:
            self.shown.add_labels(labels.segmentation, labels.path.name, path=labels.path)
        if not self.state.slots:
            self.state.study_name = scans.name
        self._add_slots(scans.slots)

    def _layers_read(self, slots: Sequence[Slot]) -> None:
        self._add_slots(slots)
        tell_about(slots)

    def _add_slots(self, slots: Sequence[Slot]) -> None:
        if slots:
            self.state.slots = possible.with_scans(self.state.slots, tuple(slots))
            self._forget_results()

    def _forget_results(self) -> None:
        self.state.prepared, self.state.prepared_for = None, ()
        self.state.segmentation, self.state.report = None, None

    # Preparation and model

    def _find_models(self) -> None:
        try:
            self.state.cards = find_cards()
        except MedzooError as error:
            show_error(str(error))
        self.state.card = default_model(self.state.cards)

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
        study, recipe, known = possible.study(state), possible.recipe(state), alignment.transforms(state)
        steps = tasks.prepare_study(study, recipe, modalities, modalities[0], known)

        def done(prepared: Prepared) -> None:
            state.prepared, state.prepared_for = prepared, key
            self.shown.add_prepared(prepared)
            tell(prepared.warnings)

        self.jobs.start("Preparing", steps, done)

    def _settled(self, fixed: Image, moving: Image) -> None:
        if fixed in self.viewer.layers and alignment.settle(self.state, fixed, moving):
            self._forget_results()

    # Segment, score, save

    def segment(self) -> None:
        """Label the study with the chosen model."""
        if problem := possible.segment_problem(self.state):
            show_error(problem)
            return
        state = self.state
        study, card, grid = possible.study(state), possible.chosen_card(state), possible.result_grid(state)
        kept, known = possible.kept_preparation(state), alignment.transforms(state)
        steps = tasks.segment(study, card, grid, state.device, state.backend, kept, known)
        name = f"{card.name} of {study[grid].name}"
        self.jobs.start("Segmenting", steps, lambda result: self._segmented(result, name, study[grid].file))

    def _segmented(self, segmentation: Segmentation, name: str, file: FileInfo | None) -> None:
        self._show_segmentation(segmentation, name, file)
        tell(segmentation.warnings)

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
        files, scans = references.files_of(prediction, reference), references.scans_of(self.viewer.layers)
        steps = references.score(predicted, known, numbering, reference_numbering, files, scans)

        def done(result: tuple[EvaluationReport, Segmentation]) -> None:
            self.state.report, compared = result
            self._scored = (predicted, compared, numbering, reference_numbering)

        self.jobs.start("Scoring", steps, done)

    def go_to_worst(self, index: int) -> None:
        """Move every view to where the labels differ most from the reference, in one class of the table."""
        if self._scored is not None and self._idle():
            self.jobs.start("Looking for the worst place", tasks.find_worst(index, *self._scored), self._go)

    def _go(self, place: Place) -> None:
        view.center_on(self.viewer, place.point_mm)
        self.score_view.place.setText(place.note)

    def save(self, path: Path) -> None:
        """Write the result layer as it is now, corrections by hand included, and the log of them."""
        if self.shown.result is None:
            show_error("The labels are no longer among the layers; segment again, then save.")
        elif self._idle():
            try:
                save_labels(self.jobs, self.shown.editing(), path, show_info)
            except MedzooError as error:
                show_error(str(error))

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
            self._scored = (segmentation, reference, "", "")
            self.state.report = run(tasks.score(*self._scored))
            self.folds[self.score_view].open()

    def _ask_save(self) -> None:
        file = adapter.file_of(self.shown.result) if self.shown.result is not None else None
        start = file.path.parent / f"{file.path.name.split('.')[0]}_labels.nii.gz" if file else Path("labels.nii.gz")
        if path := ask_labels_file(self, "Save labels", start):
            self.save(path)

    def _idle(self) -> bool:
        if self.state.work:
            show_error(possible.busy_problem(self.state))
        return not self.state.work
