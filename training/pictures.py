"""Pictures and tables of a segmentation, for the documentation."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from napari_medzoo.io import replacing
from napari_medzoo.labels import Segmentation
from napari_medzoo.pictures import PLANES, display, draw, png, side_by_side
from napari_medzoo.report import structures
from napari_medzoo.study import Volume

GAP = 4
"""Pixels between two pictures."""


def save_picture(path: Path, volume: Volume, segmentation: Segmentation, height: int = 240) -> None:
    """Write the three planes through the middle of the labels as PNG: the scan alone, and below it with the labels.

    Parameters
    ----------
    path : pathlib.Path
        Replaced where it exists; its folder is made.
    volume, segmentation : Volume, Segmentation
        On the same grid.
    height : int
        Of each slice, in pixels.
    """
    shown = display(volume, segmentation)
    where = shown.center()
    rows = [
        side_by_side([draw(shown, plane, where[view.through], height, labels) for plane, view in PLANES.items()], GAP)
        for labels in (False, True)
    ]
    gap = np.zeros((GAP, *rows[0].shape[1:]), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        temporary.write_bytes(png(np.concatenate([rows[0], gap, rows[1]])))


def save_volumes(path: Path, segmentation: Segmentation, reference: Segmentation) -> None:
    """Write the volume of every structure, left and right, beside the reference's, as a Markdown table.

    Structures that neither has are left out, and the reference's cells are empty where its table lacks the structure.
    """
    ours, theirs = segmentation.volumes_ml(), reference.volumes_ml()
    lines = [
        "| structure | left mL | right mL | left / right | reference left mL | reference right mL | left / right |",
        "|---|---|---|---|---|---|---|",
    ]
    for pair in structures(segmentation.table):
        indices = (pair.left.index, pair.right.index if pair.right else None)
        cells = [*_cells(ours, *indices), *_cells(theirs, *indices)]
        if any(cell not in ("", "0.0", "–") for cell in cells):
            lines.append(f"| {' | '.join([pair.name, *cells])} |")
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _cells(volumes: dict[int, float], left: int, right: int | None) -> tuple[str, str, str]:
    """Left, right and their ratio; a structure without sides stands in the first cell."""
    one = f"{volumes[left]:.1f}" if left in volumes else ""
    if right is None or right not in volumes:
        return one, "", ""
    return one, f"{volumes[right]:.1f}", f"{volumes[left] / volumes[right]:.2f}" if volumes[right] else "–"
