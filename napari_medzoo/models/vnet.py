"""`VNet`: the V-Net of Milletari et al. 2016 (3DV, arXiv:1606.04797).

==========  =====================================================================  ========  =======
stage       layers                                                                 channels  spacing
==========  =====================================================================  ========  =======
encoder 0   1 × 5³ conv                                                            16        1 ×
encoder 1   2³ stride-2 conv, 2 × 5³ conv                                          32        2 ×
encoder 2   2³ stride-2 conv, 3 × 5³ conv                                          64        4 ×
encoder 3   2³ stride-2 conv, 3 × 5³ conv                                          128       8 ×
encoder 4   2³ stride-2 conv, 3 × 5³ conv                                          256       16 ×
decoder 3   2³ stride-2 up-conv 128, concatenate encoder 3, 3 × 5³ conv            256       8 ×
decoder 2   2³ stride-2 up-conv 64, concatenate encoder 2, 3 × 5³ conv             128       4 ×
decoder 1   2³ stride-2 up-conv 32, concatenate encoder 1, 2 × 5³ conv             64        2 ×
decoder 0   2³ stride-2 up-conv 16, concatenate encoder 0, 1 × 5³ conv             32        1 ×
head        1³ conv to the classes                                                 classes   1 ×
==========  =====================================================================  ========  =======

The input of a stage's 5³ convs (in the decoder: the concatenation) is added to the output of the last of them, before
its activation; the scan itself is repeated to 16 channels for that. Every convolution has a bias and is followed by a
PReLU of one slope per channel; there is no normalisation. Trained with Dice whose denominator is squared (loss `dice`
with ``squared_denominator``) on 128×128×64 voxels.

Departures: the soft-max is left to the loss. More than one modality (up to 16) is repeated in turn to 16 channels.
The thesis' variants are in `vnet_thesis.py`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from napari_medzoo.models.blocks import Network, check_counts, repeat_channels


class Stage(nn.Module):
    """5³ convs, each with a PReLU per channel; `residual` is added before the last PReLU."""

    def __init__(self, in_channels: int, channels: int, convs: int) -> None:
        super().__init__()
        inputs = [in_channels, *[channels] * (convs - 1)]
        self.convs = nn.ModuleList(nn.Conv3d(width, channels, 5, padding=2) for width in inputs)
        self.activations = nn.ModuleList(nn.PReLU(channels) for _ in inputs)

    def forward(self, x: Tensor, residual: Tensor) -> Tensor:
        """``(B, in_channels, X, Y, Z)`` and ``(B, channels, X, Y, Z)`` → ``(B, channels, X, Y, Z)``."""
        for conv, activation in zip(self.convs[:-1], self.activations[:-1], strict=True):
            x = activation(conv(x))
        return self.activations[-1](self.convs[-1](x) + residual)


class VNet(Network):
    """See the module's docstring.

    Parameters
    ----------
    in_channels, num_classes : int
        1 to `base`, and at least 2.
    base : int
        Channels at full resolution; they double at every stage.
    encoder, decoder : sequence of int
        Convs of each stage from full resolution downwards; the decoder has one stage fewer.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        base: int = 16,
        encoder: Sequence[int] = (1, 2, 3, 3, 3),
        decoder: Sequence[int] = (1, 2, 3, 3),
    ) -> None:
        super().__init__()
        check_counts(in_channels, num_classes)
        if in_channels > base:
            raise ValueError(f"Expected at most {base} in_channels, the width of the first stage, got {in_channels}.")
        if len(encoder) != len(decoder) + 1 or len(decoder) < 1 or min(*encoder, *decoder) < 1:
            raise ValueError(
                "Expected at least two encoder stages, a decoder of one fewer and at least one conv in each, "
                f"got {tuple(encoder)} and {tuple(decoder)}."
            )
        widths = [base * 2**level for level in range(len(encoder))]
        self.base = base
        self.divisor = 2 ** len(decoder)
        self.receptive_field = (_receptive_field(encoder, decoder),) * 3
        self.first = Stage(in_channels, base, encoder[0])
        self.downs = nn.ModuleList(
            nn.Sequential(nn.Conv3d(width, 2 * width, 2, stride=2), nn.PReLU(2 * width)) for width in widths[:-1]
        )
        self.encoders = nn.ModuleList(
            Stage(width, width, convs) for width, convs in zip(widths[1:], encoder[1:], strict=True)
        )
        coarse = [*(2 * width for width in widths[1:-1]), widths[-1]]  # what each decoder stage receives
        self.ups = nn.ModuleList(
            nn.Sequential(nn.ConvTranspose3d(before, width, 2, stride=2), nn.PReLU(width))
            for before, width in zip(coarse, widths[:-1], strict=True)
        )
        self.decoders = nn.ModuleList(
            Stage(2 * width, 2 * width, convs) for width, convs in zip(widths[:-1], decoder, strict=True)
        )
        self.head = nn.Conv3d(2 * base, num_classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, in_channels, X, Y, Z)``, multiples of `divisor` → logits ``(B, num_classes, X, Y, Z)``."""
        self.check_size(x)
        x = self.first(x, repeat_channels(x, self.base))
        skips = []
        for down, encoder in zip(self.downs, self.encoders, strict=True):
            skips.append(x)
            x = down(x)
            x = encoder(x, x)
        for level in reversed(range(len(self.decoders))):
            x = torch.cat((self.ups[level](x), skips[level]), 1)
            x = self.decoders[level](x, x)
        return self.head(x)


def _receptive_field(encoder: Sequence[int], decoder: Sequence[int]) -> int:
    voxels = 1
    for convs in decoder:
        voxels = (voxels + 4 * convs) // 2 + 1  # the coarse voxels that the stage's input lies in
    voxels += 4 * encoder[-1]
    for convs in reversed(encoder[:-1]):
        voxels = 2 * voxels + 4 * convs
    return voxels
