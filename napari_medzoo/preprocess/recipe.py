"""The preparation of a study as settings: what is done, in which order, stored in every model card.

The order is fixed: co-registration, N4, reorientation and resampling (one interpolation per volume),
head crop, brain mask, normalisation. A step that is ``None`` is switched off.
"""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from napari_medzoo.settings import Settings


class Align(Settings):
    """Rigid co-registration of the other modalities to the reference volume by mutual information."""

    levels_mm: tuple[float, ...] = Field((6.0, 3.0, 1.5), min_length=1, description="Voxel sizes, coarse first.")
    samples: int = Field(200_000, ge=1000, description="Voxels that the metric looks at, at most; drawn by `seed`.")
    histogram_bins: int = Field(50, ge=8)
    iterations: int = Field(100, ge=1, description="At most this many steps per level.")
    seed: int = Field(1, ge=1)

    @field_validator("levels_mm")
    @classmethod
    def _positive(cls, levels: tuple[float, ...]) -> tuple[float, ...]:
        if min(levels) <= 0:
            raise ValueError(f"every level must be a positive voxel size in mm; got {levels}")
        return levels


class BiasCorrection(Settings):
    """N4: the field is estimated on a shrunken grid and applied at full resolution (Tustison 2010)."""

    shrink_factor: int = Field(4, ge=1)
    iterations: tuple[int, ...] = (50, 50, 50, 50)
    convergence: float = Field(1e-3, gt=0)


class HeadCrop(Settings):
    """Cut the air around the head; `margin_mm` of it stays."""

    margin_mm: float = Field(8.0, ge=0)


class BrainMask(Settings):
    """A classical mask: Otsu's threshold, opening, largest component, closing, holes filled.

    What lies outside becomes 0. It is found on the reference volume and used for all.
    """

    opening_mm: float = Field(4.0, ge=0)


class Normalise(Settings):
    """How intensities are scaled.

    ``zscore``: mean 0, standard deviation 1 over the non-zero voxels (zeros stay 0).
    ``percentile``: `lower` and `upper` percentile of the non-zero voxels become 0 and 1, clipped.
    ``minmax``: smallest and largest value become 0 and 1.
    """

    method: Literal["zscore", "percentile", "minmax"] = "percentile"
    lower: float = Field(1.0, ge=0, le=100)
    upper: float = Field(99.5, ge=0, le=100)

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.lower >= self.upper:
            raise ValueError(f"lower must be below upper; got {self.lower} and {self.upper}")
        return self


class Preprocessing(Settings):
    """Everything that is done to a study before a network sees it.

    Attributes
    ----------
    orientation : str
        Axis codes of the prepared volumes; reaching them is lossless.
    spacing : tuple of float or None
        Voxel spacing in mm of the prepared volumes, in the axes of `orientation`; None keeps the reference volume's.
    align, bias_correction, head_crop, brain_mask, normalise
        The steps; None switches one off.
    """

    orientation: str = "RAS"
    spacing: tuple[float, float, float] | None = (1.0, 1.0, 1.0)
    align: Align | None = Align()
    bias_correction: BiasCorrection | None = None
    head_crop: HeadCrop | None = HeadCrop()
    brain_mask: BrainMask | None = None
    normalise: Normalise | None = Normalise()

    @field_validator("orientation")
    @classmethod
    def _axis_codes(cls, orientation: str) -> str:
        if sorted(orientation.translate(str.maketrans("LPI", "RAS"))) != sorted("RAS"):
            raise ValueError(f"orientation must be axis codes such as 'RAS' or 'LIA'; got {orientation!r}")
        return orientation

    @field_validator("spacing")
    @classmethod
    def _spacing(cls, spacing: tuple[float, float, float] | None) -> tuple[float, float, float] | None:
        if spacing is not None and min(spacing) <= 0:
            raise ValueError(f"every spacing must be positive millimetres; got {spacing}")
        return spacing
