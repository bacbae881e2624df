"""Pictures the right way up and the HTML report."""

import base64
import io
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from napari_medzoo.errors import MedzooError
from napari_medzoo.evaluate import comparable, evaluate
from napari_medzoo.label_tables import LABEL_TABLES, convert
from napari_medzoo.labels import Label, LabelTable, Segmentation
from napari_medzoo.pictures import PLANES, display, draw_overlay, png, side_by_side
from napari_medzoo.report import RESEARCH_ONLY, structures, write_report
from napari_medzoo.space import Grid
from napari_medzoo.study import Study, Volume

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)
TABLE = LabelTable("made", (Label(1, "right", RED), Label(2, "front", GREEN), Label(3, "top", BLUE)))


def marked(grid: Grid, index: int) -> tuple[Volume, Segmentation]:
    """A dark scan with one label filling the half of the world that it names (1 right, 2 front, 3 top)."""
    voxels = np.indices(grid.shape).reshape(3, -1).T
    coordinate = (grid.to_world(voxels) - grid.center_mm)[:, index - 1].reshape(grid.shape)
    labels = np.where(coordinate > 0, index, 0).astype(np.uint8)
    return Volume(np.full(grid.shape, 1, dtype=np.int16), grid, "t1w"), Segmentation(labels, grid, TABLE)


def where(picture, channel):
    """Centre of a colour in a picture, as fractions from the left and from the top."""
    others = [other for other in range(3) if other != channel]
    strength = picture[..., channel].astype(float) - picture[..., others].max(axis=-1)
    rows, columns = np.nonzero(strength > 50)
    return columns.mean() / picture.shape[1], rows.mean() / picture.shape[0]


@pytest.mark.parametrize(
    ("plane", "index", "place"),
    [
        ("axial", 1, "right"),
        ("axial", 2, "top"),
        ("coronal", 1, "right"),
        ("coronal", 3, "top"),
        ("sagittal", 2, "right"),
        ("sagittal", 3, "top"),
    ],
)
def test_pictures_are_the_same_way_up_on_every_grid(awkward_grids, plane, index, place):
    for name, grid in awkward_grids.items():
        volume, segmentation = marked(grid, index)
        middle = grid.reoriented("RAS").shape[PLANES[plane].through] // 2
        left, top = where(draw_overlay(volume, segmentation, plane, middle, height=120), index - 1)
        if place == "right":
            assert left > 0.65, name
            assert 0.3 < top < 0.7, name
        else:
            assert top < 0.35, name
            assert 0.3 < left < 0.7, name


def letter_at(picture, edge):
    """Whether there is a yellow letter at an edge."""
    height, width = picture.shape[:2]
    strip = {
        "left": picture[height // 3 : -height // 3, : width // 8],
        "right": picture[height // 3 : -height // 3, -width // 8 :],
    }[edge]
    return (strip.astype(int) @ (1, 1, -2) > 300).any()


def test_letters_stand_at_the_edges_and_say_left_on_the_left():
    volume, segmentation = marked(Grid((20, 20, 20), np.eye(4)), 1)
    picture = draw_overlay(volume, segmentation, "axial")
    assert letter_at(picture, "left")
    assert letter_at(picture, "right")
    assert PLANES["axial"].edges == ("L", "R", "A", "P")
    assert PLANES["sagittal"].edges == ("P", "A", "S", "I")


def test_a_pixel_is_as_wide_as_it_is_high_in_millimetres():
    grid = Grid((40, 30, 10), np.diag([1.0, 2.0, 6.0, 1]))
    volume, segmentation = marked(grid, 1)
    assert draw_overlay(volume, segmentation, "axial", height=120).shape == (120, 80, 3)
    assert draw_overlay(volume, segmentation, "coronal", height=120).shape == (120, 80, 3)
    assert draw_overlay(volume, segmentation, "sagittal", height=120).shape == (120, 120, 3)


def test_labels_colour_the_scan_and_can_be_left_out():
    grid = Grid((16, 16, 16), np.eye(4))
    volume, segmentation = marked(grid, 1)
    with_labels, without = (draw_overlay(volume, segmentation, labels=on) for on in (True, False))
    right = np.s_[60:120, 240:280]  # away from the letters
    assert (with_labels[right][..., 0] >= with_labels[right][..., 1]).all()
    assert not np.array_equal(with_labels[right], without[right])
    assert (np.ptp(without[right], axis=-1) == 0).all()


def test_the_slice_goes_through_the_labels_and_others_can_be_asked_for():
    grid = Grid((30, 30, 30), np.eye(4))
    labels = np.zeros(grid.shape, dtype=np.uint8)
    labels[2:6, 20:26, 8:11] = 1
    volume = Volume(np.ones(grid.shape, dtype=np.uint8), grid)
    shown = display(volume, Segmentation(labels, grid, TABLE))
    assert shown.center() == (4, 22, 9)
    assert shown.slices("coronal", 1) == [22]
    assert shown.slices("axial", 3) == [8, 9, 10]
    empty = display(volume, Segmentation(np.zeros_like(labels), grid, TABLE))
    assert empty.center() == (14, 14, 14)
    with pytest.raises(MedzooError, match="run from 0 to 29"):
        draw_overlay(volume, Segmentation(labels, grid, TABLE), position=30)
    with pytest.raises(MedzooError, match="no plane 'transverse'"):
        draw_overlay(volume, Segmentation(labels, grid, TABLE), plane="transverse")


def test_constant_and_negative_scans_can_be_drawn():
    grid = Grid((8, 8, 8), np.eye(4))
    labels = Segmentation(np.zeros(grid.shape, dtype=np.uint8), grid, TABLE)
    for data in (np.zeros(grid.shape), np.full(grid.shape, -7.0), np.linspace(-1000, 3000, 512).reshape(grid.shape)):
        assert draw_overlay(Volume(data, grid), labels).shape[0] == 320


def test_a_png_and_a_row_of_pictures():
    from PIL import Image

    tall, wide = np.full((40, 10, 3), 200, np.uint8), np.full((20, 30, 3), 100, np.uint8)
    row = np.asarray(Image.open(io.BytesIO(png(side_by_side([tall, wide], gap=4)))))
    assert row.shape == (40, 44, 3)
    assert row[20, 5, 0] == 200
    assert row[20, 30, 0] == 100
    assert row[2, 30, 0] == 0


def test_sides_are_joined_by_name():
    names = [pair.name for pair in structures(LABEL_TABLES["aseg"].subset([4, 43, 14, 10, 30]))]
    assert names == ["Lateral-Ventricle", "Left-Thalamus", "3rd-Ventricle", "Left-vessel"]
    muse = structures(LABEL_TABLES["muse"].subset([81, 82, 47, 48]))
    assert [(pair.name, pair.left.index, pair.right.index) for pair in muse] == [
        ("Hippocampus", 48, 47),
        ("frontal lobe WM", 82, 81),
    ]
    assert all(pair.right is None for pair in structures(LABEL_TABLES["tissue"]))


class Checked(HTMLParser):
    """Fails on tags that are not closed in order; collects text, tags and addresses."""

    def __init__(self, page):
        super().__init__()
        self.open, self.text, self.tags, self.addresses = [], [], [], []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.addresses += [value for key, value in attributes if key in ("src", "href")]
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def made_study(grid):
    rng = np.random.default_rng(0)
    volume = Volume(rng.integers(1, 200, grid.shape).astype(np.int16), grid, "t1w", warnings=("2 voxels were NaN.",))
    labels = rng.choice([0, 2, 3, 17, 53], grid.shape).astype(np.uint8)
    table = LABEL_TABLES["aseg"].subset([2, 3, 17, 53, 16])
    provenance = {"model": "structures", "plan": {"device": "cpu"}, "note": "a < b & c"}
    segmentation = Segmentation(labels, grid, table, provenance, ("<script>alert(1)</script>",))
    return Study({"t1w": volume}, "case <7>", {"t1w": "named so by its file"}), segmentation


def test_the_report_holds_everything_and_needs_nothing_else(tmp_path, awkward_grids):
    for grid in (awkward_grids["anisotropic"], awkward_grids["awkward"]):
        study, segmentation = made_study(grid)
        evaluation = evaluate(*comparable(convert(segmentation, "tissue"), segmentation))
        path = write_report(tmp_path / "report.html", study, segmentation, evaluation, reference=segmentation)
        page = path.read_text(encoding="utf-8")
        parsed = Checked(page)
        text = " ".join(parsed.text)
        assert text.count(RESEARCH_ONLY) == 2
        assert RESEARCH_ONLY == "Research use only, not for diagnosis."
        for expected in ("case <7>", "2 voxels were NaN.", "alert(1)", "Hippocampus", "Without a voxel: Brain-Stem",
                         "GM", "structures", "a < b & c", "named so by its file", "left is on the left"):  # fmt: skip
            assert expected in text, expected
        assert "script" not in parsed.tags
        assert parsed.addresses
        assert all(address.startswith("data:image/png;base64,") for address in parsed.addresses)
        for address in parsed.addresses:
            assert base64.b64decode(address.split(",")[1]).startswith(b"\x89PNG")
        assert list(tmp_path.iterdir()) == [path]


def test_volumes_and_asymmetry_in_the_report(tmp_path):
    grid = Grid((10, 10, 10), np.diag([10.0, 10, 1, 1]))  # voxels of 0.1 mL
    labels = np.zeros(grid.shape, dtype=np.uint8)
    labels[:3, 0, :10] = 17
    labels[:1, 1, :10] = 53
    segmentation = Segmentation(labels, grid, LABEL_TABLES["aseg"].subset([17, 53]))
    study = Study({"t1w": Volume(labels, grid, "t1w")})
    page = write_report(tmp_path / "r.html", study, segmentation).read_text(encoding="utf-8")
    row = re.search(r"Hippocampus</td>(.*?)</tr>", page)
    assert re.findall(r"<td>(.*?)</td>", row[1]) == ["3.00", "1.00", "4.00", "+100.0 %"]
    assert "#dcd814" in page
    assert "Scores" not in page


def test_a_report_needs_a_scan_on_the_labels_grid(tmp_path):
    study, segmentation = made_study(Grid((6, 7, 8), np.eye(4)))
    elsewhere = replace(segmentation, grid=Grid((6, 7, 8), np.diag([2.0, 2, 2, 1])))
    with pytest.raises(MedzooError, match="none of the study's volumes"):
        write_report(tmp_path / "r.html", study, elsewhere)
    assert list(tmp_path.iterdir()) == []


def test_a_real_scan_has_left_on_the_left(data_dir, tmp_path):
    import nibabel as nib

    folder = data_dir / "structures" / "ixi012"
    scan, labels = nib.load(folder / "T1w.nii.gz"), nib.load(folder / "dlmuse.nii.gz")
    grid = Grid(scan.shape, scan.affine)
    volume = Volume(np.asarray(scan.dataobj), grid, "t1w")
    muse = Segmentation(np.asarray(labels.dataobj), grid, LABEL_TABLES["muse"])
    table = LabelTable(
        "sides", (Label(1, "left caudate", RED), Label(2, "right caudate", GREEN), Label(3, "eyes", BLUE))
    )
    sides = np.select([muse.data == 37, muse.data == 36], [1, 2], 0).astype(np.uint8)
    picture = draw_overlay(volume, Segmentation(sides, grid, table), "axial")
    assert where(picture, 0)[0] < where(picture, 1)[0]
    path = write_report(tmp_path / "r.html", Study({"t1w": volume}), convert(muse, "aseg"))
    assert "Thalamus" in path.read_text(encoding="utf-8")
