"""What the panel runs off the main thread: generators of `Progress` over the core, without Qt.

Heavy packages are imported inside, so that they load in the worker's thread and not when the panel opens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from numpy.typing import ArrayLike

from napari_medzoo.cards import ModelCard
from napari_medzoo.errors import MedzooError
from napari_medzoo.label_tables import LABEL_TABLES
from napari_medzoo.labels import Segmentation
from napari_medzoo.preprocess.recipe import Preprocessing
from napari_medzoo.progress import Progress, Steps
from napari_medzoo.state import Slot
from napari_medzoo.study import MODALITIES, FileInfo, Study
from napari_medzoo.widgets.libraries import load_torch
from napari_medzoo.widgets.preferences import preferences

if TYPE_CHECKING:
    from napari.layers import Image

    from napari_medzoo.error_maps import Place
    from napari_medzoo.evaluate import EvaluationReport
    from napari_medzoo.preprocess import Prepared


@dataclass(frozen=True, eq=False)
class LabelFile:
    """A label file that was among the scans."""

    path: Path
    segmentation: Segmentation


@dataclass(frozen=True, eq=False)
class Scans:
    """What a person gave: scans, label files, the name of it all, and what was left out and why."""

    slots: tuple[Slot, ...]
    labels: tuple[LabelFile, ...]
    name: str
    notes: tuple[str, ...] = ()


def read_scans(paths: Sequence[Path]) -> Steps[Scans]:
    """Read files and folders.

    Every file becomes a slot, whatever its name tells (the person can say what it is), and label files are kept
    apart. A folder is read by the rules of `load_study`, with the label files that lie in it.

    Raises
    ------
    MedzooError
        For the first file that cannot be read; nothing is kept then.
    """
    from napari_medzoo.io import LEFT_OUT, find_scans, guess_modality, load_study, looks_like_labels, read_volume

    slots: list[Slot] = []
    labels: list[LabelFile] = []
    notes: list[str] = []
    for done, path in enumerate(paths):
        yield Progress(f"Reading {path.name}", done, len(paths))
        inside = [file for file in find_scans(path) if file.is_file()] if path.is_dir() else []
        if not path.is_dir() and not looks_like_labels(path):
            modality, reason = guess_modality(path)
            slots.append(Slot(read_volume(path, modality), modality or "unknown", f"{path.name} is {reason}."))
        elif not path.is_dir():
            labels.append(_read_labels(path))
        elif inside and all(looks_like_labels(file) for file in inside):
            labels += [_read_labels(file) for file in inside]
        else:
            study = load_study(path)
            slots += [Slot(volume, key, f"{study.reasons[key]}.") for key, volume in study.volumes.items()]
            taken = {volume.file.path for volume in study.volumes.values() if volume.file}
            labels += [_read_labels(file) for file in inside if file not in taken and looks_like_labels(file)]
            notes += [study.reasons[LEFT_OUT]] if LEFT_OUT in study.reasons else []
    first = paths[0]
    slots.sort(key=lambda slot: [*MODALITIES, "unknown"].index(slot.modality))  # the T1w on top, as people look for it
    return Scans(tuple(slots), tuple(labels), first.name if first.is_dir() else first.parent.name, tuple(notes))


def _read_labels(path: Path) -> LabelFile:
    from napari_medzoo.io import read_segmentation

    return LabelFile(path, read_segmentation(path))


def prepare_study(
    study: Study,
    recipe: Preprocessing,
    modalities: Sequence[str],
    reference: str | None,
    transforms: Mapping[str, ArrayLike] | None = None,
) -> Steps[Prepared]:
    """Prepare `modalities` of the study by `recipe`; `transforms` are not searched for."""
    yield Progress("Preparing")
    from napari_medzoo.preprocess import prepare

    return (yield from prepare(study, recipe, modalities, reference, transforms))


def segment(
    study: Study,
    card: ModelCard,
    grid: str,
    device: str,
    backend: str,
    prepared: Prepared | None,
    transforms: Mapping[str, ArrayLike] | None = None,
) -> Steps[Segmentation]:
    """Label the study with the model, on the grid of modality `grid`; `transforms` are not searched for."""
    yield Progress("Loading model")
    load_torch()
    from napari_medzoo.inference import predict

    return (
        yield from predict(
            study,
            card,
            grid=grid,
            device=device,
            backend=backend,
            threads=free_threads(),
            prepared=prepared,
            transforms=transforms,
        )
    )


def free_threads() -> int:
    """Processors that a model may use: all but those that the person's preferences leave to the window."""
    from napari_medzoo.inference.plan import default_threads

    return max(default_threads() - preferences().spare_threads, 1)


def score(
    prediction: Segmentation, reference: Segmentation | Path, numbering: str = "", reference_numbering: str = ""
) -> Steps[EvaluationReport]:
    """Compare labels with a reference, in the numberings chosen (empty: as each names itself)."""
    yield Progress("Scoring")
    from napari_medzoo.evaluate import evaluate

    return evaluate(*_pair(prediction, reference, numbering, reference_numbering))


def find_worst(
    index: int,
    prediction: Segmentation,
    reference: Segmentation | Path,
    numbering: str = "",
    reference_numbering: str = "",
) -> Steps[Place]:
    """Find where one label of the common numbering differs most; the rest as `score`."""
    yield Progress("Looking for the worst place")
    from napari_medzoo.error_maps import worst_place

    return worst_place(*_pair(prediction, reference, numbering, reference_numbering), index)


def _pair(
    prediction: Segmentation, reference: Segmentation | Path, numbering: str, reference_numbering: str
) -> tuple[Segmentation, Segmentation]:
    from napari_medzoo.evaluate import comparable
    from napari_medzoo.io import read_segmentation

    if isinstance(reference, Path):
        table = LABEL_TABLES[reference_numbering] if reference_numbering else None
        reference = read_segmentation(reference, table)
    return comparable(numbered(prediction, numbering), numbered(reference, reference_numbering))


def numbered(segmentation: Segmentation, scheme: str) -> Segmentation:
    """The segmentation with its numbers read in `scheme`; an empty one leaves the table as it is."""
    return replace(segmentation, table=LABEL_TABLES[scheme]) if scheme else segmentation


def write_labels(segmentation: Segmentation, path: Path, like: FileInfo | None) -> Path:
    """Write labels and, beside them in ``<stem>.tsv``, their names and colours, so that both come back on opening.

    A file of that name which is no label table is left alone.
    """
    from napari_medzoo.io import stem_of, write_segmentation
    from napari_medzoo.label_tables import read_label_table, write_label_table

    written = write_segmentation(segmentation, path, like=like, overwrite=True)
    names = path.with_name(f"{stem_of(path)}.tsv")
    if names.exists():
        try:
            read_label_table(names)
        except MedzooError:
            return written
    write_label_table(segmentation.table, names)
    return written


def read_layers(layers: Sequence[Image]) -> Steps[tuple[Slot, ...]]:
    """Image layers of the viewer as scans; a layer's name is guessed from like a file's."""
    from napari_medzoo.io import guess_modality
    from napari_medzoo.widgets.layers import volume_from_layer

    slots = []
    for done, layer in enumerate(layers):
        yield Progress(f"Reading {layer.name}", done, len(layers))
        volume = volume_from_layer(layer)
        modality, reason = guess_modality(volume.file.path if volume.file else Path(layer.name))
        if volume.modality != "unknown":
            modality = volume.modality
        slots.append(Slot(volume, modality or "unknown", f"Layer '{layer.name}' is {reason}."))
    return tuple(slots)
