"""Two tiny label maps in the packed form, and a recipe that trains on them in a second."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from napari_medzoo_training.config import Recipe
from napari_medzoo_training.labelmaps import LabelMaps, load_packed

# Fluid, scalp, and the white matter, cortex and thalamus of both sides, in SynthSeg's way of numbering.
INDICES = np.array([0, 24, 516, 2, 3, 10, 41, 42, 49])
TISSUES = np.array([0, 1, 5, 2, 3, 4, 2, 3, 4])


@pytest.fixture
def label_maps(tmp_path: Path) -> LabelMaps:
    """Two heads of about 40 voxels: scalp around fluid around two halves of cortex, white matter and thalamus."""
    x, y, z = np.meshgrid(*(np.arange(n) - (n - 1) / 2 for n in (40, 44, 36)), indexing="ij")
    radius = np.sqrt((x / 18) ** 2 + (y / 20) ** 2 + (z / 16) ** 2)
    arrays = {}
    for number, shift in enumerate((0.0, 0.05)):
        classes = np.zeros(radius.shape, dtype=np.uint8)
        for limit, left, right in ((1.0, 2, 2), (0.9, 1, 1), (0.8, 4, 7), (0.6, 3, 6), (0.3, 5, 8)):
            inside = radius < limit - shift
            classes[inside] = np.where(x < 0, left, right)[inside]
        arrays[f"training_seg_{number:02}"] = classes
    tissues = TISSUES.max() + 1
    means = np.stack([np.linspace(5, 200, tissues), np.full(tissues, 5.0)])
    stds = np.stack([np.full(tissues, 5.0), np.full(tissues, 1.0)])
    path = tmp_path / "labelmaps.npz"
    np.savez(path, indices=INDICES, tissue_of=TISSUES, t1w_means=means, t1w_stds=stds, **arrays)
    return load_packed(path)


@pytest.fixture
def recipe() -> Recipe:
    """Six steps of a tiny network on patches of 16³, in float32."""
    torch.set_num_threads(1)
    return Recipe.model_validate(
        {
            "name": "tiny",
            "title": "Tiny",
            "architecture": "strided_unet",
            "settings": {"widths": [4, 8]},
            "label_scheme": "aseg",
            "channels": [0, 2, 3, 10, 24, 41, 42, 49],
            "preprocessing": {},
            "inference_patch": [16, 16, 16],
            "stages": [
                {"steps": 4, "patch": [16, 16, 16], "voxel_mm": [1.5, 2.0], "warmup": 2},
                {"steps": 2, "patch": [16, 12, 16], "warmup": 1},
            ],
            "bfloat16": False,
            "checkpoint_every": 3,
            "licence": "BSD-3-Clause",
            "data": "two ellipsoids",
        }
    )
