"""What every test may ask for: the real scans (where present) and tiny awkward grids."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from napari_medzoo.screen import virtual_display
from napari_medzoo.space import Grid

REPOSITORY = Path(__file__).parents[1]
DATA = Path(os.environ.get("MEDZOO_DATA") or REPOSITORY.parent / "shared" / "data")


def pytest_configure(config: pytest.Config) -> None:
    """A screen for each of several processes: they would share one clipboard and one keyboard otherwise."""
    if "PYTEST_XDIST_WORKER" in os.environ and sys.platform.startswith("linux"):
        screen = ExitStack()
        screen.enter_context(virtual_display())
        config.add_cleanup(screen.close)


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Ctrl-C interrupts this process and those it starts, also where the tests run in a shell's background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of real scans: ``$MEDZOO_DATA``, else ``../shared/data`` beside the repository."""
    if not (DATA / "README.md").is_file():
        pytest.skip(f"no real scans at {os.environ.get('MEDZOO_DATA') or '../shared/data'} (set MEDZOO_DATA)")
    return DATA


@pytest.fixture(scope="session")
def awkward_grids() -> dict[str, Grid]:
    """Small grids, one for each thing that can be got wrong about space; no two sizes of a grid are equal."""
    return make_awkward_grids()


def make_awkward_grids() -> dict[str, Grid]:
    """Name → grid: identity, anisotropic, flipped, permuted, oblique, and all of it at once."""
    shape = (11, 9, 7)
    origin = np.array([-31.5, 12.25, 48.75])
    rotation = Rotation.from_euler("xyz", [11, -7, 23], degrees=True).as_matrix()
    permutation = np.array([[0, 0, 1], [-1, 0, 0], [0, -1, 0]])  # axis codes PIR, determinant +1
    return {
        "identity": Grid(shape, np.eye(4)),
        "anisotropic": Grid(shape, _affine(np.diag([0.9, 1.25, 3.0]), origin)),
        "flipped": Grid(shape, _affine(np.diag([-1.0, 1.0, 1.5]), origin)),
        "permuted": Grid(shape, _affine(permutation @ np.diag([1.0, 2.0, 0.75]), origin)),
        "oblique": Grid(shape, _affine(rotation @ np.diag([1.0, 1.0, 1.0]), origin)),
        "awkward": Grid(shape, _affine(rotation @ permutation @ np.diag([0.8, -1.1, 2.5]), origin)),
    }


def _affine(matrix: np.ndarray, origin: np.ndarray) -> np.ndarray:
    affine = np.eye(4)
    affine[:3, :3] = matrix
    affine[:3, 3] = origin
    return affine
