"""The way back: labels come home to the scanner's grid, exactly where that is possible."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import center_of_mass

from napari_medzoo.errors import MedzooError
from napari_medzoo.preprocess import HeadCrop, Prepared, Preprocessing, prepare, reorient, resample
from napari_medzoo.preprocess.check import move
from napari_medzoo.progress import run
from napari_medzoo.space import Grid
from napari_medzoo.study import Study, Volume
from tests.conftest import make_awkward_grids

GRIDS = make_awkward_grids()
BARE = Preprocessing(align=None, head_crop=None, normalise=None)
CODES = ["".join(codes) for order in itertools.permutations(["LR", "PA", "IS"]) for codes in itertools.product(*order)]


def prepared_from(grid: Grid, recipe: Preprocessing, data: np.ndarray | None = None) -> Prepared:
    values = np.random.default_rng(0).uniform(1, 100, grid.shape) if data is None else data
    return run(prepare(Study({"t1w": Volume(values.astype(np.float32), grid, "t1w")}), recipe, ("t1w",)))


def ball(grid: Grid, center_mm: np.ndarray, radius_mm: float) -> np.ndarray:
    points = grid.to_world(np.argwhere(np.ones(grid.shape)))
    return (np.linalg.norm(points - center_mm, axis=1) <= radius_mm).reshape(grid.shape).astype(np.uint16)


@pytest.mark.parametrize("name", list(GRIDS))
@pytest.mark.parametrize("orientation", ["RAS", "LIA", "SPL"])
def test_same_spacing_there_and_back_is_bit_exact(name: str, orientation: str) -> None:
    grid = GRIDS[name]
    prepared = prepared_from(grid, BARE.model_copy(update={"spacing": None, "orientation": orientation}))
    labels = np.random.default_rng(1).integers(0, 2000, grid.shape).astype(np.uint16)
    there = resample(Volume(labels, grid), prepared.grid, order=0).data
    back = prepared.restore(there)
    assert back.dtype == np.uint16 and back.flags.c_contiguous
    assert (back == labels).all()
    data = prepared_from(grid, BARE.model_copy(update={"spacing": None, "orientation": orientation}), labels).data[0]
    assert (data == there).all(), "intensities take the same way as labels, without interpolation"


@settings(max_examples=60, deadline=None)
@given(
    name=st.sampled_from(list(GRIDS)),
    orientation=st.sampled_from(CODES),
    factors=st.tuples(*[st.sampled_from([1.0, 1.02, 1.5, 2.0, 2.7])] * 3),
)
def test_labels_on_the_models_grid_lose_nothing(
    name: str, orientation: str, factors: tuple[float, float, float]
) -> None:
    """Where the model's voxels are no smaller than the scan's, restoring and preparing again gives every voxel back."""
    own = GRIDS[name].reoriented(orientation).spacing
    spacing = tuple(s * f for s, f in zip(own, factors, strict=True))
    prepared = prepared_from(GRIDS[name], BARE.model_copy(update={"spacing": spacing, "orientation": orientation}))
    labels = np.random.default_rng(2).integers(0, 9, prepared.grid.shape).astype(np.int32)
    restored = prepared.restore(labels)
    again = resample(Volume(restored, GRIDS[name]), prepared.grid, order=0).data
    assert (again == labels).all()


@settings(max_examples=40, deadline=None)
@given(
    name=st.sampled_from(list(GRIDS)),
    orientation=st.sampled_from(CODES),
    spacing=st.tuples(*[st.floats(0.4, 2.2)] * 3),
)
def test_every_voxel_gets_the_nearest_label(name: str, orientation: str, spacing: tuple[float, float, float]) -> None:
    prepared = prepared_from(GRIDS[name], BARE.model_copy(update={"spacing": spacing, "orientation": orientation}))
    numbers = np.arange(np.prod(prepared.grid.shape)).reshape(prepared.grid.shape)
    restored = prepared.restore(numbers)
    indices = np.argwhere(np.ones(GRIDS[name].shape))
    exact = prepared.grid.to_index(GRIDS[name].to_world(indices))
    got = np.array(np.unravel_index(restored[tuple(indices.T)], prepared.grid.shape)).T
    assert np.abs(got - exact).max() <= 0.5 + 1e-5


@pytest.mark.parametrize("name", list(GRIDS))
def test_a_ball_stays_where_it_is_and_left_stays_left(name: str) -> None:
    affine = np.array(GRIDS[name].affine)
    grid = Grid((44, 36, 28), affine)
    recipe = BARE.model_copy(update={"spacing": (1.3, 1.1, 0.9)})
    prepared = prepared_from(grid, recipe)
    left = grid.center_mm - (4, 0, 0)
    labels = ball(prepared.grid, left, 5) + 2 * ball(prepared.grid, grid.center_mm + (4, 0, 0), 2.5)
    scores = np.stack([8.0 * (labels == n) for n in range(3)]).astype(np.float32)
    for restored in (prepared.restore(labels), prepared.restore_scores(scores)):
        center = grid.to_world([center_of_mass(restored == 1)])[0]
        assert np.abs(center - left).max() < 0.25 * max(*grid.spacing, *prepared.grid.spacing)
        assert grid.to_world([center_of_mass(restored == 2)])[0][0] > center[0] + 6
        assert (restored == 1).sum() * grid.voxel_volume_ml == pytest.approx(4 / 3 * np.pi * 0.125, rel=0.15)


@pytest.mark.parametrize("codes", CODES)
def test_the_files_axes_change_no_voxel(codes: str) -> None:
    """Also halves of voxels fall on the same side, and scores give the same winners."""
    grid = Grid((12, 14, 10), np.diag([2.0, 1.5, 3.0, 1.0]))
    volume = Volume(np.random.default_rng(0).uniform(1, 9, grid.shape).astype(np.float32), grid, "t1w")
    first = run(prepare(Study({"t1w": volume}), BARE, ("t1w",)))
    turned = reorient(volume, codes)
    other = run(prepare(Study({"t1w": turned}), BARE, ("t1w",)))
    assert (other.data == first.data).all()
    labels = np.random.default_rng(1).integers(0, 5, first.grid.shape).astype(np.uint8)
    back = reorient(Volume(other.restore(labels), turned.grid), "RAS").data
    assert (back == first.restore(labels)).all()
    scores = np.random.default_rng(2).normal(size=(5, *first.grid.shape)).astype(np.float32)
    back = reorient(Volume(other.restore_scores(scores), turned.grid), "RAS").data
    assert (back == first.restore_scores(scores)).all()


def test_scores_take_the_exact_path_where_grids_only_turn() -> None:
    prepared = prepared_from(GRIDS["awkward"], BARE.model_copy(update={"spacing": None}))
    scores = np.random.default_rng(3).normal(size=(6, *prepared.grid.shape)).astype(np.float32)
    scores[2, :2] = scores[4, :2] = 9  # equals: the first wins, as with argmax
    assert (prepared.restore_scores(scores) == prepared.restore(scores.argmax(axis=0).astype(np.uint16))).all()


@pytest.mark.parametrize("spacing", [(1.7, 2.0, 2.3), (0.6, 0.5, 0.7)])
def test_scores_agree_with_interpolating_all_classes_at_once(spacing: tuple[float, float, float]) -> None:
    """Looking at each class only where it can win, one at a time, changes nothing."""
    prepared = prepared_from(GRIDS["awkward"], BARE.model_copy(update={"spacing": spacing}))
    generator = np.random.default_rng(4)
    scores = 3 * generator.normal(size=(7, *prepared.grid.shape)).astype(np.float32)
    scores[5] -= 50  # a class that never wins
    shares = np.exp(scores - scores.max(axis=0))
    shares /= shares.sum(axis=0)
    from scipy.ndimage import gaussian_filter, map_coordinates

    own = prepared.target.reoriented(prepared.grid.axis_codes).spacing
    blur = [np.sqrt(max((coarse / fine) ** 2 - 1, 0) / 12) for coarse, fine in zip(own, spacing, strict=True)]
    shares = np.stack([gaussian_filter(share, [s if s >= 0.15 else 0 for s in blur]) for share in shares])
    indices = np.argwhere(np.ones(prepared.target.shape))
    where = prepared.grid.to_index(prepared.target.to_world(indices))
    dense = np.stack([map_coordinates(share, where.T, order=1, mode="nearest") for share in shares])
    ordered = np.sort(dense, axis=0)
    clear = ordered[-1] - ordered[-2] > 1e-4
    result = prepared.restore_scores(scores)[tuple(indices.T)]
    assert clear.mean() > 0.95
    assert (result[clear] == dense.argmax(axis=0)[clear]).all()


def test_a_large_voxel_is_called_what_fills_most_of_it() -> None:
    """A sheet of 1 mm through the centres of slices of 3 mm is a third of them."""
    prepared = prepared_from(Grid((8, 8, 6), np.diag([1.0, 1.0, 3.0, 1.0])), BARE)
    scores = np.zeros((3, *prepared.grid.shape), dtype=np.float32)
    scores[1] = 9
    scores[2, :, :, 1::3] = 18
    assert (prepared.restore(scores.argmax(axis=0)) == 2).all(), "the sheet lies in the centres"
    assert (prepared.restore_scores(scores) == 1).all()


def test_outside_of_the_prepared_part_is_background() -> None:
    grid = Grid((40, 40, 40), np.diag([-1.0, 1.0, 1.0, 1.0]))
    head = 100.0 * ball(grid, grid.center_mm + (6, 0, 0), 9)
    recipe = BARE.model_copy(update={"head_crop": HeadCrop(margin_mm=2), "spacing": None})
    prepared = prepared_from(grid, recipe, head)
    assert np.prod(prepared.grid.shape) < 0.5 * head.size
    assert prepared.data[0].sum() == head.sum(), "the head is not cut"
    restored = prepared.restore(np.ones(prepared.grid.shape, dtype=np.uint8))
    assert restored.sum() == np.prod(prepared.grid.shape)
    assert restored[head > 0].all()
    finer = prepared_from(grid, recipe.model_copy(update={"spacing": (0.8, 0.8, 0.8)}), head)
    scores = np.zeros((2, *finer.grid.shape), dtype=np.float32)
    scores[1] = 1
    covered = finer.restore_scores(scores)
    assert covered[head > 0].all() and not covered[0].any() and not covered[-1].any()
    assert (covered == finer.restore(np.ones(finer.grid.shape, dtype=np.uint16))).all()


def test_labels_go_to_another_volumes_grid() -> None:
    grid = Grid((32, 30, 28), np.diag([1.0, 1.0, 1.0, 1.0]))
    other_grid = Grid((20, 26, 24), np.array([[0, 0, -1.2, 30], [-1.4, 0, 0, 32], [0, 1.1, 0, -2], [0, 0, 0, 1]]))
    other, matrix = move(Volume(np.ones(other_grid.shape), other_grid, "t2w"), (3, -2, 1), (4, 8, -6))
    prepared = prepared_from(grid, BARE)
    center = np.array([13.0, 15.0, 12.0])
    labels = ball(prepared.grid, center, 7)
    restored = prepared.restore(labels, target=other.grid, transform=matrix)
    wanted = matrix[:3, :3] @ center + matrix[:3, 3]
    assert np.abs(other.grid.to_world([center_of_mass(restored)])[0] - wanted).max() < 0.35
    scores = np.stack([np.zeros_like(labels), labels]).astype(np.float32) * 9 - 4
    scored = prepared.restore_scores(scores, target=other.grid, transform=matrix)
    assert np.abs(other.grid.to_world([center_of_mass(scored)])[0] - wanted).max() < 0.35


def test_labels_of_another_shape_are_refused() -> None:
    prepared = prepared_from(GRIDS["flipped"], BARE)
    with pytest.raises(MedzooError, match="prepared shape"):
        prepared.restore(np.zeros((3, 3, 3), dtype=int))
    with pytest.raises(MedzooError, match="prepared shape"):
        prepared.restore_scores(np.zeros((2, 3, 3, 3), dtype=np.float32))
    with pytest.raises(MedzooError, match="not prepared"):
        prepared.volume("flair")
    with pytest.raises(MedzooError, match="expected"):
        Prepared(prepared.data[:, 1:], prepared.grid, ("t1w",), "t1w", prepared.target)
