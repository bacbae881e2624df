"""The formats that can be read and written: one entry each, adding one is one file and one line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_medzoo.errors import MedzooError
from napari_medzoo.io.dicom import is_dicom, read_dicom
from napari_medzoo.io.itk import read_mha, read_nrrd, write_itk
from napari_medzoo.io.mgh import read_mgh, write_mgh
from napari_medzoo.io.nifti import read_nifti, read_pair, write_nifti, write_pair
from napari_medzoo.io.raw import Raw
from napari_medzoo.space import Grid
from napari_medzoo.study import FileInfo

_INTEGERS = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64")
_ALL = (*_INTEGERS, "float32", "float64")

Writer = Callable[[NDArray[Any], Grid, Path, FileInfo | None, bool], None]


@dataclass(frozen=True)
class Format:
    """How one kind of file is read and written.

    Attributes
    ----------
    title : str
        Its name as people know it.
    suffixes : tuple of str
        Endings of file names in lower case, the usual one first; empty for a folder.
    read : callable
        ``read(path) -> Raw``.
    write : callable or None
        ``write(data, grid, path, like, labels)``; None where it is only read.
    dtypes : tuple of str
        What `write` can hold.
    """

    title: str
    suffixes: tuple[str, ...]
    read: Callable[[Path], Raw]
    write: Writer | None = None
    dtypes: tuple[str, ...] = ()

    def holds(self, dtype: np.dtype[Any]) -> bool:
        """Whether voxels of this dtype can be written as they are."""
        return dtype.name in self.dtypes


FORMATS: dict[str, Format] = {
    "nifti": Format("NIfTI", (".nii.gz", ".nii"), read_nifti, write_nifti, _ALL),
    "analyze": Format("Analyze 7.5 or NIfTI pair", (".hdr", ".img", ".hdr.gz", ".img.gz"), read_pair, write_pair, _ALL),
    "mgh": Format("FreeSurfer MGH", (".mgz", ".mgh"), read_mgh, write_mgh, ("uint8", "int16", "int32", "float32")),
    "nrrd": Format("NRRD", (".nrrd", ".nhdr"), read_nrrd, write_itk, _ALL),
    "mha": Format("MetaImage", (".mha", ".mhd"), read_mha, write_itk, _ALL),
    "dicom": Format("DICOM series (folder)", (), read_dicom),
}
"""Key (as in `FileInfo.format`) → format."""

SUFFIXES: dict[str, str] = {suffix: key for key, known in FORMATS.items() for suffix in known.suffixes}
"""Ending → key of `FORMATS`."""


def suffix_of(path: Path) -> str:
    """The known ending of the file's name as it is spelled there (``".nii.gz"``), ``""`` if it is not known."""
    name = path.name
    longest = max((suffix for suffix in SUFFIXES if name.lower().endswith(suffix)), key=len, default="")
    return name[len(name) - len(longest) :] if longest else ""


def stem_of(path: Path) -> str:
    """The file's name without its known ending; a folder's whole name."""
    suffix = suffix_of(path)
    return path.name.removesuffix(suffix) if suffix else path.name


def format_of(path: Path) -> str:
    """The format's key by the name's ending; ``"dicom"`` for a folder or a file that begins like one.

    Raises
    ------
    MedzooError
        For an unknown ending; the sentence lists the known ones.
    """
    if path.is_dir():
        return "dicom"
    suffix = suffix_of(path)
    if suffix:
        return SUFFIXES[suffix.lower()]
    if is_dicom(path):
        return "dicom"
    if not path.exists() and not path.suffix:
        raise MedzooError(f"{path}: there is no such file or folder; check its name.")
    raise MedzooError(
        f"{path}: unknown kind of file; choose one of {', '.join(SUFFIXES)} or the folder of one DICOM series."
    )


def format_for_writing(path: Path) -> Format:
    """The format that the ending of an output asks for.

    Raises
    ------
    MedzooError
        For an ending that is not known or cannot be written.
    """
    key = SUFFIXES.get(suffix_of(path).lower(), "")
    if not key or FORMATS[key].write is None:
        writable = [suffix for suffix, known in SUFFIXES.items() if FORMATS[known].write]
        raise MedzooError(f"{path}: cannot be written, its ending is not one of {', '.join(writable)}; choose one.")
    return FORMATS[key]
