"""Where one scan lies on another: in numbers that a hand can change, and in words that a person can judge."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_medzoo.space import Grid
from napari_medzoo.study import Study

SHIFTS = (("to the left", "to the right"), ("back", "forward"), ("down", "up"))
"""Of each world axis: what a negative and a positive shift does to the scan that is moved."""

TURNS = (
    ("nose down", "nose up"),
    ("top of the head to the left", "top of the head to the right"),
    ("nose to the right", "nose to the left"),
)
"""Of each world axis: what a negative and a positive turn about it does."""

ALIGNED_MM = 0.5
"""A mean displacement below this counts as aligned already: half of what may be wrong."""

SAID = 0.05
"""Parts of a movement below this many mm or degrees are not mentioned."""


@dataclass(frozen=True)
class Pose:
    """A rigid movement of a scan about a centre that is kept elsewhere (`Pair.center_mm`).

    Attributes
    ----------
    shift_mm : tuple of float
        Of the centre, to the right, forward and up.
    turn_degrees : tuple of float
        A rotation vector: its direction is the axis (right, anterior, superior), its length the angle.
    """

    shift_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)
    turn_degrees: tuple[float, float, float] = (0.0, 0.0, 0.0)

    @property
    def angle(self) -> float:
        """Degrees that the scan is turned by, about whatever axis."""
        return float(np.linalg.norm(self.turn_degrees))

    def movement(self, center_mm: ArrayLike) -> NDArray[np.float64]:
        """``(4, 4)``: RAS+ mm of where a point of the scan was to RAS+ mm of where it is moved."""
        from scipy.spatial.transform import Rotation

        center = np.asarray(center_mm, dtype=np.float64)
        matrix = np.eye(4)
        matrix[:3, :3] = Rotation.from_rotvec(self.turn_degrees, degrees=True).as_matrix()
        matrix[:3, 3] = center + self.shift_mm - matrix[:3, :3] @ center
        return matrix

    def __str__(self) -> str:
        shifts = _parts(self.shift_mm, SHIFTS, "mm")
        turns = _parts(self.turn_degrees, TURNS, "°")
        if turns:
            turns = f"turned by {self.angle:.1f}°: {turns}"
        return "; ".join(filter(None, (shifts, turns)))


def pose_of(movement: ArrayLike, center_mm: ArrayLike) -> Pose:
    """The pose about `center_mm` of a rigid ``(4, 4)`` movement; scale and shear are left out."""
    from scipy.spatial.transform import Rotation

    matrix, center = np.asarray(movement, dtype=np.float64), np.asarray(center_mm, dtype=np.float64)
    right, forward, up = (matrix[:3, :3] @ center + matrix[:3, 3] - center).tolist()
    x, y, z = Rotation.from_matrix(matrix[:3, :3]).as_rotvec(degrees=True).tolist()
    return Pose((right, forward, up), (x, y, z))


@dataclass(frozen=True, eq=False)
class Alignment:
    """A position of one scan on another, and what there is to know about it.

    Attributes
    ----------
    transform : numpy.ndarray
        ``(4, 4)``: RAS+ mm of the fixed volume to RAS+ mm of the moving volume.
    before, after : float
        Normalised mutual information over the head with the header's position and with `transform`.
    note : str
        Why the header's position was kept, where it was; else empty.
    mean_mm, max_mm : float
        How far `transform` moves the scan from its header's position, over the head of the fixed volume.
    pose : Pose
        The movement of the scan about its head's centre.
    """

    transform: NDArray[np.float64]
    before: float
    after: float
    note: str = ""
    mean_mm: float = 0.0
    max_mm: float = 0.0
    pose: Pose = Pose()

    def __str__(self) -> str:
        if self.note:
            return self.note
        if self.max_mm < SAID:
            return "as its header says"
        moved = f"moved by {self.mean_mm:.1f} mm on average over the head, {self.max_mm:.1f} mm at most ({self.pose})"
        return f"aligned already, to within {ALIGNED_MM:g} mm; {moved}" if self.mean_mm < ALIGNED_MM else moved


def known_transforms(
    study: Study, settled: Sequence[tuple[Grid, Grid]], reference: str
) -> dict[str, NDArray[np.float64]]:
    """The transforms that need no search, because a person has judged how these scans lie on each other.

    Parameters
    ----------
    study : Study
        Its volumes lie where the person left them.
    settled : sequence of pairs of Grid
        Two grids that were judged to lie rightly in one world. A scan that is moved gets a new grid, so that what was
        said of its old one no longer counts.
    reference : str
        The modality that the others are aligned to.

    Returns
    -------
    dict
        Modality → identity, for every scan that is tied to the reference, if by way of others.
    """
    places = {id(study[key].grid): key for key in study.modalities}
    pairs = [(places.get(id(one)), places.get(id(other))) for one, other in settled]
    tied = [reference]
    for key in tied:  # grows while it is read
        for here, there in (*pairs, *(pair[::-1] for pair in pairs)):
            if here == key and there is not None and there not in tied:
                tied.append(there)
    return {key: np.eye(4) for key in tied[1:]}


def _parts(values: Sequence[float], words: Sequence[tuple[str, str]], unit: str) -> str:
    said = [
        f"{abs(value):.1f}{'' if unit == '°' else ' '}{unit} {names[value > 0]}"
        for value, names in zip(values, words, strict=True)
        if abs(value) >= SAID
    ]
    return ", ".join(said)
