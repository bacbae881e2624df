"""Left is left: which side a label is on follows from the affine, and from the person."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from napari_medzoo.cards import load_card
from napari_medzoo.inference import predict
from napari_medzoo.labels import Segmentation
from napari_medzoo.progress import run
from napari_medzoo.samples import load_sample
from napari_medzoo.space import Grid
from napari_medzoo.study import Study, Volume

SIDES = ((2, 41), (3, 42), (4, 43), (10, 49), (8, 47))
"""aseg: white matter, cortex, lateral ventricle, thalamus and cerebellar cortex, left and right."""


def segment(volume: Volume) -> Segmentation:
    """In one pass at 1.5 mm, a tenth of the cost of the card's own way: sides are to be told, not borders."""
    card = load_card("structures")
    coarse = card.preprocessing.model_copy(update={"spacing": (1.5, 1.5, 1.5)})
    card = card.model_copy(update={"whole": True, "preprocessing": coarse})
    return run(predict(Study({"t1w": volume}), card, device="cpu"))


def dice(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> float:
    return 2 * np.count_nonzero(first & second) / max(np.count_nonzero(first) + np.count_nonzero(second), 1)


@pytest.fixture(scope="module")
def scan() -> Volume:
    """The MNI152 template: RAS, so the first voxel axis runs from left to right."""
    volume = load_sample("mni152")["t1w"]
    assert volume.grid.axis_codes == "RAS"
    return volume


@pytest.fixture(scope="module")
def straight(scan: Volume) -> Segmentation:
    return segment(scan)


def test_labels_lie_on_the_side_that_they_name(straight: Segmentation) -> None:
    for left, right in SIDES:
        x = [straight.grid.to_world(np.argwhere(straight.data == index))[:, 0].mean() for index in (left, right)]
        assert x[0] < -5 and x[1] > 5, "RAS+ mm: left is negative"


def test_a_mirrored_head_has_its_sides_swapped(scan: Volume, straight: Segmentation) -> None:
    """The voxels are flipped and the affine is kept: this person's left is the other's right.

    A person is not symmetric and neither is a network, but one that mixed up the sides would get about 0 for the one
    and 1 for the other; anything above chance keeps .7 and .1 apart.
    """
    mirrored = segment(replace(scan, data=np.ascontiguousarray(scan.data[::-1])))
    swapped = mirrored.data[::-1]
    before, after = straight.volumes_ml(), mirrored.volumes_ml()
    for left, right in SIDES:
        for one, other in ((left, right), (right, left)):
            assert dice(swapped == other, straight.data == one) > 0.7 > 0.1 > dice(swapped == one, straight.data == one)
            assert after[other] == pytest.approx(before[one], rel=0.2)


def test_the_same_head_stored_the_other_way_round_gets_the_same_labels(scan: Volume, straight: Segmentation) -> None:
    """Voxels and affine are flipped together: nobody was mirrored, and not one voxel may change."""
    flip = np.diag([-1.0, 1.0, 1.0, 1.0])
    flip[0, 3] = scan.grid.shape[0] - 1
    grid = Grid(scan.grid.shape, scan.grid.affine @ flip)
    assert grid.axis_codes == "LAS"
    stored = segment(replace(scan, data=np.ascontiguousarray(scan.data[::-1]), grid=grid))
    assert stored.grid.same_as(grid)
    assert np.array_equal(stored.data[::-1], straight.data)
