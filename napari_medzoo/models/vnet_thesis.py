"""`VNetThesis`: V-Net as in the thesis (Adaloglou 2019), after M. Macy's PyTorch version, and its lighter form.

Differences from the paper's `vnet` (Milletari 2016, arXiv:1606.04797): batch normalisation after every convolution,
dropout of whole channels, fewer convolutions, and a 5³ convolution to the classes in the head.

==========  ===========================================================================  ========  =======
stage       layers                                                                       channels  spacing
==========  ===========================================================================  ========  =======
encoder 0   5³ conv; plus the scan repeated to 16 channels                               16        1 ×
encoder 1   2³ stride-2 conv, 1 × 5³ conv                                                32        2 ×
encoder 2   2³ stride-2 conv, 2 × 5³ conv                                                64        4 ×
encoder 3   2³ stride-2 conv, dropout, 3 × 5³ conv                                       128       8 ×
encoder 4   2³ stride-2 conv, dropout, 2 × 5³ conv                                       256       16 ×
decoder 3   dropout, 2³ up-conv 128, concatenate encoder 3, 2 × 5³ conv                  256       8 ×
decoder 2   dropout, 2³ up-conv 64, concatenate encoder 2, 2 × 5³ conv                   128       4 ×
decoder 1   2³ up-conv 32, concatenate encoder 1, 1 × 5³ conv                            64        2 ×
decoder 0   2³ up-conv 16, concatenate encoder 0, 1 × 5³ conv                            32        1 ×
head        5³ conv, 1³ conv                                                             classes   1 ×
==========  ===========================================================================  ========  =======

Every convolution has a bias; every one but the last is followed by batch norm and PReLU with a slope per channel (ELU
is a setting). A stage's input (in the decoder: the concatenation) is added to its output and activated once more. Skips
pass through dropout, too. The preset `vnet_light` leaves the stages "encoder 4" and "decoder 3" out.

With ``num_classes=4`` and one modality there are 45,611,956 and 12,247,988 parameters, as in the thesis' code (its
table's "25 M" for the light form is not what that code has). MONAI's `VNet`, with ELU, gives the same numbers for the
same weights; it only lacks most biases.

Departure from the thesis' code: the scan is repeated in turn to 16 channels for any number of modalities up to 16
(three failed there).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from napari_medzoo.models.blocks import Network, check_counts, repeat_channels

Activation = Literal["elu", "prelu"]


def _activation(kind: Activation, channels: int) -> nn.Module:
    return nn.ELU(inplace=True) if kind == "elu" else nn.PReLU(channels)


def _convs(channels: int, count: int, kind: Activation) -> nn.Sequential:
    layers = nn.Sequential()
    for _ in range(count):
        layers.extend(
            (nn.Conv3d(channels, channels, 5, padding=2), nn.BatchNorm3d(channels), _activation(kind, channels))
        )
    return layers


class Down(nn.Module):
    """Stride-2 conv, (dropout,) 5³ convs, plus the stride-2 conv's output."""

    def __init__(self, channels: int, convs: int, kind: Activation, dropout: float) -> None:
        super().__init__()
        self.down = nn.Sequential(
            nn.Conv3d(channels // 2, channels, 2, stride=2), nn.BatchNorm3d(channels), _activation(kind, channels)
        )
        self.dropout = nn.Dropout3d(dropout)
        self.convs = _convs(channels, convs, kind)
        self.activation = _activation(kind, channels)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C/2, 2X, 2Y, 2Z)`` → ``(B, C, X, Y, Z)``."""
        x = self.down(x)
        return self.activation(self.convs(self.dropout(x)) + x)


class Up(nn.Module):
    """Up-conv to half of `channels`, concatenated with the skip, 5³ convs, plus the concatenation."""

    def __init__(self, in_channels: int, channels: int, convs: int, kind: Activation, dropout: float) -> None:
        super().__init__()
        half = channels // 2
        self.dropout = nn.Dropout3d(dropout)
        self.skip_dropout = nn.Dropout3d(0.5)
        self.up = nn.Sequential(
            nn.ConvTranspose3d(in_channels, half, 2, stride=2), nn.BatchNorm3d(half), _activation(kind, half)
        )
        self.convs = _convs(channels, convs, kind)
        self.activation = _activation(kind, channels)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """``(B, in_channels, X, Y, Z)`` and the skip ``(B, C/2, 2X, 2Y, 2Z)`` → ``(B, C, 2X, 2Y, 2Z)``."""
        x = torch.cat((self.up(self.dropout(x)), self.skip_dropout(skip)), 1)
        return self.activation(self.convs(x) + x)


class VNetThesis(Network):
    """See the module's docstring.

    Parameters
    ----------
    in_channels, num_classes : int
        1 to `base`, and at least 2.
    base : int
        Channels at full resolution; they double at every stage.
    encoder, decoder : sequence of int
        Convs of each stage after the first from full resolution downwards.
    activation : {"prelu", "elu"}
        What follows batch norm.
    dropout : float
        Of whole channels before the convs of stages from the third on (the skips' is always 0.5).
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        base: int = 16,
        encoder: Sequence[int] = (1, 2, 3, 2),
        decoder: Sequence[int] = (1, 1, 2, 2),
        activation: Activation = "prelu",
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        check_counts(in_channels, num_classes)
        if in_channels > base:
            raise ValueError(f"Expected at most {base} in_channels, the width of the first stage, got {in_channels}.")
        if len(encoder) != len(decoder) or not encoder or min(*encoder, *decoder) < 1:
            raise ValueError(
                "Expected as many stages in the encoder as in the decoder, one at least, with a conv or more in each, "
                f"got {tuple(encoder)} and {tuple(decoder)}."
            )
        depth = len(encoder)
        self.base = base
        self.divisor = 2**depth
        self.receptive_field = (_receptive_field(encoder, decoder),) * 3
        self.first = nn.Sequential(nn.Conv3d(in_channels, base, 5, padding=2), nn.BatchNorm3d(base))
        self.first_activation = _activation(activation, base)
        self.downs = nn.ModuleList(
            Down(base * 2 ** (level + 1), convs, activation, dropout if level > 1 else 0.0)
            for level, convs in enumerate(encoder)
        )
        self.ups = nn.ModuleList(
            Up(
                base * 2 ** (level + (1 if level == depth - 1 else 2)),
                base * 2 ** (level + 1),
                convs,
                activation,
                dropout if level > 1 else 0.0,
            )
            for level, convs in enumerate(decoder)
        )
        self.head = nn.Sequential(
            nn.Conv3d(2 * base, num_classes, 5, padding=2),
            nn.BatchNorm3d(num_classes),
            _activation(activation, num_classes),
            nn.Conv3d(num_classes, num_classes, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """``(B, in_channels, X, Y, Z)``, multiples of `divisor` → logits ``(B, num_classes, X, Y, Z)``."""
        self.check_size(x)
        x = self.first_activation(self.first(x) + repeat_channels(x, self.base))
        skips = []
        for down in self.downs:
            skips.append(x)
            x = down(x)
        for level in reversed(range(len(self.ups))):
            x = self.ups[level](x, skips[level])
        return self.head(x)


def _receptive_field(encoder: Sequence[int], decoder: Sequence[int]) -> int:
    voxels = 5
    for convs in decoder:
        voxels = (voxels + 4 * convs) // 2 + 1  # the coarse voxels that the stage's input lies in
    for convs in reversed(encoder):
        voxels = 2 * (voxels + 4 * convs)
    return voxels + 4
