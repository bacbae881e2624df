"""A scored pair of layers: what the dock asks its questions of, and the layers that answer them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from napari.layers import Labels, Layer

from napari_medzoo.error_maps import EXTRA_COLOR, MISSED_COLOR, agreement_map, error_map
from napari_medzoo.labels import Label, LabelTable, Segmentation
from napari_medzoo.live_scores import LiveScores
from napari_medzoo.progress import Progress, Steps
from napari_medzoo.widgets import label_display, tasks
from napari_medzoo.widgets import layers as adapter
from napari_medzoo.widgets.alignment import references
from napari_medzoo.widgets.label_names import table_of

if TYPE_CHECKING:
    import napari

    from napari_medzoo.evaluate import EvaluationReport

ERRORS = "errors"
PREDICTED_CONTOUR, EXPECTED_CONTOUR = "contour of the labels", "contour of the reference"
"""Names of the layers, in whose place a new one is put."""


@dataclass(frozen=True, eq=False)
class Scored:
    """Two label layers, their scores, and what keeps them true while the first is edited.

    Attributes
    ----------
    prediction, reference : napari.layers.Labels
    report : EvaluationReport
        Of the moment when Score was pressed.
    live : LiveScores
    as_named : bool
        Whether the numbers mean what the first layer says, and no numbering was chosen for them.
    """

    prediction: Labels
    reference: Labels
    report: EvaluationReport
    live: LiveScores
    as_named: bool

    def edited(self) -> Segmentation:
        """The prediction as its layer shows it now; names that the layer gave to new classes are learnt."""
        if self.as_named and int(self.prediction.selected_label) not in self.live.table:
            self.live.learn(table_of(self.prediction))
        return adapter.segmentation_from_layer(self.prediction, self.live.table)

    def solo(self, index: int | None) -> None:
        """Show label `index` of the common numbering alone on both layers; None shows all again.

        Where a label is several of a layer's own (tissue of many structures), that layer stays as it is.
        """
        members = self.live.members(index) if index is not None else ((), ())
        for layer, values in zip((self.prediction, self.reference), members, strict=True):
            only = None if index is None or len(values) > 1 else (*values, NOWHERE)[0]
            label_display.solo(layer, only)


NOWHERE = -1
"""A label that no voxel has: soloing it shows that this side lacks the class."""


def score_layers(
    prediction: Labels,
    reference: Labels,
    numbering: str = "",
    reference_numbering: str = "",
    scans: Sequence[references.Scan] = (),
) -> Steps[Scored]:
    """Score two layers as the panel does, and get ready to follow edits of the first.

    Raises
    ------
    MedzooError
        As `napari_medzoo.widgets.alignment.references.score`, which also says what `scans` are.
    """
    ours = adapter.segmentation_from_layer(prediction)
    theirs = adapter.segmentation_from_layer(reference)
    # Painting goes on while this is computed in another thread: all of it must see the same labels.
    ours = replace(ours, data=ours.data.copy(order="K"))
    files = references.files_of(prediction, reference)
    report, theirs = yield from references.score(ours, theirs, numbering, reference_numbering, files, scans)
    yield Progress("Comparing")
    ours, theirs = tasks.numbered(ours, numbering), tasks.numbered(theirs, reference_numbering)
    return Scored(prediction, reference, report, LiveScores(ours, theirs), as_named=not numbering)


def error_layer(live: LiveScores, index: int | None) -> adapter.LayerTuple:
    """Where one label errs, or (None) where all agree and which are confused."""
    prediction, reference = live.pair()
    found = agreement_map(prediction, reference) if index is None else error_map(prediction, reference, index)
    return adapter.segmentation_layer(found, ERRORS, opacity=0.75)


def contour_layers(live: LiveScores, index: int | None) -> list[adapter.LayerTuple]:
    """The outline of one label, or (None) of all, on both sides, each side in one colour.

    napari draws the outline of whatever slice is in view, so that it is right in every plane.
    """
    sides = zip(live.pair(), (EXTRA_COLOR, MISSED_COLOR), (PREDICTED_CONTOUR, EXPECTED_CONTOUR), strict=True)
    return [
        adapter.segmentation_layer(_in_one_color(side, index, color), name, opacity=1.0) for side, color, name in sides
    ]


def put(viewer: napari.Viewer, made: adapter.LayerTuple, contour: int = 0) -> Any:
    """Add a layer in the place of the one of its name; the selection stays, because somebody may be painting.

    `contour` is the width of outlines in voxels of a labels layer, 0 for filled labels.
    """
    name = made[1]["name"]
    selected = {layer for layer in viewer.layers.selection if layer.name != name}
    for old in [layer for layer in viewer.layers if layer.name == name and adapter.KEY in layer.metadata]:
        viewer.layers.remove(old)
    layer = Layer.create(*made)
    if isinstance(layer, Labels):
        layer.contour = contour
    added = viewer.add_layer(layer)
    if selected:
        viewer.layers.selection = selected
    return added


def _in_one_color(side: Segmentation, index: int | None, color: tuple[int, int, int]) -> Segmentation:
    table = side.table if index is None else side.table.subset([index])
    data = side.data if index is None else side.data * (side.data == index)
    labels = tuple(Label(label.index, label.name, color) for label in table.foreground)
    return replace(side, data=data, table=LabelTable(table.name, labels))
