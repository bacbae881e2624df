"""Scores against brute force and by hand, absent labels, and what is refused."""

import csv
import io
import json
import math
import time

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from napari_medzoo.errors import MedzooError
from napari_medzoo.evaluate import METRICS, LabelScore, confusion, evaluate
from napari_medzoo.label_tables import LABEL_TABLES
from napari_medzoo.labels import Label, LabelTable, Segmentation
from napari_medzoo.space import Grid
from napari_medzoo.surfaces import boundary

TABLE = LabelTable("made", (Label(2, "two", (1, 1, 1)), Label(5, "five", (2, 2, 2)), Label(9, "nine", (3, 3, 3))))


def segmentation(data, affine=None, table=TABLE) -> Segmentation:
    data = np.asarray(data, dtype=np.uint8)
    return Segmentation(data, Grid(data.shape, np.eye(4) if affine is None else affine), table)


def box(shape, start, size, index=2):
    data = np.zeros(shape, dtype=np.uint8)
    data[tuple(slice(first, first + length) for first, length in zip(start, size, strict=True))] = index
    return data


def slow_boundary(mask):
    """Voxel by voxel, with the definition in words."""
    points = []
    for point in np.argwhere(mask):
        for axis in range(3):
            for step in (-1, 1):
                other = point.copy()
                other[axis] += step
                inside = 0 <= other[axis] < mask.shape[axis] and mask[tuple(other)]
                if not inside:
                    points.append(tuple(point))
    return sorted(set(points))


def slow_scores(ours, theirs, grid, tolerance):
    """Surface figures from all pairs of boundary voxels in world millimetres."""
    first, second = (grid.to_world(slow_boundary(mask)) for mask in (ours, theirs))
    distances = cdist(first, second)
    to_reference, to_prediction = distances.min(axis=1), distances.min(axis=0)
    everything = np.concatenate([to_reference, to_prediction])
    return {
        "dice": 2 * (ours & theirs).sum() / (ours.sum() + theirs.sum()),
        "hd95_mm": max(np.percentile(to_reference, 95), np.percentile(to_prediction, 95)),
        "assd_mm": everything.mean(),
        "nsd": (everything <= tolerance + 1e-6).mean(),
    }


def blobs(rng, shape):
    """Two random, mostly overlapping shapes that touch the edge now and then."""
    from scipy.ndimage import gaussian_filter

    field = gaussian_filter(rng.standard_normal(shape), 1.5)
    other = field + 0.4 * gaussian_filter(rng.standard_normal(shape), 1.5)
    return field > 0.03, other > 0.03


@pytest.mark.parametrize("seed", range(4))
def test_scores_agree_with_brute_force_on_every_grid(awkward_grids, seed):
    rng = np.random.default_rng(seed)
    for grid in awkward_grids.values():
        ours, theirs = blobs(rng, grid.shape)
        prediction = Segmentation((ours * 2).astype(np.uint8), grid, TABLE)
        reference = Segmentation((theirs * 2).astype(np.uint8), grid, TABLE)
        score = evaluate(prediction, reference, tolerance_mm=1.3).labels[0]
        for key, expected in slow_scores(ours, theirs, grid, 1.3).items():
            assert getattr(score, key) == pytest.approx(expected, rel=1e-4, abs=1e-4), key
        assert score.volume_ml == pytest.approx(ours.sum() * grid.voxel_volume_ml)
        assert score.reference_volume_ml == pytest.approx(theirs.sum() * grid.voxel_volume_ml)


def test_the_boundary_is_the_shell_and_counts_the_grids_edge():
    mask = np.zeros((6, 6, 6), dtype=bool)
    mask[1:5, 1:5, 1:5] = True
    assert boundary(mask).sum() == 4**3 - 2**3
    assert boundary(np.ones((4, 4, 4), dtype=bool)).sum() == 4**3 - 2**3
    rng = np.random.default_rng(0)
    mask = rng.random((5, 6, 7)) > 0.2
    assert sorted(map(tuple, np.argwhere(boundary(mask)))) == slow_boundary(mask)


@pytest.mark.parametrize(("axis", "spacing", "shift"), [(0, (1, 1, 1), 2), (2, (1, 1, 3), 1), (1, (0.5, 2, 1), 3)])
def test_shifted_boxes_by_hand(axis, spacing, shift):
    """Two plates as wide as the grid, one voxel thick, so many voxels apart: every distance is the same."""
    shape, start, size = [12, 12, 12], [0, 0, 0], [12, 12, 12]
    start[axis], size[axis] = 2, 1
    reference = box(shape, start, size)
    start[axis] += shift
    affine = np.diag([*spacing, 1.0])
    score = evaluate(segmentation(box(shape, start, size), affine), segmentation(reference, affine)).labels[0]
    apart = shift * spacing[axis]
    assert score.dice == 0
    assert score.hd95_mm == pytest.approx(apart)
    assert score.assd_mm == pytest.approx(apart)
    assert score.nsd == (1.0 if apart <= 1 else 0.0)
    assert score.volume_similarity == 1


def test_a_box_shifted_by_one_voxel_by_hand():
    shape = (10, 10, 10)
    score = evaluate(
        segmentation(box(shape, (3, 2, 2), (4, 4, 4))), segmentation(box(shape, (2, 2, 2), (4, 4, 4)))
    ).labels[0]
    assert score.dice == pytest.approx(2 * 48 / 128)
    # The side faces slide along themselves; only the front face of 16 voxels (its rim is off the other box) and the
    # inner part of the back face, 4 voxels, are one voxel from the other surface, in either direction.
    assert score.assd_mm == pytest.approx((16 + 4) / 56)
    assert score.hd95_mm == pytest.approx(1)
    assert score.nsd == 1


def test_hd95_is_the_worse_direction_and_not_the_maximum():
    reference = box((30, 9, 9), (2, 3, 3), (20, 3, 3))
    prediction = reference.copy()
    prediction[22:26, 4, 4] = 2  # a thin spike that few boundary voxels feel
    there = evaluate(segmentation(prediction), segmentation(reference)).labels[0]
    back = evaluate(segmentation(reference), segmentation(prediction)).labels[0]
    assert there.hd95_mm == back.hd95_mm < 4
    fat = reference.copy()
    fat[22:26, 3:6, 3:6] = 2
    assert evaluate(segmentation(reference), segmentation(fat)).labels[0].hd95_mm == pytest.approx(3, abs=1)


@pytest.mark.parametrize(("spacing", "shift"), [(0.958, 1), (0.6, 3), (0.3, 3), (1.2, 3)])
def test_a_tolerance_that_equals_the_distance_is_within(spacing, shift):
    """Three voxels of 0.6 mm are 1.8000001 mm in float32."""
    affine = np.diag([spacing, spacing, 3, 1])
    reference, prediction = box((8, 8, 8), (2, 0, 0), (1, 8, 8)), box((8, 8, 8), (2 + shift, 0, 0), (1, 8, 8))
    for tolerance, expected in ((spacing * shift, 1.0), (spacing * shift - 0.001, 0.0)):
        score = evaluate(segmentation(prediction, affine), segmentation(reference, affine), tolerance).labels[0]
        assert score.nsd == expected


def test_perfect_and_background_is_never_averaged():
    data = box((6, 6, 6), (1, 1, 1), (2, 2, 2))
    report = evaluate(segmentation(data), segmentation(data))
    assert report.mean.dice == 1
    assert report.mean.hd95_mm == 0
    half = data.copy()
    half[1] = 0
    assert evaluate(segmentation(half), segmentation(data)).mean.dice == pytest.approx(2 * 4 / 12)


def absent_report():
    """Label 2 in both, 5 in the reference alone, 9 in neither."""
    prediction = box((8, 8, 8), (1, 1, 1), (2, 2, 2))
    reference = prediction.copy()
    reference[5:7, 5:7, 5:7] = 5
    return evaluate(segmentation(prediction), segmentation(reference))


def test_a_label_in_one_side_scores_zero_and_has_no_distance():
    two, five, nine = absent_report().labels
    assert two.dice == two.nsd == two.volume_similarity == 1
    assert five.dice == five.nsd == five.volume_similarity == 0
    assert math.isnan(five.hd95_mm)
    assert math.isnan(five.assd_mm)
    assert five.volume_ml == 0
    assert five.reference_volume_ml == pytest.approx(0.008)
    assert all(math.isnan(getattr(nine, key)) for key in ("dice", "hd95_mm", "assd_mm", "nsd", "volume_similarity"))
    assert nine.volume_ml == nine.reference_volume_ml == 0


def test_the_mean_leaves_out_what_is_undefined_and_a_note_says_so():
    report = absent_report()
    assert report.mean.dice == pytest.approx(0.5)
    assert report.mean.nsd == pytest.approx(0.5)
    assert report.mean.hd95_mm == 0
    assert any("Absent from the prediction alone: five" in note for note in report.notes)


def test_the_json_is_strict_and_has_the_agreed_keys():
    text = absent_report().to_json()
    content = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert [label["index"] for label in content["labels"]] == [2, 5, 9]
    wanted = {"index", "name", "dice", "hd95_mm", "assd_mm", "nsd", "volume_ml", "reference_volume_ml"}
    assert all(wanted <= label.keys() for label in content["labels"])
    assert content["labels"][1]["hd95_mm"] is None
    assert content["labels"][2]["dice"] is None
    assert content["mean"]["dice"] == pytest.approx(0.5)


def test_nothing_in_common_gives_null_and_not_nan():
    empty = np.zeros((4, 4, 4))
    content = json.loads(evaluate(segmentation(empty), segmentation(empty)).to_json())
    assert set(content["mean"].values()) == {None}


def test_the_csv_has_one_line_per_label():
    rows = list(csv.DictReader(io.StringIO(absent_report().to_csv())))
    assert [row["name"] for row in rows] == ["two", "five", "nine"]
    assert float(rows[0]["dice"]) == 1
    assert rows[1]["hd95_mm"] == ""


def test_the_table_is_aligned_and_readable():
    text = absent_report().to_table()
    heading, rule, *rows = text.splitlines()
    assert heading.split()[:3] == ["Index", "Label", "Dice"]
    end = heading.index("Dice") + len("Dice")
    assert [row[end - 5 : end] for row in (rule, *rows[:2])] == ["-----", "1.000", "0.000"]
    assert "Absent from both: nine." in text
    assert "–" in rows[1]


def test_every_metric_has_a_field():
    assert list(METRICS) == [name for name in LabelScore.__dataclass_fields__ if name not in ("index", "name")]


def test_confusion_rows_are_the_references():
    prediction = segmentation(np.array([2, 2, 5, 0]).reshape(4, 1, 1))
    reference = segmentation(np.array([2, 5, 5, 9]).reshape(4, 1, 1))
    expected = np.zeros((4, 4), dtype=int)
    expected[1, 1] = expected[2, 1] = expected[2, 2] = expected[3, 0] = 1
    np.testing.assert_array_equal(confusion(prediction, reference), expected)


def test_other_grids_are_refused_with_both_named():
    data = box((6, 6, 6), (1, 1, 1), (2, 2, 2))
    moved = np.eye(4)
    moved[0, 3] = 5
    with pytest.raises(MedzooError) as caught:
        evaluate(segmentation(data), segmentation(data, moved))
    assert "origin (0.0, 0.0, 0.0)" in str(caught.value)
    assert "origin (5.0, 0.0, 0.0)" in str(caught.value)
    assert "resample" in str(caught.value)


def test_other_tables_are_refused_with_the_remedy():
    data = box((6, 6, 6), (1, 1, 1), (2, 2, 2))
    with pytest.raises(MedzooError, match="--reference-labels"):
        evaluate(segmentation(data), segmentation(data, table=LABEL_TABLES["tissue"]))
    renamed = LabelTable("made", tuple(Label(label.index, label.name + "x", label.color) for label in TABLE.foreground))
    with pytest.raises(MedzooError, match="comparable"):
        evaluate(segmentation(data), segmentation(data, table=renamed))


def test_unknown_values_and_tolerances_are_refused():
    data = box((6, 6, 6), (1, 1, 1), (2, 2, 2))
    with pytest.raises(MedzooError, match="does not name: 7"):
        evaluate(segmentation(box((6, 6, 6), (1, 1, 1), (2, 2, 2), index=7)), segmentation(data))
    with pytest.raises(MedzooError, match="greater than 0"):
        evaluate(segmentation(data), segmentation(data), tolerance_mm=float("nan"))


def test_a_table_of_many_labels_is_counted_without_overflow():
    table = LabelTable("many", tuple(Label(index, f"n{index}", (0, 0, 0)) for index in range(1, 300)))
    data = np.arange(300, dtype=np.uint16).reshape(300, 1, 1)
    made = Segmentation(data, Grid(data.shape, np.eye(4)), table)
    np.testing.assert_array_equal(confusion(made, made), np.eye(300))


def test_a_whole_brain_takes_seconds(data_dir):
    import nibabel as nib

    image = nib.load(data_dir / "structures" / "fsaverage" / "aseg.mgz")
    data = np.asarray(image.dataobj).astype(np.uint8)
    reference = Segmentation(data, Grid(data.shape, image.affine), LABEL_TABLES["aseg"])
    prediction = Segmentation(np.roll(data, 1, axis=0), reference.grid, reference.table)
    begun = time.process_time()
    report = evaluate(prediction, reference)
    assert time.process_time() - begun < 10  # about 2 s on an idle core
    present = [score for score in report.labels if score.present]
    assert len(present) >= 33
    assert all(score.hd95_mm <= 1 and score.nsd == 1 for score in present)
