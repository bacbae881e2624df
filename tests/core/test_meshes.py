"""Surfaces: closed, outward, on the right side, with the voxels' volume, on every kind of grid."""

from __future__ import annotations

import numpy as np
import pytest

from napari_medzoo.errors import MedzooError
from napari_medzoo.labels import Label, LabelTable, Segmentation
from napari_medzoo.meshes import SLAB_VOXELS, VOLUME_TOLERANCE, Mesh, default_smoothing, surface_of, surfaces
from napari_medzoo.progress import run
from napari_medzoo.space import Grid

TABLE = LabelTable(
    "shapes", (Label(1, "ball", (255, 0, 0)), Label(2, "specks", (0, 255, 0)), Label(9, "no", (1, 2, 3)))
)
GRIDS = ("identity", "anisotropic", "flipped", "permuted", "oblique", "awkward")
RADIUS = 9.0


def ball(grid: Grid, center: np.ndarray, radius: float = RADIUS, index: int = 1) -> Segmentation:
    """Voxels whose centres lie within `radius` mm of a point in the world."""
    indices = np.stack(np.meshgrid(*(np.arange(size) for size in grid.shape), indexing="ij"), axis=-1)
    inside = np.linalg.norm(grid.to_world(indices.reshape(-1, 3)) - center, axis=1) <= radius
    return Segmentation(inside.reshape(grid.shape).astype(np.uint16) * index, grid, TABLE)


@pytest.fixture(params=GRIDS)
def grid(request, awkward_grids) -> Grid:
    """The awkward grids with voxels enough for a ball of 18 mm."""
    small = awkward_grids[request.param]
    return Grid(tuple(int(np.ceil(26 / step)) for step in small.spacing), small.affine)


def edges(mesh: Mesh) -> tuple[np.ndarray, np.ndarray]:
    """Of every edge the number of triangles that run along it one way and the other way."""
    ends = np.stack([mesh.faces, np.roll(mesh.faces, -1, axis=1)], axis=-1).reshape(-1, 2).astype(np.int64)
    there, back = ends @ (len(mesh.vertices), 1), ends @ (1, len(mesh.vertices))
    return np.sort(there), np.sort(back)


def test_a_ball_is_a_closed_ball_at_its_place(grid):
    mesh = surface_of(ball(grid, grid.center_mm), 1)
    assert np.array_equal(*edges(mesh))
    place = mesh.vertices - grid.center_mm
    radii = np.linalg.norm(place, axis=1)
    assert abs(radii.mean() - RADIUS) < 0.15 * max(grid.spacing)
    assert radii.std() < 0.15 * max(grid.spacing)
    np.testing.assert_allclose(place.mean(axis=0), 0, atol=0.1 * max(grid.spacing))
    assert ((mesh.normals() * place / radii[:, None]).sum(axis=1) > 0.8).all()
    assert mesh.volume_ml == pytest.approx(mesh.voxels_ml, rel=VOLUME_TOLERANCE)
    assert mesh.area_cm2 == pytest.approx(4 * np.pi * RADIUS**2 / 100, rel=0.05)


def test_smoothing_takes_the_staircase_and_nothing_else(grid):
    labels = ball(grid, grid.center_mm)
    rough, smooth = (surface_of(labels, 1, mm) for mm in (0, default_smoothing(grid)))
    for mesh in (rough, smooth):
        assert mesh.volume_ml == pytest.approx(labels.volumes_ml()[1], rel=VOLUME_TOLERANCE)
    off = [np.linalg.norm(mesh.vertices - grid.center_mm, axis=1).std() for mesh in (rough, smooth)]
    assert off[1] < 0.75 * off[0]
    assert smooth.area_cm2 < 0.97 * rough.area_cm2


@pytest.mark.parametrize("smoothing", [0.0, 1.0, 4.0, 30.0])
def test_no_lesion_is_too_small(smoothing):
    data = np.zeros((24, 24, 24), dtype=np.uint8)
    data[4, 4, 4] = data[20, 4:6, 4] = 2
    data[9:14, 12:18, 8:12] = 2
    data[4, 20, 20] = data[5, 21, 21] = 2
    labels = Segmentation(data, Grid(data.shape, np.diag([1.0, 1.0, 1.5, 1.0])), TABLE)
    mesh = surface_of(labels, 2, smoothing)
    assert mesh.volume_ml == pytest.approx(labels.volumes_ml()[2], rel=VOLUME_TOLERANCE)
    for corner, volume, center in ((0, 1, (4, 4, 6)), (1, 2, (20, 4.5, 6))):
        near = np.linalg.norm(mesh.vertices - center, axis=1) < 3.5
        faces = np.searchsorted(np.flatnonzero(near), mesh.faces[near[mesh.faces].all(axis=1)])
        one = Mesh(mesh.vertices[near], faces, mesh.label, volume * labels.grid.voxel_volume_ml)
        assert one.volume_ml == pytest.approx(one.voxels_ml, rel=VOLUME_TOLERANCE), corner
        np.testing.assert_allclose(one.vertices.mean(axis=0), center, atol=0.05)


def test_a_hole_is_no_volume_and_the_edge_of_the_scan_closes_the_surface():
    data = np.ones((12, 14, 16), dtype=np.uint8)
    data[3:9, 4:10, 5:11] = 0
    labels = Segmentation(data, Grid(data.shape, np.eye(4)), TABLE)
    mesh = surface_of(labels, 1, 2.0)
    assert np.array_equal(*edges(mesh))
    assert mesh.volume_ml == pytest.approx((12 * 14 * 16 - 6**3) / 1000, rel=VOLUME_TOLERANCE)
    inner = (np.abs(mesh.vertices - (5.5, 6.5, 7.5)) < 4).all(axis=1)
    toward = mesh.normals()[inner] * (mesh.vertices[inner] - (5.5, 6.5, 7.5))
    assert (toward.sum(axis=1) < 0).all()


def test_slabs_leave_no_seam(monkeypatch):
    grid = Grid((24, 22, 20), np.eye(4))
    labels = ball(grid, np.array([11.3, 10.2, 9.6]))
    whole = surface_of(labels, 1)
    monkeypatch.setattr("napari_medzoo.meshes.SLAB_VOXELS", 3 * 23 * 21)
    slabs = surface_of(labels, 1)
    assert labels.data.size < SLAB_VOXELS
    np.testing.assert_allclose(slabs.vertices, whole.vertices)
    assert {tuple(np.roll(face, -face.argmin())) for face in slabs.faces} == {
        tuple(np.roll(face, -face.argmin())) for face in whole.faces
    }


def test_the_side_follows_from_the_affine_alone(awkward_grids):
    """A voxel on the person's left has a surface on the left, in whatever order the file stores it."""
    for name, small in awkward_grids.items():
        grid = small.reoriented("RAS")
        data = np.zeros(grid.shape, dtype=np.uint8)
        data[0, 2:4, 2:4] = 1
        mesh = surface_of(Segmentation(data, grid, TABLE), 1, 0.0)
        expected = grid.to_world(np.argwhere(data)).mean(axis=0)
        np.testing.assert_allclose(mesh.vertices.mean(axis=0), expected, atol=1e-3, err_msg=name)
        stored = np.ascontiguousarray(data[::-1])
        flip = np.diag([-1.0, 1, 1, 1])
        flip[0, 3] = grid.shape[0] - 1
        other = surface_of(Segmentation(stored, Grid(grid.shape, grid.affine @ flip), TABLE), 1, 0.0)
        # Marching cubes may halve a square along its other diagonal, so that vertices differ a little.
        for of in (np.min, np.max, np.mean):
            np.testing.assert_allclose(of(other.vertices, axis=0), of(mesh.vertices, axis=0), atol=0.05, err_msg=name)
        assert mesh.volume_ml > 0 and other.volume_ml > 0


def test_progress_names_the_classes_and_absent_ones_are_refused():
    labels = ball(Grid((24, 24, 24), np.eye(4)), np.array([12.0, 12, 12]))
    labels.data[0, 0, 0] = 2
    assert [mesh.label.name for mesh in run(surfaces(labels, [2, 1]))] == ["specks", "ball"]
    seen = list(surfaces(labels, [2, 1]))
    assert (seen[0].stage, seen[0].done, seen[0].total) == ("Surface of specks", 0, 2)
    assert seen[-1].stage == "Surface of ball"
    with pytest.raises(MedzooError, match="no voxel of 'no'"):
        run(surfaces(labels, [9]))
    with pytest.raises(MedzooError, match="no index 5"):
        surface_of(labels, 5)


def test_real_labels_are_closed_and_on_their_sides(data_dir):
    from napari_medzoo.io import read_segmentation

    labels = read_segmentation(data_dir / "structures" / "fsaverage" / "aseg.mgz")
    volumes = labels.volumes_ml()
    for index, side in ((4, -1), (43, 1), (17, -1), (53, 1)):
        mesh = surface_of(labels, index)
        assert np.array_equal(*edges(mesh))
        assert side * np.median(mesh.vertices[:, 0]) > 5
        assert mesh.volume_ml == pytest.approx(volumes[index], rel=VOLUME_TOLERANCE)
