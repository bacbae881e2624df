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

With `refine` the logits get a second summand: a 3³ conv on the last decoder's features beside the folded input itself,
leaky ReLU, and a 1³ conv to 8 × classes. The head alone is linear in features that passed many layers; borders
thinner than its cells want the eight measured values at hand.

For deep supervision (Lee 2015, arXiv:1409.5185) further heads of the same kind answer from the coarser decoders.
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
    refine : int
        Channels of the second summand of the logits, 0 for none. It begins at zero: a network trained without goes on
        from where it was.
    deep_supervision : int
        How many coarser decoders answer as well while training, each at half the resolution of the one before.

    Attributes
    ----------
    divisor : int
        Sizes of the input must be multiples of this.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        widths: Sequence[int] = (32, 64, 96, 128, 160),
        refine: int = 0,
        deep_supervision: int = 0,
    ) -> None:
        super().__init__()
        if in_channels < 1 or num_classes < 2 or len(widths) < 2:
            raise ValueError(
                f"Expected in_channels ≥ 1, num_classes ≥ 2 and at least two widths, "
                f"got {in_channels}, {num_classes} and {tuple(widths)}."
            )
        if not 0 <= deep_supervision <= len(widths) - 2:
            raise ValueError(
                f"Expected deep_supervision of 0 to {len(widths) - 2} with {len(widths)} widths, "
                f"got {deep_supervision}."
            )
        self.divisor = 2 ** len(widths)
        self.num_classes = num_classes
        self.stem = nn.Conv3d(in_channels, widths[0], 2, stride=2)
        self.downs = nn.ModuleList(nn.Conv3d(fine, coarse, 2, stride=2) for fine, coarse in pairwise(widths))
        self.encoders = nn.ModuleList(Block(width) for width in widths)
        self.ups = nn.ModuleList(nn.ConvTranspose3d(coarse, fine, 2, stride=2) for fine, coarse in pairwise(widths))
        self.decoders = nn.ModuleList(Block(width) for width in widths[:-1])
        self.deep_heads = nn.ModuleList(
            nn.Conv3d(width, 8 * num_classes, 1) for width in widths[1 : deep_supervision + 1]
        )
        self.head = nn.Conv3d(widths[0], 8 * num_classes, 1)
        self.refine = nn.Conv3d(widths[0] + 8 * in_channels, refine, 3, padding=1) if refine else None
        self.fine_head = nn.Conv3d(refine, 8 * num_classes, 1) if refine else None
        if self.fine_head is not None:
            nn.init.zeros_(self.fine_head.weight)
            nn.init.zeros_(self.fine_head.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor, voxels: Tensor | None = None) -> Tensor | list[Tensor]:
        """From a scan to logits.

        Parameters
        ----------
        x : torch.Tensor
            ``(B, in_channels, X, Y, Z)``, sizes multiples of `divisor`.
        voxels : torch.Tensor, optional
            ``(K,) int64`` of 0–7: only these of each cell's eight voxels, as `fold` numbers them, are answered for.

        Returns
        -------
        torch.Tensor
            ``(B, num_classes, X, Y, Z)``; with `voxels`, ``(B, num_classes, K, X/2, Y/2, Z/2)``.
            While training with deep supervision a list: this one, then ``(B, num_classes, X/2, Y/2, Z/2)``,
            ``(B, num_classes, X/4, Y/4, Z/4)`` and so on, whatever `voxels`.
        """
        y = self.encoders[0](self.stem(x))
        skips = [y]
        for down, encoder in zip(self.downs, self.encoders[1:], strict=True):
            y = encoder(down(y))
            skips.append(y)
        coarser: list[Tensor] = []
        for level in reversed(range(len(self.decoders))):
            y = self.decoders[level](self.ups[level](y) + skips[level])
            if self.training and 0 < level <= len(self.deep_heads):
                coarser.insert(0, unfold(self.deep_heads[level - 1](y), self.num_classes))
        cells = self._answer(self.head, y, voxels)
        if self.refine is not None and self.fine_head is not None:
            measured = fold(x.flatten(0, 1)).view(x.shape[0], -1, *y.shape[2:]).to(y.dtype)
            fine = F.leaky_relu(self.refine(torch.cat([y, measured], dim=1)), 0.01)
            cells = cells + self._answer(self.fine_head, fine, voxels)
        full = unfold(cells, self.num_classes) if voxels is None else cells.unflatten(1, (self.num_classes, -1))
        return [full, *coarser] if coarser else full

    def _answer(self, head: nn.Conv3d, y: Tensor, voxels: Tensor | None) -> Tensor:
        """``(B, num_classes·8, …)`` by one of the two heads, or of the wanted `voxels` of each cell only."""
        if voxels is None:
            return head(y)
        assert head.bias is not None
        weight = head.weight.unflatten(0, (self.num_classes, 8))[:, voxels].flatten(0, 1)
        bias = head.bias.unflatten(0, (self.num_classes, 8))[:, voxels].flatten()
        return F.conv3d(y, weight, bias)


def unfold(x: Tensor, channels: int) -> Tensor:
    """Lay ``(B, channels·8, X, Y, Z)`` out as ``(B, channels, 2X, 2Y, 2Z)`` (pixel shuffle in 3D)."""
    batch, _, *size = x.shape
    x = x.view(batch, channels, 2, 2, 2, *size).permute(0, 1, 5, 2, 6, 3, 7, 4)
    return x.reshape(batch, channels, *(2 * length for length in size))


def fold(x: Tensor) -> Tensor:
    """Lay ``(B, 2X, 2Y, 2Z)`` out as ``(B, 8, X, Y, Z)``: the eight voxels of every cell, in `unfold`'s order."""
    batch, *size = x.shape
    x = x.view(batch, *(part for length in size for part in (length // 2, 2)))
    return x.permute(0, 2, 4, 6, 1, 3, 5).flatten(1, 3)
