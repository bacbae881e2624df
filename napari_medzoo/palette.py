"""Colours that people with a colour vision deficiency can tell apart where classes touch.

About 1 man in 12 sees red and green less well apart. Many classes cannot all differ for them, but only classes that
touch each other in the picture need to. Deficient vision is simulated with the full-severity matrices of [1]_,
differences are CIE 1976 ΔE (about 2 can just be seen side by side).

References
----------
.. [1] G. M. Machado, M. M. Oliveira, L. A. F. Fernandes, "A physiologically-based model for simulation of color vision
   deficiency", IEEE Trans. Vis. Comput. Graph. 15(6), 2009.
.. [2] M. Okabe, K. Ito, "Color Universal Design", 2008: the eight colours in `OKABE_ITO`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_medzoo.label_tables import count_values

Rgb = tuple[int, int, int]

OKABE_ITO: tuple[Rgb, ...] = (
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (240, 228, 66),
    (0, 114, 178),
    (213, 94, 0),
    (204, 121, 167),
)
"""For few classes; its eighth colour is black, which is the background here."""

VISIONS: dict[str, NDArray[np.float64]] = {
    "usual": np.eye(3),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
}
"""Who looks → matrix of linear RGB."""

ENOUGH = 30.0
"""Neighbours that differ by this much ΔE differ well; beyond it, being unlike all other classes counts more."""


def differences(first: Sequence[Rgb], second: Sequence[Rgb]) -> NDArray[np.float64]:
    """The least difference that any of `VISIONS` leaves between colours.

    Parameters
    ----------
    first, second : sequence of (red, green, blue)
        N and M colours of 0–255.

    Returns
    -------
    numpy.ndarray
        ``(N, M)`` ΔE.
    """
    each = [
        np.linalg.norm(_seen(first, matrix)[:, None] - _seen(second, matrix)[None], axis=-1)
        for matrix in VISIONS.values()
    ]
    return np.min(each, axis=0)


def touching(data: NDArray[Any]) -> set[tuple[int, int]]:
    """Pairs of classes with voxels that share a face.

    Parameters
    ----------
    data : numpy.ndarray
        ``(X, Y, Z)`` integers, 0 for background (which is nobody's neighbour here).

    Returns
    -------
    set of (int, int)
        The smaller index first.
    """
    values = np.array(count_values(data)[0])
    pairs = np.zeros((len(values), len(values)), dtype=bool)
    for axis in range(data.ndim):
        moved = np.moveaxis(data, axis, 0)
        for here, there in pairwise(moved):
            differs = here != there
            pairs[np.searchsorted(values, here[differs]), np.searchsorted(values, there[differs])] = True
    found = [(int(values[i]), int(values[j])) for i, j in np.argwhere(pairs | pairs.T) if i < j]
    return {pair for pair in found if 0 not in pair}


def safe_colors(indices: Collection[int], pairs: Collection[tuple[int, int]]) -> dict[int, Rgb]:
    """Colours for classes so that those which touch differ for everybody.

    Up to seven classes take Okabe's and Ito's colours; of more, the one with most neighbours chooses first, and each
    takes what is least like its neighbours and then least like all others.

    Parameters
    ----------
    indices : collection of int
        Without the background.
    pairs : collection of (int, int)
        Which classes touch, of `touching`.

    Returns
    -------
    dict of int to (red, green, blue)
        0–255.
    """
    order = sorted(indices, key=lambda index: (-sum(index in pair for pair in pairs), index))
    if len(order) <= len(OKABE_ITO):
        return dict(zip(sorted(indices), OKABE_ITO, strict=False))
    candidates = _candidates()
    apart = differences(candidates, candidates)
    chosen: dict[int, int] = {}
    for index in order:
        beside = [chosen[other] for pair in pairs if index in pair for other in pair if other in chosen]
        near = np.minimum(apart[:, beside].min(axis=1), ENOUGH) if beside else np.full(len(candidates), ENOUGH)
        far = apart[:, list(chosen.values())].min(axis=1) if chosen else np.zeros(len(candidates))
        chosen[index] = int(np.lexsort((far, near))[-1])
    return {index: candidates[at] for index, at in chosen.items()}


def least_difference(colors: Mapping[int, Rgb], pairs: Collection[tuple[int, int]]) -> float:
    """ΔE of the two touching classes that are hardest to tell apart; infinite where none touch."""
    return min((float(differences([colors[a]], [colors[b]])[0, 0]) for a, b in pairs), default=np.inf)


def _candidates() -> list[Rgb]:
    """A lattice of colours that are neither as dark as the background nor as bright as white matter."""
    steps = [0, 40, 80, 120, 160, 200, 230, 255]
    colors = [(red, green, blue) for red in steps for green in steps for blue in steps]
    lightness = _seen(colors, VISIONS["usual"])[:, 0]
    return [color for color, light in zip(colors, lightness, strict=True) if 32 <= light <= 86]


def _seen(colors: Sequence[Rgb], vision: NDArray[np.float64]) -> NDArray[np.float64]:
    """``(N, 3)`` CIE L*a*b* (D65) of sRGB colours as somebody with this vision sees them."""
    value = np.asarray(colors, dtype=np.float64).reshape(-1, 3) / 255
    linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    linear = np.clip(linear @ vision.T, 0, 1)
    to_xyz = np.array(
        [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
    )
    xyz = linear @ to_xyz.T / to_xyz.sum(axis=1)
    root = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.stack([116 * root[:, 1] - 16, 500 * (root[:, 0] - root[:, 1]), 200 * (root[:, 1] - root[:, 2])], axis=1)
