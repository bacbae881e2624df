"""Put a patient's scans together: which files are scans, and which modality each of them is."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from napari_medzoo.errors import MedzooError
from napari_medzoo.io.dicom import dicom_files
from napari_medzoo.io.formats import SUFFIXES, format_of, stem_of, suffix_of
from napari_medzoo.io.names import guess_modality, label_word
from napari_medzoo.io.nifti import pair_paths, pair_stem
from napari_medzoo.io.readers import looks_like_labels, read_volume
from napari_medzoo.study import MODALITIES, Study, Volume

LEFT_OUT = "left out"
"""Key of `Study.reasons` for the files that were not taken, one sentence for all of them."""

SCAN_FOLDERS = ("anat", "pre", "mri", "ses-*/anat")
"""Where a patient's folder without scans of its own keeps them: BIDS, MRBrainS, FreeSurfer."""


MOST_TO_INSPECT = 8
"""At most so many scans without a telling name are opened to see whether they hold labels."""


def load_study(paths: str | Path | Sequence[str | Path], modalities: Mapping[str, str | Path] | None = None) -> Study:
    """Read a patient's scans and name their modalities.

    Parameters
    ----------
    paths : path or sequence of paths
        Scans, or one folder: of scans, of one DICOM series, of several folders with one DICOM series each, or of a
        patient in BIDS (``sub-01``), MRBrainS (``pre/``) or FreeSurfer (``mri/``) form. May be empty where
        `modalities` says it all.
    modalities : mapping of str to path, optional
        Modality key → file. It wins over every guess.

    Returns
    -------
    Study
        `Study.reasons` says per modality why its file was taken, and under ``"left out"`` which files were not:
        label maps, and in a folder files whose name says no modality. A single scan of unknown contrast is taken
        as ``"unknown"``.

    Raises
    ------
    MedzooError
        When two files have the same modality, a name does not say which it is, or a file cannot be read.
    """
    given = [paths] if isinstance(paths, (str, Path)) else list(paths)
    explicit = {key: _one_name(Path(path)) for key, path in (modalities or {}).items()}
    for key, path in explicit.items():
        if key not in MODALITIES:
            raise MedzooError(f"{path}: unknown modality {key!r}; choose one of {', '.join(MODALITIES)}.")
    files, from_folder = _scans(given)
    left_out: dict[Path, str] = {}
    named = {key: (path, f"{path.name} was given as {MODALITIES[key]}") for key, path in explicit.items()}
    chosen, unnamed = _guess(files, set(map(_same, explicit.values())), left_out)
    for modality, candidates in chosen.items():
        if modality in explicit:
            for path, _ in candidates:
                left_out[path] = f"another file was given as {MODALITIES[modality]}"
            continue
        path, reason = _only_one(modality, candidates, left_out)
        named[modality] = (path, f"{path.name} is {reason}")
    named |= _name_the_rest(unnamed, bool(named), from_folder, left_out)
    if not named:
        raise _nothing(given, left_out)
    volumes: dict[str, Volume] = {}
    for modality, (path, _) in named.items():
        volumes[modality] = read_volume(path, modality)
    reasons = {modality: reason for modality, (_, reason) in named.items()}
    if left_out:
        reasons[LEFT_OUT] = "; ".join(f"{path.name} left out: {reason}" for path, reason in left_out.items())
    return Study(volumes, _study_name(given, [path for path, _ in named.values()]), reasons)


def find_scans(folder: str | Path) -> list[Path]:
    """The scans of a folder, by name: files of known endings (one path per pair), and DICOM series as folders.

    Where the folder itself has none but label maps, its `SCAN_FOLDERS` are looked into, then sub-folders with
    DICOM files.

    Raises
    ------
    MedzooError
        If the folder has several visits (``ses-*``), or DICOM files beside scans of other kinds.
    """
    folder = Path(folder)
    files = _image_files(folder)
    if dicom_files(folder):
        if files:
            raise MedzooError(
                f"{folder}: holds DICOM files and other scans ({files[0].name}), expected one kind; choose one of them."
            )
        return [folder]
    if any(not label_word(file) for file in files):
        return files
    for pattern in SCAN_FOLDERS:
        places = [place for place in sorted(folder.glob(pattern)) if place.is_dir() and find_scans(place)]
        if len(places) > 1:
            names = ", ".join(place.parent.name for place in places)
            raise MedzooError(f"{folder}: holds several visits ({names}), expected one; choose one of their folders.")
        if places:
            return [*files, *find_scans(places[0])]
    series = [place for place in sorted(folder.iterdir()) if place.is_dir() and dicom_files(place)]
    return [*files, *series]


def _image_files(folder: Path) -> list[Path]:
    try:
        files = [file for file in folder.iterdir() if file.is_file() and not file.name.startswith(".")]
    except OSError as error:
        raise MedzooError(f"{folder}: the folder cannot be read ({error.strerror}); check its permissions.") from error
    scans: dict[Path, Path] = {}
    for file in sorted(files, key=_natural):
        if suffix_of(file):
            scans.setdefault(_same(file), _one_name(file))
    return list(scans.values())


def _natural(path: Path) -> list[str | int]:
    """Sort key that puts subject-10 after subject-9."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", path.name.lower())]


def _one_name(path: Path) -> Path:
    """A pair is called by its header; everything else by its own name."""
    if SUFFIXES.get(suffix_of(path).lower()) == "analyze" and path.name.lower().removesuffix(".gz").endswith(".img"):
        return pair_paths(path)[0]
    return path


def _same(path: Path) -> Path:
    """What two spellings of one scan (relative, absolute, either half of a pair) have in common."""
    resolved = path.resolve()
    if SUFFIXES.get(suffix_of(path).lower()) == "analyze":
        return resolved.with_name(pair_stem(path) + ".hdr")
    return resolved


def _scans(given: Iterable[str | Path]) -> tuple[list[Path], bool]:
    """The files meant by the paths, each once, and whether they came from searching a folder."""
    scans: dict[Path, Path] = {}
    from_folder = False
    for path in map(Path, given):
        if not path.exists():
            raise MedzooError(f"{path}: there is no such file or folder; check its name.")
        if path.is_dir():
            found = find_scans(path)
            if not found:
                raise MedzooError(f"{path}: holds no scans; choose scans of {', '.join(SUFFIXES)} or one DICOM series.")
            from_folder = from_folder or found != [path]
        else:
            format_of(path)  # says which endings are known
            found = [_one_name(path)]
        for file in found:
            scans.setdefault(_same(file), file)
    return list(scans.values()), from_folder


def _guess(
    files: Iterable[Path], explicit: set[Path], left_out: dict[Path, str]
) -> tuple[dict[str, list[tuple[Path, str]]], list[tuple[Path, str]]]:
    """Sort files into those with a modality and those without; label maps go to `left_out`."""
    chosen: dict[str, list[tuple[Path, str]]] = {}
    unnamed = []
    for path in files:
        if _same(path) in explicit:
            continue
        modality, reason = guess_modality(path)
        if label_word(path):
            left_out[path] = reason
        elif modality is None:
            unnamed.append((path, reason))
        else:
            chosen.setdefault(modality, []).append((path, reason))
    return chosen, unnamed


def _only_one(modality: str, candidates: list[tuple[Path, str]], left_out: dict[Path, str]) -> tuple[Path, str]:
    """The one file of a modality; of MRBrainS's ``T1`` and ``reg_T1`` the registered one."""
    if len(candidates) == 1:
        return candidates[0]
    registered = [item for item in candidates if stem_of(item[0]).lower() in ("reg_t1", "reg_t2", "reg_ir", "reg_pd")]
    if len(registered) == 1 and len({path.parent for path, _ in candidates}) == 1:
        kept, reason = registered[0]
        for path, _ in candidates:
            if path != kept:
                left_out[path] = f"{kept.name} is the same contrast, already registered"
        return kept, reason
    names = " and ".join(str(path) for path, _ in candidates[:2])
    more = f" (and {len(candidates) - 2} more)" if len(candidates) > 2 else ""
    raise MedzooError(
        f"{names}{more} are all named {MODALITIES[modality]}, expected one; say which to use with --{modality} FILE."
    )


def _name_the_rest(
    unnamed: list[tuple[Path, str]], others: bool, from_folder: bool, left_out: dict[Path, str]
) -> dict[str, tuple[Path, str]]:
    """What becomes of scans whose names say no modality: the only one is ``"unknown"``, more are asked about."""
    if len(unnamed) + others > 1 and len(unnamed) <= MOST_TO_INSPECT:
        for path, _ in list(unnamed):
            if looks_like_labels(path):
                left_out[path] = "its voxels look like labels"
        unnamed = [item for item in unnamed if item[0] not in left_out]
    if not unnamed:
        return {}
    if not others and len(unnamed) == 1:
        path, reason = unnamed[0]
        return {"unknown": (path, f"{path.name} is taken as a scan of unknown contrast: {reason}")}
    if others and from_folder:
        left_out.update(unnamed)
        return {}
    path, reason = unnamed[0]
    more = f" (and {len(unnamed) - 1} more like it)" if len(unnamed) > 1 else ""
    options = ", ".join(f"--{key}" for key in MODALITIES)
    raise MedzooError(f"{path}: {reason}{more}; say what it is with one of {options}, or leave it out.")


def _nothing(given: list[str | Path], left_out: Mapping[Path, str]) -> MedzooError:
    if not left_out:
        return MedzooError("No scans were given; choose at least one file or a folder.")
    path, reason = next(iter(left_out.items()))
    where = given[0] if len(given) == 1 else path
    return MedzooError(
        f"{where}: holds no scan but {len(left_out)} label map(s) ({path.name} is {reason}); "
        "add the scan, or name its modality with an option such as --t1w FILE."
    )


def _study_name(given: Sequence[str | Path], files: Sequence[Path]) -> str:
    """The folder's name, a single file's stem, or what several files' names begin with."""
    if len(given) == 1 and Path(given[0]).is_dir():
        folder = Path(given[0]).resolve()
        return folder.parent.name if folder.name in ("anat", "pre", "mri") else folder.name
    stems = [stem_of(file) for file in files]
    if len(stems) == 1:
        return stems[0]
    same = [len(set(letters)) == 1 for letters in zip(*stems, strict=False)]
    begin = stems[0][: [*same, False].index(False)]
    begin = re.sub(r"[_\-. ]*[^_\-. ]*$", "", begin)
    return begin or files[0].resolve().parent.name or "study"
