"""What the manifest names: readers, writers and samples for napari's own File menu."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from napari_medzoo.errors import MedzooError
from napari_medzoo.samples import SAMPLES, load_sample, sample_reference
from napari_medzoo.widgets.layers import (
    LayerTuple,
    file_of,
    oblique_note,
    quiet_about_tilt,
    segmentation_from_layer,
    segmentation_layer,
    volume_from_layer,
    volume_layer,
    with_painted,
)

NOTHING = [(None,)]
"""napari's word for "read, and there is nothing to show"."""


def get_reader(path: str | Sequence[str]) -> Callable[[Any], list[Any]] | None:
    """A reader for scans, label files and folders of them (one study or one DICOM series), or None.

    Parameters
    ----------
    path : str or sequence of str
        napari asks with a list when files are opened as a stack; each is read as a scan of its own.
    """
    from napari_medzoo.io import suffix_of

    first = Path(path if isinstance(path, str) else path[0])
    if first.is_dir():
        # A folder of other things (a zarr, a stack of PNG) is another reader's.
        return read if _holds_scans(first) else None
    return read if suffix_of(first) else None


def read(path: str | Sequence[str]) -> list[Any]:
    """Layers of scans and label files; a file that cannot be read gives a notification and no layer."""
    from napari.utils.notifications import show_error, show_warning

    from napari_medzoo.progress import run
    from napari_medzoo.widgets.tasks import read_scans

    paths = [Path(path)] if isinstance(path, str) else [Path(one) for one in path]
    try:
        scans = run(read_scans(paths))
    except MedzooError as error:
        show_error(str(error))
        return NOTHING
    layers = [volume_layer(slot.volume) for slot in scans.slots]
    layers += [segmentation_layer(labels.segmentation, labels.path.name) for labels in scans.labels]
    if note := oblique_note(slot.volume for slot in scans.slots):
        quiet_about_tilt()
        show_warning(note)
    return _first_view(layers)


def write_labels(path: str, data: Any, meta: dict[str, Any]) -> list[str]:
    """Write a labels layer, in the voxel order and geometry of the file it belongs to, and its names beside it.

    What was corrected by hand goes into the log beside the file, as with MedZoo's own buttons.
    """
    from napari.layers import Labels

    from napari_medzoo.progress import run
    from napari_medzoo.widgets import tasks
    from napari_medzoo.widgets.editing import watched
    from napari_medzoo.widgets.saving import saving

    editing = watched(data)
    if editing is None:
        layer = Labels(data, **_arguments(meta))
        return [str(tasks.write_labels(with_painted(segmentation_from_layer(layer)), Path(path), file_of(layer)))]
    snapshot, steps = saving(editing, Path(path))
    written = run(steps)
    editing.was_saved(written, snapshot, len(editing.edits))
    return [str(written)]


def write_volume(path: str, data: Any, meta: dict[str, Any]) -> list[str]:
    """Write an image layer, in the voxel order and geometry of the file it was read from."""
    from napari.layers import Image

    from napari_medzoo.io import write_volume as write

    written = write(volume_from_layer(Image(data, **_arguments(meta))), Path(path), overwrite=True)
    return [str(written)]


def open_mni152() -> list[LayerTuple]:
    """The MNI152 template with its grey and white matter."""
    return _sample("mni152")


def open_myconnectome() -> list[LayerTuple]:
    """One real person's head."""
    return _sample("myconnectome")


def _sample(key: str) -> list[LayerTuple]:
    volume = load_sample(key)["t1w"]
    layers = [volume_layer(volume, f"{key} T1w")]
    if SAMPLES[key].reference:
        layers.append(segmentation_layer(sample_reference(key), f"{key} reference", volume.file))
    return _first_view(layers)


def _first_view(layers: list[LayerTuple]) -> list[LayerTuple]:
    from napari import current_viewer

    from napari_medzoo.widgets.view import turn_first_layer

    viewer = current_viewer()
    if viewer is not None:
        turn_first_layer(viewer)
    return layers


def _arguments(meta: dict[str, Any]) -> dict[str, Any]:
    """The arguments that say where the array lies and what it is; the rest is looks."""
    wanted = ("name", "metadata", "affine", "scale", "translate", "rotate", "shear", "units", "features", "rgb")
    arguments = {key: meta[key] for key in wanted if meta.get(key) is not None}
    if "colormap" in meta and "features" in arguments:
        arguments["colormap"] = meta["colormap"]
    return arguments


def _holds_scans(folder: Path) -> bool:
    from napari_medzoo.io import find_scans

    try:
        return bool(find_scans(folder))
    except MedzooError:
        return True  # scans of several visits: `read` says which sentence
