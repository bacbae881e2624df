"""Data sets of real cases by the layout in which they lie on disk."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from napari_medzoo.errors import MedzooError
from napari_medzoo.label_tables import label_table

from .case_lists import Case, CaseList
from .challenges import brats2018, brats2020, brats2021, iseg2017, iseg2019, ixi, mrbrains18
from .config import DataSource
from .layouts import bids, msd, table

__all__ = ["DATASETS", "Case", "CaseList", "read_cases"]

DATASETS: dict[str, Callable[..., CaseList]] = {
    "iseg2017": iseg2017,
    "iseg2019": iseg2019,
    "mrbrains18": mrbrains18,
    "brats2018": brats2018,
    "brats2020": brats2020,
    "brats2021": brats2021,
    "ixi": ixi,
    "msd": msd,
    "bids": bids,
    "table": table,
}
"""Key of `DataSource.kind` → reader: ``reader(folder, modalities, **options) -> CaseList``."""


def read_cases(source: DataSource, modalities: tuple[str, ...], data: Path) -> CaseList:
    """Find the cases of a data set; no scan is opened.

    Parameters
    ----------
    source : DataSource
    modalities : tuple of str
        The scans that each case must have: keys of `MODALITIES`, or ``("any",)``. `DataSource.drawn_on` is added.
    data : pathlib.Path
        What `source.folder` is relative to.

    Raises
    ------
    MedzooError
        For an unknown kind or option, a folder that is not laid out so, a missing file, files of two subjects in one
        case, or two cases of one name.
    """
    if source.kind not in DATASETS:
        raise MedzooError(f"There is no kind of data set '{source.kind}'; choose one of {', '.join(DATASETS)}.")
    reader = DATASETS[source.kind]
    known = list(inspect.signature(reader).parameters)[2:]
    unknown = [option for option in source.options if option not in known]
    if unknown:
        raise MedzooError(
            f"The data set kind '{source.kind}' has no option '{unknown[0]}'; it takes {', '.join(known) or 'none'}."
        )
    wanted = (*modalities, source.drawn_on) if source.drawn_on not in (None, *modalities) else modalities
    found = reader(data / source.folder, wanted, **source.options)
    names: dict[str, Case] = {}
    for case in found.cases:
        other = names.setdefault(case.name.lower(), case)  # not every disk tells capitals apart
        if other is not case:
            files = [next(iter(one.scans.values())) for one in (other, case)]
            raise MedzooError(f"{files[0]} and {files[1]} would both be the case {case.name}; rename one of them.")
    if source.labels is not None:
        inside = data / source.folder / source.labels
        beside = inside if inside.is_file() else data / source.labels
        found = replace(found, table=label_table(beside if beside.is_file() else source.labels))
    return replace(found, ignored=tuple(sorted({*found.ignored, *source.ignored})))
