"""Every layout is read as it lies on disk, and no two people's files end up in one case."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from napari_medzoo_training.case_lists import natural
from napari_medzoo_training.cases import prepare_cases
from napari_medzoo_training.config import IGNORED, DataSource
from napari_medzoo_training.datasets import DATASETS, CaseList, read_cases

from napari_medzoo.errors import MedzooError
from napari_medzoo.progress import run
from tests.training.lookalikes import CHANNELS, CONTRASTS, LAYOUTS, recipe_for

NAMES = {
    "iseg2017": ("subject-1", "subject-2", "subject-10"),
    "iseg2019": ("subject-2", "subject-10"),
    "mrbrains18": ("5", "14", "070"),
    "mrbrains18-4": ("5", "14", "070"),
    "brats2018": ("Brats18_TCIA01_131_1", "Brats18_TCIA01_131_2", "BraTS19_TCIA13_615_1"),
    "brats2020": ("BraTS20_Training_002", "BraTS20_Training_355"),
    "brats2021": ("BraTS2021_00002", "BraTS-GLI-00005-100", "BraTS-GLI-00005-101"),
    "ixi": ("IXI002", "IXI012"),
    "msd": ("hippocampus_2", "hippocampus_10"),
    "msd_json": ("hippocampus_2", "hippocampus_10"),
    "nnunet": ("tumour_0002", "tumour_0010"),
    "bids": ("sub-02_ses-a", "sub-02_ses-b", "sub-10"),
    "table": ("P1", "P2", "P2-row-5", "P10"),
}
MAPPED = {
    "iseg2017": {10: 1, 150: 2, 250: 3},
    "mrbrains18": {9: IGNORED, 10: IGNORED},
    "mrbrains18-4": {1: 2, 2: 2, 3: 3, 4: 3, 5: 1, 6: 1, 7: 2, 8: IGNORED, 9: IGNORED, 10: IGNORED},
    "brats2018": {4: 3},
    "brats2020": {4: 3},
    "brats2021": {4: 3},
    "nnunet": {3: IGNORED},
}
"""Stored value → output channel, where they differ."""


def read(folder: Path, layout: str, **changes: object) -> CaseList:
    _, kind, modalities, _, options = LAYOUTS[layout]
    source = {"kind": kind, "folder": "data", "options": options} | changes
    return read_cases(DataSource.model_validate(source), modalities, folder)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_each_case_its_own_scans_and_labels(layout: str, tmp_path: Path) -> None:
    """Each look-alike's scan says in every voxel which label and which contrast it is."""
    build, kind, modalities, scheme, options = LAYOUTS[layout]
    build(tmp_path / "data")
    changes = {} if "msd" not in layout and layout != "nnunet" else {"channels": (0, 1, 2)}
    cases = run(
        prepare_cases(recipe_for(kind, modalities, scheme, {"options": options}, **changes), tmp_path, tmp_path)
    )
    assert cases.names == NAMES[layout]
    for number in range(len(cases)):
        scan, labels = cases.scan(number), cases.labels(number)
        contrasts = [CONTRASTS["t1w" if key == "any" else key] for key in modalities]
        assert cases.grid(number).axis_codes == "RAS" and labels.shape == scan.shape[1:]
        stored = (scan - np.array(contrasts)[:, None, None, None]) / 10 - 1
        np.testing.assert_array_equal(stored, np.broadcast_to(stored[0], stored.shape))  # one person, all contrasts
        expected = MAPPED.get(layout, {})
        np.testing.assert_array_equal(labels, np.vectorize(lambda v, e=expected: e.get(v, v))(stored[0].astype(int)))
        present = set(np.unique(labels).tolist())
        assert present - {IGNORED} == set(range(1, len(changes.get("channels", CHANNELS[scheme])))) | (present & {0})


def test_every_kind_has_a_look_alike() -> None:
    assert {layout[1] for layout in LAYOUTS.values()} == set(DATASETS)


def test_visits_of_one_person_share_the_subject(tmp_path: Path) -> None:
    subjects = {}
    for layout in ("brats2018", "brats2021", "bids", "table"):
        LAYOUTS[layout][0](tmp_path / layout / "data")
        subjects[layout] = [case.subject for case in read(tmp_path / layout, layout).cases]
    assert subjects["brats2018"] == ["Brats18_TCIA01_131", "Brats18_TCIA01_131", "BraTS19_TCIA13_615"]
    assert subjects["brats2021"] == ["BraTS2021_00002", "BraTS-GLI-00005", "BraTS-GLI-00005"]
    assert subjects["bids"] == ["sub-02", "sub-02", "sub-10"]
    assert subjects["table"] == ["P1", "P2", "P2", "P10"]


def test_numbers_sort_as_numbers() -> None:
    assert sorted(["s10-T1", "s9", "t", "s10", "10", "9a"], key=natural) == ["9a", "10", "s9", "s10", "s10-T1", "t"]


def _rename(old: str, new: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        (folder / new).parent.mkdir(parents=True, exist_ok=True)
        for ending in (".hdr", ".img") if old.endswith(".hdr") else ("",):
            (folder / (old.removesuffix(".hdr") + ending)).rename(folder / (new.removesuffix(".hdr") + ending))

    return change


def _remove(*names: str) -> Callable[[Path], None]:
    return lambda folder: [(folder / name).unlink() for name in names] and None


def _copy(old: str, new: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        (folder / new).parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if (folder / old).is_dir() else shutil.copy)(folder / old, folder / new)

    return change


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def _edit(name: str, old: str, new: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_text(_text(folder / name).replace(old, new), encoding="utf-8") and None


I17, I19 = "iSeg-2017-Training/subject", "iSeg-2019-Training/subject"
HGG, B20, B23 = "HGG/Brats18_TCIA01_131", "BraTS20_Training_002", "BraTS-GLI-00005-10"
DSEG = "derivatives/manual/sub-10/anat/sub-10_desc-manual_dseg"
HOSTILE: list[tuple[str, Callable[[Path], None], str]] = [
    ("iseg2017", _remove(f"{I17}-2-T2.hdr", f"{I17}-2-T2.img"), "subject-2 has no T2w"),
    ("iseg2017", _rename(f"{I17}-2-T2.hdr", f"{I17}-3-T2.hdr"), "subject-2 has no T2w, subject-3 has no T1w"),
    (
        "iseg2017",
        _copy(f"{I17}-1-T1.hdr", f"{I17}-01-T1.hdr"),
        "subject-1-T1.hdr and .*subject-01-T1.hdr|subject-01-T1",
    ),
    ("iseg2019", _remove(f"{I19}-10-label.hdr", f"{I19}-10-label.img"), "subject-10 has no reference"),
    (
        "iseg2019",
        _rename(f"{I19}-10-label.hdr", f"{I19}-3-label.hdr"),
        "subject-3 has no T2w and no T1w, subject-10 has",
    ),
    ("mrbrains18", _remove("training/14/pre/reg_IR.nii.gz"), "14 has no IR"),
    ("mrbrains18", _copy("training/5", "training/005"), "5 and 005 .*one subject|005 and 5 .*one subject"),
    ("brats2018", _remove(f"{HGG}_1/Brats18_TCIA01_131_1_t1ce.nii.gz"), "Brats18_TCIA01_131_1 has no T1wGd"),
    ("brats2018", _copy(f"{HGG}_1/Brats18_TCIA01_131_1_t1.nii.gz", f"{HGG}_2/Brats18_TCIA01_131_1_t1.nii.gz"), "131_2"),
    ("brats2018", _copy(f"{HGG}_1", "LGG/Brats18_TCIA01_131_1"), "HGG.*LGG.*each subject once"),
    ("brats2018", lambda folder: shutil.rmtree(folder / "LGG"), "LGG: there is no such folder"),
    ("brats2020", _remove(f"{B20}/{B20}_seg.nii"), "BraTS20_Training_002 has no reference"),
    (
        "brats2020",
        _rename(f"{B20}/{B20}_t1ce.nii", f"{B20}/BraTS20_Training_003_t1ce.nii"),
        "is of BraTS20_Training_003",
    ),
    ("brats2021", _remove(f"{B23}0/{B23}0-t2w.nii.gz"), "BraTS-GLI-00005-100 has no T2w"),
    ("brats2021", _rename(f"{B23}0/{B23}0-t2w.nii.gz", f"{B23}0/{B23}1-t2w.nii.gz"), "is of BraTS-GLI-00005-101"),
    ("ixi", _remove("T1/IXI012-HH-1211-T1.nii.gz"), "IXI012 has no T1w"),
    ("ixi", _rename("T2/IXI012-HH-1211-T2.nii.gz", "T2/IXI012-Guys-7-T2.nii.gz"), "HH-1211 and Guys-7"),
    ("msd", _remove("imagesTr/hippocampus_2.nii.gz"), "hippocampus_2 has no T1w"),
    ("msd", _rename("labelsTr/hippocampus_2.nii.gz", "labelsTr/hippocampus_3.nii.gz"), "hippocampus_2.nii.gz: has no"),
    ("msd_json", _remove("imagesTr/hippocampus_2.nii.gz", "labelsTr/hippocampus_2.nii.gz"), "lists hippocampus_2"),
    ("nnunet", _remove("imagesTr/tumour_0002_0001.nii.gz"), "tumour_0002 has no T1w"),
    ("nnunet", _edit("dataset.json", "T1w", "T2w"), "has no channel t1w"),
    ("nnunet", _edit("dataset.json", "}", ""), "cannot be read as JSON"),
    ("bids", _remove("sub-10/anat/sub-10_FLAIR.nii.gz"), "sub-10 has no FLAIR"),
    ("bids", _remove(f"{DSEG}.nii.gz"), "sub-10 has no reference"),
    (
        "bids",
        _rename("sub-10/anat/sub-10_FLAIR.nii.gz", "sub-10/anat/sub-02_FLAIR.nii.gz"),
        "lies in the folder of sub-10",
    ),
    (
        "bids",
        _rename("sub-02/ses-a/anat/sub-02_ses-a_FLAIR.nii.gz", "sub-02/ses-a/anat/sub-02_ses-b_FLAIR.nii.gz"),
        "ses-a",
    ),
    (
        "bids",
        _copy("sub-10/anat/sub-10_FLAIR.nii.gz", "sub-10/anat/sub-10_run-2_FLAIR.nii.gz"),
        "both the FLAIR of sub-10",
    ),
    ("bids", _edit(f"{DSEG}.tsv", "GM", "lesion"), "name the labels differently"),
    ("table", _remove("scans/2/b.nii.gz"), "line 4: there is no .*b.nii.gz"),
    ("table", _edit("cases.csv", "scans/2/b.nii.gz", ""), "P2 has no FLAIR"),
    ("table", _edit("cases.csv", "scans/2/b.nii.gz", "scans/1/b.nii.gz"), "P10 and P2 share"),
    ("table", _edit("cases.csv", "FLAIR", "T2"), "has no column flair"),
]


@pytest.mark.parametrize(
    ("layout", "change", "message"), HOSTILE, ids=[f"{layout}-{number}" for number, (layout, *_) in enumerate(HOSTILE)]
)
def test_missing_and_mixed_files_are_refused(
    layout: str, change: Callable[[Path], None], message: str, tmp_path: Path
) -> None:
    LAYOUTS[layout][0](tmp_path / "data")
    change(tmp_path / "data")
    with pytest.raises(MedzooError, match=message) as caught:
        read(tmp_path, layout)
    assert str(caught.value).count(".") >= 1 and str(caught.value).endswith(".")


def test_an_absent_folder_is_named(tmp_path: Path) -> None:
    for layout, (_, kind, modalities, _, options) in LAYOUTS.items():
        source = DataSource(kind=kind, folder=Path(f"no-{layout}"), options=options)
        with pytest.raises(MedzooError, match=f"no-{layout}"):
            read_cases(source, modalities, tmp_path)


def test_unknown_kinds_and_options_are_answered_with_the_known_ones(tmp_path: Path) -> None:
    LAYOUTS["ixi"][0](tmp_path / "data")
    with pytest.raises(MedzooError, match=r"'oasis'; choose one of iseg2017, .*table"):
        read_cases(DataSource(kind="oasis", folder=Path("data")), ("t1w",), tmp_path)
    with pytest.raises(MedzooError, match="no option 'grades'; it takes references, incomplete"):
        read(tmp_path, "ixi", options={"grades": ["HGG"]})
    for layout, options in {
        "mrbrains18": {"classes": 3},
        "mrbrains18-4": {"classes": 4, "brain_stem": "grey"},
        "brats2018": {"grades": ["XGG"]},
        "iseg2019": {"parts": ["test"]},
        "bids": {"incomplete": "yes"},
    }.items():
        LAYOUTS[layout][0](tmp_path / layout / "data")
        with pytest.raises(MedzooError, match=f"option '{list(options)[-1]}' is"):
            read(tmp_path / layout, layout, options=options)


def test_incomplete_cases_can_be_skipped(tmp_path: Path) -> None:
    LAYOUTS["ixi"][0](tmp_path / "data")
    (tmp_path / "data" / "T1" / "IXI012-HH-1211-T1.nii.gz").unlink()
    assert [case.name for case in read(tmp_path, "ixi", options={"incomplete": "skip"}).cases] == ["IXI002"]


def test_ixi_pairs_scans_of_different_grids_by_number(tmp_path: Path) -> None:
    LAYOUTS["ixi"][0](tmp_path / "data")
    source = DataSource(kind="ixi", folder=Path("data"))
    for case in read_cases(source, ("t2w", "t1w"), tmp_path).cases:
        assert list(case.scans) == ["t2w", "t1w"] and case.reference is None
        assert {path.name[:6] for path in case.scans.values()} == {case.subject}
        assert nib.load(case.scans["t1w"]).shape != nib.load(case.scans["t2w"]).shape
    with pytest.raises(MedzooError, match="none of its 2 cases has a reference"):
        run(prepare_cases(recipe_for("ixi", ("t1w",)), tmp_path, tmp_path))


def test_iseg2019_validation_has_no_references(tmp_path: Path) -> None:
    LAYOUTS["iseg2019"][0](tmp_path / "data")
    cases = read(tmp_path, "iseg2019", options={"parts": ["validation"]}).cases
    assert [(case.name, case.reference) for case in cases] == [("subject-11", None)]


def test_any_takes_the_t1w_else_the_first(tmp_path: Path) -> None:
    LAYOUTS["bids"][0](tmp_path / "data")
    source = DataSource(kind="bids", folder=Path("data"))
    assert all("T1w" in case.scans["any"].name for case in read_cases(source, ("any",), tmp_path).cases)
    for path in (tmp_path / "data").rglob("*T1*"):
        path.unlink()
    assert all("FLAIR" in case.scans["any"].name for case in read_cases(source, ("any",), tmp_path).cases)


def test_channels_of_a_folder_without_json_are_named_by_an_option(tmp_path: Path) -> None:
    LAYOUTS["nnunet"][0](tmp_path / "data")
    (tmp_path / "data" / "dataset.json").unlink()
    case = read(tmp_path, "nnunet", options={"channels": ["flair", "t1w"]}).cases[0]
    assert [path.name for path in case.scans.values()] == ["tumour_0002_0001.nii.gz", "tumour_0002_0000.nii.gz"]
    source = DataSource(kind="msd", folder=Path("data"))
    with pytest.raises(MedzooError, match=r"no channel t1w .*option 'channels'"):
        read_cases(source, ("t1w",), tmp_path)


def test_a_channel_of_another_contrast_is_not_taken(tmp_path: Path) -> None:
    LAYOUTS["msd_json"][0](tmp_path / "data")  # "MRI" may be any contrast
    source = DataSource(kind="msd", folder=Path("data"))
    assert len(read_cases(source, ("flair",), tmp_path).cases) == 2
    _edit("dataset.json", "MRI", "T2w")(tmp_path / "data")
    with pytest.raises(MedzooError, match=r"no channel flair .*0 is t2w"):
        read_cases(source, ("flair",), tmp_path)


def test_nnunet_version_2_with_regions_and_a_list_of_files(tmp_path: Path) -> None:
    LAYOUTS["nnunet"][0](tmp_path / "data")
    content = json.loads((tmp_path / "data" / "dataset.json").read_text())
    content["labels"] = {"background": 0, "brain": [1, 2], "GM": 2, "ignore": 3}
    content["dataset"] = {"tumour_0099": {"images": ["imagesTr/a.nii.gz"], "label": "labelsTr/tumour_0099.nii.gz"}}
    (tmp_path / "data" / "dataset.json").write_text(json.dumps(content))
    with pytest.raises(MedzooError, match="lists tumour_0099"):
        read(tmp_path, "nnunet")
    del content["dataset"]
    (tmp_path / "data" / "dataset.json").write_text(json.dumps(content))
    found = read(tmp_path, "nnunet")
    assert found.ignored == (3,) and found.table is not None
    assert {label.index: label.name for label in found.table} == {0: "background", 1: "brain", 2: "GM"}


def test_bids_choices_and_inherited_tables(tmp_path: Path) -> None:
    LAYOUTS["bids"][0](tmp_path / "data")
    anatomy = tmp_path / "data" / "sub-10" / "anat"
    shutil.copy(anatomy / "sub-10_run-1_T1w.nii.gz", anatomy / "sub-10_run-2_T1w.nii.gz")
    other = tmp_path / "data" / "derivatives" / "auto" / "sub-10" / "anat"
    other.mkdir(parents=True)
    shutil.copy(tmp_path / "data" / f"{DSEG}.nii.gz", other / "sub-10_desc-auto_dseg.nii.gz")
    with pytest.raises(MedzooError, match=r"run-1_T1w.nii.gz and .*run-2_T1w.nii.gz are both the T1w of sub-10"):
        read(tmp_path, "bids")
    with pytest.raises(MedzooError, match="both the reference of sub-10"):
        read(tmp_path, "bids", options={"scans": "run-2"})
    found = read(tmp_path, "bids", options={"scans": "run-2", "references": "derivatives/manual/"})
    assert found.cases[-1].scans["t1w"].name == "sub-10_run-2_T1w.nii.gz"
    assert found.cases[-1].reference == tmp_path / "data" / f"{DSEG}.nii.gz"
    tables = sorted((tmp_path / "data").rglob("*dseg.tsv"))
    text = tables[0].read_text()
    for path in tables:
        path.unlink()
    (tmp_path / "data" / "derivatives" / "manual" / "desc-manual_dseg.tsv").write_text(text)
    (tmp_path / "data" / "derivatives" / "desc-auto_dseg.tsv").write_text("index\tname\n1\tsomething else\n")
    again = read(tmp_path, "bids", options={"scans": "run-2", "references": "desc-manual"})
    assert again.table is not None and found.table is not None
    assert again.table.labels == found.table.labels


def test_a_table_without_subjects_reads_them_from_bids_names(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    for name in ("sub-01_ses-1_T1w", "sub-01_ses-2_T1w", "sub-02_T1w", "sub-02_dseg"):
        (folder / f"{name}.nii.gz").touch()
    rows = ["t1w\tname", "sub-01_ses-1_T1w.nii.gz\tA 1", "sub-01_ses-2_T1w.nii.gz\ta/2", "sub-02_T1w.nii.gz\tB"]
    (folder / "cases.tsv").write_text("\n".join(rows))
    source = DataSource(kind="table", folder=Path("data/cases.tsv"))
    cases = read_cases(source, ("t1w",), tmp_path).cases
    assert [(case.subject, case.name) for case in cases] == [("sub-01", "A-1"), ("sub-01", "a-2"), ("sub-02", "B")]
    (folder / "cases.tsv").write_text("t1w\tlabel\nsub-01_ses-1_T1w.nii.gz\tsub-02_dseg.nii.gz\n")
    with pytest.raises(MedzooError, match="line 2 mixes sub-01 and sub-02"):
        read_cases(source, ("t1w",), tmp_path)
    (folder / "cases.tsv").write_text("t1w\tname\nsub-01_ses-1_T1w.nii.gz\ta b\nsub-02_T1w.nii.gz\tA/B\n")
    with pytest.raises(MedzooError, match=r"sub-01_ses-1.*sub-02_T1w.*both be the case A-B"):
        read_cases(source, ("t1w",), tmp_path)


def test_the_hippocampus_folder(data_dir: Path) -> None:
    source = DataSource(kind="msd", folder=Path("hippocampus"))
    found = read_cases(source, ("t1w",), data_dir)
    assert len(found.cases) == len({case.subject for case in found.cases}) == 195 and found.table is None
    assert all(case.reference is not None and case.reference.name == case.scans["t1w"].name for case in found.cases)
