"""`Grid`: where voxels lie, and how grids are turned, cut and compared."""

from __future__ import annotations

import itertools

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_medzoo.errors import MedzooError
from napari_medzoo.space import Grid, require_same_grid
from tests.conftest import make_awkward_grids

GRIDS = make_awkward_grids()
CODES = ["".join(codes) for order in itertools.permutations(["LR", "PA", "IS"]) for codes in itertools.product(*order)]
each_grid = pytest.mark.parametrize("name", list(GRIDS))


@each_grid
def test_index_to_world_and_back(name: str) -> None:
    grid = GRIDS[name]
    indices = np.argwhere(np.ones(grid.shape))
    assert np.allclose(grid.to_index(grid.to_world(indices)), indices, atol=1e-9)


@each_grid
def test_spacing_and_volume_are_those_of_the_affine(name: str) -> None:
    grid = GRIDS[name]
    origin, along_x, along_y, along_z = grid.to_world([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
    assert np.allclose(grid.spacing, [np.linalg.norm(p - origin) for p in (along_x, along_y, along_z)])
    assert np.isclose(grid.voxel_volume_ml, np.prod(grid.spacing) / 1000)


@each_grid
@pytest.mark.parametrize("codes", CODES)
def test_reoriented_keeps_every_voxel_where_it_is(name: str, codes: str) -> None:
    grid = GRIDS[name]
    turned = grid.reoriented(codes)
    assert turned.axis_codes == codes
    numbers = np.arange(np.prod(grid.shape)).reshape(grid.shape)
    moved = nib.orientations.apply_orientation(numbers, grid.orientation_to(codes))
    assert moved.shape == turned.shape
    indices = np.argwhere(np.ones(turned.shape))
    there = np.rint(grid.to_index(turned.to_world(indices))).astype(int)
    assert (numbers[tuple(there.T)] == moved[tuple(indices.T)]).all()
    assert turned.reoriented(grid.axis_codes).same_as(grid, tolerance_mm=1e-9)


@given(
    st.sampled_from(list(GRIDS)),
    st.tuples(*[st.floats(0.3, 5.0)] * 3),
)
def test_with_spacing_keeps_centre_axes_and_extent(name: str, spacing: tuple[float, float, float]) -> None:
    grid = GRIDS[name]
    finer = grid.with_spacing(spacing)
    assert np.allclose(finer.spacing, spacing)
    assert np.allclose(finer.center_mm, grid.center_mm, atol=1e-9)
    assert np.allclose(finer.affine[:3, :3] / spacing, grid.affine[:3, :3] / grid.spacing)
    extent, wanted = np.array(finer.shape) * spacing, np.array(grid.shape) * grid.spacing
    assert (extent >= wanted - 1e-3 * np.array(spacing)).all()
    assert (extent < wanted + spacing).all()


def test_with_its_own_spacing_is_the_same_grid() -> None:
    for grid in GRIDS.values():
        assert grid.with_spacing(grid.spacing).same_as(grid, tolerance_mm=1e-9)


@each_grid
def test_cropped_begins_at_its_first_voxel(name: str) -> None:
    grid = GRIDS[name]
    part = grid.cropped((2, -1, 3), (4, 5, 2))
    assert part.shape == (4, 5, 2)
    assert np.allclose(part.to_world([[0, 0, 0], [1, 2, 1]]), grid.to_world([[2, -1, 3], [3, 1, 4]]))


def test_same_as_looks_at_every_corner() -> None:
    grid = GRIDS["awkward"]
    assert grid.same_as(Grid(grid.shape, grid.affine.astype(np.float32)))
    shifted = np.array(grid.affine)
    shifted[0, 3] += 0.02
    assert not grid.same_as(Grid(grid.shape, shifted))
    turned = np.array(grid.affine)
    turned[:3, 0] *= 1.01  # the origin stays, the far corners do not
    assert not grid.same_as(Grid(grid.shape, turned))
    assert not grid.same_as(grid.cropped((0, 0, 0), (11, 9, 6)))


@pytest.mark.parametrize(
    ("shape", "affine", "sentence"),
    [
        ((3, 4), np.eye(4), "3D"),
        ((3, 4, 0), np.eye(4), "3D"),
        ((3, 4, 5), np.eye(3), "4×4"),
        ((3, 4, 5), np.diag([1, np.nan, 1, 1]), "finite"),
        ((3, 4, 5), np.diag([1, 0, 1, 1]), "singular"),
        ((3, 4, 5), [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]], "singular"),
        ((3, 4, 5), [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 1, 1]], "last row"),
    ],
)
def test_impossible_grids_are_refused(shape: tuple[int, ...], affine: np.ndarray, sentence: str) -> None:
    with pytest.raises(MedzooError, match=sentence):
        Grid(shape, affine)  # type: ignore[arg-type]


@pytest.mark.parametrize("codes", ["RA", "RRS", "XYZ", "ras"])
def test_wrong_axis_codes_are_refused(codes: str) -> None:
    with pytest.raises(MedzooError, match="axis codes"):
        GRIDS["identity"].reoriented(codes)


def test_the_affine_cannot_be_changed_behind_its_back() -> None:
    affine = np.eye(4)
    grid = Grid((2, 2, 2), affine)
    affine[0, 3] = 5
    assert grid.affine[0, 3] == 0
    with pytest.raises(ValueError, match="read-only"):
        grid.affine[0, 3] = 5


def test_different_grids_are_named_when_refused() -> None:
    require_same_grid(GRIDS["oblique"], GRIDS["oblique"], "a", "b")
    with pytest.raises(MedzooError, match=r"T1w\.nii.*FLAIR\.nii.*different grids"):
        require_same_grid(GRIDS["oblique"], GRIDS["flipped"], "T1w.nii", "FLAIR.nii")
