"""Every network of the zoo, small: settings and sizes that make a test of it quick."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from napari_medzoo.models import ARCHITECTURES
from napari_medzoo.models.blocks import WithLoss, crop_to

DENSE = {"widths": [3, 3, 2, 2], "head": [6, 5]}
V_NET = {"base": 4, "encoder": [1, 2, 1], "decoder": [1, 1, 2]}

SMALL: Mapping[str, Mapping[str, Any]] = {
    "strided_unet": {"widths": [8, 16, 24]},
    "unet2d": {"widths": [4, 6, 8], "padding": "same"},
    "unet3d": {"widths": [4, 6, 8], "padding": "same"},
    "unet3d_thesis": {"base": 4, "levels": 4},
    "resunet": {"base": 4, "levels": 4},
    "vnet": {**V_NET, "encoder": [1, 2, 1, 1]},
    "vnet_thesis": V_NET,
    "vnet_light": V_NET,
    "densenet3d": {**DENSE, "padding": "same"},
    "densenet3d_late": {**DENSE, "padding": "same"},
    "densenet3d_early": {**DENSE, "padding": "same"},
    "hyperdensenet": {**DENSE, "padding": "same"},
    "skipdensenet3d": {"stem": 6, "growth": 4, "bottleneck": 8, "layers": [2, 2, 1]},
    "densevoxelnet": {"stem": 4, "growth": 3, "layers": [2, 3], "ups": [6, 4]},
    "highresnet": {"widths": [4, 6, 8], "repeat": 1, "head": 6},
    "dynunet": {"widths": [4, 6, 8, 10]},
    "segresnet_vae": {"size": [16, 16, 32], "filters": 8, "blocks_down": [1, 1, 2], "latent": 8},
    "med3d": {"depth": 10, "width": 4},
    "med3d_10": {"width": 4},
    "med3d_18": {"width": 4},
    "med3d_34": {"width": 2},
    "med3d_50": {"width": 2},
}
"""Same-padded where the network offers it, so that the logits are as large as the input; at least three levels deep."""

PRESETS = ("unet3d_thesis", "vnet_light", "med3d_10", "med3d_18", "med3d_34", "med3d_50")
"""Names whose layers another name has, too."""
NETWORKS = tuple(sorted(set(SMALL) - set(PRESETS)))

SIZE = (16, 16, 32)
"""A size that every small network takes."""

MONAI = ("highresnet", "dynunet", "segresnet_vae")


def make(name: str, in_channels: int, num_classes: int, **settings: Any) -> Any:
    """The small network; a test is skipped where MONAI is missing for it."""
    if name in MONAI:
        pytest.importorskip("monai.networks.nets")
    return ARCHITECTURES[name](in_channels, num_classes, **{**SMALL[name], **settings})


def count(network: nn.Module, part: str = "") -> int:
    """Trainable parameters whose name begins with `part`."""
    return sum(p.numel() for name, p in network.named_parameters() if p.requires_grad and name.startswith(part))


def loss(outputs: Tensor | Sequence[Tensor] | WithLoss, target: Tensor) -> Tensor:
    """Cross-entropy of everything that a network returns in training."""
    extra = torch.zeros(())
    if isinstance(outputs, WithLoss):
        outputs, extra = outputs.logits, outputs.extra_loss
    total = extra
    for logits in [outputs] if isinstance(outputs, Tensor) else outputs:
        step = [full // size for full, size in zip(target.shape[1:], logits.shape[2:], strict=True)]
        coarse = target[:, :: step[0], :: step[1], :: step[2]]
        total = total + torch.nn.functional.cross_entropy(logits, crop_to(coarse, logits.shape[2:]))
    return total
