"""Read scans and label maps of every format."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_medzoo.errors import MedzooError
from napari_medzoo.io.formats import FORMATS, format_of, stem_of
from napari_medzoo.io.names import guess_modality, label_word, words
from napari_medzoo.io.raw import Raw, require_contrast, require_file, without_nan
from napari_medzoo.label_files import distinct_color
from napari_medzoo.label_tables import LABEL_TABLES, MAPPINGS, count_values, read_label_table
from napari_medzoo.labels import BACKGROUND, Label, LabelTable, Segmentation
from napari_medzoo.study import MODALITIES, FileInfo, Volume

FEW_VALUES = 8
"""A numbering is guessed from the values alone when at least this many of a built-in table's labels are present."""

INTEGRAL_TOLERANCE = 1e-3
"""Labels stored as floats may be this far from a whole number (scaling rounds)."""


def read_volume(path: str | Path, modality: str | None = None) -> Volume:
    """Read one scan.

    Parameters
    ----------
    path : path
        A file of one of `FORMATS`, or the folder of one DICOM series.
    modality : str, optional
        A key of `MODALITIES` or ``"unknown"``; guessed from the name when left out.

    Returns
    -------
    Volume
        ``(X, Y, Z)`` in the file's dtype (scaling applied), with the file's affine to RAS+ mm and codes.

    Raises
    ------
    MedzooError
        One sentence that names the file: it is missing, empty, cut off, damaged or no scan; is 2D, 4D, coloured or
        complex; has one value everywhere or none at all; or its affine is not finite and invertible.
    """
    path = Path(path)
    if modality is not None and modality not in (*MODALITIES, "unknown"):
        raise MedzooError(f"{path}: unknown modality {modality!r}; choose one of {', '.join(MODALITIES)}.")
    raw, info = _read(path)
    grid = raw.grid(path)
    data, warnings = without_nan(path, raw.data)
    require_contrast(path, data)
    modality = modality or guess_modality(path)[0] or "unknown"
    return Volume(data, grid, modality, info, (*raw.warnings, *warnings))


def read_segmentation(path: str | Path, table: LabelTable | None = None) -> Segmentation:
    """Read a label map.

    Parameters
    ----------
    path : path
        A file of one of `FORMATS`; whole numbers, stored as integers or floats.
    table : LabelTable, optional
        What the values mean. When left out: the table in a file beside it (``<stem>.tsv`` of BIDS,
        ``<stem>_dseg.tsv``, ``<stem>.txt`` of FreeSurfer or ITK-SNAP, or the ``dataset.json`` above an nnU-Net
        ``labels*`` folder); else a built-in table, see `guess_table`; else "label 1", "label 2", ...

    Returns
    -------
    Segmentation
        ``(X, Y, Z)`` in the smallest unsigned dtype. Values that the table does not name are kept, with a warning.

    Raises
    ------
    MedzooError
        As for `read_volume` (a label map may have one value everywhere), and for negative or fractional values.
    """
    path = Path(path)
    raw, info = _read(path)
    grid = raw.grid(path)
    data, warnings = as_labels(path, raw.data)
    values = [value for value in count_values(data)[0] if value]
    if table is None:
        sidecar = table_beside(path)
        table = read_label_table(sidecar) if sidecar else guess_table(path, values) or numbered_table(path, values)
    unknown = [value for value in values if not _fits(table, value)]
    if unknown:
        shown = ", ".join(map(str, unknown[:12])) + (f" and {len(unknown) - 12} more" if len(unknown) > 12 else "")
        warnings += (f"table '{table.name}' does not name {shown}",)
    provenance = {"file": str(info.path), "format": info.format}
    return Segmentation(data, grid, table, provenance, (*raw.warnings, *warnings))


def as_labels(path: Path, data: NDArray[Any]) -> tuple[NDArray[Any], tuple[str, ...]]:
    """Whole, non-negative numbers in the smallest unsigned dtype.

    Raises
    ------
    MedzooError
        Naming the file and a value that is no label.
    """
    data, warnings = without_nan(path, data)
    lowest, highest = data.min(), data.max()
    if lowest < -INTEGRAL_TOLERANCE:
        raise MedzooError(f"{path}: holds the label {lowest:g}, labels are 0 or more; set negative voxels to 0.")
    if highest > np.iinfo(np.uint32).max:
        raise MedzooError(f"{path}: holds the label {highest:g}, which is too large for a label; choose a label map.")
    dtype = np.min_scalar_type(round(float(highest)))
    labels = data.astype(dtype)
    if data.dtype.kind == "f" and not np.array_equal(labels, data):
        labels = np.rint(data).astype(dtype)
        apart = np.abs(data - labels) > INTEGRAL_TOLERANCE
        if apart.any():
            raise MedzooError(
                f"{path}: holds fractions ({data[apart][0]:g}), labels are whole numbers; "
                "choose a label map, or read the file as a scan."
            )
    return labels, warnings


def table_beside(path: Path) -> Path | None:
    """The file beside a label map that says what its values mean, if there is one."""
    stem = stem_of(path)
    candidates = [path.with_name(stem + ending) for ending in (".tsv", "_dseg.tsv", ".txt")]
    if path.parent.name.lower().startswith("labels"):
        candidates.append(path.parent.parent / "dataset.json")
    return next((file for file in candidates if file.is_file()), None)


def guess_table(path: Path, values: list[int]) -> LabelTable | None:
    """A built-in table for a label map that comes without one, or None.

    Two rules, nothing cleverer: the file's name contains a scheme (``aseg.mgz``, ``dlmuse.nii.gz``) whose table has
    every value; or exactly one built-in table has every value, at least eight of its labels or all of them are
    present, and they are not a plain run 1, 2, ... n, which any numbering has.
    """
    fitting = [key for key, table in LABEL_TABLES.items() if all(_fits(table, value) for value in values)]
    named = [key for key in fitting if any(key in word for word in words(path))]
    if named:
        return LABEL_TABLES[named[0]]
    if len(fitting) != 1 or values == list(range(1, len(values) + 1)):
        return None
    table = LABEL_TABLES[fitting[0]]
    return table if len(values) >= FEW_VALUES or len(values) == len(table.foreground) else None


def numbered_table(path: Path, values: list[int]) -> LabelTable:
    """A table of the values found, named "label 1", "label 2", ..."""
    labels = (Label(value, f"label {value}", distinct_color(value)) for value in values)
    return LabelTable(stem_of(path), (BACKGROUND, *labels))


def looks_like_labels(source: str | Path | Volume) -> bool:
    """Whether a file or volume holds labels rather than intensities.

    A file's name decides where it says what it is (``seg``, ``dseg``, ``aseg``, ``mask``, ``lesions``, ... or a
    modality). Otherwise the voxels do: whole numbers of 0 or more, and most neighbouring foreground voxels have
    equal values, which noise rules out in a scan.
    """
    if isinstance(source, Volume):
        if source.file and label_word(source.file.path):
            return True
        return looks_like_label_values(source.data)
    path = Path(source)
    if label_word(path):
        return True
    if guess_modality(path)[0] is not None or path.is_dir():
        return False
    return looks_like_label_values(_read(path)[0].data)


def looks_like_label_values(data: NDArray[Any]) -> bool:
    """Whether an array ``(X, Y, Z)`` has the values of a label map; see `looks_like_labels`."""
    if data.dtype.kind == "f" and not np.array_equal(data, np.rint(data)):  # NaN is not equal either
        return False
    if data.min() < 0 or data.max() > np.iinfo(np.uint16).max or data.max() == 0:
        return False
    pairs = equal = 0
    for axis in range(3):
        along = np.moveaxis(data, axis, 0)
        one, other = along[1:], along[:-1]
        foreground = (one != 0) & (other != 0)
        pairs += int(np.count_nonzero(foreground))
        equal += int(np.count_nonzero(foreground & (one == other)))
    return equal > pairs / 2


def _fits(table: LabelTable, value: int) -> bool:
    # A scheme's other spellings (FreeSurfer's cortical parcels in aparc+aseg) count as named.
    return value in table or value in MAPPINGS.get((table.name, table.name), {})


def _read(path: Path) -> tuple[Raw, FileInfo]:
    if not path.exists():
        require_file(path)
    key = format_of(path)
    raw = FORMATS[key].read(path)
    return raw, FileInfo(path, raw.format or key, raw.qform_code, raw.sform_code)
