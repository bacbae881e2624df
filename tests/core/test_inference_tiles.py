"""Tiles: nothing may be scrambled, lost or weighted wrongly, whatever their size."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest

from napari_medzoo.inference.tiles import blend_weights, fitting_patch, pad, tile_starts, tiled
from napari_medzoo.models.geometry import Geometry
from napari_medzoo.progress import Progress, run

SHAPE = (23, 17, 30)


@pytest.fixture(scope="module")
def logits() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(3, *SHAPE)).astype(np.float32)


@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.5])
@pytest.mark.parametrize("patch", [(23, 17, 30), (22, 17, 29), (16, 16, 16), (8, 5, 13), (7, 11, 2), (1, 17, 3)])
def test_identity_gives_its_input_back(logits: np.ndarray, patch: tuple, overlap: float) -> None:
    result = run(tiled(lambda tile: tile, logits, patch, overlap))
    assert result.dtype == np.float32
    assert np.abs(result - logits).max() < 1e-6
    assert (result.argmax(0) == logits.argmax(0)).all()


def cropping(margin: tuple[int, int, int]) -> Callable[[np.ndarray], np.ndarray]:
    """A network of valid convolutions that gives its input back, as far as it answers."""
    return lambda tile: tile[:, *(slice(lost, size - lost) for lost, size in zip(margin, tile.shape[1:], strict=True))]


@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.5])
@pytest.mark.parametrize("answer", [(23, 17, 30), (22, 16, 29), (8, 5, 13), (1, 17, 3), (1, 1, 1)])
@pytest.mark.parametrize("margin", [(4, 4, 4), (9, 2, 0), (0, 1, 20)])
def test_valid_identity_gives_its_input_back(logits: np.ndarray, margin: tuple, answer: tuple, overlap: float) -> None:
    logits = logits[:, :5, :4, :3] if answer == (1, 1, 1) else logits  # every tile is a thread's work
    shape = logits.shape[1:]
    padded, inner = pad(logits, Geometry(margin=margin).input_for(shape), margin)
    assert padded.shape[1:] == tuple(size + 2 * lost for size, lost in zip(shape, margin, strict=True))
    patch = tuple(min(size, most) + 2 * lost for size, most, lost in zip(answer, shape, margin, strict=True))
    result = run(tiled(cropping(margin), padded, patch, overlap, margin))
    assert result.shape == logits.shape
    assert np.abs(result[inner] - logits).max() < 1e-6
    if not overlap and all(most % size == 0 for size, most in zip(answer, shape, strict=True)):
        assert (result[inner] == logits).all(), "a voxel of one tile keeps its logits to the last bit"


def test_one_tile_is_exact(logits: np.ndarray) -> None:
    assert (run(tiled(lambda tile: tile, logits, SHAPE, 0.25)) == logits).all()


def test_each_tile_has_the_patch_and_its_own_place(logits: np.ndarray) -> None:
    # The position of every voxel as its own value: a tile put elsewhere would show.
    positions = np.stack(np.meshgrid(*map(np.arange, SHAPE), indexing="ij")).astype(np.float32)
    seen = []

    def network(tile: np.ndarray) -> np.ndarray:
        assert tile.shape == (3, 8, 8, 8)
        assert tile.flags.c_contiguous
        seen.append(tuple(tile[:, 0, 0, 0]))
        return tile[[0, 1, 2, 0, 1]]

    result = run(tiled(network, positions, (8, 8, 8), 0.25))
    assert result.shape == (5, *SHAPE)
    np.testing.assert_allclose(result, positions[[0, 1, 2, 0, 1]], atol=1e-5)
    assert len(seen) == len(set(seen)) == 4 * 3 * 5


def test_a_border_effect_is_blended_away() -> None:
    """A network that is wrong at the border of its patch: the blend must trust the middles."""
    ones = np.ones((1, 40, 16, 16), np.float32)

    def wrong_at_border(tile: np.ndarray) -> np.ndarray:
        result = np.zeros_like(tile)
        result[:, 2:-2] = 1
        return result

    blended = run(tiled(wrong_at_border, ones, (16, 16, 16), 0.5))
    assert blended[0, 2:-2].min() > 0.9
    assert blended[0, 0].max() == 0


@pytest.mark.parametrize(
    ("size", "patch", "overlap"), [(30, 8, 0.25), (8, 8, 0.5), (9, 8, 0.0), (31, 7, 0.5), (5, 1, 0)]
)
def test_tiles_cover_the_axis(size: int, patch: int, overlap: float) -> None:
    starts = tile_starts(size, patch, overlap)
    covered = np.zeros(size, int)
    for start in starts:
        assert 0 <= start <= size - patch
        covered[start : start + patch] += 1
    assert covered.min() >= 1
    shared = [a + patch - b for a, b in pairwise(starts)]
    assert all(s >= patch * overlap - 1e-9 for s in shared)
    weights = blend_weights(size, patch, starts)
    total = np.zeros(size)
    for start, weight in zip(starts, weights, strict=True):
        total[start : start + patch] += weight
    np.testing.assert_allclose(total, 1, atol=1e-6)


def test_progress_counts_the_tiles(logits: np.ndarray) -> None:
    steps = list(tiled(lambda tile: tile, logits, (12, 17, 30), 0.0))
    assert set(steps) == {Progress("Segmenting", done, 2) for done in range(2)}


def test_closing_stops_before_the_next_tile(logits: np.ndarray) -> None:
    done = []
    steps = tiled(lambda tile: done.append(1) or tile, logits, (8, 8, 8), 0.25)  # type: ignore[func-returns-value]
    while next(steps).done < 3:
        pass
    steps.close()
    assert 3 <= len(done) <= 4


def test_padding_is_zero_and_undone(logits: np.ndarray) -> None:
    padded, inner = pad(logits, (32, 32, 32))
    assert padded.shape == (3, 32, 32, 32)
    assert padded.flags.c_contiguous
    assert (padded[inner] == logits).all()
    assert np.count_nonzero(padded) == np.count_nonzero(logits)


def test_with_a_margin_the_study_lies_where_the_network_answers(logits: np.ndarray) -> None:
    """Sizes that the network takes leave more around the study than the margin."""
    geometry = Geometry((8, 8, 1), (4, 4, 0), (6, 6, 0))
    padded, inner = pad(logits, geometry.input_for(SHAPE), geometry.margin)
    assert padded.shape[1:] == (36, 36, 30)
    assert (padded[:, 6:-6, 6:-6][inner] == logits).all()


def test_patch_never_exceeds_the_volume() -> None:
    assert fitting_patch((128, 128, 128), (64, 192, 96)) == (64, 128, 96)
