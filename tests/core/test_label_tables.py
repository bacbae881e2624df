"""Built-in tables, declared mappings and label table files."""

import json

import numpy as np
import pytest

from napari_medzoo.errors import MedzooError
from napari_medzoo.label_tables import (
    LABEL_TABLES,
    MAPPINGS,
    convert,
    count_values,
    find_mapping,
    label_table,
    map_values,
    read_label_table,
    scheme_of,
    write_label_table,
)
from napari_medzoo.labels import LARGEST_TABLE, Label, LabelTable, Segmentation
from napari_medzoo.space import Grid


def labelled(values, scheme_or_table) -> Segmentation:
    data = np.asarray(values).reshape(-1, 1, 1)
    table = LABEL_TABLES[scheme_or_table] if isinstance(scheme_or_table, str) else scheme_or_table
    return Segmentation(data, Grid(data.shape, np.diag([10.0, 10, 10, 1])), table)


def values(segmentation: Segmentation) -> list[int]:
    return segmentation.data.ravel().tolist()


def test_aseg_has_freesurfers_names_and_colours():
    aseg = LABEL_TABLES["aseg"]
    assert aseg[10] == Label(10, "Left-Thalamus", (0, 118, 14))
    assert aseg[52].color == (13, 48, 255)
    assert aseg[24].name == "CSF"
    assert {30, 62, 31, 63, 72, 77, 78, 79, 80, 85, 251, 252, 253, 254, 255} <= set(aseg.indices)


def test_aseg_names_every_label_of_the_training_maps(data_dir):
    lines = (data_dir / "labelmaps" / "labels_table.txt").read_text().split("structures\n")[-1].splitlines()
    listed = {int(line.split()[0]) for line in lines if line.strip()}
    assert len(listed) == 33
    assert listed <= set(LABEL_TABLES["aseg"].indices)


def test_muse_names_every_label_of_a_real_map(data_dir):
    import nibabel as nib

    data = np.asarray(nib.load(data_dir / "structures" / "ixi012" / "dlmuse.nii.gz").dataobj)
    assert set(np.unique(data).tolist()) <= set(LABEL_TABLES["muse"].indices)


def test_names_of_sides_agree_with_the_mapping_from_muse_to_aseg():
    for index, target in MAPPINGS["muse", "aseg"].items():
        if target == 0 or index not in LABEL_TABLES["muse"]:
            continue
        ours, theirs = LABEL_TABLES["muse"][index].name.lower(), LABEL_TABLES["aseg"][target].name.lower()
        for side in ("left", "right"):
            if ours.startswith(side) or ours.endswith(side):
                assert theirs.startswith(side), (index, ours, theirs)


def test_every_mapping_ends_in_its_target_table():
    for (source, target), mapping in MAPPINGS.items():
        assert source in LABEL_TABLES
        assert set(mapping.values()) <= set(LABEL_TABLES[target].indices), (source, target)


@pytest.mark.parametrize(
    ("source", "target", "before", "after"),
    [
        ("aseg", "tissue", [0, 3, 42, 1035, 2001, 11175, 12101], [0, 2, 2, 2, 2, 2, 2]),
        ("aseg", "tissue", [10, 28, 60, 8, 47, 7, 46, 16], [2, 2, 2, 2, 2, 3, 3, 3]),
        ("aseg", "tissue", [2, 41, 77, 85, 251, 255, 30, 62], [3] * 8),
        ("aseg", "tissue", [4, 5, 14, 15, 24, 43, 44, 31, 63, 72], [1] * 10),
        ("aseg", "mrbrains", [3, 10, 2, 77, 24, 4, 8, 46, 16], [1, 2, 3, 4, 5, 6, 7, 7, 8]),
        ("mrbrains", "tissue", [1, 2, 3, 4, 5, 6, 7, 8, 9, 10], [2, 2, 3, 3, 1, 1, 0, 0, 0, 0]),
        ("muse", "aseg", [48, 47, 72, 84, 83, 95, 100, 101, 46], [17, 53, 8, 2, 41, 251, 42, 3, 0]),
        ("muse", "tissue", [48, 84, 52, 100, 35], [2, 3, 1, 2, 3]),
        ("muse", "mrbrains", [48, 60, 52, 38, 35], [1, 2, 6, 7, 8]),
        ("iseg", "tissue", [10, 150, 250], [1, 2, 3]),
        ("aseg", "aseg", [3, 1012, 2012, 17], [3, 3, 42, 17]),
        ("brats", "brats", [1, 2, 3, 4], [1, 2, 4, 4]),
    ],
)
def test_conversions_are_the_declared_ones(source, target, before, after):
    assert values(convert(labelled(before, source), target)) == after


def test_the_shortest_chain_is_taken_and_goes_one_way():
    assert find_mapping("muse", "tissue") == ("muse", "aseg", "tissue")
    assert find_mapping("tissue", "tissue") == ("tissue",)
    assert find_mapping("tissue", "aseg") == ()


def test_a_converted_table_holds_what_the_source_can_say():
    assert convert(labelled([3], "aseg"), "mrbrains").table.indices == (0, 1, 2, 3, 4, 5, 6, 7, 8)
    few = LABEL_TABLES["aseg"].subset([3, 2])
    converted = convert(labelled([3, 2], few), "tissue")
    assert converted.table.indices == (0, 2, 3)
    assert converted.table.name == "tissue"


def test_a_conversion_says_what_it_dropped():
    converted = convert(labelled([7, 7, 1], "mrbrains"), "tissue")
    assert converted.warnings == ("2.0 mL of cerebellum have no counterpart in 'tissue' and became background.",)
    assert convert(labelled([1, 3], "mrbrains"), "tissue").warnings == ()


def test_undeclared_conversions_are_refused_with_what_is_possible():
    with pytest.raises(MedzooError, match="'mrbrains' can become tissue"):
        convert(labelled([1], "mrbrains"), "aseg")
    with pytest.raises(MedzooError, match="no label scheme 'nonsense'"):
        convert(labelled([1], "mrbrains"), "nonsense")


def test_values_outside_the_table_are_refused_and_listed():
    with pytest.raises(MedzooError, match=r"'tissue' does not name: 4, 77"):
        convert(labelled([1, 4, 77], "tissue"), "tissue")


def test_a_renamed_table_is_recognised_by_its_names():
    renamed = LabelTable(
        "sub-01", tuple(Label(i, n, (9, 9, 9)) for i, n in ((17, "left hippocampus"), (10, "Left_Thalamus")))
    )
    assert scheme_of(renamed) == "aseg"
    assert scheme_of(LabelTable("tissue", (Label(1, "tumour", (9, 9, 9)),))) == "tissue"
    assert scheme_of(LabelTable("own", (Label(1, "tumour", (9, 9, 9)),))) == "own"
    assert values(convert(labelled([17], renamed), "tissue")) == [2]


def test_replacing_values_agrees_with_a_loop():
    data = np.random.default_rng(0).integers(0, 3000, (5, 6, 7)).astype(np.int32)
    mapping = {int(value): int(value) % 300 + 1 for value in np.unique(data)[::2]}
    expected = [mapping.get(value, 0) if value else 0 for value in data.ravel().tolist()]
    result = map_values(data, mapping)
    assert result.ravel().tolist() == expected
    assert result.dtype == np.uint16
    assert map_values(data + 10_000_000, {}).dtype == np.uint8
    assert map_values(np.array([[[-5, 4]]]), {-5: 2, 4: 3}).tolist() == [[[2, 3]]]


@pytest.mark.parametrize("offset", [0, -3, 5_000_000])
def test_counting_agrees_with_unique(offset):
    data = np.random.default_rng(1).integers(0, 9, (4, 5, 6)) + offset
    found, counts = np.unique(data, return_counts=True)
    assert count_values(data) == (found.tolist(), counts.tolist())


@pytest.mark.parametrize("largest", [3, 40_000, LARGEST_TABLE])
@pytest.mark.parametrize("shape", [(70, 61, 50), (130, 127, 3)])
def test_counting_part_by_part_forgets_no_part(shape, largest):
    """More voxels than are counted at once, the last part shorter than the others."""
    data = np.random.default_rng(2).integers(0, 4, shape)[:, ::-1]
    data[-1, -1, -1] = data[0, 0, 0] = largest
    found, counts = np.unique(data, return_counts=True)
    assert count_values(data) == (found.tolist(), counts.tolist())


MADE = LabelTable(
    "made",
    (Label(0, "background", (0, 0, 0)), Label(3, "grey-matter", (205, 62, 78)), Label(12, "vessel", (1, 2, 255))),
)


@pytest.mark.parametrize("name", ["made_dseg.tsv", "made.txt", "made.label", "made.json", "made.lut"])
def test_tables_survive_writing_and_reading(tmp_path, name):
    path = write_label_table(MADE, tmp_path / name)
    read = read_label_table(path)
    assert read.name == "made"
    assert [(label.index, label.name) for label in read] == [(label.index, label.name) for label in MADE]
    if not name.endswith(".json"):  # nnU-Net's file has no colours
        assert read == MADE
    assert list(tmp_path.iterdir()) == [path]


def test_built_in_tables_survive_a_dseg(tmp_path):
    for table in LABEL_TABLES.values():
        path = write_label_table(table, tmp_path / "x_dseg.tsv")
        assert read_label_table(path).labels == table.labels
        assert scheme_of(read_label_table(path)) == table.name


def test_writing_to_a_dataset_json_keeps_its_other_keys(tmp_path):
    path = tmp_path / "dataset.json"
    path.write_text(json.dumps({"channel_names": {"0": "T1"}, "labels": {"background": 0, "old": 1}}))
    write_label_table(MADE, path)
    content = json.loads(path.read_text())
    assert content["channel_names"] == {"0": "T1"}
    assert content["labels"] == {"background": 0, "grey-matter": 3, "vessel": 12}


def read_text(tmp_path, name: str, text: str) -> LabelTable:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return read_label_table(path)


def test_freesurfers_own_form_is_read(tmp_path):
    table = read_text(
        tmp_path,
        "lut.txt",
        "#$Id: FreeSurferColorLUT.txt\n#No. Label Name:  R   G   B   A\n\n0   Unknown   0   0   0   0\n"
        "17  Left-Hippocampus                        220 216 20  0\n251 CC_Posterior 0 0 64 0\n",
    )
    assert table[17] == Label(17, "Left-Hippocampus", (220, 216, 20))
    assert table[0].name == "Unknown"


def test_itksnaps_own_form_is_read(tmp_path):
    table = read_text(
        tmp_path,
        "snap.txt",
        '################\n# ITK-SnAP Label Description File\n    0     0    0    0        0  0  0    "Clear Label"\n'
        '    1   255    0    0        1  1  1    "grey matter (left)"\n    2     0  255    0      0.5  1  1    "WM"\n',
    )
    assert table[1] == Label(1, "grey matter (left)", (255, 0, 0))
    assert table[2].name == "WM"


def test_a_dseg_without_colours_and_with_other_columns_is_read(tmp_path):
    table = read_text(
        tmp_path, "sub-1_dseg.tsv", "index\tname\tabbreviation\tcolor\n1\tGrey Matter\tGM\tn/a\n2\tWhite\tWM\t#ff53bb\n"
    )
    assert table.name == "sub-1"
    assert table[2].color == (255, 0x53, 0xBB)
    assert table[1].name == "Grey Matter"
    assert table[1].color != (0, 0, 0)


def test_a_comma_separated_table_with_a_byte_order_mark_is_read(tmp_path):
    assert read_text(tmp_path, "t.csv", "\ufeffindex,name\n5,thalamus\n")[5].name == "thalamus"


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ({"0": "background", "1": "Anterior", "2": "Posterior"}, {0: "background", 1: "Anterior", 2: "Posterior"}),
        ({"background": 0, "CSF": 1, "GM": "2"}, {0: "background", 1: "CSF", 2: "GM"}),
        (
            {"background": 0, "whole tumor": [1, 2, 3], "core": [2, 3], "enhancing": [3]},
            {0: "background", 1: "whole tumor", 2: "core", 3: "enhancing"},
        ),
        ({"background": 0, "all": [1, 2]}, {0: "background", 1: "all", 2: "all (2)"}),
    ],
)
def test_both_forms_of_dataset_json_are_read(tmp_path, labels, expected):
    table = read_text(tmp_path, "dataset.json", json.dumps({"labels": labels}))
    assert {label.index: label.name for label in table} == expected
    assert table.name == tmp_path.name


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("a.tsv", "number\tname\n1\tx\n", "no column 'index'"),
        ("a.tsv", "index\tname\n1.5\tx\n", "line 2"),
        ("a.tsv", "index\tname\tcolor\n1\tx\tred\n", "#rrggbb"),
        ("a.tsv", "index\tname\n1\tx\n1\ty\n", "index 1 twice"),
        ("a.tsv", "", "no column"),
        ("a.txt", "", "names no label"),
        ("a.txt", "hello world\n", "line 1 reads 'hello world'"),
        ("a.txt", "1 CSF 300 0 0 0\n", "beyond 255"),
        ("a.json", "{", "not JSON"),
        ("a.json", "[1]", "no 'labels'"),
        ("a.json", '{"labels": {"a": 1.5}}', "label 'a'"),
        ("a.json", '{"labels": {"a": true}}', "label 'a'"),
    ],
)
def test_a_damaged_file_gets_one_sentence_with_its_name(tmp_path, name, text, reason):
    with pytest.raises(MedzooError, match=reason) as caught:
        read_text(tmp_path, name, text)
    assert str(tmp_path / name) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_text_is_refused(tmp_path):
    (tmp_path / "a.tsv").write_bytes(b"\x1f\x8b\xff\xfe\x00")
    with pytest.raises(MedzooError, match="not text"):
        read_label_table(tmp_path / "a.tsv")
    with pytest.raises(MedzooError, match="cannot be read"):
        read_label_table(tmp_path / "absent.tsv")


def test_a_table_is_found_by_scheme_or_path(tmp_path):
    assert label_table("tissue") is LABEL_TABLES["tissue"]
    path = write_label_table(MADE, tmp_path / "made.tsv")
    assert label_table(str(path)) == MADE
    with pytest.raises(MedzooError, match="no label table 'asegg'; choose one of aseg"):
        label_table("asegg")


def test_an_extension_without_a_form_is_refused(tmp_path):
    with pytest.raises(MedzooError, match=r"ending in \.tsv"):
        write_label_table(MADE, tmp_path / "made.xlsx")
    with pytest.raises(MedzooError, match="cannot be written"):
        write_label_table(MADE, tmp_path / "absent" / "made.tsv")
    assert list(tmp_path.iterdir()) == []
