"""A patient's scans are put together from files and folders of every usual layout."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from napari_medzoo.errors import MedzooError
from napari_medzoo.io import LEFT_OUT, find_scans, load_study, looks_like_labels, read_segmentation, write_volume
from napari_medzoo.label_tables import LABEL_TABLES, write_label_table
from napari_medzoo.labels import BACKGROUND, Label, LabelTable
from napari_medzoo.space import Grid
from napari_medzoo.study import Study, Volume

GRID = Grid((11, 9, 7), np.diag([-0.9, 1.25, 3.0, 1.0]))


def put(folder: Path, *names: str) -> list[Path]:
    """Write a scan (or, where the name says so, a label map) under each name; every file has voxels of its own."""
    paths = []
    for number, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        data = np.random.default_rng(number).integers(0, 900, GRID.shape).astype(np.int16)
        if any(word in name for word in ("seg", "label", "mask")):
            data = blocks()
        paths.append(write_volume(Volume(data, GRID), path))
    return paths


def blocks(*values: int) -> np.ndarray:
    """A label map of blocks of the values (1, 2, 3 where none are given)."""
    values = values or (1, 2, 3)
    data = np.zeros(GRID.shape, np.int16)
    layers = np.array_split(np.arange(GRID.shape[0])[1:], len(values))
    for value, layer in zip(values, layers, strict=True):
        data[layer, 1:] = value
    return data


def files(study: Study) -> dict[str, str]:
    return {key: volume.file.path.name for key, volume in study.volumes.items() if volume.file}


LAYOUTS = {
    "BIDS": (
        "sub-01",
        ("anat/sub-01_T1w.nii.gz", "anat/sub-01_FLAIR.nii.gz", "anat/sub-01_dseg.nii.gz"),
        {"flair": "sub-01_FLAIR.nii.gz", "t1w": "sub-01_T1w.nii.gz"},
    ),
    "BIDS with a visit": (
        "sub-02",
        ("ses-1/anat/sub-02_ses-1_T1w.nii.gz", "ses-1/anat/sub-02_ses-1_ce-gd_T1w.nii.gz"),
        {"t1w": "sub-02_ses-1_T1w.nii.gz", "t1wgd": "sub-02_ses-1_ce-gd_T1w.nii.gz"},
    ),
    "BraTS": (
        "Brats18_A_1",
        tuple(f"Brats18_A_1_{name}.nii.gz" for name in ("t1", "t1ce", "t2", "flair", "seg")),
        {key: f"Brats18_A_1_{name}.nii.gz" for key, name in
         {"t1w": "t1", "t1wgd": "t1ce", "t2w": "t2", "flair": "flair"}.items()},
    ),
    "MRBrainS": (
        "14",
        ("segm.nii.gz", *(f"pre/{name}.nii.gz" for name in ("reg_T1", "reg_3DT1", "reg_IR", "FLAIR", "T1", "IR"))),
        {"t1w": "reg_T1.nii.gz", "ir": "reg_IR.nii.gz", "flair": "FLAIR.nii.gz"},
    ),
    "plain": (
        "patient",
        ("T1.nii.gz", "T2.mha", "wmh_mask.nii.gz"),
        {"t1w": "T1.nii.gz", "t2w": "T2.mha"},
    ),
    "FreeSurfer": ("bert", ("mri/orig.mgz", "mri/aseg.mgz"), {"t1w": "orig.mgz"}),
}  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(layout: str, tmp_path: Path) -> None:
    name, content, expected = LAYOUTS[layout]
    put(tmp_path / name, *content)
    study = load_study(tmp_path / name)
    assert files(study) == expected
    assert study.name == name
    for modality, file in expected.items():
        assert study.volumes[modality].modality == modality
        assert study.reasons[modality].startswith(f"{file} is named ")


def test_label_maps_are_left_out_and_said_so(tmp_path: Path) -> None:
    put(tmp_path, "T1w.nii.gz", "seg.nii.gz", "scan.nii.gz")
    write_volume(Volume(blocks(), GRID), tmp_path / "fusion.nii.gz")
    study = load_study(tmp_path)
    assert files(study) == {"t1w": "T1w.nii.gz"}
    said = study.reasons[LEFT_OUT]
    assert "seg.nii.gz left out: named a label map by 'seg'" in said
    assert "fusion.nii.gz left out: its voxels look like labels" in said
    assert "scan.nii.gz left out: its name says no modality" in said


def test_iseg_pairs_are_one_scan_each(tmp_path: Path) -> None:
    put(tmp_path, "subject-9-T1.hdr", "subject-9-T2.hdr", "subject-9-label.hdr", "subject-10-T1.hdr")
    assert [path.name for path in find_scans(tmp_path)] == [
        "subject-9-label.hdr",
        "subject-9-T1.hdr",
        "subject-9-T2.hdr",
        "subject-10-T1.hdr",
    ]
    both = [tmp_path / f"subject-9-{name}" for name in ("T1.hdr", "T1.img", "T2.img")]
    study = load_study(both)
    assert files(study) == {"t1w": "subject-9-T1.hdr", "t2w": "subject-9-T2.hdr"}
    assert study.name == "subject-9"


def test_two_files_of_one_modality_name_both_and_the_option(tmp_path: Path) -> None:
    one, other = put(tmp_path, "subject-1-T1.hdr", "subject-2-T1.hdr")
    with pytest.raises(MedzooError) as caught:
        load_study(tmp_path)
    assert str(caught.value) == (
        f"{one} and {other} are all named T1w, expected one; say which to use with --t1w FILE."
    )


def test_what_is_said_wins_over_what_is_guessed(tmp_path: Path) -> None:
    one, other, odd = put(tmp_path, "subject-1-T1.hdr", "subject-2-T1.hdr", "subject-1-T2.hdr")
    study = load_study(tmp_path, {"t1w": other})
    assert files(study) == {"t1w": other.name, "t2w": odd.name}
    assert study.reasons["t1w"] == "subject-2-T1.hdr was given as T1w"
    assert "subject-1-T1.hdr left out: another file was given as T1w" in study.reasons[LEFT_OUT]
    study = load_study([], {"flair": odd})  # against its name, even
    assert files(study) == {"flair": odd.name}
    assert study["flair"].modality == "flair"
    assert files(load_study([one, odd], {"pdw": odd})) == {"pdw": odd.name, "t1w": one.name}
    with pytest.raises(MedzooError, match="unknown modality 't3w'; choose one of t1w, t2w, flair, pdw, t1wgd, ir"):
        load_study([], {"t3w": odd})


def test_a_single_scan_may_have_any_name(tmp_path: Path) -> None:
    (path,) = put(tmp_path, "exam 7.nii.gz")
    for paths in (path, [path], tmp_path, str(path)):
        study = load_study(paths)
        assert study.modalities == ("unknown",)
        assert study.reasons["unknown"] == (
            "exam 7.nii.gz is taken as a scan of unknown contrast: its name says no modality"
        )
    assert load_study(path).name == "exam 7"


def test_several_scans_need_names(tmp_path: Path) -> None:
    first, _, third = put(tmp_path, "a.nii.gz", "b.nii.gz", "T1.nii.gz")
    sentence = r"a\.nii\.gz: its name says no modality \(and 1 more like it\); say what it is with one of --t1w"
    (tmp_path / "T1.nii.gz").rename(tmp_path.parent / "T1.nii.gz")
    with pytest.raises(MedzooError, match=sentence):
        load_study(tmp_path)
    with pytest.raises(MedzooError, match=r"a\.nii\.gz: its name says no modality; say what it is"):
        load_study([first, tmp_path.parent / third.name])


def test_nothing_to_read(tmp_path: Path) -> None:
    with pytest.raises(MedzooError, match=r"holds no scans; choose scans of \.nii\.gz"):
        load_study(tmp_path)
    with pytest.raises(MedzooError, match="No scans were given"):
        load_study([])
    with pytest.raises(MedzooError, match="nowhere: there is no such file or folder"):
        load_study(tmp_path / "nowhere")
    (tmp_path / "notes.docx").write_bytes(b"PK")
    with pytest.raises(MedzooError, match=r"notes\.docx: unknown kind of file; choose one of \.nii\.gz"):
        load_study([tmp_path / "notes.docx"])
    put(tmp_path, "seg.nii.gz")
    with pytest.raises(MedzooError, match=r"holds no scan but 1 label map\(s\) \(seg\.nii\.gz is named a label map"):
        load_study(tmp_path)
    (tmp_path / "T1.nii.gz").write_bytes(b"\x1f\x8bgarbage")
    with pytest.raises(MedzooError, match=r"T1\.nii\.gz: the gzip compression is damaged"):
        load_study(tmp_path)


def test_several_visits_are_one_too_many(tmp_path: Path) -> None:
    put(tmp_path / "sub-01", "ses-1/anat/sub-01_ses-1_T1w.nii.gz", "ses-2/anat/sub-01_ses-2_T1w.nii.gz")
    with pytest.raises(MedzooError, match=r"sub-01: holds several visits \(ses-1, ses-2\), expected one"):
        load_study(tmp_path / "sub-01")
    assert load_study(tmp_path / "sub-01" / "ses-2").modalities == ("t1w",)


def test_content_tells_labels_from_scans(tmp_path: Path) -> None:
    scan = np.random.default_rng(0).integers(0, 255, GRID.shape).astype(np.uint8)
    for data, labels in [(blocks(), True), (scan, False), (blocks() * 0.5, False), (blocks() - 5, False)]:
        path = write_volume(Volume(data, GRID), tmp_path / "a.nii.gz", overwrite=True)
        assert looks_like_labels(path) is labels
        assert looks_like_labels(Volume(data, GRID)) is labels
    assert looks_like_labels(write_volume(Volume(blocks().astype(np.float32), GRID), tmp_path / "b.nii.gz"))


def test_a_table_beside_the_labels_is_read(tmp_path: Path) -> None:
    (path,) = put(tmp_path, "sub-01_dseg.nii.gz")
    table = LabelTable("mine", (BACKGROUND, *(Label(i, f"region {i}", (i, 2 * i, 200)) for i in (1, 2, 3))))
    write_label_table(table, tmp_path / "sub-01_dseg.tsv")
    segmentation = read_segmentation(path)
    assert [label.name for label in segmentation.table.foreground] == ["region 1", "region 2", "region 3"]
    assert segmentation.table[2].color == (2, 4, 200)
    np.testing.assert_array_equal(segmentation.data, blocks())
    assert segmentation.data.dtype == np.uint8
    # What is said wins over what lies beside.
    assert read_segmentation(path, LABEL_TABLES["tissue"]).table is LABEL_TABLES["tissue"]


def test_an_nnunet_data_set_names_its_labels(tmp_path: Path) -> None:
    path = tmp_path / "labelsTr" / "case_001.nii.gz"
    path.parent.mkdir()
    write_volume(Volume(blocks(1, 2), GRID), path)
    (tmp_path / "dataset.json").write_text('{"labels": {"background": 0, "anterior": 1, "posterior": 2}}')
    assert [label.name for label in read_segmentation(path).table.foreground] == ["anterior", "posterior"]


@pytest.mark.parametrize(
    ("name", "values", "expected"),
    [
        ("aseg.nii.gz", (2, 3, 41, 42), "aseg"),
        ("x_dlmuse.nii.gz", (47, 48, 100), "muse"),
        ("seg.nii.gz", (2, 3, 41, 42, 10, 11, 12, 49), "aseg"),
        ("label.nii.gz", (10, 150, 250), "iseg"),
        ("seg.nii.gz", (1, 2, 3), None),
        ("seg.nii.gz", (1, 2, 3, 4, 5, 6, 7, 8), None),
        ("aseg.nii.gz", (2, 3, 777), None),
        ("seg.nii.gz", (5, 9), None),
    ],
)
def test_guessing_a_built_in_table(name: str, values: tuple[int, ...], expected: str | None, tmp_path: Path) -> None:
    segmentation = read_segmentation(write_volume(Volume(blocks(*values), GRID), tmp_path / name))
    if expected:
        assert segmentation.table is LABEL_TABLES[expected]
    else:
        assert [label.name for label in segmentation.table.foreground] == [f"label {v}" for v in sorted(values)]
        assert len({label.color for label in segmentation.table.foreground}) == len(values)
    assert not segmentation.unknown_indices()


def test_values_outside_the_table_are_kept_and_said(tmp_path: Path) -> None:
    path = write_volume(Volume(blocks(1, 2, 77), GRID), tmp_path / "seg.nii.gz")
    segmentation = read_segmentation(path, LABEL_TABLES["tissue"])
    assert segmentation.warnings == ("table 'tissue' does not name 77",)
    assert segmentation.unknown_indices() == (77,)


def test_labels_stored_as_floats(tmp_path: Path) -> None:
    path = write_volume(Volume(blocks(1, 2, 300).astype(np.float32), GRID), tmp_path / "seg.nii.gz")
    segmentation = read_segmentation(path)
    assert segmentation.data.dtype == np.uint16
    np.testing.assert_array_equal(segmentation.data, blocks(1, 2, 300))
    write_volume(Volume(blocks() * 0.25, GRID), path, overwrite=True)
    with pytest.raises(MedzooError, match=r"seg\.nii\.gz: holds fractions \(0\.25\), labels are whole numbers"):
        read_segmentation(path)
    write_volume(Volume(blocks() - 2, GRID), path, overwrite=True)
    with pytest.raises(MedzooError, match=r"seg\.nii\.gz: holds the label -2, labels are 0 or more"):
        read_segmentation(path)


def test_relative_paths_and_spellings_are_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (path,) = put(tmp_path, "T1.nii.gz")
    monkeypatch.chdir(tmp_path)
    assert load_study([path, "T1.nii.gz", Path("./T1.nii.gz")]).modalities == ("t1w",)
    assert load_study(".").name == tmp_path.name
    assert nib.load("T1.nii.gz").shape == GRID.shape
