"""Labels of a scan that was moved by hand, scored against labels that lie where the scan's header says.

A movement (see `placing`) changes where a scan and what is segmented on it lie; a reference in a file stays where the
header puts it. Voxel by voxel both are on one grid still, so that the reference can be taken along, but only where it
is sure that it belongs to the scan that was moved.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from napari.layers import Layer
from numpy.typing import NDArray

from napari_medzoo.errors import MedzooError
from napari_medzoo.label_tables import LABEL_TABLES
from napari_medzoo.labels import Segmentation
from napari_medzoo.progress import Steps
from napari_medzoo.space import Grid
from napari_medzoo.study import FileInfo
from napari_medzoo.widgets import tasks
from napari_medzoo.widgets.alignment.placing import is_scan, known_movement
from napari_medzoo.widgets.label_names import KEY
from napari_medzoo.widgets.layers import file_of, grid_of

if TYPE_CHECKING:
    from napari_medzoo.evaluate import EvaluationReport

TAKEN_ALONG = "The reference was taken along to where {scan} lies since it was moved by hand."
UNSURE = (
    "{scan} was moved by hand, and the {side} fits its grid but also that of '{other}': if the {side} belongs to "
    "{scan}, save the labels made on {scan} and score the saved file, which lies where the header says; if it belongs "
    "to '{other}', choose labels made on that scan."
)

Files = tuple[FileInfo | None, FileInfo | None]
"""Of the scans whose grids the labels and the reference share, as far as their layers know."""


@dataclass(frozen=True, eq=False)
class Scan:
    """A scan in the viewer: its name, the file it came from (if ours), and where its voxels lie now."""

    name: str
    file: FileInfo | None
    grid: Grid


def scans_of(layers: Iterable[Layer]) -> tuple[Scan, ...]:
    """The scans among layers; those that MedZoo computed (prepared scans, maps) belong to other scans and are none."""
    scans = [layer for layer in layers if is_scan(layer) and not layer.multiscale]
    read = [layer for layer in scans if KEY not in layer.metadata or file_of(layer) is not None]
    return tuple(Scan(layer.name, file_of(layer), grid_of(layer)) for layer in read)


def files_of(prediction: Layer, reference: Layer | Path) -> Files:
    """What the layers know; a label file says nothing of its scan."""
    return file_of(prediction), None if isinstance(reference, Path) else file_of(reference)


def take_along(
    prediction: Segmentation, reference: Segmentation, files: Files, scans: Sequence[Scan]
) -> tuple[Segmentation, str]:
    """The reference where the prediction lies, if both belong to one scan that lay elsewhere for one of them.

    Returns
    -------
    Segmentation, str
        The same voxels on a moved grid, and a note that says so; the reference itself and an empty text where nothing
        was moved, both lie on one grid anyway, or the reference does not fit the scan.

    Raises
    ------
    MedzooError
        If the side that was not moved fits another scan as well.
    """
    ours, theirs = known_movement(files[0]), known_movement(files[1])
    if np.array_equal(ours, theirs) or _one_place(prediction.grid, reference.grid):
        return reference, ""
    header = _moved(prediction.grid, _back(ours))
    if not _one_place(header, _moved(reference.grid, _back(theirs))):
        return reference, ""
    scan = next(file.path.name for file in files if file is not None and file.moved is not None)
    paths = {file.path for file in files if file is not None}
    if len(paths) > 1:
        return reference, ""  # of two scans, as both sides know
    if None in files:
        side = "prediction" if files[0] is None else "reference"
        others = [other for other in scans if other.file is None or other.file.path not in paths]
        for other in others:
            if _one_place(other.grid, header):
                raise MedzooError(UNSURE.format(scan=scan, side=side, other=other.name))
    grid = _moved(reference.grid, ours @ _back(theirs))
    return replace(reference, grid=grid), TAKEN_ALONG.format(scan=scan)


def score(
    prediction: Segmentation,
    reference: Segmentation | Path,
    numbering: str,
    reference_numbering: str,
    files: Files,
    scans: Sequence[Scan],
) -> Steps[tuple[EvaluationReport, Segmentation]]:
    """Score as `tasks.score` does, the reference taken along where it must be.

    Returns
    -------
    EvaluationReport, Segmentation
        The report says in its notes what was taken along; the reference is that which was compared.

    Raises
    ------
    MedzooError
        As `take_along` and `napari_medzoo.widgets.tasks.score`.
    """
    if isinstance(reference, Path):
        from napari_medzoo.io import read_segmentation

        reference = read_segmentation(reference, LABEL_TABLES[reference_numbering] if reference_numbering else None)
    reference, note = take_along(prediction, reference, files, scans)
    report = yield from tasks.score(prediction, reference, numbering, reference_numbering)
    return (replace(report, notes=(note, *report.notes)) if note else report), reference


def _back(movement: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.linalg.inv(movement), dtype=np.float64)


def _moved(grid: Grid, movement: NDArray[np.float64]) -> Grid:
    return Grid(grid.shape, movement @ grid.affine)


def _one_place(first: Grid, second: Grid) -> bool:
    """Whether two grids have the same voxels, whatever the order of their axes."""
    return first.reoriented("RAS").same_as(second.reoriented("RAS"))
