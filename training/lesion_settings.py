"""How lesions are painted into label maps: the part of a recipe that `lesions` and `lesion_sites` follow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from napari_medzoo.settings import Settings

Place = Literal["periventricular", "deep", "juxtacortical", "infratentorial"]


class Lesions(Settings):
    """White-matter lesions painted into label maps, as in multiple sclerosis and small-vessel disease.

    Lengths are in mm; a share says how often, every pair is a range that is drawn from.
    """

    none_share: float = Field(0.15, description="How often a head has none.")
    own_share: float = Field(0.5, description="How often the label map's own white-matter hypointensities are lesions.")
    count: tuple[int, int] = Field((1, 80), description="In a whole brain; drawn log-uniformly.")
    radius_mm: tuple[float, float] = Field((1.2, 8.0), description="Small ones are many.")
    places: Mapping[Place, float] = Field(
        {"periventricular": 0.5, "deep": 0.27, "juxtacortical": 0.15, "infratentorial": 0.08},
        description="Share of each place.",
    )
    confluent: tuple[float, float] = Field((0.0, 0.4), description="Share of lesions that touch an earlier one.")
    band_share: float = Field(0.35, description="How often there are caps on the horns and bands along the ventricles.")
    band_mm: tuple[float, float] = (2.0, 8.0)
    edge_mm: tuple[float, float] = Field((0.5, 2.5), description="Over how much the signal changes at the border.")
    hole_share: float = Field(0.4, description="How often the middle of some lesions is nearly fluid.")
    rim_share: float = Field(0.6, description="How often the ventricles have a thin bright rim that is no lesion.")
    dirty: tuple[float, float] = Field((0.0, 0.2), description="How lesion-like other white matter is, in patches.")
    spaces_share: float = Field(0.35, description="How often there are wide perivascular spaces and lacunes.")
    flow_share: float = Field(0.4, description="How often fluid that flows is bright in places of a FLAIR.")
