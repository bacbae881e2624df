"""Readers of the layouts in which anybody's own data may lie: MSD and nnU-Net folders, BIDS, and a table of files."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from napari_medzoo.errors import MedzooError
from napari_medzoo.io import guess_modality, stem_of
from napari_medzoo.io.names import BIDS_SUFFIXES
from napari_medzoo.label_files import read_label_table
from napari_medzoo.labels import LabelTable
from napari_medzoo.study import MODALITIES

from .case_lists import LABEL, CaseList, Found, assemble, entries, folders, scan_files

_CHANNEL = re.compile(r"(.+)_(\d{4})")


def msd(folder: Path, modalities: Sequence[str], channels: Sequence[str] = ()) -> CaseList:
    """MSD or nnU-Net: ``imagesTr/<case>[_0000].nii.gz``, ``labelsTr/<case>.nii.gz``, maybe ``dataset.json``.

    Channel names and labels come from the JSON of either version; a label called ``ignore`` neither teaches nor
    counts. `channels` (modality keys in the order of the file numbers) wins over the JSON's names.
    """
    content = _dataset_json(folder)
    labels = {stem_of(file): file for file in scan_files(folder / "labelsTr")}
    found = {name: Found(name, name, {LABEL: file}) for name, file in labels.items()}
    images: dict[str, dict[int, Path]] = {name: {} for name in labels}
    for file in scan_files(folder / "imagesTr"):
        stem, match = stem_of(file), _CHANNEL.fullmatch(stem_of(file))
        name, number = (match[1], int(match[2])) if match and stem not in labels else (stem, 0)
        if name not in labels:
            raise MedzooError(f"{file}: has no {folder / 'labelsTr' / name}.nii.gz; add it, or move the scan away.")
        other = images[name].setdefault(number, file)
        if other != file:
            raise MedzooError(f"{other} and {file} are both channel {number} of {name}, expected one; remove one.")
    absent = [name for name in _listed(content) if name not in labels]
    if absent:
        raise MedzooError(
            f"{folder / 'dataset.json'}: lists {absent[0]} (and {len(absent) - 1} more) that labelsTr does not hold; "
            "add the files or correct the list."
        )
    order = _channel_order(folder, content, channels, modalities, max(map(len, images.values()), default=0))
    for name, files in images.items():
        for key in modalities:
            if order[key] in files:
                found[name].files[key] = files[order[key]]
    cases = assemble(found.values(), modalities, folder)
    if not content:
        return CaseList(cases)
    named = read_label_table(folder / "dataset.json")
    ignored = tuple(label.index for label in named.foreground if label.name == "ignore")
    return CaseList(cases, named.subset(set(named.indices) - set(ignored)), ignored=ignored)


def _dataset_json(folder: Path) -> dict[str, Any]:
    path = folder / "dataset.json"
    if not path.exists():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise MedzooError(f"{path}: cannot be read as JSON; correct it or export the data set again.") from error
    if not isinstance(content, dict):
        raise MedzooError(f"{path}: is no dataset.json, expected 'labels' and 'channel_names' or 'modality' in it.")
    return content


def _listed(content: Mapping[str, Any]) -> list[str]:
    """The names of the cases that a dataset.json lists: ``training`` of version 1, ``dataset`` of version 2."""
    training = content.get("training")
    files = [item["label"] for item in training if isinstance(item, dict) and "label" in item] if training else []
    second = content.get("dataset")
    files += [item["label"] for item in second.values() if "label" in item] if isinstance(second, dict) else []
    return [stem_of(Path(str(file))) for file in files]


def _channel_order(
    folder: Path, content: Mapping[str, Any], channels: Sequence[str], modalities: Sequence[str], count: int
) -> dict[str, int]:
    """Modality key → number of its channel."""
    named = content.get("channel_names") or content.get("modality") or {}
    names = {int(number): str(name) for number, name in named.items() if str(number).isdigit()}
    keys = {number: guess_modality(Path(f"{name}.nii.gz"))[0] or name for number, name in names.items()}
    if channels or not keys:  # files that nobody has named have the order of the recipe, where that is the only one
        keys = dict(enumerate(channels or (modalities if count == len(modalities) else ())))
    order = {key: number for number, key in sorted(keys.items(), reverse=True)}
    if "any" in modalities and count:
        order["any"] = order.get("t1w", 0)
    if len(keys) == len(modalities) == 1 and next(iter(keys.values())) not in MODALITIES:
        order[modalities[0]] = next(iter(keys))  # "MRI" of the MSD may be any contrast: the recipe says which
    missing = [key for key in modalities if key not in order]
    if missing:
        known = ", ".join(f"{number} is {key}" for number, key in sorted(keys.items())) or f"{count} without a name"
        raise MedzooError(
            f"{folder}: has no channel {missing[0]} ({known}); "
            "say which file numbers are which modality with the option 'channels', such as [flair, t1w]."
        )
    return order


def bids(
    folder: Path,
    modalities: Sequence[str],
    scans: str = "",
    references: str = "",
    incomplete: str = "refuse",
) -> CaseList:
    """BIDS: ``sub-*/[ses-*/]anat/*_{T1w,T2w,FLAIR,PDw,inplaneT1}.nii.gz``, labels in ``derivatives/**/*_dseg.nii.gz``.

    Every session is a case, every ``sub-`` a subject. What the labels mean is read from the ``*_dseg.tsv`` beside
    them or, after BIDS's inheritance principle, in a folder above. Where a visit has several files of a kind, `scans`
    and `references` say what the path must contain: ``"run-1"``, ``"derivatives/manual/"``, ``"desc-aseg"``.
    """
    found: dict[tuple[str, str], Found] = {}
    for subject in (place for place in folders(folder) if place.name.startswith("sub-")):
        sessions = [place for place in folders(subject) if place.name.startswith("ses-")]
        for visit in sessions or [subject]:
            name = subject.name if visit == subject else f"{subject.name}_{visit.name}"
            found[_visit(visit)] = item = Found(name, subject.name)
            files = [file for file in _anatomy(visit) if stem_of(file).rpartition("_")[2] in BIDS_SUFFIXES]
            for file in sorted(_selected(files, scans), key=lambda file: "inplane" in file.name):
                key = guess_modality(file)[0]
                if key and not ("inplane" in file.name and key in item.files):  # few slices beside a whole T1w
                    item.add(key, file)
    labelled: list[Path] = []
    derivatives = folder / "derivatives"
    for file in sorted(derivatives.rglob("*_dseg.nii*")) if derivatives.is_dir() else ():
        anatomy = file.parent
        if (
            anatomy.name == "anat"
            and references in file.relative_to(folder).as_posix()
            and _visit(anatomy.parent) in found
        ):
            _require_own(file, anatomy.parent)
            found[_visit(anatomy.parent)].add(LABEL, file)
            labelled.append(file)
    cases = assemble(found.values(), modalities, folder, bool(labelled), incomplete)
    used = {case.reference for case in cases}
    return CaseList(cases, _common_table([file for file in labelled if file in used], derivatives))


def _visit(place: Path) -> tuple[str, str]:
    """Subject and session of a visit's folder."""
    return (place.parent.name, place.name) if place.name.startswith("ses-") else (place.name, "")


def _anatomy(visit: Path) -> list[Path]:
    files = scan_files(visit / "anat") if (visit / "anat").is_dir() else []
    for file in files:
        _require_own(file, visit)
    return files


def _require_own(file: Path, visit: Path) -> None:
    own = "_".join(filter(None, _visit(visit)))
    if not (file.name.startswith(f"{own}_")):
        raise MedzooError(f"{file}: lies in the folder of {own} but is named otherwise; put it where it belongs.")


def _selected(files: list[Path], text: str) -> list[Path]:
    """The files whose path contains `text`, and those of a contrast of which none does."""
    suffixes = {file: stem_of(file).rpartition("_")[2] for file in files}
    hits = {suffixes[file] for file in files if text in file.as_posix()}
    return [file for file in files if text in file.as_posix() or suffixes[file] not in hits]


def _common_table(labelled: Sequence[Path], derivatives: Path) -> LabelTable | None:
    """The one table of all label maps."""
    tables: dict[Path | None, LabelTable | None] = {None: None}
    owner: Path | None = None
    for file in labelled:
        path = _dseg_table(file, derivatives)
        if path not in tables and path:
            tables[path] = read_label_table(path)
        first, this = tables[owner], tables[path]
        if owner and (this is None or not first or _names(this) != _names(first)):
            raise MedzooError(f"{owner} and {path or file} name the labels differently; make them one table.")
        owner = path
    return tables[owner]


def _names(table: LabelTable) -> dict[int, str]:
    return {label.index: label.name for label in table.foreground}


def _dseg_table(file: Path, root: Path) -> Path | None:
    """The nearest ``*dseg.tsv`` whose entities are all in the label map's name, the most specific first."""
    parts = set(stem_of(file).split("_"))
    for place in (file.parent, *file.parent.parents):
        fitting = [path for path in place.glob("*dseg.tsv") if set(path.stem.split("_")) <= parts]
        if fitting:
            return max(fitting, key=lambda path: len(path.stem.split("_")))
        if place == root:
            break
    return None


_BIDS_SUBJECT = re.compile(r"(?:^|_)(sub-[A-Za-z0-9]+)")


def table(folder: Path, modalities: Sequence[str], file: str = "", incomplete: str = "refuse") -> CaseList:
    """Any folder with a CSV or TSV: one row per case, one column per modality, and ``label``.

    Paths are relative to the table. `folder` may be the table itself; in a folder with several, `file` names it.
    The columns ``subject`` (rows of one subject stay in one fold; without it every row is a subject) and ``name`` may
    be left out, other columns are not looked at. ``label`` may be missing where nothing is to be learnt.
    """
    path = folder / file if file else folder
    if path.is_dir():
        tables = [entry for entry in entries(path) if entry.suffix.lower() in (".csv", ".tsv")]
        if len(tables) != 1:
            raise MedzooError(f"{path}: holds {len(tables)} CSV or TSV files; name one with the option 'file'.")
        path = tables[0]
    rows = _rows(path)
    columns = set(rows[0]) if rows else set()
    missing = [key for key in modalities if key != "any" and key not in columns]
    if missing or not columns & {*MODALITIES, "any"}:
        raise MedzooError(
            f"{path}: has no column {missing[0] if missing else 'of a modality'} (its columns are "
            f"{', '.join(sorted(columns)) or 'missing'}); name the columns of scans {', '.join(MODALITIES)}."
        )
    found: list[Found] = []
    owner: dict[Path, str] = {}
    for number, row in enumerate(rows, start=2):
        files = {key: path.parent / row[key] for key in (*MODALITIES, "any", LABEL) if row.get(key)}
        name = row.get("name") or row.get("subject") or f"row-{number}"
        name = name if sum(name == item.name for item in found) == 0 else f"{name}-row-{number}"
        for entry in files.values():
            if not entry.exists():
                raise MedzooError(f"{path}: line {number}: there is no {entry}; correct the path.")
            if entry in owner:
                raise MedzooError(f"{path}: {owner[entry]} and {name} share {entry}; every scan is of one case.")
            owner[entry] = name
        subjects = sorted({match[1] for entry in files.values() if (match := _BIDS_SUBJECT.search(entry.name))})
        if len(subjects) > 1:
            raise MedzooError(f"{path}: line {number} mixes {subjects[0]} and {subjects[1]}; a case is of one subject.")
        subject = row.get("subject") or (subjects[0] if subjects else name)
        found.append(Found(name, subject, files))
    labelled = any(LABEL in item.files for item in found)
    return CaseList(assemble(found, modalities, path, labelled, incomplete))


def _rows(path: Path) -> list[dict[str, str]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise MedzooError(f"{path}: the table cannot be read; save it as UTF-8 text.") from error
    lines = [line for line in text.splitlines() if line.strip()]
    delimiter = next((mark for mark in "\t;," if lines and mark in lines[0]), ",")
    reader = csv.DictReader(lines, delimiter=delimiter)
    reader.fieldnames = [name.strip().lower() for name in reader.fieldnames or ()]
    return [{key: (value or "").strip() for key, value in row.items() if isinstance(key, str)} for row in reader]
