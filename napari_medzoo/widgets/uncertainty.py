"""The Uncertainty dock: where a model is unsure, and whether it is right as often as it is sure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from magicgui.widgets import Container
from napari.layers import Image, Labels, Layer
from napari.utils.colormaps import Colormap, ensure_colormap
from napari.utils.notifications import show_error, show_warning
from qtpy.QtWidgets import QLabel

from napari_medzoo.calibration import Calibration, calibrate
from napari_medzoo.cards import ModelCard, find_cards
from napari_medzoo.errors import MedzooError
from napari_medzoo.labels import Segmentation
from napari_medzoo.progress import Progress, Steps
from napari_medzoo.state import busy_problem
from napari_medzoo.study import FileInfo, Study, Volume
from napari_medzoo.widgets import layers as adapter
from napari_medzoo.widgets import tasks
from napari_medzoo.widgets.alignment import references
from napari_medzoo.widgets.dock_body import DockBody
from napari_medzoo.widgets.libraries import load_torch
from napari_medzoo.widgets.parts import button, choice, note, offer, row
from napari_medzoo.widgets.preferences import default_model
from napari_medzoo.widgets.scoring.form import NUMBERING_TIP, NUMBERINGS
from napari_medzoo.widgets.scoring.plots import Curve, Plot
from napari_medzoo.widgets.tick_list import Line, TickList

if TYPE_CHECKING:
    import napari

    from napari_medzoo.inference.uncertainty import Uncertainty

PROBABILITIES, CHANGES, MODELS = "its probabilities", "small changes of the scan", "other models"
METHODS = {
    PROBABILITIES: "Entropy and top-two margin of one prediction; also what Calibration needs",
    CHANGES: "The model is run again on the scan mirrored, darker and brighter: where do its labels change?",
    MODELS: "Two or more models: where do their labels differ?",
}
SHOWN = {"entropy": "entropy", "margin": "top-two margin", "disagreement": "disagreement"}
"""Map → name of its layer; the confidence is only needed for the calibration."""


def unsure_colormap(certain_is_one: bool = False) -> Colormap:
    """Perceptually uniform from clear (certain) to bright (unsure), so that the scan stays visible underneath."""
    colors = np.array(ensure_colormap("inferno").colors)
    colors[:, 3] = np.clip(np.linspace(0, 2, len(colors)), 0, 1)
    name = "certain to unsure" if not certain_is_one else "unsure to certain"
    return Colormap(colors[::-1] if certain_is_one else colors, name=name)


def map_layer(name: str, volume: Volume) -> adapter.LayerTuple:
    """An image layer of one map."""
    colormap = unsure_colormap(certain_is_one=name == "margin")
    settings = {"colormap": colormap, "contrast_limits": (0.0, 1.0), "blending": "translucent"}
    return adapter.volume_layer(volume, SHOWN[name], visible=name != "margin", **settings)


def measure(scan: Volume, cards: Sequence[ModelCard], method: str) -> Steps[Uncertainty]:
    """Run the models on one scan as `method` (a key of `METHODS`) says."""
    yield Progress("Loading model")
    load_torch()
    from napari_medzoo.inference.disagreement import augmented, between_models
    from napari_medzoo.inference.uncertainty import from_probabilities

    study = Study({scan.modality: scan}, name=scan.name)
    if method == MODELS:
        return (yield from between_models(study, cards, threads=tasks.free_threads()))
    run = from_probabilities if method == PROBABILITIES else augmented
    return (yield from run(study, cards[0], threads=tasks.free_threads()))


def reliability(
    confidence: Volume,
    labels: Segmentation,
    reference: Segmentation,
    numbering: str,
    files: references.Files,
    scans: Sequence[references.Scan],
) -> Steps[Calibration]:
    """Compare confidence with a reference in the numbering chosen (empty: its own).

    Raises
    ------
    MedzooError
        As `napari_medzoo.widgets.alignment.references.take_along`, which also says what `files` and `scans` are, and
        as `calibrate`.
    """
    yield Progress("Calibrating")
    reference, note = references.take_along(labels, reference, files, scans)
    calibration = calibrate(confidence, labels, tasks.numbered(reference, numbering))
    return replace(calibration, notes=(note, *calibration.notes)) if note else calibration


class UncertaintyDock(DockBody):
    """Choose a scan, models and a method; the answer is a layer.

    Parameters
    ----------
    napari_viewer : napari.Viewer
        Given by napari, because the parameter has this name.

    Attributes
    ----------
    found : Uncertainty or None
        The last answer.
    calibration : Calibration or None
    """

    def __init__(self, napari_viewer: napari.Viewer) -> None:
        super().__init__(napari_viewer)
        self.found: Uncertainty | None = None
        self._file: FileInfo | None = None
        self.calibration: Calibration | None = None
        self._build()
        try:
            self.state.cards = find_cards()
        except MedzooError as error:
            show_error(str(error))
        self._list_models()
        self.ties.tie(self.state.events, self._enable)
        events = napari_viewer.layers.events
        for event in (events.inserted, events.removed, events.reordered):
            self.ties.tie(event, self._offer_layers)
        self._offer_layers()

    def _build(self) -> None:
        self.scan = choice("Scan", [], tip="The scan that the model reads")
        self.method = choice("Unsure by", list(METHODS))
        self.method.tooltip = "\n".join(f"{name}: {words}" for name, words in METHODS.items())
        form = Container(widgets=[self.scan, self.method])
        form.margins = (0, 0, 0, 0)
        self.models = TickList("Tick the model whose uncertainty is shown; two or more to compare them")
        self.models.setMaximumHeight(110)
        self.models.ticked_changed.connect(self._enable)
        self.run = button("Show uncertainty", "Run in the background and add the maps as layers", self.run_method)
        self.cancel = button("Cancel", "Stop what is running", self.jobs.cancel)
        self.text = note()
        self.reference = choice("Reference", [], tip="The labels that count as right")
        self.numbering = choice("Numbering", NUMBERINGS, tip=NUMBERING_TIP)
        second = Container(widgets=[self.reference, self.numbering])
        second.margins = (0, 0, 0, 0)
        self.calibrate = button("Calibration", "", self.run_calibration)
        self.plot = Plot()
        self.plot.setToolTip("How often the model is right where it is this sure; on the dashed line both are equal")
        self.verdict = note()
        for widget in (form.native, QLabel("Models"), self.models):
            self.column.addWidget(widget)
        self.column.addLayout(row((self.run, 2), (self.cancel, 1)))
        for widget in (self.text, second.native, self.calibrate, self.verdict):
            self.column.addWidget(widget)
        self.column.addWidget(self.plot, 1)
        for box in (self.scan, self.method, self.reference):
            box.changed.connect(self._enable)

    def _list_models(self) -> None:
        cards = self.state.cards
        lines = [Line(name, f"{name}: {card.title}", card.description) for name, card in cards.items()]
        self.models.offer(lines, (default_model(cards),))

    def choose_models(self, *names: str) -> None:
        """Tick these models and no other."""
        self.models.tick(names)

    def chosen_cards(self) -> list[ModelCard]:
        """The ticked models, in the order of the list."""
        return [self.state.cards[name] for name in self.models.ticked()]

    def run_method(self) -> None:
        """Run the chosen method on the chosen scan."""
        if self._problem():
            return
        try:
            scan = adapter.volume_from_layer(self.scan.value)
        except MedzooError as error:
            show_error(str(error))
            return
        steps = measure(scan, self.chosen_cards(), self.method.value)
        self.jobs.start("Measuring uncertainty", steps, lambda found: self._show(found, scan.file))

    def _show(self, found: Uncertainty, file: FileInfo | None) -> None:
        self.found, self._file, self.calibration = found, file, None
        self.plot.show_curves(())
        self.verdict.setText("")
        for name in SHOWN:
            if name in found.volumes:
                self._put(map_layer(name, found.volumes[name]))
        if found.notes:
            show_warning("\n".join(found.notes))
        self._enable()

    def _put(self, made: adapter.LayerTuple) -> None:
        for old in [layer for layer in self.viewer.layers if layer.name == made[1]["name"]]:
            if adapter.KEY in old.metadata:
                self.viewer.layers.remove(old)
        self.viewer.add_layer(Layer.create(*made))

    def run_calibration(self) -> None:
        """Draw how often the model is right for how sure it is."""
        found = self.found
        if found is None or self._calibration_problem():
            return
        try:
            reference = adapter.segmentation_from_layer(self.reference.value)
        except MedzooError as error:
            show_error(str(error))
            return
        files, scans = (self._file, adapter.file_of(self.reference.value)), references.scans_of(self.viewer.layers)
        confidence, labels = found.volumes["confidence"], found.segmentation
        steps = reliability(confidence, labels, reference, self.numbering.value, files, scans)
        self.jobs.start("Calibrating", steps, self._draw)

    def _draw(self, calibration: Calibration) -> None:
        self.calibration = calibration
        middles = (calibration.edges[1:] + calibration.edges[:-1]) / 2
        share = calibration.voxels / max(int(calibration.voxels.max()), 1)
        curves = [
            Curve(middles, share, None, "voxels", filled=True),
            Curve(np.array([0.0, 1.0]), np.array([0.0, 1.0]), None, "as sure as right", dashed=True),
            Curve(np.where(np.isnan(calibration.confidence), middles, calibration.confidence), calibration.accuracy,
                  (230, 159, 0), "right"),
        ]  # fmt: skip
        self.plot.show_curves(curves, "0", "confidence", "1")
        sure, right = (
            np.nansum(part * calibration.voxels) / max(int(calibration.voxels.sum()), 1)
            for part in (calibration.confidence, calibration.accuracy)
        )
        words = "more often right than it is sure" if right > sure else "more sure than it is right"
        lines = [f"Expected calibration error {calibration.ece:.3f}: the model is {words} ({right:.1%}, {sure:.1%})."]
        self.verdict.setText("\n".join([*lines, *calibration.notes]))
        self._enable()

    def _problem(self) -> str:
        if busy := busy_problem(self.state):
            return busy
        if self.scan.value is None:
            return "Open a scan first."
        count = len(self.chosen_cards())
        if self.method.value == MODELS and count < 2:
            return "Tick two models or more: where do they differ?"
        if self.method.value != MODELS and count != 1:
            return f"Tick one model; {count} are ticked."
        return ""

    def _calibration_problem(self) -> str:
        if busy := busy_problem(self.state):
            return busy
        if self.found is None or "confidence" not in self.found.volumes:
            return f"Show the uncertainty by '{PROBABILITIES}' first."
        return "" if self.reference.value is not None else "Choose a labels layer as reference."

    def _enable(self, event: Any = None) -> None:
        problem = self._problem()
        self.run.setEnabled(not problem)
        self.cancel.setEnabled(bool(self.state.work))
        step = self.state.progress
        count = f" {step.done}/{step.total}" if step and step.total > 1 else ""
        self.text.setText(
            f"{step.stage if step else self.state.work}{count} …" if self.state.work else problem or "Ready."
        )
        waiting = self._calibration_problem()
        self.calibrate.setEnabled(not waiting)
        self.calibrate.setToolTip(waiting or "How often is the model right where it is this sure?")
        self.verdict.setVisible(bool(self.verdict.text()))

    def _offer_layers(self, event: Any = None) -> None:
        listed = list(self.viewer.layers)
        maps = set(SHOWN.values())
        images = [(layer.name, layer) for layer in listed if isinstance(layer, Image) and layer.name not in maps]
        labels = [(layer.name, layer) for layer in listed if isinstance(layer, Labels)]
        offer(self.scan, images, self.scan.value)
        offer(self.reference, [("choose a layer", None), *labels], self.reference.value)
        self._enable()
