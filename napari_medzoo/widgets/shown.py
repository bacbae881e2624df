"""What the panel has put into the viewer: the one place that talks to it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image, Labels, Layer

from napari_medzoo.labels import Segmentation
from napari_medzoo.study import MODALITIES, FileInfo, Volume
from napari_medzoo.widgets import layers as adapter
from napari_medzoo.widgets import view

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
        self._convention = view.NEUROLOGICAL

    def add_scans(self, volumes: Sequence[Volume]) -> None:
        """Show scans; of the first ones only the first is visible, since they lie on top of each other."""
        first = not len(self.viewer.layers)
        for i, volume in enumerate(volumes):
            self._add(adapter.volume_layer(volume, visible=i == 0 or not first))
        if first and volumes:
            self.turn_to(self._plane)

    def add_labels(self, segmentation: Segmentation, name: str, visible: bool = True) -> Labels:
        """Show labels that were read from a file."""
        return self._add(adapter.segmentation_layer(segmentation, name, visible=visible))

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
        self.result = self._add(adapter.segmentation_layer(segmentation, name, file))

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
        view.show_plane(self.viewer, plane, self._convention)

    def use_convention(self, convention: str) -> None:
        """Put the person's right to the right of the picture (neurological) or to its left (radiological)."""
        self._convention = convention
        self.turn_to(self._plane)

    def go_to(self, index: int) -> None:
        """Select a label of the result and move the sliders to its middle."""
        if self.result is None:
            return
        self.result.selected_label = index
        labels = adapter.segmentation_from_layer(self.result)
        voxels = np.argwhere(labels.data == index)
        if len(voxels):
            # The voxel nearest to the centroid: of a curved structure the centroid itself may lie outside.
            middle = voxels[np.abs(voxels - voxels.mean(axis=0)).sum(axis=1).argmin()]
            view.center_on(self.viewer, labels.grid.to_world([middle])[0])

    def _add(self, layer: adapter.LayerTuple) -> Any:
        added = self.viewer.add_layer(Layer.create(*layer))
        self._layers.append(added)
        return added
