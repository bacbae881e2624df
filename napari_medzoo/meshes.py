"""Surfaces of classes: closed meshes of triangles in RAS+ mm that are smooth and keep the volume of the voxels.

Marching cubes (Lewiner's, of scikit-image) gives the surface of one class with the staircase of its voxels. Three steps
make a smooth one of it, and none of them shrinks it:

1. *Smoothing* is a low-pass filter of the vertices' positions along the surface [1]_, in its form as a windowed sum of
   Chebyshev polynomials of the mesh's Laplacian [2]_: bumps and dents narrower than `smoothing_mm` go, wider ones stay.
   Taubin's older pair of a shrinking and a growing step needs hundreds of passes for the same edge between both, and
   blurring the mask instead melts thin structures and small lesions away. The Laplacian gives all neighbours the same
   weight; how long a wave is in mm follows from the edges' mean length, exact for isotropic voxels, a mean for others.
2. A piece that is itself about as small as `smoothing_mm` is filtered less, so that no lesion disappears.
3. Each connected piece is moved along its normals by the one distance (in the order of a tenth of a voxel) that gives
   it the volume of its voxels. Marching cubes alone cuts corners: it makes of one voxel a body of a sixth of its size.

References
----------
.. [1] G. Taubin, "A signal processing approach to fair surface design", SIGGRAPH 1995.
.. [2] G. Taubin, T. Zhang, G. Golub, "Optimal surface smoothing as filter design", ECCV 1996.
.. [3] T. Lewiner, H. Lopes, A. W. Vieira, G. Tavares, "Efficient implementation of marching cubes' cases with
   topological guarantees", J. Graphics Tools 8(2), 2003.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_medzoo.correction.regions import box_of
from napari_medzoo.errors import MedzooError
from napari_medzoo.labels import Label, Segmentation
from napari_medzoo.progress import Progress, Steps, run
from napari_medzoo.space import Grid

DEFAULT_VOXELS = 4.0
"""Smoothing where none is asked for, in voxels (of mean spacing): a staircase's steps are about this long."""

VOLUME_TOLERANCE = 0.01
"""A mesh's volume differs from its voxels' by less than this part."""

SLAB_VOXELS = 300_000
"""Marching cubes holds Python's lock; so many voxels at a time keep a window alive (about 0.03 s)."""

SHARPNESS = 10.0
"""Degree of the filter times its cut-off angle: at half the width of what it keeps, nothing is left of a wave."""

SMALLEST_WAVE = 1.3
"""A piece is filtered as if waves longer than this part of its diameter mattered (a sphere's size is one of 2.2)."""

Points = NDArray[np.floating[Any]]
Faces = NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class Mesh:
    """The surface of one class.

    Attributes
    ----------
    vertices : numpy.ndarray
        ``(V, 3) float32`` RAS+ mm.
    faces : numpy.ndarray
        ``(F, 3) int32`` vertices of each triangle, counterclockwise seen from outside whatever the affine; closed:
        every edge is used once in each direction (twice where two sheets touch along it).
    label : Label
        Index, name and colour of the class.
    voxels_ml : float
        Volume of the voxels that the surface encloses, in mL.
    """

    vertices: NDArray[np.float32]
    faces: Faces
    label: Label
    voxels_ml: float

    @property
    def volume_ml(self) -> float:
        """Volume inside the surface in mL (of the divergence theorem), holes in it left out."""
        return float(_volumes(self.vertices.astype(np.float64), self.faces)[0].sum() / 1000)

    @property
    def area_cm2(self) -> float:
        """Area of the surface in cm²."""
        return float(np.linalg.norm(_crosses(self.vertices.astype(np.float64), self.faces), axis=1).sum() / 200)

    def normals(self) -> NDArray[np.float32]:
        """``(V, 3)`` unit vectors that point out of the class, weighted by the triangles' areas."""
        _, gradient = _volumes(self.vertices.astype(np.float64), self.faces)
        return _unit(gradient).astype(np.float32)


def default_smoothing(grid: Grid) -> float:
    """Smoothing in mm that takes the staircase from labels on `grid`."""
    return DEFAULT_VOXELS * float(np.cbrt(grid.voxel_volume_ml * 1000))


def surface_of(segmentation: Segmentation, index: int, smoothing_mm: float | None = None) -> Mesh:
    """The surface of one class; see `surfaces`."""
    return run(surfaces(segmentation, [index], smoothing_mm))[0]


def surfaces(
    segmentation: Segmentation, indices: Sequence[int], smoothing_mm: float | None = None
) -> Steps[tuple[Mesh, ...]]:
    """The surfaces of classes.

    Parameters
    ----------
    segmentation : Segmentation
        On any grid.
    indices : sequence of int
        Indices of its table.
    smoothing_mm : float, optional
        Bumps and dents narrower than this go; 0 keeps the staircase; `default_smoothing` of the grid by default.

    Yields
    ------
    Progress

    Returns
    -------
    tuple of Mesh
        In the order of `indices`.

    Raises
    ------
    MedzooError
        For a class without a voxel, or one that the table does not name.
    """
    smoothing = default_smoothing(segmentation.grid) if smoothing_mm is None else smoothing_mm
    labels = [segmentation.table[index] for index in indices]
    meshes = []
    for done, label in enumerate(labels):
        step = Progress(f"Surface of {label.name}", done, len(labels))
        yield step
        meshes.append((yield from _surface(segmentation, label, smoothing, step)))
    return tuple(meshes)


def _surface(segmentation: Segmentation, label: Label, smoothing_mm: float, step: Progress) -> Steps[Mesh]:
    import cc3d

    box = box_of(segmentation.data, label.index)
    if box is None:
        raise MedzooError(f"The labels have no voxel of '{label.name}'; choose a class that is present.")
    # One voxel of nothing all around closes the surface at the edge of the array.
    mask = np.pad(segmentation.data[box] == label.index, 1)
    grid = segmentation.grid.cropped([cut.start - 1 for cut in box], mask.shape)
    halves, faces = yield from _marching_cubes(mask, step)
    if np.linalg.det(grid.affine[:3, :3]) < 0:
        faces = faces[:, ::-1]
    yield step
    blobs = cc3d.connected_components(mask, connectivity=26)
    voxels_mm3 = np.bincount(blobs.ravel(), minlength=2)[1:] * grid.voxel_volume_ml * 1000
    yield step
    pieces, neighbours = _pieces(faces, len(halves))
    # Between the two voxels of an edge, one is in the class; a vertex inside a cell belongs to the rest of its piece.
    blob = np.zeros(pieces.max() + 1, dtype=np.int64)
    np.maximum.at(blob, pieces, np.maximum(blobs[tuple((halves // 2).T)], blobs[tuple(((halves + 1) // 2).T)]))
    vertices: Points = grid.to_world(halves / 2)
    yield step
    vertices = yield from _smooth(vertices, faces, pieces, neighbours, smoothing_mm, step)
    vertices = yield from _with_volume(vertices, faces, blob[pieces] - 1, voxels_mm3, step)
    return Mesh(
        vertices.astype(np.float32), np.ascontiguousarray(faces, dtype=np.int32), label, float(voxels_mm3.sum() / 1000)
    )


def _marching_cubes(mask: NDArray[np.bool_], step: Progress) -> Steps[tuple[NDArray[np.int64], Faces]]:
    """Vertices ``(V, 3)`` in half voxels, and faces whose normals point outwards in a right-handed grid."""
    from skimage.measure import marching_cubes

    thick = max(int(SLAB_VOXELS / mask[0].size), 2)
    corners, triangles, count = [], [], 0
    for start in range(0, len(mask) - 1, thick):
        slab = mask[start : start + thick + 1]
        if slab.any() and not slab.all():
            vertices, faces, _, _ = marching_cubes(slab.astype(np.float32), 0.5)
            corners.append(np.rint(vertices * 2).astype(np.int64) + (2 * start, 0, 0))
            triangles.append(faces[:, ::-1].astype(np.int64) + count)
            count += len(vertices)
        yield step
    every = np.concatenate(corners)
    # The plane between two slabs is in both: its vertices become one again.
    keys = np.ravel_multi_index(tuple(every.T), tuple(2 * size for size in mask.shape))
    _, first, same = np.unique(keys, return_index=True, return_inverse=True)
    return every[first], same.ravel()[np.concatenate(triangles)].astype(np.int32)


def _pieces(faces: Faces, count: int) -> tuple[NDArray[np.int64], Any]:
    """Of every vertex the connected piece of the mesh it is in, and the sparse ``(V, V)`` mean over its neighbours."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    ends = np.roll(faces, -1, axis=1)
    links = coo_matrix((np.ones(faces.size), (faces.ravel(), ends.ravel())), shape=(count, count)).tocsr()
    links.data /= np.repeat(np.bincount(faces.ravel(), minlength=count), np.diff(links.indptr))
    return connected_components(links, directed=False)[1].astype(np.int64), links


def _smooth(
    vertices: Points, faces: Faces, pieces: NDArray[np.int64], mean: Any, smoothing_mm: float, step: Progress
) -> Steps[Points]:
    """Filter the vertices (mm) along the surface."""
    edges = 3 * np.mean((vertices[faces] - vertices[np.roll(faces, -1, axis=1)]) ** 2)
    volumes = np.bincount(pieces, _volumes(vertices, faces)[0])
    diameters = np.cbrt(6 / np.pi * np.abs(volumes))
    waves = np.maximum(np.minimum(2 * smoothing_mm, SMALLEST_WAVE * diameters), 1e-6)
    # On an even surface the mean over the neighbours multiplies a wave by about 1 - edges × (2π / length)² / 4 = cos θ.
    angles = np.minimum(2 * np.pi / waves * np.sqrt(edges / 2), np.pi)
    if angles.min() >= np.pi:
        return vertices
    degree = int(np.ceil(SHARPNESS / angles.min()))
    orders = np.arange(1, degree + 1)
    window = 0.54 + 0.46 * np.cos(np.pi * orders / (degree + 1))
    weights = np.vstack([angles / np.pi, (2 * window / (np.pi * orders))[:, None] * np.sin(np.outer(orders, angles))])
    weights /= weights.sum(axis=0)  # what is constant stays where it is
    before, now = vertices, mean @ vertices
    result = weights[0][pieces][:, None] * before + weights[1][pieces][:, None] * now
    for weight in weights[2:]:
        before, now = now, 2 * (mean @ now) - before
        result += weight[pieces][:, None] * now
        yield step
    return result


def _with_volume(
    vertices: Points, faces: Faces, blob: NDArray[np.int64], wanted: Points, step: Progress
) -> Steps[Points]:
    """Move each blob's vertices along their normals until it has the volume `wanted` (mm³): Newton's method."""
    for _ in range(8):
        volume, gradient = _volumes(vertices, faces)
        missing = wanted - np.bincount(blob, volume, minlength=len(wanted))
        if (np.abs(missing) <= VOLUME_TOLERANCE / 10 * wanted).all():
            break
        area = np.bincount(blob, np.linalg.norm(gradient, axis=1), minlength=len(wanted))
        vertices = vertices + _unit(gradient) * (missing / area)[blob][:, None]
        yield step
    return vertices


def _crosses(vertices: Points, faces: Faces) -> Points:
    """``(F, 3)``: along each triangle's normal, as long as twice its area."""
    first, second, third = (vertices[faces[:, corner]] for corner in range(3))
    return np.cross(second - first, third - first)


def _volumes(vertices: Points, faces: Faces) -> tuple[Points, Points]:
    """Each vertex's share ``(V,)`` of the enclosed volume (mm³), and how each moves it, ``(V, 3)`` mm²."""
    crosses = np.repeat(_crosses(vertices, faces) / 6, 3, axis=0)
    corners = faces.ravel()
    gradient: Points = np.stack([np.bincount(corners, part, minlength=len(vertices)) for part in crosses.T], axis=1)
    # A volume is homogeneous of degree 3 in the vertices (Euler); each closed piece's shares add up to its own.
    shares: Points = np.einsum("vi,vi->v", vertices, gradient) / 3
    return shares, gradient


def _unit(vectors: Points) -> Points:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
