"""Prepared cases in a cache that is memory-mapped, and training patches drawn from them.

A case is prepared by the very function that prepares a scan for inference, and its labels follow the scan's way
through space to the prepared grid. The cache is a folder named after everything that it depends on;
it appears whole or not at all, and is found again by the next training that needs the same.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_medzoo.errors import MedzooError
from napari_medzoo.io import read_volume
from napari_medzoo.preprocess.pipeline import prepare
from napari_medzoo.preprocess.prepared import Prepared
from napari_medzoo.preprocess.spatial import reorient
from napari_medzoo.progress import Progress, Steps, run
from napari_medzoo.space import Grid
from napari_medzoo.study import Study, Volume

from .cache import stamps, whole_folder
from .config import IGNORED, Recipe
from .datasets import Case, CaseList, read_cases
from .references import channel_numbers, learnt_reference, resample_labels

__all__ = ["PreparedCases", "draw_patch", "prepare_case", "prepare_cases"]

VOXELS_PER_CLASS = 2000
"""Of each class of a case so many voxels, drawn once, are kept as centres of patches."""

LEAST_KEPT = 0.5
"""A preparation that leaves less than this share of a case's labelled volume inside is taken for a mistake."""

FORM = 1
"""Of the cache; a change of what is stored makes older ones unused."""

INDEX, SCANS, LABELS, CENTRES = "index.json", "scans.bin", "labels.bin", "centres.bin"


class PreparedCases:
    """The prepared cases of a cache, memory-mapped: any number of processes share one copy in memory.

    Parameters
    ----------
    folder : pathlib.Path
        What `prepare_cases` wrote.

    Attributes
    ----------
    names, subjects : tuple of str
        Of every case.
    counts : numpy.ndarray
        ``(cases, channels) int64``: how many voxels each output channel has.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
        self._cases: list[dict[str, Any]] = index["cases"]
        self.names = tuple(str(case["name"]) for case in self._cases)
        self.subjects = tuple(str(case["subject"]) for case in self._cases)
        self.counts = np.array([case["counts"] for case in self._cases], dtype=np.int64)
        # One file each, however many cases: opening a file takes longer than cutting a patch. Plain views of the maps,
        # as every slice of a numpy.memmap costs ten times as much.
        self._scans = np.asarray(np.memmap(folder / SCANS, np.dtype(index["dtype"]), mode="r"))
        self._labels = np.asarray(np.memmap(folder / LABELS, np.uint8, mode="r"))
        self._centres = np.fromfile(folder / CENTRES, dtype=np.int32)

    def __reduce__(self) -> tuple[type[PreparedCases], tuple[Path]]:
        return PreparedCases, (self.folder,)  # another process opens the files itself

    def __len__(self) -> int:
        return len(self._cases)

    def scan(self, number: int) -> NDArray[np.floating[Any]]:
        """``(C, X, Y, Z)`` float16 where the recipe normalises, else float32; read only."""
        case = self._cases[number]
        channels, size = case["channels"], math.prod(case["shape"])
        start = case["start"] * channels
        return self._scans[start : start + channels * size].reshape(channels, *case["shape"])

    def labels(self, number: int) -> NDArray[np.uint8]:
        """``(X, Y, Z) uint8`` output channels, `IGNORED` where nothing counts; read only."""
        case = self._cases[number]
        return self._labels[case["start"] : case["start"] + math.prod(case["shape"])].reshape(case["shape"])

    def grid(self, number: int) -> Grid:
        """Where the prepared voxels lie."""
        x, y, z = self._cases[number]["shape"]
        return Grid((x, y, z), np.array(self._cases[number]["affine"]))

    def centres(self, number: int) -> list[NDArray[np.int32]]:
        """Of each foreground channel that the case has, flat indices of up to `VOXELS_PER_CLASS` voxels."""
        return [self._centres[start : start + count] for start, count in self._cases[number]["centres"]]


def prepare_cases(recipe: Recipe, data: Path, cache: Path) -> Steps[PreparedCases]:
    """Prepare every case with a reference, or open what an earlier call has prepared.

    The cache depends on the files (names, sizes, times of change), the preparation and the labels that are learnt;
    with other patches, losses or networks it is used again.

    Parameters
    ----------
    recipe : Recipe
        With a `dataset`.
    data : pathlib.Path
        What the data set's folder is relative to.
    cache : pathlib.Path
        Folder of all caches; made where it is absent.

    Yields
    ------
    Progress
        Before each case.

    Raises
    ------
    MedzooError
        As `read_cases`; for scans and labels that do not belong together; if the disk is full.
    """
    if recipe.dataset is None:
        raise MedzooError(f"Recipe '{recipe.name}' has no data set to prepare; add 'dataset'.")
    found = read_cases(recipe.dataset, recipe.modalities, data)
    labelled = [case for case in found.cases if case.reference is not None]
    if not labelled:
        raise MedzooError(f"{data / recipe.dataset.folder}: none of its {len(found.cases)} cases has a reference.")
    channel_numbers(recipe, found, ())  # refuses numberings that do not fit before hours are spent
    folder = cache / f"{recipe.dataset.kind}-{_key(recipe, found, labelled, data)}"
    if not (folder / INDEX).is_file():
        with whole_folder(folder, INDEX) as temporary:
            yield from _write(recipe, found, labelled, temporary)
    return PreparedCases(folder)


def prepare_case(recipe: Recipe, found: CaseList, case: Case) -> tuple[Prepared, NDArray[np.uint8]]:
    """Prepare one case as for inference, and take its reference to the same grid.

    The labels go through the transform of the scan they were drawn on: `DataSource.drawn_on`, else the first scan whose
    grid they have, else the reference modality's.

    Returns
    -------
    prepared : Prepared
        Its ``data`` holds the recipe's modalities.
    labels : numpy.ndarray
        ``(X, Y, Z) uint8`` output channels, or `IGNORED`, on ``prepared.grid``.

    Raises
    ------
    MedzooError
        Naming the case.
    """
    assert recipe.dataset is not None and case.reference is not None
    try:
        keys = {key: "unknown" if key == "any" else key for key in case.scans}
        study = Study({keys[key]: read_volume(path, keys[key]) for key, path in case.scans.items()}, case.name)
        reference = learnt_reference(recipe, found, case)
        prepared = run(prepare(study, recipe.preprocessing, tuple(study.volumes)))
        drawn_on = recipe.dataset.drawn_on or next(
            (key for key, volume in study.volumes.items() if volume.grid.same_as(reference.grid)), prepared.reference
        )
        turned = reorient(reference, recipe.preprocessing.orientation)
        labels = resample_labels(turned, prepared.grid, prepared.transforms[drawn_on])
        _require_kept(reference, labels, prepared.grid)
    except MedzooError as error:
        raise MedzooError(f"Case {case.name}: {error}") from error
    return prepared, labels


def _require_kept(reference: Volume, labels: NDArray[np.uint8], grid: Grid) -> None:
    """Refuse labels of which little is left on the prepared grid: they are of another scan or lie elsewhere."""
    before = np.count_nonzero((reference.data > 0) & (reference.data != IGNORED)) * reference.grid.voxel_volume_ml
    after = np.count_nonzero((labels > 0) & (labels != IGNORED)) * grid.voxel_volume_ml
    if after < LEAST_KEPT * before and before > 20 * grid.voxel_volume_ml:  # of single voxels resampling may lose half
        raise MedzooError(
            f"of {before:.2f} mL of labels {after:.2f} mL lie within the prepared scan ({grid}; the labels: "
            f"{reference.grid}); check that scan and labels are of one person, and the head crop."
        )


def _key(recipe: Recipe, found: CaseList, cases: Sequence[Case], data: Path) -> str:
    """A digest of everything that the prepared voxels depend on."""
    assert recipe.dataset is not None
    table = found.table
    content = {
        "form": FORM,
        "modalities": recipe.modalities,
        "preprocessing": recipe.preprocessing.model_dump(mode="json"),
        "labels": [recipe.label_scheme, recipe.channels, sorted(recipe.merge.items()), recipe.model_dump()["labels"]],
        "references": [
            [[label.index, label.name] for label in table] if table else None,
            sorted(found.mapping.items()),
            found.ignored,
            recipe.dataset.drawn_on,
        ],
        "cases": [
            [case.subject, case.name, [[key, stamps(path, data)] for key, path in _files(case)]] for case in cases
        ],
    }
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]


def _files(case: Case) -> list[tuple[str, Path]]:
    return [*case.scans.items(), *([("reference", case.reference)] if case.reference else [])]


def _write(recipe: Recipe, found: CaseList, cases: Sequence[Case], folder: Path) -> Steps[None]:
    dtype = np.float32 if recipe.preprocessing.normalise is None else np.float16
    rows: list[dict[str, Any]] = []
    voxels = centres = 0
    with (
        (folder / SCANS).open("wb") as scans,
        (folder / LABELS).open("wb") as targets,
        (folder / CENTRES).open("wb") as drawn,
    ):
        for number, case in enumerate(cases):
            yield Progress(f"Preparing {case.name}", number, len(cases))
            prepared, labels = prepare_case(recipe, found, case)
            scan = prepared.data[: len(recipe.modalities)]  # what is beyond was only aligned to carry the labels
            scans.write(scan.astype(dtype).tobytes())
            targets.write(labels.tobytes())
            counts = np.bincount(labels.ravel(), minlength=IGNORED + 1)[: len(recipe.channels)]
            here = _draw_centres(labels, counts, np.random.default_rng(number))
            drawn.write(b"".join(part.tobytes() for part in here))
            ends = centres + np.cumsum([0, *map(len, here)])
            rows.append(
                {
                    "name": case.name,
                    "subject": case.subject,
                    "channels": len(scan),
                    "shape": labels.shape,
                    "affine": prepared.grid.affine.tolist(),
                    "start": voxels,
                    "counts": counts.tolist(),
                    "centres": [[int(start), int(stop - start)] for start, stop in pairwise(ends)],
                }
            )
            voxels, centres = voxels + labels.size, int(ends[-1])
    index = {"form": FORM, "dtype": np.dtype(dtype).name, "cases": rows}
    (folder / INDEX).write_text(json.dumps(index), encoding="utf-8")


def _draw_centres(
    labels: NDArray[np.uint8], counts: NDArray[np.int64], random: np.random.Generator
) -> list[NDArray[np.int32]]:
    """Of each foreground channel present, ascending flat indices of some of its voxels."""
    flat = labels.ravel()
    chosen = []
    for channel in np.flatnonzero(counts[1:]) + 1:
        voxels = np.flatnonzero(flat == channel).astype(np.int32)
        if len(voxels) > VOXELS_PER_CLASS:
            voxels = np.sort(random.choice(voxels, VOXELS_PER_CLASS, replace=False))
        chosen.append(voxels)
    return chosen


def draw_patch(
    cases: PreparedCases,
    indices: Sequence[int],
    patch: tuple[int, int, int],
    foreground_share: float,
    random: np.random.Generator,
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Cut a patch from a case drawn evenly.

    Parameters
    ----------
    cases : PreparedCases
    indices : sequence of int
        Numbers of the cases to draw from.
    patch : tuple of int
        Voxels. Where a case is smaller it lies anywhere in the patch, amid 0 (air, as inference pads) and background.
    foreground_share : float
        How often the patch is centred (as far as the case reaches) on a voxel of a foreground class, which is drawn
        evenly among those of the case; else it lies anywhere in the case.
    random : numpy.random.Generator

    Returns
    -------
    scan : numpy.ndarray
        ``(C, *patch) float32``.
    labels : numpy.ndarray
        ``patch`` uint8 output channels, or `IGNORED`.
    """
    number = indices[int(random.integers(len(indices)))]
    scan, labels = cases.scan(number), cases.labels(number)
    wanted = np.array(patch)
    spare = np.array(labels.shape) - wanted
    low, high = np.minimum(spare, 0), np.maximum(spare, 0)
    start = random.integers(low, high, endpoint=True)
    classes = cases.centres(number) if random.random() < foreground_share else []
    if classes:
        voxels = classes[int(random.integers(len(classes)))]
        centre = np.array(np.unravel_index(int(voxels[int(random.integers(len(voxels)))]), labels.shape))
        start = np.where(spare > 0, np.clip(centre - wanted // 2, low, high), start)
    begin, end = np.maximum(start, 0), np.minimum(start + wanted, labels.shape)
    source = tuple(slice(a, b) for a, b in zip(begin, end, strict=True))
    if (end - begin == wanted).all():
        return scan[:, *source].astype(np.float32), np.array(labels[source])
    target = tuple(slice(a, b) for a, b in zip(begin - start, end - start, strict=True))
    around = np.zeros((len(scan), *patch), dtype=np.float32)
    around[:, *target] = scan[:, *source]
    labels_around = np.zeros(patch, dtype=np.uint8)
    labels_around[target] = labels[source]
    return around, labels_around
