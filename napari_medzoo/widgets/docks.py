"""The docks of MedZoo and the one way to open them, whoever asks: the panel, a menu, another dock.

A dock gets the name that napari's Plugins menu would give it, so that the menu shows and hides the very same one.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from qtpy.QtWidgets import QDockWidget, QWidget

if TYPE_CHECKING:
    import napari

NAME = "MedZoo"
"""What the plugin is called in napari's menus."""


@dataclass(frozen=True)
class Dock:
    """One dock.

    Attributes
    ----------
    title : str
        As in the manifest and the Plugins menu.
    where : str
        Module and class.
    tip : str
    area : str
        Side of napari's window. On the right the docks lie behind each other as tabs.
    """

    title: str
    where: str
    tip: str
    area: str = "right"


DOCKS = {
    "panel": Dock("MedZoo", "napari_medzoo.widgets.panel:MedzooPanel", "From a study to named and scored labels"),
    "views": Dock(
        "MedZoo views",
        "napari_medzoo.widgets.ortho:OrthoViews",
        "Axial, coronal, sagittal and 3D side by side, with one crosshair",
        "bottom",
    ),
    "labels": Dock("Labels", "napari_medzoo.widgets.legend:LabelLegend", "Names, colours and volumes; show or hide"),
    "scoring": Dock(
        "Scoring", "napari_medzoo.widgets.scoring.dock:ScoringDock", "Compare with a reference and see where it differs"
    ),
    "alignment": Dock(
        "Alignment", "napari_medzoo.widgets.alignment.dock:AlignmentDock", "How one scan lies on another; correct it"
    ),
    "correct": Dock("Correct", "napari_medzoo.widgets.correct:Corrections", "Paint and repair labels, with a log"),
    "uncertainty": Dock(
        "Uncertainty", "napari_medzoo.widgets.uncertainty:UncertaintyDock", "Where the model is not sure"
    ),
    "lesions": Dock(
        "Lesions", "napari_medzoo.widgets.lesions_dock:LesionsDock", "Count and volume of lesions, and the way to each"
    ),
    "surfaces": Dock("Surfaces", "napari_medzoo.widgets.surfaces_dock:SurfacesDock", "Labels as surfaces in 3D"),
    "features": Dock(
        "What the network sees",
        "napari_medzoo.widgets.features_dock:FeaturesDock",
        "Feature maps inside the model, place by place",
    ),
}


def open_dock(viewer: napari.Viewer, key: str) -> Any:
    """Show a dock of `DOCKS`, opening it if there is none in the window yet.

    Returns
    -------
    QWidget
        The widget in it.
    """
    dock = DOCKS[key]
    kind = dock_class(key)
    for widget in viewer.window.dock_widgets.values():
        if isinstance(widget, kind):
            _bring_forward(widget)
            return widget
    widget = kind(viewer)
    viewer.window.add_dock_widget(widget, name=f"{dock.title} ({NAME})", area=dock.area, tabify=dock.area == "right")
    _bring_forward(widget)
    return widget


def dock_class(key: str) -> type[QWidget]:
    """The class of a dock, imported now."""
    module, _, name = DOCKS[key].where.partition(":")
    return getattr(import_module(module), name)


def _bring_forward(widget: QWidget) -> None:
    frame: Any = widget
    while frame is not None and not isinstance(frame, QDockWidget):
        frame = frame.parentWidget()
    if frame is not None:
        frame.show()
        frame.raise_()
