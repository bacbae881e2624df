"""Read and write scans and label maps; put a patient's scans together."""

from __future__ import annotations

from napari_medzoo.io.formats import FORMATS, SUFFIXES, Format, format_of, stem_of, suffix_of
from napari_medzoo.io.names import guess_modality
from napari_medzoo.io.raw import Raw
from napari_medzoo.io.readers import looks_like_labels, read_segmentation, read_volume
from napari_medzoo.io.safe import replacing
from napari_medzoo.io.study import LEFT_OUT, find_scans, load_study
from napari_medzoo.io.writers import write_segmentation, write_volume

__all__ = [
    "FORMATS",
    "LEFT_OUT",
    "SUFFIXES",
    "Format",
    "Raw",
    "find_scans",
    "format_of",
    "guess_modality",
    "load_study",
    "looks_like_labels",
    "read_segmentation",
    "read_volume",
    "replacing",
    "stem_of",
    "suffix_of",
    "write_segmentation",
    "write_volume",
]
