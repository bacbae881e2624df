"""`SkipDenseNet3D`: 3D-SkipDenseSeg of Bui et al. 2017 (arXiv:1709.03199).

===========  =======================================================================  ==========  =======
part         layers                                                                   channels    spacing
===========  =======================================================================  ==========  =======
stem         3 × 3³ conv, BN-ReLU between; kept for the classifier                    32          1 ×
             BN-ReLU, 2³ stride-2 conv                                                32          2 ×
block 1      4 × [BN-ReLU-1³ conv 64-BN-ReLU-3³ conv 16, dropout], concatenated       96          2 ×
transition   BN-ReLU-1³ conv (half), BN-ReLU-2³ stride-2 conv                         48          4 ×
block 2      as block 1, then a transition                                            112 → 56    4 ×
block 3      as block 1, then a transition                                            120 → 60    8 ×
block 4      as block 1                                                               124         16 ×
skips        from each block of spacing s: (s+2)³ stride-s up-conv in groups, one     4 × classes 1 ×
             group per class
classifier   the skips and the stem concatenated, BN-ReLU-1³ conv                     classes     1 ×
===========  =======================================================================  ==========  =======

Only the stride-2 convs of the transitions and the classifier have biases. 1,552,256 parameters for two modalities and
four classes.

Departure: one group per class needs channels that the classes divide, which the paper's have for its four classes. For
any other number of classes a 1³ convolution to as many channels as there are classes precedes each up-convolution.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from napari_medzoo.models.blocks import Growing, Network, check_counts, norm_act_conv


def _skip(channels: int, num_classes: int, spacing: int) -> nn.Sequential:
    """To logits of full resolution: a group of the channels for each class."""
    skip = nn.Sequential()
    if num_classes != 4 or channels % 4:
        skip.append(nn.Conv3d(channels, num_classes, 1, bias=False))
        channels = num_classes
    up = nn.ConvTranspose3d(channels, num_classes, spacing + 2, spacing, padding=1, groups=num_classes, bias=False)
    return skip.append(up)


class SkipDenseNet3D(Network):
    """See the module's docstring.

    Parameters
    ----------
    in_channels, num_classes : int
        At least 1 and at least 2.
    stem, growth, bottleneck : int
        Channels of the stem, of each new layer, and of the 1³ conv before it.
    layers : sequence of int
        Of each block.
    dropout : float
        After each layer, in training.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        stem: int = 32,
        growth: int = 16,
        bottleneck: int = 64,
        layers: Sequence[int] = (4, 4, 4, 4),
        dropout: float = 0.2,
    ) -> None:
        super().__init__()
        check_counts(in_channels, num_classes)
        if min(stem, growth, bottleneck, len(layers), *layers) < 1:
            raise ValueError(f"Expected widths and layers ≥ 1, got {stem}, {growth}, {bottleneck} and {tuple(layers)}.")

        def make_layer(seen: int, new: int) -> nn.Module:
            return nn.Sequential(
                norm_act_conv(seen, bottleneck, 1), norm_act_conv(bottleneck, new, 3), nn.Dropout(dropout)
            )

        self.divisor = 2 ** len(layers)
        self.receptive_field = (_receptive_field(layers),) * 3
        self.stem = nn.Sequential(
            nn.Conv3d(in_channels, stem, 3, padding=1, bias=False),
            norm_act_conv(stem, stem, 3),
            norm_act_conv(stem, stem, 3),
        )
        self.downs = nn.ModuleList([norm_act_conv(stem, stem, 2, stride=2)])
        self.blocks = nn.ModuleList()
        self.skips = nn.ModuleList()
        width = stem
        for number, count in enumerate(layers):
            block = Growing(width, [growth] * count, make_layer)
            self.blocks.append(block)
            self.skips.append(_skip(block.out_channels, num_classes, 2 ** (number + 1)))
            if number < len(layers) - 1:
                width = max(block.out_channels // 2, 1)
                self.downs.append(
                    nn.Sequential(
                        norm_act_conv(block.out_channels, width, 1), norm_act_conv(width, width, 2, 2, bias=True)
                    )
                )
        self.classifier = norm_act_conv(len(layers) * num_classes + stem, num_classes, 1, bias=True)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, in_channels, X, Y, Z)``, multiples of `divisor` → logits ``(B, num_classes, X, Y, Z)``."""
        self.check_size(x)
        x = self.stem(x)
        answers = [x]
        for down, block, skip in zip(self.downs, self.blocks, self.skips, strict=True):
            x = block(down(x))
            answers.append(skip(x))
        return self.classifier(torch.cat((*answers[1:], answers[0]), 1))


def _receptive_field(layers: Sequence[int]) -> int:
    voxels = 2  # of the coarsest block, under one voxel of the overlapping up-convolution
    for count in reversed(layers):
        voxels = 2 * (voxels + 2 * count)
    return voxels + 6
