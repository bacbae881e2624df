"""Co-registration: synthetic heads of two contrasts, and a real patient against published transforms."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from napari_medzoo.errors import MedzooError
from napari_medzoo.preprocess import Align, Preprocessing, align, prepare, resample
from napari_medzoo.preprocess.check import (
    check_alignment,
    displacement_mm,
    head_points_mm,
    move,
    read_itk_affine,
    rigid_floor,
)
from napari_medzoo.preprocess.registration import find_alignment
from napari_medzoo.preprocess.similarity import mutual_information
from napari_medzoo.progress import run
from napari_medzoo.space import Grid
from napari_medzoo.study import Study, Volume

QUICK = Align(levels_mm=(6.0, 3.0), samples=60_000)
FIXED = Grid((64, 72, 56), np.array([[-2.5, 0, 0, 80], [0, 2.5, 0, -90], [0, 0, 2.5, -70], [0, 0, 0, 1.0]]))


def phantom(grid: Grid, contrast: str) -> Volume:
    """A head without symmetry, parts and texture placed in world millimetres; two contrasts order them differently."""
    points = grid.to_world(np.argwhere(np.ones(grid.shape)))
    parts = [  # centre, radii (mm), brightness in t1w and t2w
        ((0, 0, 0), (62, 78, 60), 60, 90),
        ((0, 4, 6), (52, 66, 48), 100, 50),
        ((-14, 8, 10), (9, 26, 11), 30, 160),
        ((16, 2, 12), (8, 20, 12), 30, 160),
        ((22, -34, -20), (20, 16, 14), 140, 80),
        ((-26, 30, 18), (12, 10, 16), 150, 30),
        ((5, 44, -14), (10, 12, 9), 20, 120),
    ]
    values = np.zeros(len(points))
    for center, radii, t1w, t2w in parts:
        values[np.linalg.norm((points - center) / radii, axis=1) < 1] = t1w if contrast == "t1w" else t2w
    generator = np.random.default_rng(0)
    waves, phases = generator.normal(0, 0.15, (12, 3)), generator.uniform(0, 6, 12)
    texture = np.sin(points @ waves.T + phases).sum(axis=1)
    values += np.where(values > 0, 8 * texture * (1 if contrast == "t1w" else -1), 0)
    noise = np.random.default_rng(1 if contrast == "t1w" else 2).normal(0, 3, len(points))
    return Volume(np.abs(values + noise).reshape(grid.shape).astype(np.float32), grid, contrast)


def other_grid() -> Grid:
    """Oblique, permuted, with thick slices."""
    turn = Rotation.from_euler("xyz", [4, -6, 8], degrees=True).as_matrix()
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.array([[0, 0, 4.0], [-2.0, 0, 0], [0, -2.0, 0]])
    affine[:3, 3] = -affine[:3, :3] @ (np.array([92, 80, 38]) - 1) / 2
    return Grid((92, 80, 38), affine)


@pytest.mark.parametrize(
    ("translation", "rotation"),
    [((0, 0, 0), (0, 0, 0)), ((12, -12, 11), (9, -8, 9)), ((-20, 0, 0), (0, 0, 15)), ((0, 14, -14), (-15, 0, 0))],
)
def test_a_moved_head_is_found_again(translation: tuple, rotation: tuple) -> None:
    fixed = phantom(FIXED, "t1w")
    moving, truth = move(phantom(other_grid(), "t2w"), translation, rotation)
    found = align(moving, fixed, QUICK)
    turn = found[:3, :3]
    assert np.allclose(turn @ turn.T, np.eye(3), atol=1e-6) and np.linalg.det(turn) > 0
    apart = displacement_mm(found, truth, head_points_mm(fixed))
    assert apart.mean() < 0.8, f"{apart.mean():.2f} mm"


def test_the_same_input_gives_the_same_transform_to_the_last_bit() -> None:
    fixed = phantom(FIXED, "t1w")
    moving, _ = move(phantom(other_grid(), "t2w"), (6, -5, 4), (3, 8, -4))
    assert (align(moving, fixed, QUICK) == align(moving, fixed, QUICK)).all()


def test_a_sheared_scan_is_aligned_too() -> None:
    affine = np.array(FIXED.affine)
    affine[1, 2] += 0.25  # a tilted gantry
    moving, truth = move(phantom(Grid(FIXED.shape, affine), "t2w"), (8, 5, -6), (5, 0, 6))
    assert displacement_mm(align(moving, phantom(FIXED, "t1w"), QUICK), truth, FIXED.corners_mm()).mean() < 1.5


def test_what_was_aligned_before_is_left_as_it_is() -> None:
    result = find_alignment(phantom(FIXED, "t2w"), phantom(FIXED, "t1w"), QUICK)
    assert (result.transform == np.eye(4)).all()
    assert result.note


def test_noise_is_never_made_worse_and_an_unchanged_position_is_explained() -> None:
    noise = Volume(np.random.default_rng(0).uniform(1, 2, FIXED.shape).astype(np.float32), FIXED, "t2w")
    result = find_alignment(noise, phantom(FIXED, "t1w"), Align(levels_mm=(8.0,)))
    assert result.after >= result.before
    assert bool(result.note) == bool((result.transform == np.eye(4)).all())


def test_volumes_without_overlap_are_brought_together() -> None:
    moving, truth = move(phantom(other_grid(), "t2w"), (600, -400, 300), (4, 0, 3))
    assert displacement_mm(align(moving, phantom(FIXED, "t1w"), QUICK), truth, FIXED.corners_mm()).mean() < 1.5


def test_mutual_information() -> None:
    generator = np.random.default_rng(0)
    values = generator.uniform(size=200_000)
    assert mutual_information(values, values) == pytest.approx(2, abs=1e-6)
    assert mutual_information(values, -(values**2)) > 1.6, "any one-to-one relation counts, not only a linear one"
    assert mutual_information(values, generator.uniform(size=values.size)) == pytest.approx(1, abs=2e-3)
    assert mutual_information(np.ones(5), np.ones(5)) == 1


def test_the_rigid_floor_is_the_best_rigid_transform() -> None:
    points = np.random.default_rng(0).normal(0, 50, (500, 3))
    rigid = np.eye(4)
    rigid[:3, :3] = Rotation.from_euler("xyz", [5, 6, 7], degrees=True).as_matrix()
    rigid[:3, 3] = (1, 2, 3)
    assert np.allclose(rigid_floor(rigid, points), rigid)
    scaled = rigid @ np.diag([1.01, 1.0, 0.99, 1])
    best = displacement_mm(rigid_floor(scaled, points), scaled, points)
    assert (best**2).mean() < (displacement_mm(rigid, scaled, points) ** 2).mean() + 1e-9
    assert 0.1 < best.mean() < 1


def test_itk_files_are_read_in_ras(tmp_path: Path, data_dir: Path) -> None:
    import SimpleITK as sitk

    path = data_dir / "ms" / "patient12_raw" / "study1_T1W_intrastudy_to_FLAIR.txt"
    matrix = read_itk_affine(path)
    lps = np.array([10.0, -20.0, 30.0])
    there = np.array(sitk.ReadTransform(str(path)).TransformPoint(lps.tolist()))
    assert np.allclose(matrix[:3, :3] @ (lps * (-1, -1, 1)) + matrix[:3, 3], there * (-1, -1, 1))
    other = tmp_path / "other.txt"
    other.write_text("Parameters: 1 2 3\n")
    with pytest.raises(MedzooError, match=r"other\.txt"):
        read_itk_affine(other)


def test_a_real_patient_is_aligned_to_within_a_millimetre(data_dir: Path) -> None:
    """T1w and T2w are moved by 20 mm and 15° in their affines and found again, matrices and volumes."""
    folder = data_dir / "ms" / "patient12_raw"
    files = {"flair": "FLAIR", "t1w": "T1W", "t2w": "T2W"}
    volumes, published = {}, {}
    shifts = {"t1w": ((12, -12, 10.6), (9, -8, 9)), "t2w": ((-10, 14, 10.2), (-7, 9, 9.7))}
    for key, name in files.items():
        scan = nib.load(folder / f"study1_{name}.nii.gz")
        volumes[key] = Volume(np.asarray(scan.dataobj), Grid(scan.shape, scan.affine), key)
        if key != "flair":
            volumes[key], moved = move(volumes[key], *shifts[key])
            published[key] = moved @ read_itk_affine(folder / f"study1_{name}_intrastudy_to_FLAIR.txt")
    points = head_points_mm(volumes["flair"])
    recipe = Preprocessing(normalise=None)
    prepared = run(prepare(Study(volumes), recipe, ("flair", "t1w", "t2w")))
    assert not prepared.warnings
    assert prepared.reference == "flair" and (prepared.transforms["flair"] == np.eye(4)).all()
    head = prepared.data[0] > np.percentile(prepared.data[0], 40)
    for key, name in published.items():
        check = check_alignment(prepared.transforms[key], name, points)
        before = resample(volumes[key], prepared.grid).data
        wanted = resample(volumes[key], prepared.grid, name).data
        after = prepared.data[prepared.modalities.index(key)]
        information = [mutual_information(prepared.data[0][head], other[head]) for other in (before, after, wanted)]
        print(f"\n{key}: {check}; mutual information {information[0]:.3f} → {information[1]:.3f}")
        assert check.before > 20
        assert check.after <= 1.0
        assert check.floor <= check.after
        assert information[1] - 1 > 2 * (information[0] - 1)
        assert np.corrcoef(after[head], wanted[head])[0, 1] > 0.97, "the volumes, not only the matrices"
    print(f"seconds: { {key: round(value, 1) for key, value in prepared.timings.items()} }")
