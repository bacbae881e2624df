"""A finished result in napari: what ``medzoo demo`` leaves open, or takes pictures of where nobody looks."""

from __future__ import annotations

from pathlib import Path

import napari
from napari.qt import get_qapp

from napari_medzoo.labels import Segmentation
from napari_medzoo.study import Study
from napari_medzoo.widgets.panel import MedzooPanel
from napari_medzoo.widgets.view import PLANES

WINDOW = (1500, 1000)
"""Pixels of the window in the pictures."""


def show(
    study: Study,
    segmentation: Segmentation,
    reference: Segmentation | None = None,
    screenshots: Path | None = None,
) -> list[Path]:
    """Open the study with its labels in napari, the MedZoo panel beside it.

    Parameters
    ----------
    study : Study
    segmentation : Segmentation
        On the grid of one of the study's volumes.
    reference : Segmentation, optional
        A hidden layer; the panel shows the scores against it.
    screenshots : Path, optional
        A folder: save ``window.png``, ``axial.png``, ``coronal.png``, ``sagittal.png`` and ``3d.png`` there (and
        ``scores.png`` where there is a reference) and close the window again. Without it the window stays until
        the person closes it.

    Returns
    -------
    list of Path
        The pictures, empty without `screenshots`.
    """
    viewer = napari.Viewer(title="MedZoo", show=True)
    panel = MedzooPanel(viewer)
    viewer.window.add_dock_widget(panel, name="MedZoo", area="right")
    panel.show_result(study, segmentation, reference)
    if screenshots is None:
        napari.run()
        return []
    try:
        return take_pictures(panel, screenshots)
    finally:
        viewer.close()


def take_pictures(panel: MedzooPanel, folder: Path) -> list[Path]:
    """Save pictures of the window and of each view of the canvas into `folder` (made if needed)."""
    folder.mkdir(parents=True, exist_ok=True)
    viewer = panel.viewer
    viewer.window.resize(*WINDOW)
    get_qapp().processEvents()
    panel.shown.turn_to("axial")
    paths = [folder / "window.png"]
    viewer.window.screenshot(str(paths[0]), flash=False, canvas_only=False)
    if panel.state.report is not None:
        panel.scroll.ensureWidgetVisible(panel.score_view.table)
        paths.append(folder / "scores.png")
        viewer.window.screenshot(str(paths[-1]), flash=False, canvas_only=False)
    for plane in (*PLANES, "3D"):
        panel.shown.turn_to(plane)
        paths.append(folder / f"{plane.lower()}.png")
        viewer.screenshot(str(paths[-1]), flash=False, canvas_only=True)
    panel.shown.turn_to("axial")
    return paths
