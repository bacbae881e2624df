"""`UNet3D`: the 3D U-Net of Çiçek et al. 2016 (MICCAI, arXiv:1606.06650).

===========  =====================================================  =====================  =========
level        layers (3→3 channels)                                  valid, 132×132×116     same
===========  =====================================================  =====================  =========
encoder 0    3³ conv 32, 3³ conv 64; kept for decoder 0             128×128×112            1 ×
encoder 1    max-pool 2³, 3³ conv 64, 3³ conv 128                   60×60×52               2 ×
encoder 2    max-pool 2³, 3³ conv 128, 3³ conv 256                  26×26×22               4 ×
encoder 3    max-pool 2³, 3³ conv 256, 3³ conv 512                  9×9×7                  8 ×
decoder 2    2³ stride-2 up-conv 512, concatenate, 256, 256         14×14×10               4 ×
decoder 1    2³ stride-2 up-conv 256, concatenate, 128, 128         24×24×16               2 ×
decoder 0    2³ stride-2 up-conv 128, concatenate, 64, 64           44×44×28               1 ×
head         1³ conv to the classes                                 44×44×28               1 ×
===========  =====================================================  =====================  =========

Every 3³ convolution has a bias and is followed by batch normalisation and ReLU; up-convolutions have no bias, which
gives the paper's 19,069,955 parameters without those of the normalisation. By default convolutions are valid
as in the paper and the encoder's outputs are cropped before they are concatenated; with ``padding="same"`` the output
is as large as the input.

Departures: none with the default settings. The paper's weighted cross-entropy, which leaves out unlabelled voxels, is
the recipe's choice.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from napari_medzoo.models.blocks import (
    Network,
    Padding,
    check_counts,
    check_padding,
    unet_crops,
    unet_pass,
    unet_receptive_field,
)


def _double_conv(in_channels: int, middle: int, out_channels: int, padding: Padding) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv3d(in_channels, middle, 3, padding=padding),
        nn.BatchNorm3d(middle),
        nn.ReLU(inplace=True),
        nn.Conv3d(middle, out_channels, 3, padding=padding),
        nn.BatchNorm3d(out_channels),
        nn.ReLU(inplace=True),
    )


class UNet3D(Network):
    """See the module's docstring.

    Parameters
    ----------
    in_channels, num_classes : int
        At least 1 and at least 2.
    widths : sequence of int
        Channels that each level ends with, from full resolution downwards; the first conv of a level has half.
    padding : {"valid", "same"}
        ``"valid"``: the output lacks `margin` voxels on every side.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        widths: Sequence[int] = (64, 128, 256, 512),
        padding: Padding = "valid",
    ) -> None:
        super().__init__()
        check_counts(in_channels, num_classes)
        check_padding(padding)
        if len(widths) < 2 or min(widths) < 2:
            raise ValueError(f"Expected at least two widths ≥ 2, got {tuple(widths)}.")
        depth = len(widths) - 1
        self.divisor = 2**depth
        margin, self.remainder, self.crops = unet_crops(depth, padding)
        self.margin = (margin,) * 3
        self.receptive_field = (unet_receptive_field(depth),) * 3
        self.encoders = nn.ModuleList()
        for width in widths:
            self.encoders.append(_double_conv(in_channels, width // 2, width, padding))
            in_channels = width
        self.pool = nn.MaxPool3d(2)
        self.ups = nn.ModuleList(nn.ConvTranspose3d(width, width, 2, stride=2, bias=False) for width in widths[1:])
        self.decoders = nn.ModuleList(
            _double_conv(fine + coarse, fine, fine, padding) for fine, coarse in pairwise(widths)
        )
        self.head = nn.Conv3d(widths[0], num_classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, in_channels, X, Y, Z)`` → logits ``(B, num_classes, …)``, `margin` voxels less on every side."""
        self.check_size(x)
        x = unet_pass(x, self.encoders, self.pool, self.ups, self.decoders, self.crops)
        return self.head(x)
