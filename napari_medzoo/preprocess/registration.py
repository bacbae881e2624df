"""Rigid co-registration of a study's volumes by mutual information."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from napari_medzoo.preprocess.alignment import Alignment, pose_of
from napari_medzoo.preprocess.check import displacement_mm
from napari_medzoo.preprocess.levels import Level, pyramid
from napari_medzoo.preprocess.masks import head_mask
from napari_medzoo.preprocess.recipe import Align
from napari_medzoo.progress import Progress, Steps, run
from napari_medzoo.study import Volume

TURNS_DEGREES = (-15.0, 0.0, 15.0)
"""First guesses about each axis, in all combinations."""

STARTS = 3
"""How many of the best first guesses are followed at the coarsest level."""

KEPT = "no better position was found than the one in its header, which is kept"
ALREADY = "aligned already, to within half a voxel, and left as it is"
NO_NEARER = "no better position was found near this one, which is kept"


def align(moving: Volume, fixed: Volume, settings: Align | None = None) -> NDArray[np.float64]:
    """The rigid ``(4, 4)`` matrix that takes RAS+ mm of `fixed` to RAS+ mm of `moving`; see `find_alignment`."""
    return find_alignment(moving, fixed, settings).transform


def find_alignment(moving: Volume, fixed: Volume, settings: Align | None = None) -> Alignment:
    """Find the rigid transform between two scans of one head, of any contrast; see `Pair.find`.

    Parameters
    ----------
    moving, fixed : Volume
        On any grids, sheared ones included.
    settings : Align
    """
    return run(Pair(moving, fixed, settings).find())


class Pair:
    """Two scans of one head, made ready to be laid on each other.

    Making it costs a second or two (small copies of both); asking how good a position is then costs milliseconds.

    Parameters
    ----------
    moving, fixed : Volume
        On any grids, sheared ones included.
    settings : Align

    Attributes
    ----------
    points : numpy.ndarray
        ``(N, 3)`` RAS+ mm, spread over the head in the fixed volume.
    center_mm : numpy.ndarray
        ``(3,)`` RAS+ mm of the middle of the head in the moving volume, where its header puts it.
    """

    def __init__(self, moving: Volume, fixed: Volume, settings: Align | None = None) -> None:
        self.settings = settings or Align()
        self._levels = pyramid(fixed, moving, self.settings.levels_mm)
        self._judge = self._levels[min(1, len(self._levels) - 1)]
        self._one_grid = moving.grid.same_as(fixed.grid)
        self._half_voxel = min(fixed.grid.spacing) / 2
        self._before = self._judge.information(np.eye(4))
        self.points = self._judge.head_points()
        self.center_mm = _head_center_mm(self._levels[0].moving)

    def information(self, transform: NDArray[np.float64]) -> float:
        """Normalised mutual information over the head and a little air (1: none), 0 where the scans hardly overlap."""
        return self._judge.information(transform)

    def at(self, transform: NDArray[np.float64], note: str = "") -> Alignment:
        """The position that `transform` stands for, measured."""
        moved = displacement_mm(transform, np.eye(4), self.points)
        return Alignment(
            transform=transform,
            before=self._before,
            after=self.information(transform),
            note=note,
            mean_mm=float(moved.mean()),
            max_mm=float(moved.max()),
            pose=pose_of(np.linalg.inv(transform), self.center_mm),
        )

    def find(self) -> Steps[Alignment]:
        """Find the position of the moving scan, wherever it is now.

        Mattes' mutual information (2003) over the head's box, optimised by regular steps from coarse to fine copies of
        both volumes. First guesses are the header's position, the heads' centres of mass and the grids' centres, each
        turned by `TURNS_DEGREES` about every axis; the best are followed at the coarsest level. The result is the same
        on every run and any number of cores: the metric runs on one thread, and digits beyond `levels.DECIMALS` are
        dropped.

        The header's position is kept where nothing better is found, and where both volumes share one grid and the
        optimum lies within half a voxel of it on average (such data were co-registered before; interpolating would
        only blur them).
        """
        coarse = self._levels[0]
        yield Progress("Looking for the position", 0, STARTS + len(self._levels) - 1)
        guesses = sorted(_first_guesses(coarse), key=lambda guess: -coarse.information(guess))
        found = yield from self._follow(guesses[:STARTS])
        if self.information(found) <= self._before:
            return self.at(np.eye(4), KEPT)
        best = self.at(found)
        if self._one_grid and best.mean_mm <= self._half_voxel:
            return self.at(np.eye(4), ALREADY)
        return best

    def improve(self, start: NDArray[np.float64]) -> Steps[Alignment]:
        """Follow the mutual information from one position (as `transform` of `Alignment`) to its next optimum."""
        found = yield from self._follow([start])
        return self.at(found) if self.information(found) > self.information(start) else self.at(start, NO_NEARER)

    def _follow(self, starts: Sequence[NDArray[np.float64]]) -> Steps[NDArray[np.float64]]:
        """The best of what is found from `starts` at the coarsest level, followed down to the finest."""
        coarse, *finer = self._levels
        total = len(starts) + len(finer)
        followed: list[NDArray[np.float64]] = []
        for start in starts:
            yield Progress("Aligning", len(followed), total)
            followed.append(coarse.optimise(start, self.settings))
        found = max(followed, key=coarse.information)
        for done, level in enumerate(finer):
            yield Progress("Aligning", len(starts) + done, total)
            found = level.optimise(found, self.settings)
        return found


def _first_guesses(level: Level) -> list[NDArray[np.float64]]:
    """Header, centres of mass and centres of the grids, each turned about the fixed head's centre."""
    from itertools import product

    from scipy.spatial.transform import Rotation

    center = _head_center_mm(level.fixed)
    shifts = (
        np.zeros(3),
        _head_center_mm(level.moving) - center,
        level.moving.grid.center_mm - level.fixed.grid.center_mm,
    )
    guesses = []
    for shift, angles in product(shifts, product(TURNS_DEGREES, repeat=3)):
        guess = np.eye(4)
        guess[:3, :3] = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
        guess[:3, 3] = center + shift - guess[:3, :3] @ center
        guesses.append(guess)
    return guesses


def _head_center_mm(volume: Volume) -> NDArray[np.float64]:
    """The head's centre of mass in RAS+ mm; the grid's centre where no head is found."""
    voxels = np.argwhere(head_mask(volume))
    return volume.grid.to_world(voxels).mean(axis=0) if len(voxels) else volume.grid.center_mm
