"""What a scan's file name says about its contrast.

Understood are BIDS (``sub-01_T1w``, with a ``ce-`` entity as contrast-enhanced), BraTS (``_t1ce``, 2023 ``-t1c``),
iSEG (``subject-1-T1``), MRBrainS (``reg_IR``), FreeSurfer (``brain.mgz``) and plain names (``study1_T1W``,
``IXI012-Guys-T1``, ``MPRAGE``, ``T1post``, ``T2_FLAIR``).
"""

from __future__ import annotations

import re
from pathlib import Path

from napari_medzoo.io.dicom import series_words
from napari_medzoo.io.formats import stem_of, suffix_of
from napari_medzoo.study import MODALITIES

BIDS_SUFFIXES = {"T1w": "t1w", "T2w": "t2w", "FLAIR": "flair", "PDw": "pdw", "inplaneT1": "t1w", "inplaneT2": "t2w"}
BRATS_2023 = {"t1n": "t1w", "t1c": "t1wgd", "t2w": "t2w", "t2f": "flair"}
FREESURFER = {"rawavg", "orig", "nu", "norm", "brain", "t1"}
"""Stems of FreeSurfer's own T1w volumes in a subject's ``mri`` folder."""

_LABELS = re.compile(
    r"(?:[a-z0-9+]*(?:seg|segm|segmentation|segmentations|label|labels|mask|masks|lesion|lesions|parc|parcellation"
    r"|labelmap)|[a-z]*muse|wmparc|annotations?|rois?|ribbon|groundtruth|gt)"
)
_SEPARATORS = re.compile(r"[^a-zA-Z0-9+]+")
_TOWARDS = {"to", "in", "on", "onto", "into", "intrastudy", "2"}
"""Words after which a name speaks of another scan: ``T1_to_FLAIR`` is a T1."""

_GADOLINIUM = {"gd", "gad", "gado", "gadolinium", "post", "postcontrast", "postgd", "contrast", "ce", "km", "enhanced"}
_PLANE = "(?:3d|2d|ax|axial|sag|sagittal|cor|coronal|tra|reg)*"
_EXTRA = "(?:w|wt|weighted|reg|pre|post|ce|c|gd|gad|km|n|f|3d|tse|fse|tfe|ffe|mprage|space|brain|bet|n4)*"
_CONTRAST = re.compile(rf"{_PLANE}(t1|t2|pd|ir)({_EXTRA})")
_FLAIR = re.compile(rf"{_PLANE}(?:t2)?(?:flair|fla|t2f|darkfluid)(?:w|weighted|reg|3d|brain|bet|n4)*")
_T1_SEQUENCES = {"mprage", "memprage", "mpr", "spgr", "fspgr", "bravo", "mp2rage", "flash", "vibe"}


def words(path: Path) -> list[str]:
    """The words of a file's name in lower case, without the known ending."""
    return [word.lower() for word in _split(stem_of(Path(path)))]


def _split(text: str) -> list[str]:
    return [word for word in _SEPARATORS.split(text) if word]


def label_word(path: Path) -> str:
    """The word of the name that says it is a label map (``"seg"``, ``"lesions"``, ...), else ``""``.

    In a BIDS name the suffix alone decides: ``sub-lesion3_T1w`` is a scan.
    """
    if _bids(stem_of(path)):
        return ""
    return next((word for word in words(path) if _LABELS.fullmatch(word)), "")


def guess_modality(path: str | Path) -> tuple[str | None, str]:
    """Guess a scan's modality from its name (of a DICOM series from its folder's name, then its description).

    Returns
    -------
    modality : str or None
        A key of `MODALITIES`; None where the name does not say, or says several.
    reason : str
        Why, as half a sentence: ``"named T1w by its BIDS suffix '_T1w'"``.
    """
    path = Path(path)
    label = label_word(path)
    if label:
        return None, f"named a label map by '{label}'"
    stem = stem_of(path)
    bids = _bids(stem)
    if bids:
        return bids
    last = re.search(r"-(t1n|t1c|t2w|t2f)$", stem)
    if last:
        by_ending = BRATS_2023[last[1]]
        return by_ending, f"named {MODALITIES[by_ending]} by its BraTS ending '-{last[1]}'"
    modality, reason = _plain(_split(stem))
    if modality is None and not reason and suffix_of(path).lower() in (".mgz", ".mgh") and stem.lower() in FREESURFER:
        return "t1w", f"named T1w as FreeSurfer's '{path.name}'"
    if modality is None and path.is_dir():
        modality, reason = _plain(_split(series_words(path)))
        reason = reason and f"{reason} in its DICOM series description"
    return modality, reason or "its name says no modality"


def _bids(stem: str) -> tuple[str, str] | None:
    """Modality and reason by a name of BIDS's form, ``<key>-<value>_..._<suffix>``."""
    *entities, suffix = stem.split("_")
    if suffix not in BIDS_SUFFIXES or not any("-" in entity for entity in entities):
        return None
    modality = BIDS_SUFFIXES[suffix]
    enhanced = next((entity for entity in entities if entity.startswith("ce-")), "")
    if modality == "t1w" and enhanced:
        return "t1wgd", f"named T1wGd by its BIDS suffix '_{suffix}' and '{enhanced}'"
    if any(word in _GADOLINIUM for entity in entities for word in _split(entity.lower())):
        return None  # not BIDS's way to say contrast-enhanced; the plain rules weigh it
    return modality, f"named {MODALITIES[modality]} by its BIDS suffix '_{suffix}'"


def _plain(found_words: list[str]) -> tuple[str | None, str]:
    """Modality and reason from the words of a name; ``(None, "")`` where no word is known."""
    found: dict[str, str] = {}
    enhanced = any(word.lower() in _GADOLINIUM for word in found_words)  # "T1 weighted post", "T1 Gd"
    for word in found_words:
        if word.lower() in _TOWARDS and found:
            break
        modality = _modality_of(word.lower())
        if modality:
            found.setdefault("t1wgd" if enhanced and modality == "t1w" else modality, word)
    if {"t2w", "flair"} <= found.keys():  # T2_FLAIR is a FLAIR
        del found["t2w"]
    if {"t1w", "ir"} <= found.keys():  # T1_IR is an inversion recovery, IR-FSPGR a T1
        del found["ir" if found["t1w"].lower() in _T1_SEQUENCES else "t1w"]
    if len(found) > 1:
        names = " and ".join(MODALITIES[modality] for modality in found)
        return None, f"its name says {names}"
    for modality, word in found.items():
        return modality, f"named {MODALITIES[modality]} by '{word}'"
    return None, ""


def _modality_of(word: str) -> str | None:
    if _FLAIR.fullmatch(word):
        return "flair"
    if word in _T1_SEQUENCES:
        return "t1w"
    match = _CONTRAST.fullmatch(word)
    if not match:
        return None
    base, extra = match.groups()
    if base == "t1":
        enhanced = re.search(r"post|ce|gd|gad|km|(?<![a-z])c|wc", extra.replace("space", ""))
        return "t1wgd" if enhanced else "t1w"
    if base == "t2":
        return "flair" if extra == "f" else "t2w"
    return {"pd": "pdw", "ir": "ir"}[base]
