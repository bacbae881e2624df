"""`UNet2D`: the U-Net of Ronneberger et al. 2015 (MICCAI, arXiv:1505.04597), slice by slice.

===========  ====================================================  ==============  =======
level        layers                                                valid, 572²     spacing
===========  ====================================================  ==============  =======
encoder 0    2 × 3² conv 64                                        568²            1 ×
encoder 1    max-pool 2², 2 × 3² conv 128                          280²            2 ×
encoder 2    max-pool 2², 2 × 3² conv 256                          136²            4 ×
encoder 3    max-pool 2², 2 × 3² conv 512, dropout                 64²             8 ×
encoder 4    max-pool 2², 2 × 3² conv 1024, dropout                28²             16 ×
decoder 3    2² stride-2 up-conv 512, concatenate, 2 × 3² conv     52²             8 ×
decoder 2    2² stride-2 up-conv 256, concatenate, 2 × 3² conv     100²            4 ×
decoder 1    2² stride-2 up-conv 128, concatenate, 2 × 3² conv     196²            2 ×
decoder 0    2² stride-2 up-conv 64, concatenate, 2 × 3² conv      388²            1 ×
head         1² conv to the classes                                388²            1 ×
===========  ====================================================  ==============  =======

Every convolution has a bias; 3² ones are followed by ReLU; there is no normalisation. Weights are drawn from a Gaussian
of deviation √(2 / inputs of a unit). By default convolutions are valid as in the paper and the encoder's outputs are
cropped before they are concatenated; with ``padding="same"`` the output is as large as the input. It takes slices
``(B, C, X, Y)``. A volume is cut into slices along its last axis, which can be of any length: axial slices where the
preparation's orientation ends in S or I, coronal ones for A or P, sagittal ones for L or R. A patch of one voxel along
that axis is a slice. The paper's border-weighted cross-entropy is the recipe's choice.

Departures: none. That dropout (0.5) is at the end of the contracting path is all that the paper says; as in the
authors' Caffe model it follows the last two levels.
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


def _double_conv(in_channels: int, channels: int, padding: Padding, dropout: float = 0.0) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, channels, 3, padding=padding),
        nn.ReLU(inplace=True),
        nn.Conv2d(channels, channels, 3, padding=padding),
        nn.ReLU(inplace=True),
        nn.Dropout(dropout),
    )


class UNet2D(Network):
    """See the module's docstring.

    Parameters
    ----------
    in_channels, num_classes : int
        At least 1 and at least 2.
    widths : sequence of int
        Channels of each level, from full resolution downwards.
    padding : {"valid", "same"}
        ``"valid"``: the output lacks `margin` voxels on every side.
    dropout : float
        After the last two levels of the encoder, in training.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        widths: Sequence[int] = (64, 128, 256, 512, 1024),
        padding: Padding = "valid",
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        check_counts(in_channels, num_classes)
        check_padding(padding)
        if len(widths) < 2 or min(widths) < 1:
            raise ValueError(f"Expected at least two widths ≥ 1, got {tuple(widths)}.")
        depth = len(widths) - 1
        self.divisor = 2**depth
        margin, self.remainder, self.crops = unet_crops(depth, padding)
        self.margin = (margin, margin, 0)
        self.receptive_field = (unet_receptive_field(depth), unet_receptive_field(depth), 1)
        self.encoders = nn.ModuleList()
        for level, width in enumerate(widths):
            self.encoders.append(_double_conv(in_channels, width, padding, dropout if level > depth - 2 else 0.0))
            in_channels = width
        self.pool = nn.MaxPool2d(2)
        pairs = list(pairwise(widths))
        self.ups = nn.ModuleList(nn.ConvTranspose2d(coarse, fine, 2, stride=2) for fine, coarse in pairs)
        self.decoders = nn.ModuleList(_double_conv(2 * fine, fine, padding) for fine, _ in pairs)
        self.head = nn.Conv2d(widths[0], num_classes, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """From slices or a volume to logits.

        Parameters
        ----------
        x : torch.Tensor
            ``(B, in_channels, X, Y)`` or ``(B, in_channels, X, Y, Z)``; X and Y fit `divisor` and `remainder`.

        Returns
        -------
        torch.Tensor
            ``(B, num_classes, X, Y)`` or ``(B, num_classes, X, Y, Z)``, `margin` voxels less on every side.
        """
        if x.ndim == 4:
            return self._slices(x)
        y = self._slices(x.permute(0, 4, 1, 2, 3).flatten(0, 1))
        return y.view(x.shape[0], x.shape[4], *y.shape[1:]).permute(0, 2, 3, 4, 1)

    def _slices(self, x: Tensor) -> Tensor:
        self.check_size(x)
        x = unet_pass(x, self.encoders, self.pool, self.ups, self.decoders, self.crops)
        return self.head(x)
