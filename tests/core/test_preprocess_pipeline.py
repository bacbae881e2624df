"""`prepare` as a whole: steps, order, exactness, errors."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from napari_medzoo.errors import MedzooError
from napari_medzoo.preprocess import (
    BiasCorrection,
    BrainMask,
    HeadCrop,
    Normalise,
    Preprocessing,
    head_box,
    normalise,
    prepare,
    reorient,
)
from napari_medzoo.progress import run
from napari_medzoo.space import Grid
from napari_medzoo.study import FileInfo, Study, Volume

GRID = Grid((44, 52, 30), np.array([[0, 0, 3.0, -40], [-1.6, 0, 0, 40], [0, -1.4, 0, 36], [0, 0, 0, 1]]))


def scan(modality: str = "t1w", grid: Grid = GRID, name: str | None = None) -> Volume:
    points = grid.to_world(np.argwhere(np.ones(grid.shape)))
    far = np.linalg.norm((points - grid.center_mm) / (22, 25, 20), axis=1).reshape(grid.shape)
    noise = np.random.default_rng(0).uniform(0, 8, grid.shape)
    data = (100 * (far < 1) + 50 * (far < 0.5) + noise).astype(np.int16)
    file = FileInfo(Path(name), "nifti") if name else None
    return Volume(data, grid, modality, file)


def test_the_reference_comes_through_bit_exact_without_resampling() -> None:
    volume = scan()
    recipe = Preprocessing(spacing=None, orientation="LIA", align=None, normalise=None)
    prepared = run(prepare(Study({"t1w": volume}), recipe, ["t1w"]))
    turned = reorient(volume, "LIA")
    start, shape = head_box(turned, recipe.head_crop)
    assert prepared.data.dtype == np.float32 and prepared.data.flags.c_contiguous
    assert (prepared.data[0] == turned.data[tuple(slice(a, a + n) for a, n in zip(start, shape, strict=True))]).all()
    assert prepared.grid.same_as(turned.grid.cropped(start, shape))
    assert prepared.target is volume.grid


def test_a_spacing_that_differs_by_rounding_only_is_not_interpolated() -> None:
    wanted = tuple(s + 4e-4 for s in reorient(scan(), "RAS").grid.spacing)
    recipe = Preprocessing(spacing=wanted, align=None, normalise=None, head_crop=None)
    prepared = run(prepare(Study({"t1w": scan()}), recipe, ["t1w"]))
    assert (prepared.data[0] == reorient(scan(), "RAS").data).all()


def test_the_head_box_is_the_same_place_at_another_spacing() -> None:
    recipe = Preprocessing(spacing=(1.1, 0.9, 1.3), align=None, normalise=None)
    prepared = run(prepare(Study({"t1w": scan()}), recipe, ["t1w"]))
    assert np.allclose(prepared.grid.spacing, (1.1, 0.9, 1.3))
    turned = reorient(scan(), "RAS")
    box = head_box(turned, recipe.head_crop)
    wanted = turned.grid.cropped(*box)
    outer = (np.array(prepared.grid.shape) * prepared.grid.spacing) - np.array(wanted.shape) * wanted.spacing
    assert (outer >= -1e-3).all() and (outer < 2 * np.array(prepared.grid.spacing)).all()
    assert np.abs(prepared.grid.center_mm - wanted.center_mm).max() < 1.3


def test_all_24_orientations_prepare_to_the_same_bits(data_dir: Path) -> None:
    first = None
    files = sorted((data_dir / "orientations").glob("*.nii.gz"))
    assert len(files) == 24
    for path in files:
        image = nib.load(path)
        volume = Volume(np.asarray(image.dataobj), Grid(image.shape, image.affine), "t1w")
        prepared = run(prepare(Study({"t1w": volume}), Preprocessing(), ("t1w",)))
        labels = (prepared.data[0] > 0.4).astype(np.uint8) + (prepared.data[0] > 0.7)
        restored = reorient(Volume(prepared.restore(labels), volume.grid), "RAS").data
        if first is None:
            first = (prepared, restored)
        assert (prepared.data == first[0].data).all(), path.name
        assert prepared.grid.same_as(first[0].grid), path.name
        assert (restored == first[1]).all(), path.name


def test_every_step_announces_itself_and_is_timed() -> None:
    study = Study({"t1w": scan(), "t2w": scan("t2w")})
    recipe = Preprocessing(bias_correction=BiasCorrection(iterations=(3,)), brain_mask=BrainMask(opening_mm=2))
    steps = prepare(study, recipe, ("t1w", "t2w"))
    seen = []
    while True:
        try:
            step = next(steps)
        except StopIteration as stop:
            prepared = stop.value
            break
        seen.append((step.stage, step.done, step.total))
    assert seen == [
        ("Aligning T2w", 0, 1),
        ("Correcting bias", 0, 2),
        ("Correcting bias", 1, 2),
        ("Finding the head", 0, 1),
        ("Resampling", 0, 2),
        ("Resampling", 1, 2),
        ("Masking the brain", 0, 1),
        ("Normalising", 0, 2),
        ("Normalising", 1, 2),
    ]
    assert set(prepared.timings) == {
        "align",
        "bias_correction",
        "head_crop",
        "resample",
        "brain_mask",
        "normalise",
    }
    assert all(seconds > 0 for seconds in prepared.timings.values())
    assert (prepared.data == 0).any(), "outside of the brain mask"


def test_steps_can_be_switched_off() -> None:
    recipe = Preprocessing(spacing=None, align=None, head_crop=None, normalise=None)
    study = Study({"t1w": scan(), "flair": scan("flair")})
    stages = {step.stage for step in prepare(study, recipe, ("t1w", "flair"))}
    assert stages == {"Resampling"}


def test_it_can_be_cancelled_between_steps() -> None:
    steps = prepare(Study({"t1w": scan(), "t2w": scan("t2w")}), Preprocessing(), ("t1w", "t2w"))
    assert next(steps).stage == "Aligning T2w"
    steps.close()
    with pytest.raises(StopIteration):
        next(steps)


def test_given_transforms_are_used_and_not_searched_for() -> None:
    shift = np.eye(4)
    shift[:3, 3] = (3.0, -1.6, 2.8)
    affine = shift @ GRID.affine
    moved = Volume(scan().data, Grid(GRID.shape, affine), "t2w")
    study = Study({"t1w": scan(), "t2w": moved})
    recipe = Preprocessing(spacing=None, normalise=None)
    steps = prepare(study, recipe, ("t1w", "t2w"), transforms={"t2w": shift})
    prepared = run(steps)
    assert "align" not in prepared.timings
    assert (prepared.data[0] == prepared.data[1]).all()
    assert (prepared.transforms["t2w"] == shift).all()


def test_the_reference_need_not_be_a_channel() -> None:
    other = Grid((40, 40, 20), np.diag([2.0, 2.0, 4.0, 1.0]))
    study = Study({"t1w": scan(), "flair": scan("flair", other)})
    recipe = Preprocessing(align=None, head_crop=None, normalise=None, spacing=None)
    prepared = run(prepare(study, recipe, ("t1w",), reference="flair"))
    assert prepared.reference == "flair" and prepared.target is other
    assert prepared.grid.same_as(other)
    assert set(prepared.transforms) == {"t1w", "flair"}


def test_channels_are_scaled_each_on_its_own() -> None:
    bright = Volume(scan().data * 9, GRID, "t2w")
    settings = Normalise(method="zscore")
    recipe = Preprocessing(align=None, head_crop=None, spacing=None, normalise=settings)
    prepared = run(prepare(Study({"t1w": scan(), "t2w": bright}), recipe, ("t2w", "t1w")))
    assert prepared.modalities == ("t2w", "t1w")
    assert np.allclose(prepared.data[0], prepared.data[1], atol=1e-4)
    assert np.allclose(prepared.volume("t1w").data, normalise(reorient(scan(), "RAS").data, settings))
    assert prepared.volume("t1w").grid is prepared.grid


def test_constant_volumes_are_named_before_anything_runs() -> None:
    flat = Volume(np.full(GRID.shape, 7), GRID, "t2w", FileInfo(Path("sub-01_T2w.nii.gz"), "nifti"))
    steps = prepare(Study({"t1w": scan(), "t2w": flat}), Preprocessing(), ("t1w", "t2w"))
    with pytest.raises(MedzooError, match=r"sub-01_T2w\.nii\.gz: every voxel is 7"):
        next(steps)


def test_volumes_that_do_not_overlap_are_refused() -> None:
    far = np.array(GRID.affine)
    far[0, 3] += 5000
    study = Study({"t1w": scan(name="a_T1w.nii"), "t2w": scan("t2w", Grid(GRID.shape, far), "a_T2w.nii")})
    with pytest.raises(MedzooError, match=r"a_T2w\.nii does not overlap with a_T1w\.nii"):
        run(prepare(study, Preprocessing(align=None), ("t1w", "t2w")))


@pytest.mark.parametrize(
    ("modalities", "options", "sentence"),
    [
        ((), {}, "at least one"),
        (("flair",), {}, "not FLAIR"),
        (("t1w",), {"reference": "t2w"}, "not T2w"),
        (("t1w",), {"transforms": {"t1w": np.zeros((4, 4))}}, "inverted"),
    ],
)
def test_what_cannot_be_prepared_is_refused(modalities: tuple, options: dict, sentence: str) -> None:
    with pytest.raises(MedzooError, match=sentence):
        run(prepare(Study({"t1w": scan()}), Preprocessing(), modalities, **options))


@pytest.mark.parametrize("shapes", [((30, 30, 1), (24, 26, 9)), ((24, 26, 9), (30, 30, 1)), ((2, 3, 4), (3, 2, 2))])
def test_single_slices_and_specks_come_through(shapes: tuple) -> None:
    generator = np.random.default_rng(0)
    volumes = [
        Volume(generator.uniform(0, 99, shape), Grid(shape, np.diag([1.0, 1.0, 5.0, 1.0])), key)
        for key, shape in zip(("t1w", "t2w"), shapes, strict=True)
    ]
    study = Study({volume.modality: volume for volume in volumes})
    prepared = run(prepare(study, Preprocessing(head_crop=None), ("t1w", "t2w")))
    assert prepared.data.any(axis=(1, 2, 3)).all()
    assert prepared.restore(np.ones(prepared.grid.shape, dtype=int)).all()


def test_a_margin_can_be_none() -> None:
    tight = run(prepare(Study({"t1w": scan()}), Preprocessing(head_crop=HeadCrop(margin_mm=0)), ("t1w",)))
    wide = run(prepare(Study({"t1w": scan()}), Preprocessing(head_crop=HeadCrop(margin_mm=6)), ("t1w",)))
    assert all(a < b for a, b in zip(tight.grid.shape, wide.grid.shape, strict=True))


def test_settings_cost_no_heavy_import() -> None:
    """Cards import the recipe when the plugin opens; SimpleITK, scipy and torch must wait."""
    code = (
        "import sys, napari_medzoo.preprocess as p; p.Preprocessing();"
        "print([name for name in ('SimpleITK', 'scipy', 'torch', 'skimage') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=True)
    assert done.stdout.strip() == "[]"
