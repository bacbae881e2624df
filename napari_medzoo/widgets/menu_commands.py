"""What MedZoo adds to napari's own menus and command palette: short ways to one result.

Each command takes the selected layers, says in a sentence what is missing, and works in the background with progress
and a cancel button in napari's activity dock.
"""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from typing import Any
from weakref import WeakKeyDictionary

from napari import Viewer, current_viewer
from napari.layers import Image, Labels, Layer
from napari.utils.notifications import show_error, show_info

from napari_medzoo.progress import Steps
from napari_medzoo.state import State, busy_problem
from napari_medzoo.widgets import layers as adapter
from napari_medzoo.widgets import scan_tasks, view
from napari_medzoo.widgets.docks import open_dock
from napari_medzoo.widgets.jobs import Jobs

ONE_SCAN = "Select one scan (an image layer) first."
TWO_SCANS = "Select two scans first: the upper one in the list is moved onto the lower one."
ONE_LABELS = "Select one labels layer first."
TWO_LABELS = "Select two labels layers first: the lower one in the list counts as the reference."

_jobs: MutableMapping[Viewer, tuple[State, Jobs]] = WeakKeyDictionary()


def correct_bias() -> None:
    """Correct the slow shading of the selected scan (N4); the result is a new layer."""
    if picked := _selected(Image, 1, ONE_SCAN):
        viewer, (scan,) = picked
        name = f"{scan.name} (N4)"
        _start(
            viewer, "Correcting bias field", scan_tasks.correct_bias(scan), lambda made: _add_scan(viewer, made, name)
        )


def register_scans() -> None:
    """Move the upper of two selected scans onto the lower one; the result is a new layer on the lower one's grid."""
    if picked := _selected(Image, 2, TWO_SCANS):
        viewer, (fixed, moving) = picked
        name = f"{moving.name} on {fixed.name}"
        _start(viewer, "Registering", scan_tasks.register(moving, fixed), lambda made: _add_scan(viewer, made, name))


def mask_brain() -> None:
    """Find the brain in the selected scan by a classical method; the result is a new labels layer."""
    if picked := _selected(Image, 1, ONE_SCAN):
        viewer, (scan,) = picked
        name = f"brain of {scan.name}"
        _start(
            viewer,
            "Finding the brain",
            scan_tasks.mask_brain(scan),
            lambda made: viewer.add_layer(Layer.create(*adapter.segmentation_layer(made, name, adapter.file_of(scan)))),
        )


def segment_scans() -> None:
    """Open the panel with the viewer's scans as its study, or with the selected ones if several are."""
    if viewer := _viewer():
        open_dock(viewer, "panel").use_layers()


def score_labels() -> None:
    """Score the upper of two selected labels layers against the lower one in the Scoring dock."""
    if picked := _selected(Labels, 2, TWO_LABELS):
        viewer, (reference, prediction) = picked
        dock = open_dock(viewer, "scoring")
        dock.form.prediction.value, dock.form.reference.value = prediction, reference
        dock.run_score()


def show_error_map() -> None:
    """Show where the upper of two selected labels layers differs from the lower one, as a layer."""
    if picked := _selected(Labels, 2, TWO_LABELS):
        viewer, (reference, prediction) = picked
        name = f"{prediction.name} against {reference.name}"
        _start(
            viewer,
            "Comparing",
            scan_tasks.compare(prediction, reference),
            lambda made: viewer.add_layer(Layer.create(*adapter.segmentation_layer(made, name, opacity=0.75))),
        )


def show_volumes() -> None:
    """List the volumes of the selected labels, class by class, in the dock of the labels."""
    _open_on_labels("labels")


def list_lesions() -> None:
    """List the lesions of the selected labels, one by one, in their dock."""
    _open_on_labels("lesions")


def correct_labels() -> None:
    """Open the dock that corrects labels on the selected ones."""
    _open_on_labels("correct")


def switch_convention() -> None:
    """Show heads the other way round, neurological or radiological; the data stay as they are."""
    if viewer := _viewer():
        radiological = view.LOOK.convention == view.RADIOLOGICAL
        view.LOOK.convention = view.NEUROLOGICAL if radiological else view.RADIOLOGICAL
        if viewer.dims.ndim == 3 and viewer.dims.ndisplay == 2:
            view.show_plane(viewer, view.plane_of(viewer))
        show_info(view.CONVENTIONS[view.LOOK.convention])


def _viewer() -> Viewer | None:
    viewer = current_viewer()
    if viewer is None:
        show_error("Open a napari window first.")
    return viewer


def _selected(kind: type[Layer], count: int, missing: str) -> tuple[Viewer, list[Any]] | None:
    """The viewer and its selected layers of a kind, the lowest first; None, and `missing` said, unless so many are."""
    viewer = _viewer()
    if viewer is None:
        return None
    chosen = [layer for layer in viewer.layers if isinstance(layer, kind) and layer in viewer.layers.selection]
    if len(chosen) != count:
        show_error(missing)
        return None
    return viewer, chosen


def _open_on_labels(dock: str) -> None:
    if picked := _selected(Labels, 1, ONE_LABELS):
        viewer, (labels,) = picked
        open_dock(viewer, dock).use(labels)


def _start(viewer: Viewer, work: str, steps: Steps[Any], done: Callable[[Any], Any]) -> None:
    if viewer not in _jobs:
        state = State()
        _jobs[viewer] = state, Jobs(state)
    state, jobs = _jobs[viewer]
    if problem := busy_problem(state):
        show_error(problem)
    else:
        jobs.start(work, steps, done)


def _add_scan(viewer: Viewer, made: Any, name: str) -> None:
    viewer.add_layer(Layer.create(*adapter.volume_layer(made, name)))
    if made.warnings:
        show_info("\n".join(made.warnings))
