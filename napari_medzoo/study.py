"""A patient's study: named volumes, each on its own grid."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_medzoo.errors import MedzooError
from napari_medzoo.space import Grid

MODALITIES = {
    "t1w": "T1w",
    "t2w": "T2w",
    "flair": "FLAIR",
    "pdw": "PDw",
    "t1wgd": "T1wGd",
    "ir": "IR",
}
"""Modality keys as written in cards, options and files → names as shown to people."""


@dataclass(frozen=True)
class FileInfo:
    """The file a volume was read from, with what is needed to write labels back in the same form.

    Attributes
    ----------
    path : pathlib.Path
        The file (for a DICOM series its folder).
    format : str
        A key of `napari_medzoo.io.FORMATS`: ``"nifti"``, ``"analyze"``, ``"mgh"``, ``"nrrd"``, ``"mha"``, ``"dicom"``.
    qform_code, sform_code : int
        NIfTI's codes for what the affine refers to (1 scanner, 2 aligned, 4 MNI); 1 elsewhere.
    moved : numpy.ndarray or None
        ``(4, 4)``: RAS+ mm of the file to RAS+ mm of the volume's grid, where a person moved the scan; labels are
        written where the file says.
    """

    path: Path
    format: str
    qform_code: int = 1
    sform_code: int = 1
    moved: NDArray[np.float64] | None = field(default=None, compare=False)


@dataclass(frozen=True, eq=False)
class Volume:
    """One 3D scan on its grid.

    Attributes
    ----------
    data : numpy.ndarray
        ``(X, Y, Z)`` intensities in any real dtype, as read; no voxel is NaN or infinite.
    grid : Grid
        Where the voxels lie.
    modality : str
        A key of `MODALITIES`, or ``"unknown"``.
    file : FileInfo or None
        Where it was read from.
    warnings : tuple of str
        What the reader had to repair (NaN voxels set to background, ...).
    """

    data: NDArray[Any]
    grid: Grid
    modality: str = "unknown"
    file: FileInfo | None = None
    warnings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if tuple(self.data.shape) != self.grid.shape:
            raise MedzooError(f"{self.name}: data of shape {self.data.shape} on a grid of shape {self.grid.shape}.")

    @property
    def name(self) -> str:
        """What people call it: the file's name, else the modality."""
        return self.file.path.name if self.file else MODALITIES.get(self.modality, "volume")

    def with_modality(self, modality: str) -> Volume:
        """The same volume under another modality."""
        return replace(self, modality=modality)


@dataclass(frozen=True, eq=False)
class Study:
    """The volumes of one patient at one visit, by modality.

    Attributes
    ----------
    volumes : mapping of str to Volume
        Keys of `MODALITIES` (or ``"unknown"`` for one volume whose contrast is not known). They may lie on
        different grids.
    name : str
        For titles and file names.
    reasons : mapping of str to str
        Why each volume was taken for its modality, one sentence per key.
    """

    volumes: Mapping[str, Volume]
    name: str = "study"
    reasons: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.volumes:
            raise MedzooError("The study has no volumes; choose at least one scan.")

    @property
    def modalities(self) -> tuple[str, ...]:
        """The modalities present, in the order they were given."""
        return tuple(self.volumes)

    @property
    def warnings(self) -> tuple[str, ...]:
        """Every volume's warnings, each beginning with the volume's name."""
        return tuple(f"{volume.name}: {text}" for volume in self.volumes.values() for text in volume.warnings)

    @property
    def on_one_grid(self) -> bool:
        """Whether all volumes share one grid."""
        first, *rest = (volume.grid for volume in self.volumes.values())
        return all(first.same_as(grid) for grid in rest)

    def __getitem__(self, modality: str) -> Volume:
        try:
            return self.volumes[modality]
        except KeyError:
            raise MedzooError(
                f"Study '{self.name}' has {describe(self.modalities)}, not {describe([modality])}."
            ) from None


def describe(modalities: Any) -> str:
    """Modality keys as people write them: ``T1w, T2w and FLAIR``."""
    names = [MODALITIES.get(key, "one scan of any contrast" if key == "any" else key) for key in modalities]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else "nothing"
