"""What a step costs: plain napari's one view, and the orthogonal views that move together.

    python -m napari_medzoo.screen run python benchmarks/views.py

Both are measured in one run on a 256³ scan with its labels, from setting the position to the drawn picture. The
target: a step that moves all three slices costs at most three times what plain napari pays for its single one.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import napari
import numpy as np
from napari.layers import Layer
from napari.qt import get_qapp

from napari_medzoo.labels import Label, LabelTable, Segmentation
from napari_medzoo.space import Grid
from napari_medzoo.study import Volume
from napari_medzoo.widgets import view
from napari_medzoo.widgets.layers import segmentation_layer, volume_layer
from napari_medzoo.widgets.ortho import OrthoViews

WINDOW = (1500, 1000)
PLAIN = "plain napari, one view"


def head(size: int) -> tuple[Volume, Segmentation]:
    """A scan of `size`³ voxels of 1 mm and its ten labels: shells around the middle."""
    affine = np.eye(4)
    affine[:3, 3] = -size / 2
    grid = Grid((size, size, size), affine)
    line = (np.arange(size, dtype=np.float32) - size / 2) ** 2
    radius = np.sqrt(line[:, None, None] + line[:, None] + line) * (200 / size)
    scan = (1000 * np.cos(radius / 7) ** 2 * (radius < 90)).astype(np.int16)
    shells = ((radius / 8).astype(np.uint16) + 1) * (radius < 80)
    table = LabelTable("shells", tuple(Label(i, f"shell {i}", (25 * i % 256, 90, 255 - 20 * i)) for i in range(1, 11)))
    return Volume(scan, grid), Segmentation(shells.astype(np.uint16), grid, table)


def settle(seconds: float = 0.5) -> None:
    """Let Qt draw what is waiting."""
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        get_qapp().processEvents()


def step_ms(move: Callable[[int], None], steps: int) -> float:
    """Median time of a move until it is drawn, in ms."""
    times = []
    for i in range(steps + 2):
        begin = time.perf_counter()
        move(i)
        for _ in range(3):  # what one round of events asks for is drawn in the next
            get_qapp().processEvents()
        times.append(1000 * (time.perf_counter() - begin))
    return float(np.median(times[2:]))


def measure(size: int, steps: int) -> dict[str, float]:
    """Name of each kind of step → its median in ms."""
    viewer = napari.Viewer(show=True)
    viewer.window.resize(*WINDOW)
    scan, labels = head(size)
    viewer.add_layer(Layer.create(*volume_layer(scan, "scan")))
    viewer.add_layer(Layer.create(*segmentation_layer(labels)))
    view.show_plane(viewer)
    settle()
    start = -steps / 2
    found = {PLAIN: step_ms(lambda i: viewer.dims.set_point(2, start + i), steps)}
    views = OrthoViews(viewer)
    viewer.window.add_dock_widget(views, name="MedZoo views", area="bottom")
    for layout in views.layout_choice.choices:
        views.layout_choice.value = layout
        settle(3)
        found[f"{layout}: all three slices"] = step_ms(lambda i: view.center_on(viewer, [start + i] * 3), steps)
        for frame in views.desk.frames[:3]:
            name = f"{layout}: {frame.plane} slice alone"
            found[name] = step_ms(lambda i, axis=frame.axis: viewer.dims.set_point(axis, start + i), steps)
    views.close_views()
    settle()
    again = step_ms(lambda i: viewer.dims.set_point(2, start + i), steps)
    found[PLAIN] = (found[PLAIN] + again) / 2  # other work on the machine comes and goes
    viewer.window.remove_dock_widget(views)
    viewer.close()
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--steps", type=int, default=30)
    arguments = parser.parse_args()
    found = measure(arguments.size, arguments.steps)
    plain = found[PLAIN]
    for name, milliseconds in found.items():
        print(f"{name:50s} {milliseconds:7.1f} ms   × {milliseconds / plain:.2f}")


if __name__ == "__main__":
    main()
