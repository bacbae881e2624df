"""Sizes: what is said to be taken is taken, and nothing smaller would do."""

from __future__ import annotations

from itertools import product

import pytest
import torch

from napari_medzoo.models.geometry import Geometry, geometry_of
from tests.core.zoo import SMALL, make

VALID = Geometry((8, 8, 1), (4, 4, 0), (44, 44, 0))


@pytest.mark.parametrize("geometry", [Geometry((4, 4, 4)), VALID, Geometry((1, 2, 8), (0, 1, 5), (9, 0, 3))])
def test_covering_is_the_smallest_size_that_is_taken(geometry: Geometry) -> None:
    for size in product((1, 7, 30), (2, 8, 97), (1, 5, 12)):
        found = geometry.covering(size)
        assert geometry.takes(found)
        for axis, length in enumerate(found):
            divisor = geometry.divisor[axis]
            smaller = tuple(length - divisor if axis == other else found[other] for other in range(3))
            assert length >= size[axis]
            assert smaller[axis] < size[axis] or not geometry.takes(smaller) or smaller[axis] < 2 * divisor
        wide = geometry.input_for(size)
        assert geometry.takes(wide)
        assert all(given >= wanted for given, wanted in zip(geometry.output_of(wide), size, strict=True))


def test_two_voxels_are_left_at_the_bottom() -> None:
    """Instance normalisation of one is undefined."""
    assert Geometry((32, 32, 32)).covering((33, 64, 5)) == (64, 64, 64)
    assert Geometry().covering((7, 1, 5)) == (7, 1, 5)


def test_the_rule_in_words() -> None:
    assert str(Geometry()) == "any number"
    assert str(Geometry((8, 8, 8))) == "multiples of 8"
    assert str(VALID) == "multiples of 8 plus 4, more than 88 along X and Y; any number along Z"


def test_a_stricter_card_suits_a_network() -> None:
    network = Geometry((8, 8, 1), (4, 4, 0), (2, 2, 0))
    assert Geometry((16, 8, 4), (12, 4, 0), (2, 2, 0)).suits(network)
    assert not Geometry((16, 8, 4), (8, 4, 0), (2, 2, 0)).suits(network)
    assert not Geometry((4, 8, 1), (0, 4, 0), (2, 2, 0)).suits(network)
    assert not Geometry((8, 8, 1), (4, 4, 0), (2, 2, 2)).suits(network)


@pytest.mark.parametrize(
    ("name", "valid"),
    [*((name, False) for name in SMALL), *((name, True) for name in SMALL if "padding" in SMALL[name])],
)
def test_every_network_takes_and_gives_what_it_says(name: str, valid: bool) -> None:
    with torch.device("meta"):
        network = make(name, 1, 3, **({"padding": "valid"} if valid else {})).eval()
        geometry = geometry_of(network)
        assert any(geometry.margin) == valid
        size = geometry.input_for((5, 19, 1))
        assert network(torch.empty(1, 1, *size)).shape == (1, 3, *geometry.output_of(size))
