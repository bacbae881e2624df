"""Preparing a study for a network, and the exact way back.

The recipe's settings can be imported at no cost; the work itself (SimpleITK, scipy) loads when it is first asked for.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from napari_medzoo.preprocess.recipe import Align, BiasCorrection, BrainMask, HeadCrop, Normalise, Preprocessing

if TYPE_CHECKING:
    from napari_medzoo.preprocess.intensity import correct_bias, normalise
    from napari_medzoo.preprocess.masks import Box, brain_mask, head_box, head_mask
    from napari_medzoo.preprocess.pipeline import prepare
    from napari_medzoo.preprocess.prepared import Prepared
    from napari_medzoo.preprocess.registration import align
    from napari_medzoo.preprocess.spatial import reorient, resample

__all__ = [
    "Align",
    "BiasCorrection",
    "Box",
    "BrainMask",
    "HeadCrop",
    "Normalise",
    "Prepared",
    "Preprocessing",
    "align",
    "brain_mask",
    "correct_bias",
    "head_box",
    "head_mask",
    "normalise",
    "prepare",
    "reorient",
    "resample",
]

_FILES = {
    "Box": "masks",
    "Prepared": "prepared",
    "align": "registration",
    "brain_mask": "masks",
    "correct_bias": "intensity",
    "head_box": "masks",
    "head_mask": "masks",
    "normalise": "intensity",
    "prepare": "pipeline",
    "reorient": "spatial",
    "resample": "spatial",
}


def __getattr__(name: str) -> Any:
    if name not in _FILES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_FILES[name]}"), name)
