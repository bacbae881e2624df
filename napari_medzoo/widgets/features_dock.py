"""What the network sees: a dock that shows the strongest feature maps of a model's layers over the scan."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING, Any

from magicgui.widgets import ComboBox, Container, SpinBox
from napari.layers import Image, Layer
from napari.utils.notifications import show_error
from qtpy.QtWidgets import QProgressBar

from napari_medzoo.cards import ModelCard, find_cards
from napari_medzoo.errors import MedzooError
from napari_medzoo.progress import Progress, Steps
from napari_medzoo.state import busy_problem
from napari_medzoo.study import Study, describe
from napari_medzoo.widgets import layers as adapter
from napari_medzoo.widgets.dock_body import DockBody
from napari_medzoo.widgets.jobs import as_steps
from napari_medzoo.widgets.libraries import load_torch
from napari_medzoo.widgets.parts import button, choice, note, offer, row
from napari_medzoo.widgets.preferences import default_model
from napari_medzoo.widgets.tasks import free_threads
from napari_medzoo.widgets.tick_list import Line, TickList

if TYPE_CHECKING:
    import napari

    from napari_medzoo.inference.features import Feature
    from napari_medzoo.inference.places import Layer as NetworkLayer

MEASURES = [("Largest activation", "largest"), ("Spread of the activations", "spread")]
LOOKS = {"colormap": "inferno", "blending": "additive", "opacity": 0.8}
"""Additive: where the network sees nothing the scan stays as it is."""

HINT = "Shows the last layers of the network, or those you tick. Brighter: the channel answers more."


class FeaturesDock(DockBody):
    """Choose a model and a scan; the features appear as layers over it.

    Parameters
    ----------
    napari_viewer : napari.Viewer
        Given by napari, because the parameter has this name.
    """

    def __init__(self, napari_viewer: napari.Viewer) -> None:
        super().__init__(napari_viewer)
        self._shown: list[Layer] = []
        self._picked: dict[str, Image] = {}
        self._build()
        try:
            self.state.cards = find_cards()
        except MedzooError as error:
            show_error(str(error))
        self.card.choices = [(f"{name}: {card.title}", name) for name, card in self.state.cards.items()]
        if self.state.cards:
            self.card.value = default_model(self.state.cards)
        self._card_chosen()
        self.card.changed.connect(self._card_chosen)
        self.ties.tie(self.state.events, self._refresh)
        for event in (napari_viewer.layers.events.inserted, napari_viewer.layers.events.removed):
            self.ties.tie(event, self._offer_layers)
        self._refresh()

    def _build(self) -> None:
        self.card = choice("Model", [], tip="The network to look into")
        tip = "How many of each layer's features are shown, the strongest first"
        self.count = SpinBox(label="Features of each layer", value=4, min=1, max=64, tooltip=tip)
        self.measure = choice("Ranked by", MEASURES, tip="What makes a feature a strong one")
        self.scans: dict[str, ComboBox] = {}
        self._form = Container(widgets=[self.card, self.count, self.measure])
        self._form.margins = (0, 0, 0, 0)
        self.list_layers = button("Choose layers…", "List the network's layers", self.show_layers)
        self.layers = TickList(
            "Tick what shall be shown; nothing ticked: the last layers. 4 ×: voxels as coarse as four of the scan"
        )
        self.layers.hide()
        self.run = button("Show features", "Run the network and show what it sees", self.show_features)
        self.run.setStyleSheet("font-weight: bold; padding: 6px;")
        self.cancel = button("Cancel", "Stop what is running", self.jobs.cancel)
        self.bar = QProgressBar()
        self.bar.setTextVisible(False)
        self.text = note()
        for widget in (note(HINT), self._form.native, self.list_layers):
            self.column.addWidget(widget)
        self.column.addWidget(self.layers, 1)
        self.column.addLayout(row((self.run, 2), (self.cancel, 1)))
        self.column.addWidget(self.bar)
        self.column.addWidget(self.text)
        self.column.addStretch()

    def chosen_card(self) -> ModelCard | None:
        """The card of the model that is chosen."""
        return self.state.cards.get(self.card.value or "")

    def _card_chosen(self) -> None:
        """Ask for as many scans as the model needs."""
        for combo in self.scans.values():
            self._form.remove(combo)
        card = self.chosen_card()
        wanted = card.modalities if card else ()
        self.scans = {key: choice(f"Scan ({describe([key])})", tip="The scan that the network reads") for key in wanted}
        if list(self.scans) == ["any"]:
            self.scans["any"].label = "Scan"
        for place, (key, combo) in enumerate(self.scans.items(), start=1):
            combo.changed.connect(partial(self._pick, key))
            self._form.insert(place, combo)
        self._picked.clear()
        self.layers.clear()
        self.layers.hide()
        self._offer_layers()

    def _pick(self, key: str, layer: Image) -> None:
        self._picked[key] = layer
        self._refresh()

    def _offer_layers(self, event: Any = None) -> None:
        scans = [one for one in self.viewer.layers if isinstance(one, Image) and one not in self._shown]
        for place, (key, combo) in enumerate(self.scans.items()):
            # Several scans: the first for the first modality, and so on, until the person says otherwise.
            given = self._picked.get(key)
            wanted = given if given in scans else scans[min(place, len(scans) - 1)] if scans else None
            offer(combo, [(one.name, one) for one in scans], wanted)
        self._refresh()

    def _refresh(self, info: Any = None) -> None:
        problem = self.problem()
        working = bool(self.state.work)
        self.run.setEnabled(not problem)
        self.list_layers.setEnabled(not working and self.chosen_card() is not None)
        self.cancel.setEnabled(working)
        self._form.enabled = not working
        step = self.state.progress
        # A bar of range 0 moves to and fro: something runs, nobody knows how long.
        self.bar.setRange(0, (step.total if step and step.done else 0) if working else 1)
        self.bar.setValue(step.done if working and step else 0)
        self.text.setText(f"{step.stage if step else self.state.work} …" if working else problem or "Ready.")

    def problem(self) -> str:
        """Why nothing can be shown now, or an empty text."""
        if busy := busy_problem(self.state):
            return busy
        if self.chosen_card() is None:
            return "There is no model; put a card and its weights into the models folder."
        if len({id(combo.value) for combo in self.scans.values() if combo.value is not None}) < len(self.scans):
            return f"Open {describe(self.scans)} in the viewer first."
        return ""

    def show_layers(self) -> None:
        """List the network's parts, the last ones ticked; building it takes a moment the first time."""
        card = self.chosen_card()
        if card is not None and not self.state.work:
            self.jobs.start("Reading the network", as_steps(partial(_parts_of, card)), self._listed)

    def _listed(self, found: tuple[Sequence[NetworkLayer], Sequence[NetworkLayer]]) -> None:
        parts, last = found
        lines = [
            Line(part.name, f"{part.name}: {part.channels} channels, voxels {max(part.step):g} ×")
            for part in reversed(parts)
        ]
        self.layers.offer(lines, [part.name for part in last])
        self.layers.show()

    def ticked(self) -> tuple[str, ...]:
        """Names of the layers that are ticked; none if they were not listed."""
        return tuple(self.layers.ticked())

    def show_features(self) -> None:
        """Run the network and show its features over the scan."""
        if problem := self.problem():
            show_error(problem)
            return
        card = self.chosen_card()
        assert card is not None  # problem() has asked
        try:
            volumes = [
                adapter.volume_from_layer(combo.value, "unknown" if key == "any" else key)
                for key, combo in self.scans.items()
            ]
        except MedzooError as error:
            show_error(str(error))
            return
        study = Study({volume.modality: volume for volume in volumes})
        steps = _look(study, card, self.ticked(), self.count.value, self.measure.value)
        self.jobs.start("Looking", steps, self._found)

    def _found(self, found: tuple[Feature, ...]) -> None:
        """Show the features, the strongest of the last layer on top and alone visible."""
        for old in self._shown:
            if old in self.viewer.layers:
                self.viewer.layers.remove(old)
        groups = groupby(found, key=lambda feature: feature.layer)
        order = [feature for _, group in groups for feature in reversed(list(group))]
        self._shown = [
            Layer.create(*adapter.volume_layer(feature.volume, feature.name, feature is order[-1], **LOOKS))
            for feature in order
        ]
        for layer in self._shown:
            self.viewer.add_layer(layer)


def _parts_of(card: ModelCard) -> tuple[Sequence[NetworkLayer], Sequence[NetworkLayer]]:
    load_torch()
    from napari_medzoo.inference.features import last_layers, layers_of

    layers = layers_of(card)
    return [layer for layer in layers if layer.stage], last_layers(layers)


def _look(study: Study, card: ModelCard, layers: tuple[str, ...], count: int, measure: str) -> Steps[Any]:
    yield Progress("Loading model")
    load_torch()
    from napari_medzoo.inference.features import features

    free = free_threads()
    return (yield from features(study, card, layers=layers, count=count, measure=measure, threads=free))
