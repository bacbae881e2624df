"""Which sizes of input a network takes, and for which part of them it answers. Without torch: cards say it, too."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

Size = tuple[int, int, int]
"""Voxels along X, Y and Z."""


@dataclass(frozen=True)
class Geometry:
    """The sizes that a network takes and gives, axis by axis, in voxels.

    Attributes
    ----------
    divisor, remainder : tuple of int
        It takes inputs of ``k·divisor + remainder`` voxels, more than twice the margin.
    margin : tuple of int
        What its output lacks on every side (valid convolutions).
    """

    divisor: Size = (1, 1, 1)
    remainder: Size = (0, 0, 0)
    margin: Size = (0, 0, 0)

    def takes(self, size: Sequence[int]) -> bool:
        """Whether an input of `size` will do; a slice has the first two axes."""
        rules = zip(size, self.divisor, self.remainder, self.margin, strict=False)
        return all(length % divisor == rest and length > 2 * margin for length, divisor, rest, margin in rules)

    def covering(self, size: Size) -> Size:
        """The smallest input that is no smaller than `size`.

        Where the network goes down to coarser voxels it has two divisors at least: one alone would leave a single voxel
        at the bottom, whose instance normalisation is undefined.
        """

        def along(axis: int) -> int:
            divisor, rest = self.divisor[axis], self.remainder[axis]
            length = max(size[axis], 2 * self.margin[axis] + 1)
            return max(-(-(length - rest) // divisor), 2 if divisor > 1 else 1) * divisor + rest

        return by_axis(along)

    def input_for(self, size: Size) -> Size:
        """The smallest input whose output is no smaller than `size`."""
        return self.covering(by_axis(lambda axis: size[axis] + 2 * self.margin[axis]))

    def output_of(self, size: Size) -> Size:
        """The part of an input of `size` that the network answers for, in its centre."""
        return by_axis(lambda axis: size[axis] - 2 * self.margin[axis])

    def suits(self, other: Geometry) -> bool:
        """Whether every input that `self` takes is one that `other` takes, and both answer for the same part."""
        pairs = zip(self.divisor, self.remainder, other.divisor, other.remainder, strict=True)
        return self.margin == other.margin and all(
            ours % theirs == 0 and rest % theirs == other_rest for ours, rest, theirs, other_rest in pairs
        )

    def __str__(self) -> str:
        """The rule in words, as in ``multiples of 8 plus 4, more than 88``."""
        rules: dict[str, list[str]] = {}
        for axis, divisor, rest, margin in zip("XYZ", self.divisor, self.remainder, self.margin, strict=True):
            sizes = f"multiples of {divisor}" + (f" plus {rest}" if rest else "") if divisor > 1 else "any number"
            least = f", more than {2 * margin}" if margin else ""
            rules.setdefault(sizes + least, []).append(axis)
        if len(rules) == 1:
            return next(iter(rules))
        return "; ".join(f"{rule} along {' and '.join(axes)}" for rule, axes in rules.items())


def geometry_of(network: object) -> Geometry:
    """What a network's attributes say (see `napari_medzoo.models`; one that it lacks has the default).

    `divisor` and `remainder` hold for the axes along which the network looks beyond a voxel. Along the others, whose
    receptive field is 1, as across the slices of a network of slices, any number will do.
    """
    field: Size = getattr(network, "receptive_field", None) or (0, 0, 0)
    divisor, remainder = int(getattr(network, "divisor", 1)), int(getattr(network, "remainder", 0))
    return Geometry(
        divisor=by_axis(lambda axis: 1 if field[axis] == 1 else divisor),
        remainder=by_axis(lambda axis: 0 if field[axis] == 1 else remainder),
        margin=getattr(network, "margin", (0, 0, 0)),
    )


def by_axis(value: Callable[[int], int]) -> Size:
    """`value` of each of the three axes."""
    return value(0), value(1), value(2)
