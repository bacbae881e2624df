"""The pictures of a benchmark: Dice against what it costs, and the learning curves."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_medzoo.io import replacing

from .benchmark import Run
from .benchmark_report import Row
from .logs import read_log

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS = 5
"""Panels side by side among the learning curves."""

SMOOTH = 25
"""Steps that a point of a learning curve is the mean of."""


def write_scatter(path: Path, rows: Sequence[Row]) -> Path:
    """Draw mean Dice against the CPU time of training, the time of a case, and the parameters; all on log axes."""
    from matplotlib.figure import Figure

    trained = [row for row in rows if row.network.same_as is None]
    panels = (
        ("training, CPU minutes", [row.mean("training", "cpu_seconds") / 60 for row in trained]),
        ("inference, CPU seconds per case", [row.mean("inference", "cpu_seconds") for row in trained]),
        ("parameters, millions", [row.outcomes[0].parameters / 1e6 for row in trained]),
    )
    figure = Figure(figsize=(16, 6), layout="constrained")
    dice = [row.dice for row in trained]
    for axes, (label, costs) in zip(figure.subplots(1, len(panels), sharey=True), panels, strict=True):
        axes.scatter(costs, dice, s=36, color="C0", zorder=3)
        axes.set(xscale="log", xlabel=label)
        _plain_ticks(axes.xaxis)
        axes.margins(x=0.18, y=0.08)
        axes.grid(True, color="0.9")
        _name_points(figure, axes, costs, dice, [row.network.name for row in trained])
    figure.axes[0].set_ylabel("mean Dice of the held-out subjects")
    return _save(figure, path)


def _name_points(figure: Figure, axes: Axes, xs: Sequence[float], ys: Sequence[float], names: Sequence[str]) -> None:
    """Write a name beside every point, where it hides the least of the names and points before it."""
    from matplotlib.transforms import Bbox

    figure.draw_without_rendering()  # places are known only then
    points = axes.transData.transform(np.column_stack([xs, ys]))
    taken = [Bbox.from_bounds(x - 5, y - 5, 10, 10) for x, y in points]
    places = [(dx, dy) for dy in (0, 9, -9, 18, -18, 28, -28) for dx in (7, -7)]
    for x, y, name in sorted(zip(xs, ys, names, strict=True), key=lambda item: -item[1]):
        best: tuple[float, Any, Any] | None = None
        for dx, dy in places:
            text = axes.annotate(
                name,
                (x, y),
                (dx, dy),
                textcoords="offset points",
                ha="left" if dx > 0 else "right",
                va="center",
                fontsize=8,
                arrowprops={"arrowstyle": "-", "color": "0.7", "lw": 0.6} if abs(dy) > 9 else None,
            )
            box = text.get_window_extent()
            hidden = sum(_shared_area(box, other) for other in taken)
            outside = box.width * box.height - _shared_area(box, axes.bbox)
            cost = hidden + outside + 0.01 * abs(dy)
            if best is None or cost < best[0]:
                if best is not None:
                    best[1].remove()
                best = cost, text, box
            else:
                text.remove()
        assert best is not None
        taken.append(best[2])


def _plain_ticks(axis: Any) -> None:
    """1, 2, 5, 10 … on a log axis, not powers of ten."""
    from matplotlib.ticker import FormatStrFormatter, LogLocator, NullLocator

    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FormatStrFormatter("%g"))


def _shared_area(first: Any, second: Any) -> float:
    width = min(first.x1, second.x1) - max(first.x0, second.x0)
    height = min(first.y1, second.y1) - max(first.y0, second.y0)
    return max(width, 0.0) * max(height, 0.0)


def write_curves(path: Path, rows: Sequence[Row], output: Path) -> Path:
    """Draw the smoothed loss of every training, one panel a network over those of all others in grey."""
    from matplotlib.figure import Figure

    trained = [row for row in rows if row.network.same_as is None]
    curves = {row.network.name: [_curve(row, one.fold, one.seed, output) for one in row.outcomes] for row in trained}
    lines = -(-len(trained) // COLUMNS)
    figure = Figure(figsize=(3 * COLUMNS, 2.2 * lines), layout="constrained")
    panels = figure.subplots(lines, COLUMNS, sharex=True, sharey=True, squeeze=False).ravel()
    ends = [curve[1][-1] for found in curves.values() for curve in found if len(curve[1])]
    begins = [curve[1][0] for found in curves.values() for curve in found if len(curve[1])]
    for axes, row in zip(panels, trained, strict=False):
        for name, found in curves.items():
            for steps, losses in found:
                own = name == row.network.name
                axes.plot(steps, losses, color="C0" if own else "0.85", lw=1.6 if own else 0.7, zorder=3 if own else 1)
        axes.set_title(f"{row.network.name}  (Dice {row.dice:.3f})", fontsize=9)
        axes.set_yscale("log")
        _plain_ticks(axes.yaxis)
    if ends:
        panels[0].set_ylim(0.9 * min(ends), 1.1 * float(np.median(begins)))
    for axes in panels[len(trained) :]:
        axes.set_axis_off()
    figure.supxlabel("step")
    figure.supylabel("loss")
    return _save(figure, path)


def _curve(row: Row, fold: int, seed: int, output: Path) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Steps and the mean of the `SMOOTH` losses up to each (of fewer in a shorter training)."""
    network = row.network
    log = read_log(Run(network, fold, seed).folder(output))
    losses = np.array([line["loss"] for line in log])
    width = max(1, min(SMOOTH, len(losses) // 4))
    smooth = np.convolve(losses, np.full(width, 1 / width), mode="valid") if len(losses) else losses
    return np.arange(width, width + len(smooth), dtype=np.float64), smooth


def _save(figure: Figure, path: Path) -> Path:
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=110, format="png")
    return path
