"""What the panel has put into the viewer: the one place that talks to it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari.layers import Image, Labels, Layer

from napari_medzoo.labels import Segmentation
from napari_medzoo.study import MODALITIES, FileInfo, Volume
from napari_medzoo.widgets import label_display, view
from napari_medzoo.widgets import layers as adapter
from napari_medzoo.widgets.editing import SOURCE, Editing, watch

if TYPE_CHECKING:
    import napari

    from napari_medzoo.preprocess import Prepared


class Shown:
    """The panel's layers and the way the viewer looks at them.

    Parameters
    ----------
    viewer : napari.Viewer

    Attributes
    ----------
    result : napari.layers.Labels or None
        The layer of the last segmentation; painting on it is what Save writes and Score scores.
    """

    def __init__(self, viewer: napari.Viewer) -> None:
        self.viewer = viewer
        self.result: Labels | None = None
        self._layers: list[Layer] = []
        self._previews: list[Layer] = []
        self._plane = "axial"
        self._originals: dict[Labels, Segmentation] = {}
        self._editings: dict[Labels, Editing] = {}
        viewer.layers.events.removed.connect(self._removed)

    def add_scans(self, volumes: Sequence[Volume]) -> None:
        """Show scans; of the first ones only the first is visible, since they lie on top of each other."""
        first = not len(self.viewer.layers)
        for i, volume in enumerate(volumes):
            self._add(adapter.volume_layer(volume, visible=i == 0 or not first))
        if first and volumes:
            self.turn_to(self._plane)

    def add_labels(
        self, segmentation: Segmentation, name: str, visible: bool = True, path: Path | None = None
    ) -> Labels:
        """Show labels, those of the file `path` if they came from one."""
        layer = self._add_labels(adapter.segmentation_layer(segmentation, name, visible=visible), segmentation)
        if path is not None:
            layer.metadata[SOURCE] = str(path)
        return layer

    def add_prepared(self, prepared: Prepared) -> None:
        """Show every prepared volume, the reference visible and the others ready to be compared with it."""
        for modality in prepared.modalities:
            name = f"prepared {MODALITIES.get(modality, modality)}"
            for old in [old for old in self._previews if old.name == name and old in self.viewer.layers]:
                self.viewer.layers.remove(old)
            shown = modality == prepared.reference
            self._previews.append(self._add(adapter.volume_layer(prepared.volume(modality), name, shown)))

    def add_result(self, segmentation: Segmentation, name: str, file: FileInfo | None) -> None:
        """Show a segmentation on top and make it the layer to save and score."""
        self.result = self._add_labels(adapter.segmentation_layer(segmentation, name, file), segmentation)

    def clear(self) -> None:
        """Take what was added here from the viewer; other layers stay."""
        for layer in self._layers:
            if layer in self.viewer.layers:
                self.viewer.layers.remove(layer)
        self._layers.clear()
        self._previews.clear()
        self.result = None

    def chosen_scans(self) -> list[Image]:
        """The selected image layers if there are several, else all that are not a preview.

        napari selects a layer whenever one is added, so that a single selected one says nothing.
        """
        images = [layer for layer in self.viewer.layers if isinstance(layer, Image)]
        selected = [layer for layer in images if layer in self.viewer.layers.selection]
        return selected if len(selected) > 1 else [layer for layer in images if layer not in self._previews]

    def label_layers(self) -> list[Labels]:
        """Every labels layer in the viewer."""
        return [layer for layer in self.viewer.layers if isinstance(layer, Labels)]

    def turn_to(self, plane: str) -> None:
        """Show a plane of `view.PLANES`, or ``"3D"``."""
        if plane == "3D":
            view.show_head_3d(self.viewer)
            return
        self._plane = plane
        self.viewer.dims.ndisplay = 2
        view.show_plane(self.viewer, plane)

    def turn_round(self) -> None:
        """Show the plane that is seen the way round that `view.LOOK` says."""
        if self.viewer.dims.ndim == 3 and self.viewer.dims.ndisplay == 2:
            view.show_plane(self.viewer, view.plane_of(self.viewer))

    def go_to(self, index: int) -> None:
        """Select a label of the result and move the sliders to its middle."""
        if self.result is None:
            return
        self.result.selected_label = index
        middle = label_display.class_middle(self.result, index)
        if middle is not None:
            view.center_on(self.viewer, middle)

    def editing(self) -> Editing:
        """Log and journal of the result layer, beginning with what the model gave.

        Raises
        ------
        MedzooError
            If something replaced its array by one that cannot be watched.
        """
        assert self.result is not None
        return self._watched(self.result)

    def close(self) -> None:
        """Let go of the viewer and of the layers; what was not saved is offered when the labels are opened again."""
        self.viewer.layers.events.removed.disconnect(self._removed)
        for layer in list(self._originals):
            self._forget(layer)

    def _add_labels(self, made: adapter.LayerTuple, segmentation: Segmentation) -> Labels:
        layer = self._add(made)
        self._originals[layer] = segmentation
        layer.events.paint.connect(self._painted)
        return layer

    def _painted(self, event: Any) -> None:
        # Not before the first stroke, because watching keeps two copies of the labels.
        if event.source not in self._editings:
            self._watched(event.source).painted(event)

    def _watched(self, layer: Labels) -> Editing:
        if layer not in self._editings:
            original = self._originals[layer]
            self._editings[layer] = watch(layer, adapter.as_shown(original.data, original.grid)[0])
        return self._editings[layer]

    def _removed(self, event: Any) -> None:
        if event.value in self._originals:
            self._forget(event.value)

    def _forget(self, layer: Labels) -> None:
        layer.events.paint.disconnect(self._painted)
        del self._originals[layer]
        if layer in self._editings:
            self._editings.pop(layer).close()
        if layer is self.result:
            self.result = None

    def _add(self, layer: adapter.LayerTuple) -> Any:
        added = self.viewer.add_layer(Layer.create(*layer))
        self._layers.append(added)
        return added
