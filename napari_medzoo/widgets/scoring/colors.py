"""Colours for figures, from one map that readers with any colour blindness see alike.

Nuñez, Anderton, Renslow: Optimizing colormaps with consideration for color vision deficiency to enable accurate
interpretation of scientific data, PLOS ONE 2018 (cividis): dark blue is bad, yellow is good.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from napari_medzoo.widgets.tables import Color

# Every eighth of the map; between them it is straight.
_CIVIDIS: tuple[Color, ...] = (
    (0, 34, 78), (26, 56, 111), (67, 78, 108), (97, 101, 111), (125, 124, 120),
    (155, 148, 118), (188, 174, 108), (222, 201, 88), (254, 232, 56),
)  # fmt: skip

GOODNESS: dict[str, Callable[[float], float]] = {
    "dice": lambda value: value,
    "hd95_mm": lambda value: 1 - value / 10,
    "assd_mm": lambda value: 1 - value / 3,
    "nsd": lambda value: value,
    "volume_similarity": lambda value: value,
}
"""Metric → how good a value is, 0 to 1 (beyond is clipped); what is not listed is not coloured."""


def cividis(value: float) -> Color:
    """The colour of a value of 0–1, parts of 0–255."""
    place = min(max(value, 0.0), 1.0) * (len(_CIVIDIS) - 1)
    below = min(int(place), len(_CIVIDIS) - 2)
    first, second = _CIVIDIS[below], _CIVIDIS[below + 1]
    red, green, blue = (round(a + (b - a) * (place - below)) for a, b in zip(first, second, strict=True))
    return red, green, blue


def shade(metric: str, value: float) -> Color | None:
    """The colour behind a figure; None for what has no good and bad, or no value."""
    if metric not in GOODNESS or math.isnan(value):
        return None
    return cividis(GOODNESS[metric](value))
