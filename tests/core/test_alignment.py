"""Positions of one scan on another: their words and numbers, what a person settled, and where labels are written."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from napari_medzoo.io import read_segmentation, read_volume, write_segmentation, write_volume
from napari_medzoo.label_tables import LABEL_TABLES
from napari_medzoo.labels import Segmentation
from napari_medzoo.preprocess.alignment import Alignment, Pose, known_transforms, pose_of
from napari_medzoo.preprocess.check import displacement_mm, move
from napari_medzoo.preprocess.recipe import Align
from napari_medzoo.preprocess.registration import NO_NEARER, Pair
from napari_medzoo.progress import run
from napari_medzoo.space import Grid
from napari_medzoo.study import Study, Volume
from tests.core.test_preprocess_align import FIXED, QUICK, other_grid, phantom

CENTER = np.array([3.0, -12.0, 40.0])
NOSE, CROWN = CENTER + (0, 90, 0), CENTER + (0, 0, 90)


def test_a_pose_is_found_again_in_its_movement() -> None:
    pose = Pose((4.0, -7.5, 11.0), (6.0, -3.0, 14.0))
    again = pose_of(pose.movement(CENTER), CENTER)
    np.testing.assert_allclose(again.shift_mm, pose.shift_mm, atol=1e-9)
    np.testing.assert_allclose(again.turn_degrees, pose.turn_degrees, atol=1e-9)
    assert (Pose().movement(CENTER) == np.eye(4)).all()


@pytest.mark.parametrize(
    ("pose", "point", "axis", "sign", "words"),
    [
        (Pose((2, 0, 0)), NOSE, 0, 1, "2.0 mm to the right"),
        (Pose((0, -2, 0)), NOSE, 1, -1, "2.0 mm back"),
        (Pose((0, 0, 2)), NOSE, 2, 1, "2.0 mm up"),
        (Pose(turn_degrees=(5, 0, 0)), NOSE, 2, 1, "turned by 5.0°: 5.0° nose up"),
        (Pose(turn_degrees=(0, -5, 0)), CROWN, 0, -1, "turned by 5.0°: 5.0° top of the head to the left"),
        (Pose(turn_degrees=(0, 0, 5)), NOSE, 0, -1, "turned by 5.0°: 5.0° nose to the left"),
    ],
)
def test_the_words_say_where_the_head_goes(pose: Pose, point: np.ndarray, axis: int, sign: int, words: str) -> None:
    moved = (pose.movement(CENTER) @ [*point, 1])[:3] - point
    assert np.sign(moved[axis]) == sign
    assert abs(moved[axis]) == np.abs(moved).max()
    assert str(pose) == words


def test_an_alignment_says_what_a_person_wants_to_know() -> None:
    pose = Pose((0.0, 3.0, 0.0))
    moved = Alignment(np.eye(4), 1.1, 1.2, "", 3.0, 3.2, pose)
    assert str(moved) == "moved by 3.0 mm on average over the head, 3.2 mm at most (3.0 mm forward)"
    assert str(replace(moved, mean_mm=0.3)).startswith("aligned already, to within 0.5 mm; moved by 0.3 mm")
    assert str(Alignment(np.eye(4), 1.1, 1.1)) == "as its header says"
    assert str(Alignment(np.eye(4), 1.1, 1.1, "left as it is")) == "left as it is"


def test_a_pair_measures_a_position_and_improves_it_from_where_it_is() -> None:
    fixed = phantom(FIXED, "t1w")
    moving, truth = move(phantom(other_grid(), "t2w"), (30, -25, 10), (0, 0, 40))  # too far to be found by chance
    pair = Pair(moving, fixed, QUICK)
    near = Pose((1.5, -2.0, 1.0), (1.0, 0.0, -2.0)).movement(pair.center_mm) @ truth
    found = run(pair.improve(near))
    assert found.after > pair.information(near) > found.before
    assert displacement_mm(found.transform, truth, pair.points).mean() < 0.8
    moved = displacement_mm(found.transform, np.eye(4), pair.points)
    assert (found.mean_mm, found.max_mm) == pytest.approx((moved.mean(), moved.max()))
    np.testing.assert_allclose(found.pose.movement(pair.center_mm) @ found.transform, np.eye(4), atol=1e-9)
    assert pair.points.shape[0] > 1000
    assert np.linalg.norm(pair.points.mean(axis=0)) < 12, "the phantom's head lies around the origin"


def test_a_position_that_cannot_be_improved_is_kept() -> None:
    noise = Volume(np.random.default_rng(0).uniform(1, 2, FIXED.shape).astype(np.float32), FIXED, "t2w")
    pair = Pair(noise, phantom(FIXED, "t1w"), Align(levels_mm=(8.0,), iterations=1))
    start = Pose((1.0, 0.0, 0.0)).movement(pair.center_mm)
    found = run(pair.improve(start))
    assert found.after >= pair.information(start)
    assert bool(found.note == NO_NEARER) == bool((found.transform == start).all())


def test_what_was_settled_counts_until_a_scan_is_moved_again() -> None:
    grids = {key: Grid((4, 5, 6), np.diag([1.0, 2.0, 3.0, 1.0])) for key in ("t1w", "t2w", "flair", "pdw")}
    study = Study({key: Volume(np.ones(grid.shape), grid, key) for key, grid in grids.items()})
    settled = ((grids["t1w"], grids["flair"]), (grids["t2w"], grids["flair"]))
    known = known_transforms(study, settled, "t1w")
    assert set(known) == {"flair", "t2w"}, "the T2w by way of the FLAIR"
    assert all((matrix == np.eye(4)).all() for matrix in known.values())
    assert set(known_transforms(study, settled, "pdw")) == set()
    moved = {**study.volumes, "flair": move(study["flair"], (1, 0, 0), (0, 0, 0))[0]}
    assert known_transforms(Study(moved), settled, "t1w") == {}


def test_labels_of_a_moved_scan_are_written_where_its_file_says(awkward_grids: dict[str, Grid], tmp_path: Path) -> None:
    for name, grid in awkward_grids.items():
        path = tmp_path / f"{name}.nii.gz"
        write_volume(Volume(np.arange(np.prod(grid.shape), dtype=np.int16).reshape(grid.shape), grid), path)
        scan = read_volume(path)
        moved, movement = move(scan, (9, -4, 2), (3, 8, -5))
        labels = Segmentation((scan.data % 2).astype(np.uint8), moved.grid, LABEL_TABLES["brats"])
        written = write_segmentation(
            labels, tmp_path / f"{name}_labels.nii.gz", like=replace(scan.file, moved=movement)
        )
        back = read_segmentation(written)
        assert back.grid.same_as(scan.grid, tolerance_mm=1e-3), name
        np.testing.assert_array_equal(back.data, labels.data)
