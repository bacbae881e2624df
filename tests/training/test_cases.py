"""Prepared cases: labels stay with their scan, the cache is whole or absent, patches are what was asked for."""

from __future__ import annotations

import os
import pickle
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from napari_medzoo_training import cache as cache_module
from napari_medzoo_training.cases import PreparedCases, draw_patch, prepare_case, prepare_cases
from napari_medzoo_training.config import IGNORED, Recipe
from napari_medzoo_training.datasets import read_cases
from napari_medzoo_training.references import resample_labels
from scipy.ndimage import center_of_mass, gaussian_filter

from napari_medzoo.errors import MedzooError
from napari_medzoo.io import read_volume
from napari_medzoo.preprocess import prepare
from napari_medzoo.progress import run
from napari_medzoo.space import Grid
from napari_medzoo.study import Study, Volume
from tests.conftest import make_awkward_grids
from tests.training.lookalikes import BARE, FLIPPED, LAYOUTS, label_map, recipe_for, scan_of, write

GRIDS = make_awkward_grids()


def folder_of(tmp_path: Path, arrays: Mapping[str, tuple[np.ndarray, np.ndarray, np.ndarray]]) -> Path:
    """A folder without dataset.json; name → scan, labels and affine of both."""
    for name, (scan, labels, affine) in arrays.items():
        write(tmp_path / "data" / "imagesTr" / f"{name}.nii.gz", scan, affine)
        write(tmp_path / "data" / "labelsTr" / f"{name}.nii.gz", labels, affine)
    return tmp_path


def prepared(tmp_path: Path, recipe: Recipe | None = None) -> PreparedCases:
    return run(prepare_cases(recipe or recipe_for("msd", ("t1w",)), tmp_path, tmp_path / "cache"))


@pytest.mark.parametrize("orientation", ["RAS", "LIA", "SPL"])
@pytest.mark.parametrize("name", GRIDS)
def test_without_interpolation_labels_are_with_their_scan_to_the_voxel(
    name: str, orientation: str, tmp_path: Path
) -> None:
    labels = label_map((1, 2, 3), 4, GRIDS[name].shape)
    folder_of(tmp_path, {"a": (scan_of(labels, "t1w"), labels, GRIDS[name].affine)})
    recipe = recipe_for("msd", ("t1w",), preprocessing=BARE | {"orientation": orientation})
    cases = prepared(tmp_path, recipe)
    assert cases.grid(0).axis_codes == orientation
    np.testing.assert_array_equal(cases.scan(0)[0], 10 * (cases.labels(0) + 1.0) + 1)
    assert cases.counts[0].tolist() == np.bincount(labels.ravel(), minlength=4).tolist()


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.7, 1.6, 1.3), (2.0, 2.0, 2.0)])
@pytest.mark.parametrize("name", GRIDS)
def test_interpolated_scans_and_nearest_labels_have_one_place(
    name: str, spacing: tuple[float, float, float], tmp_path: Path
) -> None:
    """A ball whose scan is its labels: both centres agree to a tenth of a voxel, and are where the ball is in mm."""
    grid = Grid((44, 36, 28), GRIDS[name].affine)
    points = grid.to_world(np.argwhere(np.ones(grid.shape)))
    middle = grid.center_mm + np.array([0.6, -0.4, 0.3])
    radius = 0.35 * min(np.array(grid.shape) * grid.spacing)
    labels = (np.linalg.norm(points - middle, axis=1) <= radius).reshape(grid.shape).astype(np.int16)
    folder_of(tmp_path, {"a": (100.0 * labels.astype(np.float32), labels, grid.affine)})
    cases = prepared(tmp_path, recipe_for("msd", ("t1w",), channels=(0, 1), preprocessing=BARE | {"spacing": spacing}))
    scan, target = cases.scan(0)[0], cases.labels(0)
    places = np.array([center_of_mass(scan), center_of_mass(target)])
    assert np.abs(places[0] - places[1]).max() < 0.1
    assert np.linalg.norm(cases.grid(0).to_world(places) - middle, axis=1).max() < 0.1 * max(*grid.spacing, *spacing)
    assert ((scan > 50) != (target == 1)).sum() <= 0.1 * (target == 1).sum()


def test_touching_labels_leave_no_seam_and_nothing_between_their_numbers() -> None:
    labels = np.zeros((12, 10, 8), dtype=np.uint8)
    labels[2:10, :, :] = 1
    labels[6:10, :, :] = 9
    labels[6:10, 5:, :] = IGNORED
    grid = Grid(labels.shape, np.diag([3.0, 3.0, 3.0, 1.0]))
    for spacing in (1.0, 1.5, 2.0, 6.0):
        fine = resample_labels(Volume(labels, grid), grid.with_spacing([spacing] * 3))
        assert set(np.unique(fine)) == {0, 1, 9, IGNORED}
        inside = np.flatnonzero(fine.any(axis=(1, 2)))
        assert fine[inside[0] : inside[-1] + 1].all()
        volumes = np.bincount(fine.ravel(), minlength=256) * spacing**3 / 27
        expected = np.bincount(labels.ravel(), minlength=256)
        np.testing.assert_allclose(volumes[[1, 9, IGNORED]], expected[[1, 9, IGNORED]], rtol=0.25)


def test_the_scan_is_what_inference_prepares(tmp_path: Path) -> None:
    """One code path: the cached voxels are `prepare`'s, rounded to half precision."""
    random = np.random.default_rng(0)
    head = gaussian_filter(random.uniform(0, 1, (40, 44, 36)), 4)
    scan = np.where(head > np.median(head), 500 * head, 0).astype(np.float32)
    labels = (scan > np.percentile(scan, 80)).astype(np.int16)
    folder_of(tmp_path, {"a": (scan, labels, FLIPPED)})
    recipe = recipe_for("msd", ("t1w",), channels=(0, 1), preprocessing={"spacing": (1.5, 1.5, 1.5)})
    cases = prepared(tmp_path, recipe)
    study = Study({"t1w": read_volume(tmp_path / "data" / "imagesTr" / "a.nii.gz", "t1w")})
    inference = run(prepare(study, recipe.preprocessing, ("t1w",)))
    assert cases.scan(0).dtype == np.float16 and cases.grid(0).same_as(inference.grid)
    np.testing.assert_array_equal(cases.scan(0), inference.data.astype(np.float16))
    assert not cases.scan(0).flags.writeable and not cases.labels(0).flags.writeable


def test_labels_follow_the_scan_that_they_were_drawn_on(tmp_path: Path) -> None:
    """The FLAIR lies 6 mm off in its header; its labels come along when it is aligned to the T1w."""
    random = np.random.default_rng(1)
    x, y, z = np.meshgrid(*(np.linspace(-1, 1, n) for n in (48, 52, 44)), indexing="ij")
    texture = gaussian_filter(random.normal(size=x.shape), 2.5)
    head = (x**2 + (y + 0.05) ** 2 + z**2 < 0.7) * (100 + 600 * texture)
    lesion = ((x - 0.2) ** 2 + (y + 0.3) ** 2 + (z - 0.1) ** 2 < 0.04).astype(np.int16)
    scan = np.maximum(head + 60 * lesion, 0).astype(np.float32)
    moved = np.diag([2.0, 2.0, 2.0, 1.0])
    moved[:3, 3] = (6.0, -4.0, 5.0)
    write(tmp_path / "data" / "t1.nii.gz", scan, np.diag([2.0, 2.0, 2.0, 1.0]))
    write(tmp_path / "data" / "flair.nii.gz", scan, moved)
    write(tmp_path / "data" / "lesion.nii.gz", lesion, moved)
    (tmp_path / "data" / "cases.csv").write_text("t1w,flair,label\nt1.nii.gz,flair.nii.gz,lesion.nii.gz\n")
    aligning: dict[str, Any] = {"channels": (0, 1), "preprocessing": {"head_crop": None, "spacing": None}}
    aligning["preprocessing"]["align"] = {"levels_mm": [6.0, 3.0], "samples": 10_000}
    expected = np.array(center_of_mass(lesion))
    both = prepared(tmp_path, recipe_for("table", ("t1w", "flair"), **aligning))
    assert np.linalg.norm(center_of_mass(both.labels(0)) - expected) < 0.5  # voxels of 2 mm
    # Only the T1w is learnt from: the FLAIR is still needed to know where its labels belong.
    one = prepared(tmp_path, recipe_for("table", ("t1w",), source={"drawn_on": "flair"}, **aligning))
    assert one.scan(0).shape[0] == 1
    np.testing.assert_array_equal(one.labels(0), both.labels(0))
    lost = prepared(tmp_path, recipe_for("table", ("t1w",), **aligning))
    assert np.linalg.norm(center_of_mass(lost.labels(0)) - expected) > 3


def test_ignored_and_merged_labels(tmp_path: Path) -> None:
    labels = label_map((1, 2, 3), 0)
    folder_of(tmp_path, {"a": (scan_of(labels, "t1w"), labels, FLIPPED)})
    found = {}
    for name, changes in {
        "ignored": {"source": {"ignored": [2]}},
        "merged": {"merge": {2: 3}, "channels": (0, 1, 3)},
        "unlearnt": {"channels": (0, 3)},
    }.items():
        cases = prepared(tmp_path, recipe_for("msd", ("t1w",), **changes))
        values = (cases.scan(0)[0] - 1) / 10 - 1
        found[name] = {int(v): int(cases.labels(0)[values == v][0]) for v in np.unique(values)}
    assert found["ignored"] == {0: 0, 1: 1, 2: IGNORED, 3: 3}
    assert found["merged"] == {0: 0, 1: 1, 2: 2, 3: 2}
    assert found["unlearnt"] == {0: 0, 1: 0, 2: 0, 3: 1}


def test_a_reference_in_another_numbering_is_taken_over_by_the_declared_mapping(tmp_path: Path) -> None:
    labels = label_map((3, 41, 1005, 4, 72), 0)  # cortex, white matter, a cortical parcel, two ventricles
    folder_of(tmp_path, {"a": (scan_of(labels, "t1w"), labels, FLIPPED)})
    cases = prepared(tmp_path, recipe_for("msd", ("t1w",), source={"labels": "aseg"}))
    values = np.rint((cases.scan(0)[0] - 1) / 10 - 1)
    found = {int(v): int(cases.labels(0)[values == v][0]) for v in np.unique(values)}
    assert found == {0: 0, 3: 2, 41: 3, 1005: 2, 4: 1, 72: 1}


def test_unknown_values_and_foreign_tables_are_refused(tmp_path: Path) -> None:
    labels = label_map((1, 2, 7), 0)
    folder_of(tmp_path, {"a": (scan_of(labels, "t1w"), labels, FLIPPED)})
    with pytest.raises(MedzooError, match=r"Case a: .*labelsTr.a.nii.gz: holds the value 7, .*'tissue'"):
        prepared(tmp_path)
    (tmp_path / "data" / "lut.tsv").write_text("index\tname\n1\ttumour\n2\toedema\n7\tcyst\n")
    with pytest.raises(MedzooError, match=r"numbered as 'lut', .*learns 'tissue'"):
        prepared(tmp_path, recipe_for("msd", ("t1w",), source={"labels": "lut.tsv"}))
    own = {"labels": [{"index": i, "name": f"part {i}", "color": [9, 9, 9]} for i in (1, 2, 5)], "label_scheme": "own"}
    with pytest.raises(MedzooError, match=r"learns index 5 \(part 5\)"):
        prepared(tmp_path, recipe_for("msd", ("t1w",), source={"labels": "lut.tsv"}, channels=(0, 1, 5), **own))
    cases = prepared(tmp_path, recipe_for("msd", ("t1w",), source={"labels": "lut.tsv"}, channels=(0, 2), **own))
    assert set(np.unique(cases.labels(0))) == {0, 1}
    assert not [path for path in (tmp_path / "cache").iterdir() if path.name.startswith(".")]


def test_labels_that_lie_elsewhere_are_refused(tmp_path: Path) -> None:
    labels = label_map((1, 2, 3), 0)
    folder_of(tmp_path, {"a": (scan_of(labels, "t1w"), labels, FLIPPED)})
    far = FLIPPED.copy()
    far[0, 3] += 200
    write(tmp_path / "data" / "labelsTr" / "a.nii.gz", labels, far)
    with pytest.raises(MedzooError, match=r"Case a: of .* mL of labels 0.00 mL lie within .*one person"):
        prepared(tmp_path)


def test_the_cache_is_found_again_and_follows_what_it_depends_on(tmp_path: Path) -> None:
    LAYOUTS["msd"][0](tmp_path / "data")
    recipe = recipe_for("msd", ("t1w",))
    first = prepared(tmp_path, recipe)
    steps = list(prepare_cases(recipe, tmp_path, tmp_path / "cache"))
    assert not steps, "nothing is prepared twice"
    same = recipe_for("msd", ("t1w",), losses=[{"name": "focal"}], batch=2, seed=9)
    assert prepared(tmp_path, same).folder == first.folder
    folders = {first.folder}
    for changed in (
        recipe_for("msd", ("t1w",), preprocessing=BARE | {"spacing": (2, 2, 2)}),
        recipe_for("msd", ("t1w",), merge={2: 1}),
        recipe_for("msd", ("t1w",), channels=(0, 2)),
        recipe_for("msd", ("t1w",), source={"ignored": [1]}),
        recipe_for("msd", ("flair",)),
    ):
        folders.add(prepared(tmp_path, changed).folder)
    assert len(folders) == 6
    path = tmp_path / "data" / "labelsTr" / "hippocampus_2.nii.gz"
    status = path.stat()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1_000_000))
    assert prepared(tmp_path, recipe).folder not in folders
    moved = (tmp_path / "data").rename(tmp_path / "elsewhere").parent
    os.utime(tmp_path / "elsewhere" / "labelsTr" / "hippocampus_2.nii.gz", ns=(status.st_atime_ns, status.st_mtime_ns))
    other = tmp_path / "other"
    other.mkdir()
    (moved / "elsewhere").rename(other / "data")
    assert run(prepare_cases(recipe, other, tmp_path / "cache")).folder == first.folder, "the place does not matter"


@pytest.mark.parametrize("how", ["closed", "error"])
def test_the_cache_is_whole_or_absent(how: str, tmp_path: Path) -> None:
    LAYOUTS["msd"][0](tmp_path / "data")
    if how == "error":
        (tmp_path / "data" / "imagesTr" / "hippocampus_10.nii.gz").write_bytes(b"\x1f\x8bbroken")
        with pytest.raises(MedzooError, match=r"Case hippocampus_10: .*hippocampus_10.nii.gz"):
            prepared(tmp_path)
    else:
        steps = prepare_cases(recipe_for("msd", ("t1w",)), tmp_path, tmp_path / "cache")
        assert [next(steps).done, next(steps).done] == [0, 1]
        steps.close()
    assert not list((tmp_path / "cache").iterdir())


def test_what_a_killed_process_left_is_removed_in_time(tmp_path: Path) -> None:
    LAYOUTS["msd"][0](tmp_path / "data")
    name = prepared(tmp_path).folder.name
    remains = [tmp_path / "fresh" / f".{name}.old", tmp_path / "fresh" / f".{name}.new"]
    for folder in remains:
        folder.mkdir(parents=True)
        (folder / "scans.bin").touch()
    for path in (remains[0] / "scans.bin", remains[0]):
        os.utime(path, (0, 0))
    run(prepare_cases(recipe_for("msd", ("t1w",)), tmp_path, tmp_path / "fresh"))
    assert sorted(path.name for path in (tmp_path / "fresh").iterdir()) == [remains[1].name, name]


def test_two_processes_may_prepare_the_same_at_once(tmp_path: Path) -> None:
    LAYOUTS["msd"][0](tmp_path / "data")
    recipe = recipe_for("msd", ("t1w",))
    slow = prepare_cases(recipe, tmp_path, tmp_path / "cache")
    next(slow)
    fast = prepared(tmp_path, recipe)
    assert run(slow).folder == fast.folder
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [fast.folder.name]


def test_a_full_disk_is_explained(tmp_path: Path) -> None:
    with (
        pytest.raises(MedzooError, match=r"prepared cases could not be written .the disk is full"),
        cache_module.whole_folder(tmp_path / "cache" / "x", "index.json"),
    ):
        raise OSError(28, "No space left on device")
    assert not list((tmp_path / "cache").iterdir())


@pytest.fixture
def two_cases(tmp_path: Path) -> PreparedCases:
    """One case larger than 12³ in all axes, one smaller in some; class 3 in one voxel of the larger."""
    arrays = {}
    for name, shape in {"large": (40, 30, 50), "small": (9, 30, 7)}.items():
        labels = np.zeros(shape, dtype=np.int16)
        labels[4:7, 8:12, 3:5] = 1
        labels[0, 29, 0] = 2
        if name == "large":
            labels[35, 3, 44] = 3
        arrays[name] = (scan_of(labels, "t1w"), labels, np.eye(4))
    return prepared(folder_of(tmp_path, arrays))


def test_patches_show_scan_and_labels_of_one_place(two_cases: PreparedCases) -> None:
    random = np.random.default_rng(0)
    for _ in range(100):
        scan, labels = draw_patch(two_cases, (0, 1), (12, 12, 12), 0.5, random)
        assert scan.shape == (1, 12, 12, 12) and scan.dtype == np.float32
        assert labels.shape == (12, 12, 12) and labels.dtype == np.uint8
        inside = scan[0] != 0
        np.testing.assert_array_equal(scan[0][inside], 10 * (labels[inside] + 1.0) + 1)
        assert not labels[~inside].any()
        assert inside.sum() in (12**3, 9 * 12 * 7)
        scan += 1  # a patch is one's own


def test_classes_are_drawn_evenly_and_centred(two_cases: PreparedCases) -> None:
    random = np.random.default_rng(1)
    centres = [draw_patch(two_cases, [0], (5, 5, 5), 1.0, random)[1][2, 2, 2] for _ in range(600)]
    counts = np.bincount(centres, minlength=4)
    assert counts[1] > 150 and counts[3] > 150  # one voxel of class 3 against 24 of class 1
    assert counts[2] == 0 and counts[0] > 150  # class 2 lies in a corner: the patch stays within the case
    corner = [draw_patch(two_cases, [0], (5, 5, 5), 1.0, random)[1] for _ in range(300)]
    assert all(labels.any() for labels in corner)


def test_patches_anywhere_cover_the_whole_case(two_cases: PreparedCases) -> None:
    random = np.random.default_rng(2)
    share = np.mean([draw_patch(two_cases, [0], (20, 15, 25), 0.0, random)[1][0, 0, 0] == 0 for _ in range(50)])
    assert share == 1 or share > 0.5
    starts = {tuple(np.argwhere(draw_patch(two_cases, [1], (12, 31, 8), 0.0, random)[0][0])[0]) for _ in range(200)}
    assert len(starts) == 4 * 2 * 2  # a small case lies at every possible place of the patch


def test_a_patch_follows_from_the_random_numbers_alone(two_cases: PreparedCases) -> None:
    once, again = (draw_patch(two_cases, (0, 1), (6, 40, 9), 0.5, np.random.default_rng([3, 7])) for _ in range(2))
    np.testing.assert_array_equal(once[0], again[0])
    np.testing.assert_array_equal(once[1], again[1])
    elsewhere = draw_patch(
        pickle.loads(pickle.dumps(two_cases)), (0, 1), (6, 40, 9), 0.5, np.random.default_rng([3, 7])
    )
    np.testing.assert_array_equal(once[0], elsewhere[0])
    assert len(pickle.dumps(two_cases)) < 1000, "the voxels stay on the disk"


def test_a_case_without_foreground_still_gives_patches(tmp_path: Path) -> None:
    empty = np.zeros((9, 7, 5), dtype=np.int16)
    scan = np.random.default_rng(0).uniform(1, 2, empty.shape).astype(np.float32)
    folder_of(tmp_path, {"a": (scan, empty, FLIPPED)})
    cases = prepared(tmp_path)
    assert cases.centres(0) == []
    _, labels = draw_patch(cases, [0], (4, 4, 4), 1.0, np.random.default_rng(0))
    assert not labels.any()


def test_common_classes_keep_a_capped_sample_of_their_voxels(tmp_path: Path) -> None:
    labels = np.ones((30, 30, 30), dtype=np.int16)
    labels[0, 0, :5] = 2
    folder_of(tmp_path, {"a": (scan_of(labels, "t1w"), labels, FLIPPED)})
    cases = prepared(tmp_path)
    first, second = cases.centres(0)
    assert len(np.unique(first)) == 2000 and len(second) == 5
    assert (cases.labels(0).ravel()[first] == 1).all() and (cases.labels(0).ravel()[second] == 2).all()


def test_195_hippocampi_take_seconds(data_dir: Path, tmp_path: Path) -> None:
    recipe = recipe_for(
        "msd",
        ("t1w",),
        "hippocampus",
        {"folder": "hippocampus"},
        labels=[{"index": i, "name": n, "color": [9, 9, 9]} for i, n in ((1, "anterior"), (2, "posterior"))],
        preprocessing={"align": None, "head_crop": None},
    )
    begin = time.perf_counter()
    cases = run(prepare_cases(recipe, data_dir, tmp_path))
    seconds = time.perf_counter() - begin
    assert len(cases) == 195 and seconds < 60
    begin = time.perf_counter()
    assert len(run(prepare_cases(recipe, data_dir, tmp_path))) == 195
    assert time.perf_counter() - begin < 5
    number = cases.names.index("hippocampus_001")
    labels = np.asarray(nib.load(data_dir / "hippocampus" / "labelsTr" / "hippocampus_001.nii.gz").dataobj)
    assert cases.counts[number].tolist() == np.bincount(labels.ravel().astype(int), minlength=3).tolist()
    # RAS: the anterior part lies at larger y than the posterior one, in every case.
    places = [[np.argwhere(cases.labels(n) == channel)[:, 1].mean() for channel in (1, 2)] for n in range(195)]
    assert all(anterior > posterior for anterior, posterior in places)


def test_labels_drawn_on_one_of_three_grids(data_dir: Path, tmp_path: Path) -> None:
    """A patient as scanned: bright FLAIR is marked on the FLAIR's grid, and found in the prepared FLAIR channel."""
    (tmp_path / "data").mkdir()
    rows = ["subject,t1w,t2w,flair,label"]
    source = data_dir / "ms" / "patient12_raw"
    flair = read_volume(source / "study1_FLAIR.nii.gz", "flair")
    smooth = gaussian_filter(flair.data.astype(np.float32), 4 / np.array(flair.grid.spacing))
    bright = (smooth > np.percentile(smooth, 90)).astype(np.int16)
    write(tmp_path / "data" / "bright.nii.gz", bright, flair.grid.affine)
    rows.append(
        ",".join(["12", *(str(source / f"study1_{key}.nii.gz") for key in ("T1W", "T2W", "FLAIR")), "bright.nii.gz"])
    )
    (tmp_path / "data" / "cases.csv").write_text("\n".join(rows))
    preprocessing = {"spacing": (2.0, 2.0, 2.0), "align": {"levels_mm": [6.0], "samples": 20_000}}
    recipe = recipe_for("table", ("t1w", "flair"), channels=(0, 1), preprocessing=preprocessing)
    assert recipe.dataset is not None
    found = read_cases(recipe.dataset, recipe.modalities, tmp_path)
    result, labels = prepare_case(recipe, found, found.cases[0])
    moved = np.abs(result.transforms["flair"] - np.eye(4)).max()
    assert moved > 0.1, "the scans are not registered as they come"
    smooth = gaussian_filter(result.volume("flair").data, 2)
    seen = smooth > np.sort(smooth.ravel())[-int((labels == 1).sum())]

    assert _overlap(seen, labels == 1, 0) > 0.95
    assert _overlap(seen, labels == 1, 1) < _overlap(seen, labels == 1, 0)


def _overlap(seen: np.ndarray, labels: np.ndarray, shift: int) -> float:
    """The share of `seen` that is labelled, at best of all moves by `shift` voxels along one axis."""
    moved = (np.roll(seen, step, axis) for step in (-shift, shift) for axis in range(3))
    return max(float((one & labels).sum() / seen.sum()) for one in moved)
