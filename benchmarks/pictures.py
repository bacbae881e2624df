"""The pictures of the README that show the docks at work, from a real scan.

    python -m napari_medzoo.screen run python benchmarks/pictures.py --data ../shared/data --output docs/images

One T1w of IXI (`structures/ixi012`, 2 mm) is segmented by the model in the box and scored against its reference
labels; then one stroke of the brush is scored while it lies there, and two models are asked where they differ. With
`--labels` the segmentation is read and not made. The FLAIR of a patient (`ms/patient12_raw`) is laid on the T1w.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import napari
import numpy as np
from napari.layers import Layer
from napari.qt import get_qapp
from PIL import Image

from napari_medzoo.cards import load_card
from napari_medzoo.inference import predict
from napari_medzoo.io import read_segmentation, read_volume
from napari_medzoo.labels import Segmentation
from napari_medzoo.progress import run
from napari_medzoo.study import Study, Volume, describe
from napari_medzoo.widgets import view
from napari_medzoo.widgets.docks import open_dock
from napari_medzoo.widgets.layers import segmentation_layer, volume_layer
from napari_medzoo.widgets.scoring.form import COLUMN_OF
from napari_medzoo.widgets.uncertainty import MODELS

WIDE, TALL = (1400, 900), (1500, 1150)
"""Windows in pixels; all of the dock Scoring needs the taller one."""

SCORED, SECOND = "structures", "tissue-fast"
SMALLEST_ML = 1.0
"""Of the classes whose worst place is shown."""

LARGEST = 300_000
"""Bytes of a picture with all of its colours; a larger one gets 256."""


def wait_for(condition: Callable[[], Any], seconds: float = 3600) -> None:
    """Run the window until `condition` holds."""
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            raise TimeoutError("The window did not get there.")
        get_qapp().processEvents()
        time.sleep(0.01)


def settle(seconds: float = 3.0) -> None:
    """Let Qt draw what is waiting."""
    until = time.monotonic() + seconds
    wait_for(lambda: time.monotonic() > until)


def save(viewer: napari.Viewer, path: Path) -> None:
    """Write the whole window as a small PNG."""
    settle()
    picture = viewer.window.screenshot(flash=False, canvas_only=False)[..., :3]
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(path, optimize=True)
    if path.stat().st_size > LARGEST:
        # Every colour stays near its own, swatches of a few pixels included: the default would take theirs away.
        few = Image.fromarray(picture).quantize(256, Image.Quantize.MAXCOVERAGE, kmeans=4, dither=Image.Dither.NONE)
        few.save(path, optimize=True)
    print(f"{path}: {path.stat().st_size / 1000:.0f} kB")


def window(size: tuple[int, int], *scans: Volume, **labels: Segmentation) -> napari.Viewer:
    """A window with scans named by their modality, labels and the four views."""
    viewer = napari.Viewer(show=True)
    viewer.window.resize(*size)
    for scan in scans:
        viewer.add_layer(Layer.create(*volume_layer(scan, describe([scan.modality]))))
    for name, segmentation in labels.items():
        viewer.add_layer(Layer.create(*segmentation_layer(segmentation, name)))
    view.show_plane(viewer)
    open_dock(viewer, "views")
    return viewer


def scoring(scan: Volume, found: Segmentation, reference: Segmentation, folder: Path) -> None:
    """The worst place of a class, and the score of a stroke that adds to it there."""
    viewer = window(TALL, scan, labels=found, reference=reference)
    dock = open_dock(viewer, "scoring")
    labels, expected = viewer.layers["labels"], viewer.layers["reference"]
    dock.form.prediction.value, dock.form.reference.value = labels, expected
    dock.score.click()
    wait_for(lambda: dock.scored is not None)
    table = dock.table
    large = [row for row in table.values() if row[COLUMN_OF["reference_volume_ml"]] >= SMALLEST_ML]
    worst = max(large, key=lambda row: row[COLUMN_OF["hd95_mm"]])[0]
    table.selectRow(table.row_of(worst))
    dock.choose(worst)
    wait_for(lambda: not dock.newest.busy)
    expected.visible = False
    dock.show_contours()
    wait_for(lambda: not dock.newest.busy)
    save(viewer, folder / "scoring.png")
    dock.live.setChecked(True)
    wait_for(lambda: not dock.newest.busy)
    viewer.layers.selection.active = labels
    (index, *_), _ = dock.scored.live.members(worst)
    labels.mode, labels.selected_label, labels.brush_size, labels.n_edit_dimensions = "paint", index, 6, 3
    labels.paint(tuple(int(part) for part in np.rint(labels.world_to_data(viewer.dims.point))), index)
    settle()
    dock.show_errors()
    wait_for(lambda: not dock.newest.busy)
    save(viewer, folder / "live.png")
    viewer.close()


def disagreement(scan: Volume, folder: Path) -> None:
    """Where two models differ."""
    viewer = window(WIDE, scan)
    dock = open_dock(viewer, "uncertainty")
    dock.scan.value, dock.method.value = viewer.layers["T1w"], MODELS
    dock.choose_models(SCORED, SECOND)
    dock.run.click()
    wait_for(lambda: dock.found is not None)
    share = np.asarray(viewer.layers["disagreement"].data)
    inside = np.argwhere(share == share.max())
    middle = inside[np.abs(inside - inside.mean(axis=0)).sum(axis=1).argmin()]
    view.center_on(viewer, viewer.layers["disagreement"].data_to_world(middle))
    save(viewer, folder / "disagreement.png")
    viewer.close()


def alignment(fixed: Volume, moving: Volume, folder: Path) -> None:
    """How a scan lies on another after it was laid there."""
    viewer = window(WIDE, fixed, moving)
    dock = open_dock(viewer, "alignment")
    dock.fixed.value, dock.moving.value = viewer.layers
    dock.align.click()
    wait_for(lambda: dock.found is not None and not dock.state.work and not dock.newest.busy)
    for scan in list(viewer.layers)[:2]:
        scan.visible = False
    save(viewer, folder / "alignment.png")
    viewer.close()


def main() -> None:
    """Make the pictures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--output", type=Path, default=Path("docs/images"))
    parser.add_argument("--labels", type=Path, help="of the model on this scan, instead of making them")
    arguments = parser.parse_args()
    case = arguments.data / "structures" / "ixi012"
    scan, reference = read_volume(case / "T1w.nii.gz"), read_segmentation(case / "dlmuse.nii.gz")
    if arguments.labels:
        found = read_segmentation(arguments.labels)
    else:
        found = run(predict(Study({scan.modality: scan}), load_card(SCORED)))
    scoring(scan, found, reference, arguments.output)
    disagreement(scan, arguments.output)
    patient = arguments.data / "ms" / "patient12_raw"
    t1w, flair = (read_volume(patient / f"study1_{name}.nii.gz", name.lower()) for name in ("T1W", "FLAIR"))
    alignment(t1w, flair, arguments.output)


if __name__ == "__main__":
    main()
