"""The dock "Surfaces": chosen classes in 3D, as mesh files, as pictures and as a movie."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Labels
from napari.utils.notifications import show_error
from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import QDoubleSpinBox, QFileDialog, QFormLayout, QProgressBar, QSlider

from napari_medzoo.errors import MedzooError
from napari_medzoo.labels import Segmentation
from napari_medzoo.mesh_files import write_each, write_meshes
from napari_medzoo.meshes import Mesh, default_smoothing, surfaces
from napari_medzoo.state import busy_problem
from napari_medzoo.widgets.dock_body import DockBody
from napari_medzoo.widgets.label_display import display_of, table_of
from napari_medzoo.widgets.layers import segmentation_from_layer
from napari_medzoo.widgets.legend import RECOUNT_MS, count_voxels
from napari_medzoo.widgets.ortho.straight import grid_of
from napari_medzoo.widgets.parts import Fold, button, choice, note, offer, row
from napari_medzoo.widgets.scoring.background import Newest
from napari_medzoo.widgets.surface_layers import Scene, surface_layer
from napari_medzoo.widgets.surfaces_parts import ExportView
from napari_medzoo.widgets.surfaces_pictures import PictureView
from napari_medzoo.widgets.tick_list import Line, TickList

if TYPE_CHECKING:
    import napari


class SurfacesDock(DockBody):
    """Choose a labels layer and classes; their surfaces appear in 3D.

    Parameters
    ----------
    napari_viewer : napari.Viewer
        Given by napari, because the parameter has this name.

    Attributes
    ----------
    layer : napari.layers.Labels or None
        What surfaces are made of.
    meshes : tuple of Mesh
        The surfaces that were made last.
    """

    def __init__(self, napari_viewer: napari.Viewer) -> None:
        super().__init__(napari_viewer)
        self.scene = Scene(napari_viewer)
        self.layer: Labels | None = None
        self.meshes: tuple[Mesh, ...] = ()
        self._pending: list[tuple[Mesh, Labels]] = []
        self._stale = False
        self._counting = Newest(self)
        self._recount = QTimer(self)
        self._recount.setSingleShot(True)
        self._recount.setInterval(RECOUNT_MS)
        self._recount.timeout.connect(self._count)
        self._adding = QTimer(self)
        self._adding.setInterval(0)
        self._adding.timeout.connect(self._add_next)
        self._build()
        self.ties.tie(self.state.events, self._refresh)
        events = napari_viewer.layers.events
        for event in (events.inserted, events.removed, events.renamed):
            self.ties.tie(event, self._offer_layers)
        for farewell in (self._counting.forget, self.scene.close, lambda: self._listen(False)):
            self.ties.at_last(farewell)
        self._offer_layers()

    def _build(self) -> None:
        self.layers = choice("Labels", [], tip="The labels that surfaces are made of")
        self.layers.changed.connect(lambda layer: self.use(layer))
        self.classes = TickList("Tick the classes to show")
        self.classes.setMinimumHeight(120)
        self.classes.ticked_changed.connect(self._refresh)
        self.all = button("All", "Tick every class", lambda: self.classes.tick(self.classes.listed()))
        self.none = button("None", "Tick no class", lambda: self.classes.tick(()))
        self.seen = button("As in Labels", "Tick the classes that the legend shows", self.tick_seen)
        self.smoothing = QDoubleSpinBox()
        self.smoothing.setRange(0, 40)
        self.smoothing.setDecimals(1)
        self.smoothing.setSingleStep(0.5)
        self.smoothing.setSuffix(" mm")
        self.smoothing.setSpecialValueText("none")
        self.smoothing.setToolTip("Bumps and dents narrower than this go; the volume stays that of the voxels")
        self.opacity = QSlider(Qt.Orientation.Horizontal)
        self.opacity.setRange(5, 100)
        self.opacity.setValue(100)
        self.opacity.setToolTip("How much of what lies behind a surface is seen through it: all the way right, nothing")
        self.opacity.valueChanged.connect(self._set_opacity)
        self.run = button("Make surfaces", "Of the ticked classes; those made before are replaced", self.make)
        self.run.setStyleSheet("font-weight: bold; padding: 6px;")
        self.cancel = button("Cancel", "Stop what is running", self.stop)
        self.bar = QProgressBar()
        self.bar.setTextVisible(False)
        self.text = note()
        self.export = ExportView()
        self.export.wanted.connect(self._ask_export)
        self.pictures = PictureView(self.viewer, self.scene, self.state, self.jobs)
        self.turntable = self.pictures.turntable
        self.turntable.stepped.connect(self._frame_taken)
        self.turntable.finished.connect(self._refresh)
        self.pictures.said.connect(self.text.setText)
        form = QFormLayout()
        form.addRow("Labels", self.layers.native)
        self.column.addLayout(form)
        self.column.addWidget(self.classes, 1)
        self.column.addLayout(row(self.all, self.none, self.seen))
        form = QFormLayout()
        form.addRow("Smoothing", self.smoothing)
        form.addRow("Opacity", self.opacity)
        self.column.addLayout(form)
        self.column.addLayout(row(self.run, self.cancel))
        for widget in (self.bar, self.text):
            self.column.addWidget(widget)
        self.column.addWidget(Fold("Mesh files", self.export, opened=True))
        self.column.addWidget(Fold("Pictures", self.pictures, opened=True))

    # The labels

    def use(self, layer: Labels | None) -> None:
        """Make surfaces of another layer."""
        if layer is self.layer:
            return
        self._listen(False)
        self.layer, self._stale = layer, False
        self._listen(True)
        offer(self.layers, self._choices(), layer)
        self.classes.offer((), ())
        if layer is not None:
            self.smoothing.setValue(default_smoothing(grid_of(layer)))
            self._count()

    def _listen(self, on: bool) -> None:
        if self.layer is not None:
            for event in (self.layer.events.paint, self.layer.events.labels_update, self.layer.events.data):
                (event.connect if on else event.disconnect)(self._edited)

    def _choices(self) -> list[tuple[str, Labels]]:
        return [(layer.name, layer) for layer in self.viewer.layers if isinstance(layer, Labels) and layer.ndim == 3]

    def _offer_layers(self, event: Any = None) -> None:
        known = [layer for _, layer in self._choices()]
        self.use(self.layer if self.layer in known else (known[-1] if known else None))
        offer(self.layers, self._choices(), self.layer)
        self._refresh()

    def _edited(self, event: Any = None) -> None:
        self._stale = bool(self.meshes)
        self._recount.start()

    def _count(self) -> None:
        layer = self.layer
        if layer is not None:
            data = np.asarray(layer.data)
            self._counting.ask("classes", lambda: count_voxels(data), lambda counts: self._counted(layer, counts))

    def _counted(self, layer: Labels, counts: dict[int, int]) -> None:
        if layer is self.layer:
            present = [index for index in counts if index > 0]
            table = table_of(layer, present)
            found = [label for label in table.foreground if label.index in present]
            lines = [Line(label.index, label.name, color=label.color) for label in found]
            self.classes.offer(lines, self.classes.ticked())

    def tick_seen(self) -> None:
        """Tick the classes that the dock Labels shows."""
        if self.layer is not None:
            display = display_of(self.layer)
            self.classes.tick([index for index in self.classes.listed() if display.alpha(index) > 0])

    # Surfaces

    def make(self) -> None:
        """Compute the surfaces of the ticked classes and show them."""
        layer, chosen = self.layer, self.classes.ticked()
        if layer is None or self.problem():
            return
        try:
            labels = segmentation_from_layer(layer, table_of(layer, chosen))
        except MedzooError as error:
            show_error(str(error))
            return
        # A copy, because the person may go on painting.
        still = Segmentation(np.array(labels.data), labels.grid, labels.table)
        self._stale = False
        steps = surfaces(still, chosen, self.smoothing.value())
        self.jobs.start("Making surfaces", steps, lambda meshes: self._made(meshes, layer))

    def _made(self, meshes: tuple[Mesh, ...], layer: Labels) -> None:
        self.scene.clear()
        self.meshes = meshes
        # One in each turn of the event loop: a layer takes napari a moment.
        self._pending = [(mesh, layer) for mesh in meshes]
        self._adding.start()
        self._refresh()

    def _add_next(self) -> None:
        mesh, layer = self._pending.pop(0)
        in_3d = self.viewer.dims.ndisplay == 3
        self.viewer.add_layer(surface_layer(mesh, layer, self.opacity.value() / 100, visible=in_3d))
        if not self._pending:
            self._adding.stop()
            self.scene.enter()
            if layer in self.viewer.layers:
                self.viewer.layers.selection.active = layer
        self._refresh()

    def _set_opacity(self, percent: int) -> None:
        for layer in self.scene.surfaces():
            layer.opacity = percent / 100

    def stop(self) -> None:
        """Cancel what runs; surfaces that are shown already stay."""
        self.jobs.cancel()
        self.turntable.cancel()

    def problem(self) -> str:
        """Why nothing can be started now, or an empty text."""
        if busy := busy_problem(self.state):
            return busy
        if self.turntable.running or self._pending:
            return "Wait for what is running, or cancel it."
        if self.layer is None:
            return "Open labels in the viewer first."
        return "" if self.classes.ticked() else "Tick the classes to show."

    def _refresh(self, info: Any = None) -> None:
        working = bool(self.state.work) or self.turntable.running or bool(self._pending)
        problem, step = self.problem(), self.state.progress
        self.run.setEnabled(not problem)
        self.cancel.setEnabled(working)
        self.export.store.setEnabled(bool(self.meshes) and not working)
        self.pictures.movie.setEnabled(bool(self.meshes) and not working)
        if not self.turntable.running:
            self.bar.setRange(0, (step.total if step and step.total else 0) if working else 1)
            self.bar.setValue(step.done if working and step else 0)
        volume = sum(mesh.voxels_ml for mesh in self.meshes)
        count = f"{len(self.meshes)} surfaces" if len(self.meshes) != 1 else "1 surface"
        ready = f"{count}, {volume:.1f} mL." if self.meshes else "Ready."
        if self._stale:
            ready += " The labels were changed since; make the surfaces again."
        self.text.setText(f"{step.stage if step else self.state.work or 'Showing'} …" if working else problem or ready)

    # Files

    def write(self, path: Path) -> None:
        """Write the surfaces to a file, or to a folder with a file for each class; existing files are replaced."""
        space, suffix = self.export.space.currentData(), self.export.form.currentData()
        if self.export.each.isChecked():
            steps = write_each(self.meshes, path, suffix, space, overwrite=True)
        else:
            steps = write_meshes(self.meshes, path, space, overwrite=True)
        self.jobs.start("Writing surfaces", steps, lambda written: self.text.setText(f"Wrote {path.name} ({space})."))

    def _ask_export(self) -> None:
        suffix = self.export.form.currentData()
        if self.export.each.isChecked():
            name = QFileDialog.getExistingDirectory(self, "Folder for the surfaces")
        else:
            name, _ = QFileDialog.getSaveFileName(self, "Export surfaces", f"surfaces{suffix}", f"*{suffix}")
        if name:
            path = Path(name)
            self.write(path if self.export.each.isChecked() or path.suffix else path.with_suffix(suffix))

    def _frame_taken(self, done: int, total: int) -> None:
        self._refresh()
        self.bar.setRange(0, total)
        self.bar.setValue(done)
        self.text.setText(f"Turning, picture {done} of {total} …")
