"""Readers of the data sets of challenges and collections, in the layouts in which these are handed out."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from napari_medzoo.errors import MedzooError
from napari_medzoo.io import stem_of
from napari_medzoo.label_tables import LABEL_TABLES

from .case_lists import LABEL, CaseList, Found, assemble, folders, natural, scan_files

_ISEG = re.compile(r"subject-(\d+)-(T1|T2|label)", re.IGNORECASE)
_ISEG_KEYS = {"t1": "t1w", "t2": "t2w", "label": LABEL}


def iseg2017(folder: Path, modalities: Sequence[str]) -> CaseList:
    """iSEG-2017: ``[iSeg-2017-Training/]subject-N-{T1,T2,label}.{hdr,img}``; labels 0, 10, 150, 250."""
    return _iseg([_inside(folder, "iSeg-2017-Training")], modalities, labels=True)


def iseg2019(folder: Path, modalities: Sequence[str], parts: Sequence[str] = ("training",)) -> CaseList:
    """iSEG-2019: ``iSeg-2019-{Training,Validation}/subject-N-{T1,T2,label}.{hdr,img}``; labels 0–3 or as in 2017.

    `parts` are of ``"training"`` and ``"validation"``; the latter has no labels.
    """
    unknown = [part for part in parts if part not in ("training", "validation")]
    if unknown or not parts:
        raise MedzooError(f"The option 'parts' is {list(parts)!r}; it must name 'training', 'validation' or both.")
    places = [_inside(folder, f"iSeg-2019-{part.capitalize()}") for part in parts]
    return _iseg(places, modalities, labels="validation" not in parts)


def _iseg(places: Sequence[Path], modalities: Sequence[str], labels: bool) -> CaseList:
    found: dict[int, Found] = {}
    for file in (file for place in places for file in scan_files(place)):
        match = _ISEG.fullmatch(stem_of(file))
        if match:
            number = int(match[1])
            found.setdefault(number, Found(f"subject-{number}", f"subject-{number}"))
            found[number].add(_ISEG_KEYS[match[2].lower()], file)
    cases = assemble(found.values(), modalities, places[0], labels)
    return CaseList(cases, LABEL_TABLES["tissue"], {10: 1, 150: 2, 250: 3})


MRBRAINS_FILES = {"t1w": "pre/reg_T1", "ir": "pre/reg_IR", "flair": "pre/FLAIR", LABEL: "segm"}
"""Only what is registered to the FLAIR, which the labels were drawn on."""

_TISSUE = {"CSF": 1, "GM": 2, "WM": 3, "background": 0}


def mrbrains18(
    folder: Path,
    modalities: Sequence[str],
    classes: int = 8,
    cerebellum: str = "ignored",
    brain_stem: str = "ignored",
) -> CaseList:
    """MRBrainS18: ``[training/]<id>/segm.nii.gz`` and ``<id>/pre/{reg_T1,reg_IR,FLAIR}.nii.gz``.

    With 8 classes the labels are 1–8; infarction (9) and other (10) neither teach nor count. With 4 classes
    (background, CSF, GM, WM) cerebellum and brain stem, which hold both tissues, become what these options say:
    ``"GM"``, ``"WM"``, ``"CSF"``, ``"background"`` or ``"ignored"``.
    """
    if classes not in (4, 8):
        raise MedzooError(f"The option 'classes' is {classes!r}; MRBrainS18 has 8 classes, or 4 with the background.")
    places = folders(_inside(folder, "training"))
    found: dict[str, Found] = {}
    for place in (place for place in places if place.name.isdigit() or (place / "pre").is_dir()):
        number = str(int(place.name)) if place.name.isdigit() else place.name
        if number in found:
            raise MedzooError(f"{found[number].name} and {place.name} in {place.parent} are one subject; remove one.")
        found[number] = Found(place.name, number)
        for key, name in MRBRAINS_FILES.items():
            parent = (place / name).parent
            for file in scan_files(parent) if parent.is_dir() else ():
                if stem_of(file) == Path(name).name:
                    found[number].add(key, file)
    cases = assemble(found.values(), modalities, folder)
    if classes == 8:
        return CaseList(cases, LABEL_TABLES["mrbrains"].subset(range(9)), ignored=(9, 10))
    mapping, ignored = {1: 2, 2: 2, 3: 3, 4: 3, 5: 1, 6: 1}, [9, 10]
    for name, index, target in (("cerebellum", 7, cerebellum), ("brain_stem", 8, brain_stem)):
        if target == "ignored":
            ignored.append(index)
        elif target in _TISSUE:
            mapping[index] = _TISSUE[target]
        else:
            raise MedzooError(f"The option '{name}' is {target!r}; choose of {', '.join(_TISSUE)} and ignored.")
    return CaseList(cases, LABEL_TABLES["tissue"], mapping, tuple(ignored))


_BRATS = re.compile(r"(.+)[_-](t1ce|t1c|t1n|t1|t2w|t2f|t2|flair|seg)", re.IGNORECASE)
_BRATS_KEYS = {"t1": "t1w", "t1n": "t1w", "t1ce": "t1wgd", "t1c": "t1wgd", "t2": "t2w", "t2w": "t2w", "seg": LABEL}
_BRATS_KEYS |= {"flair": "flair", "t2f": "flair"}
_BRATS_MISNAMED = {"W39_1998.09.19_Segm": "BraTS20_Training_355_seg"}
"""One label map of 2020 was handed out under another name."""
_BRATS_VISITS = (
    re.compile(r"(Brats1[789]_.+_.+)_\d+", re.IGNORECASE),
    re.compile(r"(BraTS-\w+-\d+)-\d+", re.IGNORECASE),
)
"""Names that end in the number of a visit: ``Brats18_TCIA01_131_1`` and ``BraTS-GLI-00005-100``."""


def brats2018(folder: Path, modalities: Sequence[str], grades: Sequence[str] = ("HGG", "LGG")) -> CaseList:
    """BraTS 2018 and 2019: ``{HGG,LGG}/<id>/<id>_{t1,t1ce,t2,flair,seg}.nii.gz``; labels 1, 2 and 4."""
    if set(grades) - {"HGG", "LGG"} or not grades:
        raise MedzooError(f"The option 'grades' is {list(grades)!r}; it must name HGG, LGG or both.")
    return CaseList(assemble(_brats([folder / grade for grade in grades]), modalities, folder), LABEL_TABLES["brats"])


def brats2020(folder: Path, modalities: Sequence[str]) -> CaseList:
    """BraTS 2020: ``<id>/<id>_{t1,t1ce,t2,flair,seg}.nii[.gz]``; labels 1, 2 and 4."""
    return CaseList(assemble(_brats([folder]), modalities, folder), LABEL_TABLES["brats"])


def brats2021(folder: Path, modalities: Sequence[str]) -> CaseList:
    """BraTS 2021 to 2023: as 2020, or ``<id>-{t1n,t1c,t2w,t2f,seg}.nii.gz``; enhancing tumour is 4 or 3."""
    return CaseList(assemble(_brats([folder]), modalities, folder), LABEL_TABLES["brats"], {3: 4})


def _brats(places: Iterable[Path]) -> Iterator[Found]:
    seen: dict[str, Path] = {}
    for place in (place for parent in places for place in folders(parent)):
        if not place.name.lower().startswith("brats"):
            continue
        other = seen.setdefault(place.name, place)
        if other != place:
            raise MedzooError(f"{other} and {place} are of one name, expected each subject once; remove one of them.")
        subject = next((match[1] for form in _BRATS_VISITS if (match := form.fullmatch(place.name))), place.name)
        found = Found(place.name, subject)
        for file in scan_files(place):
            match = _BRATS.fullmatch(_BRATS_MISNAMED.get(stem_of(file), stem_of(file)))
            if match and match[1] != place.name:
                raise MedzooError(
                    f"{file}: is of {match[1]} but lies in the folder of {place.name}; put it where it belongs."
                )
            if match:
                found.add(_BRATS_KEYS[match[2].lower()], file)
        yield found


_IXI = re.compile(r"IXI(\d+)(?:-(.+))?-(T1|T2|PD)", re.IGNORECASE)
_IXI_KEYS = {"t1": "t1w", "t2": "t2w", "pd": "pdw"}


def ixi(folder: Path, modalities: Sequence[str], references: str | None = None, incomplete: str = "refuse") -> CaseList:
    """IXI: ``[IXI-]{T1,T2,PD}/IXI<number>-<site>-<scan>-{T1,T2,PD}.nii.gz``, paired by number, on different grids.

    The collection has no labels; `references` names a folder (relative to `folder`) with one's own, whose files
    begin with ``IXI<number>``. Some subjects lack a scan: ``incomplete="skip"`` leaves them out.
    """
    found: dict[int, Found] = {}
    places = [place for name in ("T1", "T2", "PD") if (place := _inside(folder, name, f"IXI-{name}")) != folder]
    for file in (file for place in places for file in scan_files(place)):
        match = _IXI.fullmatch(stem_of(file))
        if not match:
            continue
        name = f"IXI{match[1]}"
        item = found.setdefault(int(match[1]), Found(name, name))
        for other in item.files.values():
            known = _IXI.fullmatch(stem_of(other))
            if known and known[2] != match[2]:
                raise MedzooError(
                    f"{other} and {file} have one number but different scans ({known[2]} and {match[2]}); "
                    "expected files of one person: rename or remove one of them."
                )
        item.add(_IXI_KEYS[match[3].lower()], file)
    for file in scan_files(folder / references) if references else ():
        if (match := re.match(r"IXI(\d+)", stem_of(file))) and int(match[1]) in found:
            found[int(match[1])].add(LABEL, file)
    return CaseList(assemble(found.values(), modalities, folder, references is not None, incomplete))


def _inside(folder: Path, *names: str) -> Path:
    """The sub-folder of one of these names, else the folder itself (which may be given directly)."""
    places = [folder / name for name in names if (folder / name).is_dir()]
    return sorted(places, key=lambda place: natural(place.name))[0] if places else folder
