"""Which files make one case."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from napari_medzoo.cli.cases import find_cases, read_cases
from napari_medzoo.errors import MedzooError


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def found(root: Path) -> dict[str, list[str]]:
    return {case.name: [scan.name for scan in case.scans] for case in find_cases([root], root / "out")}


def test_scans_that_differ_in_the_modality_alone_are_one_case(tmp_path: Path) -> None:
    touch(tmp_path, "sub-10_T1w.nii.gz", "sub-9_T1w.nii.gz", "sub-9_FLAIR.nii.gz", "sub-9_dseg.nii.gz", "notes.txt")
    assert found(tmp_path) == {"sub-9": ["sub-9_FLAIR.nii.gz", "sub-9_T1w.nii.gz"], "sub-10": ["sub-10_T1w.nii.gz"]}
    assert list(found(tmp_path)) == ["sub-9", "sub-10"], "in the order of numbers"


def test_subfolders_are_searched(tmp_path: Path) -> None:
    touch(tmp_path, "sub-1/ses-1/anat/sub-1_ses-1_T1w.nii.gz", "sub-1/ses-2/anat/sub-1_ses-2_T1w.nii.gz")
    assert found(tmp_path) == {"sub-1_ses-1": ["sub-1_ses-1_T1w.nii.gz"], "sub-1_ses-2": ["sub-1_ses-2_T1w.nii.gz"]}


def test_a_folder_names_the_case_where_the_files_do_not(tmp_path: Path) -> None:
    touch(tmp_path, *(f"{case}/pre/{name}.nii.gz" for case in ("1", "14") for name in ("reg_T1", "FLAIR", "T1")))
    assert found(tmp_path) == {f"{case}_pre": ["FLAIR.nii.gz", "T1.nii.gz", "reg_T1.nii.gz"] for case in ("1", "14")}


def test_the_same_name_in_two_folders_gives_two_outputs(tmp_path: Path) -> None:
    touch(tmp_path, "before/anna_T1.nii.gz", "after/anna_T1.nii.gz")
    assert sorted(found(tmp_path)) == ["after_anna", "before_anna"]


def test_scans_of_unknown_contrast_are_cases_of_their_own(tmp_path: Path) -> None:
    touch(tmp_path, "a.nii.gz", "b.mgz")
    assert found(tmp_path) == {"a": ["a.nii.gz"], "b": ["b.mgz"]}
    outputs = [case.output.name for case in find_cases([tmp_path / "a.nii.gz", tmp_path / "b.mgz"], tmp_path)]
    assert outputs == ["a_dseg.nii.gz", "b_dseg.nii.gz"]


def test_label_maps_are_left_out_whatever_their_name(tmp_path: Path) -> None:
    labels = np.zeros((6, 6, 6), np.uint8)
    labels[1:5, 1:5, 1:5] = 3
    nib.save(nib.Nifti1Image(labels, np.eye(4)), tmp_path / "consensus.nii.gz")
    touch(tmp_path, "anna_T1.nii.gz", "anna_lesions.nii.gz")
    assert found(tmp_path) == {"anna": ["anna_T1.nii.gz"]}


def test_an_empty_folder_and_a_missing_one_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MedzooError, match="no scans were found"):
        find_cases([tmp_path], tmp_path)
    with pytest.raises(MedzooError, match="there is no such file or folder"):
        find_cases([tmp_path / "nowhere"], tmp_path)


def write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


@pytest.mark.parametrize("mark", [",", ";", "\t"])
def test_a_table_has_one_row_per_case(tmp_path: Path, mark: str) -> None:
    rows = ("case,T1w,FLAIR,age,output", "anna,a/t1.nii.gz,a/f.nii.gz,41,anna.mgz", ",b/t1.nii.gz,,,")
    table = write(tmp_path / "cases.csv", *(row.replace(",", mark) for row in rows))
    anna, other = read_cases(table, Path("out"))
    assert anna.modalities == {"t1w": tmp_path / "a/t1.nii.gz", "flair": tmp_path / "a/f.nii.gz"}
    assert (anna.name, anna.output) == ("anna", Path("out/anna.mgz"))
    assert (other.name, other.output, set(other.modalities)) == ("t1", Path("out/t1_dseg.nii.gz"), {"t1w"})


def test_a_scan_column_takes_any_contrast(tmp_path: Path) -> None:
    (case,) = read_cases(write(tmp_path / "cases.tsv", "scan", "x.nrrd"), Path("out"))
    assert case.scans == (tmp_path / "x.nrrd",)


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        (["name,age", "anna,41"], "expected a heading"),
        (["t1w"], "expected a heading"),
        ([], "expected a heading"),
        (["case,t1w", "anna,"], "line 2: no scan is named"),
        (["t1w,output", "a.nii,x.nii.gz", "b.nii,x.nii.gz"], "line 3: x.nii.gz is already the output of case 'a'"),
        (["t1w,output", "a.nii,x.png"], "line 2: output 'x.png' must end in an image format"),
    ],
)
def test_a_wrong_table_is_refused_in_one_sentence(tmp_path: Path, lines: list[str], sentence: str) -> None:
    with pytest.raises(MedzooError, match=sentence):
        read_cases(write(tmp_path / "cases.csv", *lines), Path("out"))
