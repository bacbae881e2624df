"""`ResUNet`: the residual U-Net of Isensee et al. 2017 (BraTS 2017, arXiv:1802.10508), the thesis' "3D-UNet".

===============  ==============================================================  =========  =======
level            layers                                                          channels   spacing
===============  ==============================================================  =========  =======
context 0        3³ conv, context module                                         16         1 ×
context 1 … 4    3³ stride-2 conv, context module                                32 … 256   2 … 16 ×
up 3             nearest-up, 3³ conv; 1³ conv 128→128                            128        8 ×
localisation 3   concatenate context 3; 3³ conv 256, 1³ conv 128                 128        8 ×
up 2             nearest-up, 3³ conv                                             64         4 ×
localisation 2   concatenate context 2; 3³ conv 128 (→ head A), 1³ conv 64       64         4 ×
up 1             nearest-up, 3³ conv                                             32         2 ×
localisation 1   concatenate context 1; 3³ conv 64 (→ head B), 1³ conv 32        32         2 ×
up 0             nearest-up, 3³ conv                                             16         1 ×
localisation 0   concatenate context 0; 3³ conv 32 (→ head C)                    32         1 ×
heads            1³ convs A, B, C to the classes; result: C + up(B + up(A))      classes    1 ×
===============  ==============================================================  =========  =======

A context module is a pre-activation residual block: norm, leaky ReLU, 3³ conv, dropout, norm, leaky ReLU, 3³ conv, plus
its input. Instance norm without affine, leaky ReLU of slope 0.01; no convolution has a bias. The deep supervision is
part of the forward pass: the heads are summed, so training and inference return the same plain logits.

Presets and settings. `unet3d_thesis` is the thesis' network: the same layers, with dropout 0.6 and no normalisation
inside the first context module. The thesis' public code further sets ``base=8`` and uses one convolution twice in each
context module but the first (``shared=True``), which gives 1,781,744 parameters instead of 9,475,296 (2→4).

Departures from the paper: none in the wiring; it leaves the extra 1³ convolution after the first up-convolution unsaid,
which the thesis' code and its published count have. Upsampling heads is by nearest neighbour, as in that code.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from napari_medzoo.models.blocks import InstanceNorm, Network, check_counts


class ContextModule(nn.Module):
    """Norm-act-conv, dropout, norm-act-conv, plus the input.

    Parameters
    ----------
    shared : bool
        Whether both convolutions are one and the same (the thesis' public code).
    norm : bool
        Whether there are normalisations.
    """

    def __init__(self, channels: int, dropout: float, shared: bool = False, norm: bool = True) -> None:
        super().__init__()
        self.norm = InstanceNorm() if norm else nn.Identity()
        self.conv1 = nn.Conv3d(channels, channels, 3, padding=1, bias=False)
        self.conv2 = None if shared else nn.Conv3d(channels, channels, 3, padding=1, bias=False)
        self.dropout = nn.Dropout3d(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, X, Y, Z)`` in and out."""
        y = self.dropout(self.conv1(_act(self.norm(x))))
        return x + (self.conv2 or self.conv1)(_act(self.norm(y)))


def _act(x: Tensor) -> Tensor:
    return F.leaky_relu(x, 0.01)


def _conv_norm_act(in_channels: int, out_channels: int, size: int = 3) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv3d(in_channels, out_channels, size, padding="same", bias=False), InstanceNorm(), nn.LeakyReLU(0.01)
    )


class ResUNet(Network):
    """See the module's docstring.

    Parameters
    ----------
    in_channels, num_classes : int
        At least 1 and at least 2.
    base : int
        Channels at full resolution; they double at every level.
    levels : int
        At least 3, with full resolution.
    dropout : float
        Share of the channels that a context module drops in training.
    shared, first_norm : bool
        Whether the two convolutions of a context module (but the first) are one; whether the first module normalises.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        base: int = 16,
        levels: int = 5,
        dropout: float = 0.3,
        shared: bool = False,
        first_norm: bool = True,
    ) -> None:
        super().__init__()
        check_counts(in_channels, num_classes)
        if levels < 3 or base < 1:
            raise ValueError(f"Expected levels ≥ 3 and base ≥ 1, got {levels} and {base}.")
        widths = [base * 2**level for level in range(levels)]
        heads = widths[: min(3, levels - 2)]  # the coarsest step of the decoder has none
        self.divisor = 2 ** (levels - 1)
        self.receptive_field = (_receptive_field(levels),) * 3
        self.stem = nn.Conv3d(in_channels, base, 3, padding=1, bias=False)
        self.downs = nn.ModuleList(nn.Conv3d(w, 2 * w, 3, stride=2, padding=1, bias=False) for w in widths[:-1])
        self.contexts = nn.ModuleList(
            ContextModule(width, dropout, shared and level > 0, first_norm or level > 0)
            for level, width in enumerate(widths)
        )
        self.norm = InstanceNorm()
        # Lists of the decoder are indexed by level: 0 is full resolution.
        self.ups = nn.ModuleList(_conv_norm_act(2 * width, width) for width in widths[:-1])
        self.first_up = _conv_norm_act(widths[-2], widths[-2], 1)
        self.localisations = nn.ModuleList(_conv_norm_act(2 * width, 2 * width) for width in widths[:-1])
        self.halvings = nn.ModuleList(nn.Conv3d(2 * width, width, 1, bias=False) for width in widths[1:-1])
        self.heads = nn.ModuleList(nn.Conv3d(2 * width, num_classes, 1, bias=False) for width in heads)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, in_channels, X, Y, Z)``, multiples of `divisor` → logits ``(B, num_classes, X, Y, Z)``."""
        self.check_size(x)
        x = self.contexts[0](self.stem(x))
        skips = []
        for down, context in zip(self.downs, self.contexts[1:], strict=True):
            x = _act(self.norm(x))
            skips.append(x)
            x = context(down(x))
        x = _act(self.norm(x))
        logits: Tensor | None = None
        for level in reversed(range(len(self.ups))):
            x = self.ups[level](_double(x))
            if level == len(self.ups) - 1:
                x = self.first_up(x)
            x = self.localisations[level](torch.cat((x, skips[level]), 1))
            if level < len(self.heads):
                answer = self.heads[level](x)
                logits = answer if logits is None else answer + _double(logits)
            if level > 0:
                x = _act(self.norm(self.halvings[level - 1](x)))
        assert logits is not None
        return logits


def _double(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="nearest")


def _receptive_field(levels: int) -> int:
    voxels = 1
    for _ in range(levels - 1):
        voxels = (voxels + 4) // 2 + 1  # localisation and up-conv, then the coarse voxels that these lie in
    voxels += 4
    for _ in range(levels - 1):
        voxels = 2 * voxels + 1 + 4  # stride-2 conv, context module
    return voxels + 2
