"""How long the window keeps a person waiting while it works: the gaps of a timer in its event loop.

    python -m napari_medzoo.screen run python benchmarks/event_loop.py --page docs/event_loop.md

Every long piece of work is started by its own button, in the real window with the four views, on an average head of
256³ voxels with its labels (`structures/fsaverage`). Plain napari, at rest and stepping through slices, is measured in
the same run. For an idle computer; on another, what the window's thread did itself tells more than the gaps.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import napari
import numpy as np
from napari.layers import Labels, Layer
from qtpy.QtCore import QEventLoop, Qt, QTimer

from napari_medzoo.io import read_segmentation, read_volume
from napari_medzoo.label_tables import LABEL_TABLES
from napari_medzoo.preprocess.check import move
from napari_medzoo.widgets import view
from napari_medzoo.widgets.correct_tools import TOOLS
from napari_medzoo.widgets.docks import dock_class, open_dock
from napari_medzoo.widgets.layers import segmentation_layer, volume_layer
from napari_medzoo.widgets.scoring.background import Newest
from napari_medzoo.widgets.uncertainty import PROBABILITIES

DATA = Path(os.environ.get("MEDZOO_DATA") or Path(__file__).parents[2] / "shared" / "data")
HEAD = DATA / "structures" / "fsaverage"
WINDOW = (1500, 1000)
TICK_MS = 5
CALM_MS, CALM_S = 50, 0.5
"""A layer that came or went is drawn when no gap was longer for so many seconds: the four views draw it one by one."""
REST_S = 2.0
"""How long the window is watched after a piece of work: what it shows is drawn then."""

CORTEX, WORST, NEW = 3, 17, 77
"""In aseg: the class to correct, the cortex of one side; the one whose worst place is looked for; one that no model
finds."""

DOCKS = ("panel", "views", "scoring", "correct", "uncertainty", "surfaces", "alignment")
TOOLS_USED = ("smooth", "islands", "holes", "grow", "shrink", "interpolate")
PREDICTION, REFERENCE, MOVED = "structures of brain.mgz", "reference", "moved"

PLAIN = "plain napari"
P95_MS, LONGEST_MS = 100, 300
"""What is wanted."""

PAGE = """# How long the window keeps a person waiting

The gaps between the ticks of a timer of {tick} ms in the event loop of the real window, with the four views, while it
works on a scan of 256³ voxels and its labels (`structures/fsaverage`). Wanted: at most {p95} ms at the 95th percentile
and {longest} ms always, the showing of new layers left out. That is the last column: the longest gap from when a
layer came or went until it was drawn. "Own work" is the most processor time that the window's own thread
took between two ticks, new layers left out; what a gap has beyond it is drawing by other threads (without a graphics
card), and waiting for a processor or for Python's lock.

Written by `python -m napari_medzoo.screen run python benchmarks/event_loop.py --page docs/event_loop.md` on
{cores} processor cores{load}.

{table}

{verdict}
"""

HEADINGS = ("while", "seconds", "gap p95 (ms)", "longest (ms)", "own work (ms)", "showing layers (ms)")


@dataclass
class Gaps:
    """Gaps between ticks in ms, of one piece of work."""

    name: str
    seconds: float = 0.0
    waits: list[float] = field(default_factory=list)
    own: list[float] = field(default_factory=list)
    layers: list[float] = field(default_factory=list)

    @property
    def p95(self) -> float:
        """Of the gaps in which no layer was shown."""
        return float(np.percentile(self.waits, 95)) if self.waits else 0.0

    @property
    def longest(self) -> float:
        """Of the same."""
        return max(self.waits, default=0.0)

    @property
    def cells(self) -> tuple[str, ...]:
        """As `HEADINGS`."""
        figures = (self.p95, self.longest, max(self.own, default=0.0), max(self.layers, default=0.0))
        return (self.name, f"{self.seconds:.1f}", *(f"{figure:.0f}" for figure in figures))


class Pulse:
    """Ticks in the event loop and notes how long each tick was late."""

    def __init__(self, viewer: napari.Viewer) -> None:
        self._timer = QTimer()
        self._timer.setTimerType(Qt.TimerType.PreciseTimer)
        self._timer.setInterval(TICK_MS)
        self._timer.timeout.connect(self._tick)
        self._loop = QEventLoop()
        self._layers, self._busy_until = False, 0.0
        for event in (viewer.layers.events.inserting, viewer.layers.events.removing):
            event.connect(self._layers_change)

    def during(self, name: str, start: Callable[[], object], idle: Callable[[], bool], layers: bool = False) -> Gaps:
        """Call `start` in the event loop and watch it until everything is `idle` and drawn, `layers` still to draw."""
        self._gaps, self._idle, self._ended, self._layers = Gaps(name), idle, 0.0, layers
        self._last = self._begin = time.perf_counter()
        self._own = time.thread_time()
        QTimer.singleShot(0, start)
        self._timer.start()
        self._loop.exec()
        self._timer.stop()
        return self._gaps

    def rest(self) -> None:
        """Let the window draw what is waiting."""
        self._busy_until = time.perf_counter() + CALM_S
        self.during("", lambda: None, lambda: not self._layers, layers=True)

    def _layers_change(self, event: Any) -> None:
        self._layers, self._busy_until = True, time.perf_counter() + CALM_S

    def _tick(self) -> None:
        now, own = time.perf_counter(), time.thread_time()
        late = 1000 * (now - self._last)
        if self._layers:
            self._gaps.layers.append(late)
            self._busy_until = now + CALM_S if late > CALM_MS else self._busy_until
            self._layers = now < self._busy_until
        else:
            self._gaps.waits.append(late)
            self._gaps.own.append(1000 * (own - self._own))
        if not self._idle():
            self._ended = 0.0
        elif not self._ended:
            self._ended, self._gaps.seconds = now, now - self._begin
        elif now - self._ended > REST_S:
            self._loop.quit()
        self._last, self._own = time.perf_counter(), time.thread_time()


def window() -> napari.Viewer:
    """Plain napari with the scan and its labels."""
    viewer = napari.Viewer(show=True)
    viewer.window.resize(*WINDOW)
    scan = read_volume(HEAD / "brain.mgz", "t1w")
    known = read_segmentation(HEAD / "aseg.mgz", LABEL_TABLES["aseg"])
    viewer.add_layer(Layer.create(*volume_layer(move(scan, (6, -4, 3), (3, 2, -4))[0], MOVED, visible=False)))
    viewer.add_layer(Layer.create(*segmentation_layer(known, REFERENCE)))
    view.show_plane(viewer)
    return viewer


def at_rest(viewer: napari.Viewer) -> bool:
    """Whether no dock has anything left to do."""
    kinds = tuple(dock_class(key) for key in DOCKS if key != "views")
    ours: list[Any] = [dock for dock in viewer.window.dock_widgets.values() if isinstance(dock, kinds)]
    return not any(
        dock.state.work or dock.state.releasing or any(newest.busy for newest in dock.findChildren(Newest))
        for dock in ours
    )


def for_seconds(seconds: float) -> tuple[Callable[[], object], Callable[[], bool]]:
    """Nothing to start, and whether so many seconds from now have passed."""
    until = time.perf_counter() + seconds
    return lambda: None, lambda: time.perf_counter() > until


def plain(viewer: napari.Viewer, pulse: Pulse) -> Iterator[Gaps]:
    """What napari alone needs."""
    yield pulse.during(f"{PLAIN}, at rest", *for_seconds(3))
    positions = iter(range(-30, 30))
    stepper = QTimer()
    stepper.setInterval(50)

    def step() -> None:
        position = next(positions, None)
        if position is None:
            stepper.stop()
        else:
            viewer.dims.set_point(2, position)

    stepper.timeout.connect(step)
    yield pulse.during(f"{PLAIN}, stepping through slices", stepper.start, lambda: not stepper.isActive())


def work(viewer: napari.Viewer, folder: Path) -> Iterator[tuple[str, Callable[[], object]]]:
    """Every long piece of work, in the order of a day: its name, and what starts it."""
    panel, _, scoring, correct, uncertainty, surfaces, alignment = (open_dock(viewer, key) for key in DOCKS)
    yield "reading the scan", lambda: panel.open_paths([HEAD / "brain.mgz"])
    for model in ("tissue-fast", "structures"):
        panel.choose("card", model)
        yield f"segmenting ({model})", panel.run_view.segment.click
    yield "saving", lambda: panel.save(folder / "labels.nii.gz")
    labels, reference = viewer.layers[PREDICTION], viewer.layers[REFERENCE]
    scoring.form.prediction.value, scoring.form.reference.value = labels, reference
    yield "scoring", scoring.score.click
    yield "looking for the worst place of a class", lambda: scoring.choose(WORST)
    yield "error map of all classes", lambda: (scoring.show_all(), scoring.errors.click())
    correct.use(labels)
    labels.selected_label = CORTEX
    for key in TOOLS_USED:
        if key == "interpolate":
            yield "painting two slices", lambda: paint_slices(labels)
        correct.tools.tool.setCurrentIndex(correct.tools.tool.findData(key))
        yield f"correcting: {TOOLS[key].title.lower()}", correct.tools.run.click
    yield "undoing the last correction", correct.undo.click
    yield "back to the original", correct.back.click
    yield "saving the correction", lambda: correct.save(folder / "corrected.nii.gz")
    uncertainty.scan.value, uncertainty.method.value = viewer.layers["brain.mgz"], PROBABILITIES
    uncertainty.choose_models("tissue-fast")
    yield "uncertainty (tissue-fast)", uncertainty.run.click
    yield "listing the classes", lambda: surfaces.use(labels)
    surfaces.classes.tick([CORTEX, WORST])
    yield "surfaces of two classes", surfaces.run.click
    view.show_plane(viewer)
    alignment.fixed.value, alignment.moving.value = viewer.layers["brain.mgz"], viewer.layers[MOVED]
    yield "aligning", alignment.align.click


def measure(viewer: napari.Viewer, folder: Path) -> Iterator[Gaps]:
    """All of it; files go to `folder`."""
    pulse = Pulse(viewer)
    pulse.rest()
    yield from plain(viewer, pulse)
    for key in DOCKS:
        open_dock(viewer, key)
    pulse.rest()
    yield pulse.during("all docks open, at rest", *for_seconds(3))
    for name, start in work(viewer, folder):
        yield pulse.during(name, start, lambda: at_rest(viewer))


def paint_slices(layer: Labels) -> None:
    """Paint a class that was not there on two slices that lie apart."""
    layer.selected_label, layer.n_edit_dimensions, layer.brush_size = NEW, 2, 60
    x, y, z = (size // 2 for size in layer.data.shape)
    for position in (z - 15, z + 15):
        layer.paint((x, y, position), NEW)


def table_of(rows: list[Gaps]) -> str:
    """Markdown."""
    lines = [HEADINGS, ("---", *["---:"] * 5), *(row.cells for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def verdict(rows: list[Gaps]) -> str:
    """What of ours lies above the limits."""
    ours = [row for row in rows if not row.name.startswith(PLAIN)]
    above = [row.name for row in ours if row.p95 > P95_MS or row.longest > LONGEST_MS]
    return f"Above the limits: {', '.join(above)}." if above else "Nothing lies above the limits."


def main() -> None:
    """Measure, print row by row, and write the page where one is wanted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--page", type=Path, help="Markdown to write")
    arguments = parser.parse_args()
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    viewer = window()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        os.environ["MEDZOO_STATE"] = folder
        for row in measure(viewer, Path(folder)):
            print("  ".join(row.cells), flush=True)
            rows.append(row)
        viewer.close()
    if arguments.page is not None:
        others = f", on which others computed as well (load {load:.1f} before it began)" if load >= 0.5 else ""
        values = {"tick": TICK_MS, "p95": P95_MS, "longest": LONGEST_MS, "cores": os.cpu_count(), "load": others}
        arguments.page.write_text(PAGE.format(**values, table=table_of(rows), verdict=verdict(rows)), encoding="utf-8")


if __name__ == "__main__":
    main()
