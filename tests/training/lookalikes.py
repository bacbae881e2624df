"""Tiny data sets laid out as the real ones are: every scan shows its own labels, so what belongs together is seen."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from napari_medzoo_training.config import Recipe

SHAPE = (9, 7, 5)
FLIPPED = np.array([[-1.0, 0, 0, 31], [0, 1.25, 0, -12], [0, 0, 3.0, 8], [0, 0, 0, 1]])
"""Left-pointing first axis and thick slices."""
PERMUTED = np.array([[0, 0, -1.0, 20], [0.8, 0, 0, -4], [0, 1.5, 0, 2], [0, 0, 0, 1]])
CONTRASTS = {"t1w": 1.0, "t2w": 3.0, "flair": 5.0, "t1wgd": 7.0, "ir": 9.0, "pdw": 11.0}


def label_map(values: Sequence[int], number: int, shape: tuple[int, int, int] = SHAPE) -> np.ndarray:
    """Every value somewhere, elsewhere for every subject."""
    random = np.random.default_rng(number)
    labels = random.choice(np.array([0, *values], dtype=np.int16), size=shape)
    labels.ravel()[: len(values)] = values
    return labels


def scan_of(labels: np.ndarray, key: str) -> np.ndarray:
    """A scan whose intensities say label and contrast: ``10 (label + 1) + contrast``."""
    return (10 * (labels + 1) + CONTRASTS[key]).astype(np.float32)


def write(path: Path, data: np.ndarray, affine: np.ndarray = FLIPPED) -> Path:
    """Write NIfTI, or Analyze 7.5 (which has no affine) for ``.hdr``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".hdr":
        header = nib.AnalyzeHeader()
        header.set_data_dtype(data.dtype)
        header.set_data_shape(data.shape)
        header.set_zooms((1, 1.25, 3))
        nib.AnalyzeImage(data, None, header).to_filename(path.with_suffix(".img"))
    else:
        nib.Nifti1Image(data, affine).to_filename(path)
    return path


def iseg2017(folder: Path) -> None:
    for number in (10, 2, 1):
        labels = label_map((10, 150, 250), number)
        place = folder / "iSeg-2017-Training"
        write(place / f"subject-{number}-T1.hdr", scan_of(labels, "t1w"))
        write(place / f"subject-{number}-T2.hdr", scan_of(labels, "t2w"))
        write(place / f"subject-{number}-label.hdr", labels)


def iseg2019(folder: Path) -> None:
    for number in (10, 2, 11):
        labels = label_map((1, 2, 3), number)
        place = folder / ("iSeg-2019-Training" if number < 11 else "iSeg-2019-Validation")
        write(place / f"subject-{number}-T1.hdr", scan_of(labels, "t1w"))
        write(place / f"subject-{number}-T2.hdr", scan_of(labels, "t2w"))
        if number < 11:
            write(place / f"subject-{number}-label.hdr", labels)


def mrbrains18(folder: Path) -> None:
    for name in ("14", "070", "5"):
        labels = label_map(range(1, 11), int(name))
        place = folder / "training" / name
        write(place / "segm.nii.gz", labels)
        for key, file in (("t1w", "reg_T1"), ("ir", "reg_IR"), ("flair", "FLAIR")):
            write(place / "pre" / f"{file}.nii.gz", scan_of(labels, key))
        write(
            place / "pre" / "T1.nii.gz", scan_of(labels * 0, "t1w") + labels, PERMUTED
        )  # unregistered: not to be used


BRATS_FILES = {"t1w": "_t1", "t1wgd": "_t1ce", "t2w": "_t2", "flair": "_flair"}
BRATS_2023 = {"t1w": "-t1n", "t1wgd": "-t1c", "t2w": "-t2w", "flair": "-t2f"}


def brats_case(place: Path, number: int, values: Sequence[int] = (1, 2, 4), ending: str = ".nii.gz") -> None:
    labels = label_map(values, number)
    new = place.name.startswith("BraTS-")
    for key, suffix in (BRATS_2023 if new else BRATS_FILES).items():
        write(place / f"{place.name}{suffix}{ending}", scan_of(labels, key))
    write(place / f"{place.name}{'-' if new else '_'}seg{ending}", labels)


def brats2018(folder: Path) -> None:
    brats_case(folder / "HGG" / "Brats18_TCIA01_131_1", 1)
    brats_case(folder / "HGG" / "Brats18_TCIA01_131_2", 2)  # another visit
    brats_case(folder / "LGG" / "BraTS19_TCIA13_615_1", 3)


def brats2020(folder: Path) -> None:
    brats_case(folder / "BraTS20_Training_002", 2, ending=".nii")
    brats_case(folder / "BraTS20_Training_355", 3, ending=".nii")
    place = folder / "BraTS20_Training_355"
    (place / "BraTS20_Training_355_seg.nii").rename(place / "W39_1998.09.19_Segm.nii")
    (folder / "name_mapping.csv").write_text("Grade\n")


def brats2021(folder: Path) -> None:
    brats_case(folder / "BraTS2021_00002", 1, values=(1, 2, 4))
    brats_case(folder / "BraTS-GLI-00005-100", 2, values=(1, 2, 3))
    brats_case(folder / "BraTS-GLI-00005-101", 3, values=(1, 2, 3))


def ixi(folder: Path) -> None:
    for number, site in (("012", "HH-1211"), ("002", "Guys-0828")):
        labels = label_map((1, 2, 3), int(number))
        write(folder / "T1" / f"IXI{number}-{site}-T1.nii.gz", scan_of(labels, "t1w"))
        coarse = label_map((1, 2), int(number), (6, 7, 8))
        write(folder / "T2" / f"IXI{number}-{site}-T2.nii.gz", scan_of(coarse, "t2w"), PERMUTED)
        write(folder / "tissue" / f"IXI{number}-seg.nii.gz", labels)


def msd(folder: Path) -> None:
    for number in (10, 2):
        labels = label_map((1, 2), number)
        write(folder / "imagesTr" / f"hippocampus_{number}.nii.gz", scan_of(labels, "t1w"))
        write(folder / "labelsTr" / f"hippocampus_{number}.nii.gz", labels)
    (folder / "imagesTr" / "._hippocampus_10.nii.gz").write_bytes(b"Mac OS X")


def msd_json(folder: Path) -> None:
    msd(folder)
    content = {
        "modality": {"0": "MRI"},
        "labels": {"0": "background", "1": "CSF", "2": "GM"},
        "training": [
            {"image": f"./imagesTr/hippocampus_{n}.nii.gz", "label": f"./labelsTr/hippocampus_{n}.nii.gz"}
            for n in (2, 10)
        ],
    }
    (folder / "dataset.json").write_text(json.dumps(content))


def nnunet(folder: Path) -> None:
    for name in ("tumour_0010", "tumour_0002"):  # four digits that are no channel
        labels = label_map((1, 2, 3), int(name[-4:]))
        write(folder / "imagesTr" / f"{name}_0000.nii.gz", scan_of(labels, "flair"))
        write(folder / "imagesTr" / f"{name}_0001.nii.gz", scan_of(labels, "t1w"))
        write(folder / "labelsTr" / f"{name}.nii.gz", labels)
    content = {
        "channel_names": {"0": "FLAIR", "1": "T1w"},
        "labels": {"background": 0, "CSF": 1, "GM": 2, "ignore": 3},
        "numTraining": 2,
        "file_ending": ".nii.gz",
    }
    (folder / "dataset.json").write_text(json.dumps(content))


def bids(folder: Path) -> None:
    (folder / "dataset_description.json").parent.mkdir(parents=True, exist_ok=True)
    (folder / "dataset_description.json").write_text("{}")
    derived = folder / "derivatives" / "manual"
    for number, visit in enumerate(("sub-10", "sub-02/ses-b", "sub-02/ses-a")):
        labels = label_map((1, 2, 3), number)
        stem = visit.replace("/", "_")
        write(folder / visit / "anat" / f"{stem}_run-1_T1w.nii.gz", scan_of(labels, "t1w"), PERMUTED)
        write(folder / visit / "anat" / f"{stem}_inplaneT1.nii.gz", scan_of(labels * 0, "t1w") + labels, FLIPPED)
        write(folder / visit / "anat" / f"{stem}_FLAIR.nii.gz", scan_of(labels, "flair"), PERMUTED)
        (folder / visit / "anat" / f"{stem}_FLAIR.json").write_text("{}")
        write(derived / visit / "anat" / f"{stem}_desc-manual_dseg.nii.gz", labels, PERMUTED)
        (derived / visit / "anat" / f"{stem}_desc-manual_dseg.tsv").write_text(
            "index\tname\tcolor\n1\tCSF\t#0000ff\n2\tGM\t#ff0000\n3\tWM\t#ffffff\n"
        )


def table(folder: Path) -> None:
    rows = ["Subject;Age;T1w;FLAIR;label"]
    for number, subject in enumerate(("P1", "P10", "P2", "P2")):
        labels = label_map((1, 2, 3), number)
        files = [f"scans/{number}/a.nii.gz", f"scans/{number}/b.nii.gz", f"labels/{number}.nii.gz"]
        for file, data in zip(files, (scan_of(labels, "t1w"), scan_of(labels, "flair"), labels), strict=True):
            write(folder / file, data)
        rows.append(";".join([subject, "44", *files]))
    (folder / "cases.csv").write_text("\ufeff" + "\n".join(rows) + "\n", encoding="utf-8")


LAYOUTS: dict[str, tuple[Callable[[Path], None], str, tuple[str, ...], str, Mapping[str, Any]]] = {
    "iseg2017": (iseg2017, "iseg2017", ("t1w", "t2w"), "tissue", {}),
    "iseg2019": (iseg2019, "iseg2019", ("t2w", "t1w"), "tissue", {}),
    "mrbrains18": (mrbrains18, "mrbrains18", ("t1w", "ir", "flair"), "mrbrains", {}),
    "mrbrains18-4": (mrbrains18, "mrbrains18", ("flair",), "tissue", {"classes": 4, "cerebellum": "GM"}),
    "brats2018": (brats2018, "brats2018", ("flair", "t1w", "t1wgd", "t2w"), "brats", {}),
    "brats2020": (brats2020, "brats2020", ("t1wgd", "flair"), "brats", {}),
    "brats2021": (brats2021, "brats2021", ("t1wgd", "t2w"), "brats", {}),
    "ixi": (ixi, "ixi", ("t1w",), "tissue", {"references": "tissue"}),
    "msd": (msd, "msd", ("t1w",), "tissue", {}),
    "msd_json": (msd_json, "msd", ("any",), "tissue", {}),
    "nnunet": (nnunet, "msd", ("t1w", "flair"), "tissue", {}),
    "bids": (bids, "bids", ("flair", "t1w"), "tissue", {}),
    "table": (table, "table", ("t1w", "flair"), "tissue", {}),
}
"""Name → how it is built, its kind, the modalities asked for, the numbering that is learnt, and options."""

CHANNELS = {"tissue": (0, 1, 2, 3), "mrbrains": tuple(range(9)), "brats": (0, 1, 2, 4), "aseg": (0, 2, 3, 41, 42)}

BARE = {"align": None, "head_crop": None, "normalise": None, "spacing": None}
"""A preparation that only reorients: every voxel stays as it is."""


def recipe_for(
    kind: str,
    modalities: Sequence[str],
    scheme: str = "tissue",
    source: Mapping[str, Any] | None = None,
    **changes: Any,
) -> Recipe:
    """A recipe that learns from the data set ``data`` of a layout."""
    content = {
        "name": "tiny",
        "title": "Tiny",
        "architecture": "strided_unet",
        "modalities": list(modalities),
        "label_scheme": scheme,
        "channels": CHANNELS.get(scheme, (0, 1, 2)),
        "preprocessing": BARE,
        "dataset": {"kind": kind, "folder": "data", **(source or {})},
        "stages": [{"steps": 1, "patch": [8, 8, 8]}],
        "licence": "BSD-3-Clause",
        "data": "a look-alike",
    }
    return Recipe.model_validate(content | changes)
