"""`StridedUNet`: a lean residual U-Net that works at half resolution and answers at full resolution.

The encoder-decoder of 3D U-Net (Çiçek 2016, arXiv:1606.06650) with residual blocks, instance normalisation and
leaky ReLU as in nnU-Net (Isensee 2021, doi:10.1038/s41592-020-01008-z). Departure: no convolution runs at full
resolution, because on a CPU that level costs more than all the others together. The stem folds every 2×2×2
voxels into channels; the head predicts the classes of each of the eight voxels (sub-pixel convolution,
Shi 2016, arXiv:1609.05158) and unfolds them.

====================  ==========================================  ============
level                 layers                                      spacing
====================  ==========================================  ============
0                     2³ stride-2 conv, residual block            2 ×
1 … n-1               2³ stride-2 conv, residual block            4 × … 2ⁿ ×
decoder n-2 … 0       2³ stride-2 up-conv, add skip, block        … 2 ×
head                  1³ conv to 8 × classes, unfolded            1 ×
====================  ==========================================  ============
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Norm(nn.Module):
    """Instance normalisation with affine, computed as group normalisation of one channel each.

    The same numbers as `torch.nn.InstanceNorm3d` to 1e-6, and several times faster on a CPU.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, X, Y, Z)`` in and out."""
        return F.group_norm(x, self.weight.numel(), self.weight, self.bias)


class Block(nn.Module):
    """Conv-norm-act, conv-norm, plus the input, act."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv3d(channels, channels, 3, padding=1, bias=False)
        self.norm1 = Norm(channels)
        self.conv2 = nn.Conv3d(channels, channels, 3, padding=1, bias=False)
        self.norm2 = Norm(channels)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, X, Y, Z)`` in and out."""
        y = F.leaky_relu(self.norm1(self.conv1(x)), 0.01)
        return F.leaky_relu(self.norm2(self.conv2(y)) + x, 0.01)


class StridedUNet(nn.Module):
    """See the module's docstring.

    Parameters
    ----------
    in_channels, num_classes : int
        At least 1 and at least 2.
    widths : sequence of int
        Channels of each level, from half resolution downwards. Multiples of 16 are fastest.

    Attributes
    ----------
    divisor : int
        Sizes of the input must be multiples of this.
    """

    def __init__(self, in_channels: int, num_classes: int, widths: Sequence[int] = (32, 64, 96, 128, 160)) -> None:
        super().__init__()
        if in_channels < 1 or num_classes < 2 or len(widths) < 2:
            raise ValueError(
                f"Expected in_channels ≥ 1, num_classes ≥ 2 and at least two widths, "
                f"got {in_channels}, {num_classes} and {tuple(widths)}."
            )
        self.divisor = 2 ** len(widths)
        self.num_classes = num_classes
        self.stem = nn.Conv3d(in_channels, widths[0], 2, stride=2)
        self.downs = nn.ModuleList(nn.Conv3d(fine, coarse, 2, stride=2) for fine, coarse in pairwise(widths))
        self.encoders = nn.ModuleList(Block(width) for width in widths)
        self.ups = nn.ModuleList(nn.ConvTranspose3d(coarse, fine, 2, stride=2) for fine, coarse in pairwise(widths))
        self.decoders = nn.ModuleList(Block(width) for width in widths[:-1])
        self.head = nn.Conv3d(widths[0], 8 * num_classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, in_channels, X, Y, Z)``, sizes multiples of `divisor` → logits ``(B, num_classes, X, Y, Z)``."""
        y = self.encoders[0](self.stem(x))
        skips = [y]
        for down, encoder in zip(self.downs, self.encoders[1:], strict=True):
            y = encoder(down(y))
            skips.append(y)
        for level in reversed(range(len(self.decoders))):
            y = self.decoders[level](self.ups[level](y) + skips[level])
        return unfold(self.head(y), self.num_classes)


def unfold(x: Tensor, channels: int) -> Tensor:
    """Lay ``(B, channels·8, X, Y, Z)`` out as ``(B, channels, 2X, 2Y, 2Z)`` (pixel shuffle in 3D)."""
    batch, _, *size = x.shape
    x = x.view(batch, channels, 2, 2, 2, *size).permute(0, 1, 5, 2, 6, 3, 7, 4)
    return x.reshape(batch, channels, *(2 * length for length in size))
