"""Reorienting copies voxels; resampling puts intensities where they belong, for any affine."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import map_coordinates
from scipy.spatial.transform import Rotation

from napari_medzoo.errors import MedzooError
from napari_medzoo.preprocess import reorient, resample
from napari_medzoo.preprocess.itk import from_itk, lps_to_ras, matrix_of, native, orthogonal_grid, to_itk
from napari_medzoo.preprocess.spatial import antialias_sigma, index_map
from napari_medzoo.space import Grid
from napari_medzoo.study import Volume
from tests.conftest import make_awkward_grids

GRIDS = make_awkward_grids()
each_grid = pytest.mark.parametrize("name", list(GRIDS))


def ramp(grid: Grid) -> Volume:
    """Intensities that are linear in world millimetres: linear interpolation gives them back exactly."""
    points = grid.to_world(np.argwhere(np.ones(grid.shape)))
    return Volume((points @ (1.0, -2.0, 0.5) + 400).reshape(grid.shape), grid)


def rigid(degrees: float = 9.0) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_rotvec(np.array([1, -2, 0.5]) * degrees / 2.3, degrees=True).as_matrix()
    matrix[:3, 3] = (1.5, -0.75, 2.25)
    return matrix


@each_grid
@pytest.mark.parametrize("codes", ["RAS", "LIA", "PSR"])
def test_reorient_is_lossless(name: str, codes: str) -> None:
    volume = ramp(GRIDS[name])
    there = reorient(volume, codes)
    assert there.grid.axis_codes == codes
    assert np.allclose(there.data, ramp(there.grid).data)
    back = reorient(there, volume.grid.axis_codes)
    assert (back.data == volume.data).all()


@each_grid
@pytest.mark.parametrize("order", [0, 1, 3])
def test_a_cut_of_the_same_lattice_is_copied_bit_by_bit(name: str, order: int) -> None:
    grid = GRIDS[name]
    data = np.random.default_rng(0).integers(0, 60000, grid.shape).astype(np.uint16)
    wanted = grid.reoriented("PSR").cropped((1, -2, 1), (4, 12, 5))
    result = resample(Volume(data, grid), wanted, order=order)
    assert result.data.dtype == np.uint16
    for index in np.argwhere(np.ones(wanted.shape)):
        i, j, k = np.rint(grid.to_index(wanted.to_world([index]))[0]).astype(int)
        inside = all(0 <= n < size for n, size in zip((i, j, k), grid.shape, strict=True))
        assert result.data[tuple(index)] == (data[i, j, k] if inside else 0)


@each_grid
@pytest.mark.parametrize("order", [1, 3])
def test_a_linear_ramp_is_resampled_exactly(name: str, order: int) -> None:
    """Oblique, permuted and flipped grids, sheared ones, and a rigid transform between them."""
    source = ramp(Grid((40, 40, 40), _about_origin(GRIDS[name])))
    sheared = np.diag([0.7, 0.8, 0.9, 1.0])
    sheared[0, 1] = 0.2
    grid = Grid((5, 6, 7), sheared)
    moved = resample(source, grid, rigid(), order=order)
    points = grid.to_world(np.argwhere(np.ones(grid.shape)))
    wanted = (points @ rigid()[:3, :3].T + rigid()[:3, 3]) @ (1.0, -2.0, 0.5) + 400
    assert moved.data.dtype == np.float32
    tolerance = 2e-4 if order == 1 else 0.05  # a spline mirrors the ramp at the border
    assert np.abs(moved.data.ravel() - wanted).max() < tolerance


def _about_origin(grid: Grid) -> np.ndarray:
    affine = np.array(grid.affine)
    affine[:3, 3] = -affine[:3, :3] @ np.array([19.5, 19.5, 19.5])
    return affine


def test_agrees_with_scipy_on_a_sheared_grid() -> None:
    data = np.random.default_rng(1).normal(size=(14, 12, 10)).astype(np.float32)
    affine = np.array([[0.9, 0.2, 0, -5], [0.1, 1.1, 0.1, -6], [0, 0.3, 1.3, -7], [0, 0, 0, 1.0]])
    volume, wanted = Volume(data, Grid(data.shape, affine)), Grid((6, 7, 5), np.diag([-0.8, 0.7, 0.9, 1]))
    where = volume.grid.to_index(wanted.to_world(np.argwhere(np.ones(wanted.shape))))
    linear = map_coordinates(data, where.T, order=1, mode="nearest")
    inside = ((where > -0.5) & (where < np.array(data.shape) - 0.5)).all(axis=1)
    assert inside.any() and not inside.all()
    assert np.allclose(resample(volume, wanted).data.ravel(), np.where(inside, linear, 0), atol=1e-5)
    labels = data > 0
    nearest = resample(Volume(labels.astype(np.int32), volume.grid), wanted, order=0).data.ravel()
    clipped = np.clip(np.floor(where + 0.5).astype(int), 0, np.array(data.shape) - 1)
    assert (nearest == np.where(inside, labels[tuple(clipped.T)], 0)).all()


def test_coarser_grids_are_smoothed_first() -> None:
    """A one-voxel checkerboard has no business in a volume of four times the voxel size."""
    board = (np.indices((32, 32, 32)).sum(axis=0) % 2).astype(np.float32)
    grid = Grid(board.shape, np.eye(4))
    coarse = resample(Volume(board, grid), grid.with_spacing((4, 4, 4)))
    assert np.abs(coarse.data[1:-1, 1:-1, 1:-1] - 0.5).max() < 0.02
    shifted = Grid((7, 7, 7), np.diag([4.0, 4.0, 4.0, 1]))  # unsmoothed, every voxel would land on a zero
    assert np.abs(resample(Volume(board, grid), shifted).data[1:, 1:, 1:] - 0.5).max() < 0.02


def test_only_the_coarser_axes_are_smoothed() -> None:
    fine = Grid((20, 20, 20), np.eye(4))
    assert antialias_sigma(index_map(Grid((20, 20, 5), np.diag([1.0, 0.5, 4.0, 1])), fine)) == pytest.approx(
        [0, 0, np.sqrt(15) / 2.3548], abs=1e-4
    )
    turned = np.eye(4)
    turned[:3, :3] = Rotation.from_euler("z", 90, degrees=True).as_matrix()
    assert antialias_sigma(index_map(Grid((5, 20, 20), turned @ np.diag([4.0, 1, 1, 1])), fine)) == pytest.approx(
        [0, np.sqrt(15) / 2.3548, 0], abs=1e-4
    )


def test_far_away_is_empty_and_wrong_orders_are_refused() -> None:
    volume = ramp(GRIDS["oblique"])
    far = Grid((4, 4, 4), np.array([[1.1, 0, 0, 900], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]))
    assert not resample(volume, far).data.any()
    with pytest.raises(MedzooError, match="order"):
        resample(volume, far, order=2)


@each_grid
def test_itk_sees_the_same_points(name: str) -> None:
    volume = ramp(GRIDS[name])
    image = to_itk(volume)
    for index in ([0, 0, 0], [3, 2, 5], [10, 8, 6]):
        lps = image.TransformIndexToPhysicalPoint(index[::-1])
        assert np.allclose(np.array(lps) * (-1, -1, 1), volume.grid.to_world([index])[0], atol=1e-6)
        assert image[index[::-1]] == volume.data[tuple(index)]
    assert (from_itk(image, volume).data == volume.data).all()


def test_itk_refuses_a_sheared_affine_and_orthogonal_grid_covers_it() -> None:
    affine = np.diag([1.0, 1.0, 2.0, 1])
    affine[1, 2] = 0.4
    volume = ramp(Grid((12, 10, 8), affine))
    with pytest.raises(MedzooError, match="right angles"):
        to_itk(volume)
    around = orthogonal_grid(volume.grid, 1.5)
    to_itk(resample(volume, around))
    corners = around.to_index(volume.grid.corners_mm())
    assert (corners >= -0.5).all() and (corners <= np.array(around.shape) - 0.5).all()


def test_points_keep_their_side_between_ras_and_lps() -> None:
    import SimpleITK as sitk

    transform = sitk.Euler3DTransform()
    transform.SetCenter((4.0, -3.0, 9.0))
    transform.SetRotation(0.1, -0.2, 0.3)
    transform.SetTranslation((5.0, 6.0, -7.0))
    ras = np.array([12.0, 34.0, -5.0])
    lps = np.array(transform.TransformPoint((ras * (-1, -1, 1)).tolist()))
    matrix = matrix_of(transform)
    assert np.allclose(matrix[:3, :3] @ ras + matrix[:3, 3], lps * (-1, -1, 1))
    assert np.allclose(lps_to_ras(lps_to_ras(matrix)), matrix)


@pytest.mark.parametrize("dtype", ["?", ">i2", "<f2", ">f4", "u1", ">f8"])
def test_native_keeps_the_values_of_every_type(dtype: str) -> None:
    data = np.arange(2 * 3 * 4).reshape(2, 3, 4).astype(dtype)[:, ::-1].transpose(2, 0, 1)
    result = native(data)
    assert result.flags.c_contiguous and result.dtype.isnative
    assert (result == data).all()
