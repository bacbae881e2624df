"""`HyperDenseNet`: HyperDense-Net, dense connections within and between modalities (Dolz 2018, arXiv:1804.02967).

======  =======================================================  ======================  ==================  ==========
layer   layers of each modality's stream                         seen, 2 modalities      seen, 3 modalities  valid, 27³
======  =======================================================  ======================  ==================  ==========
1       PReLU-3³ conv 25 on its modality                         1                       1                   25³
2, 3    BN-PReLU-3³ conv 25 on all earlier outputs of all        50, 100                 75, 150             23³, 21³
4 … 6   BN-PReLU-3³ conv 50, likewise                            150, 250, 350           225, 375, 525       19³ … 15³
7 … 9   BN-PReLU-3³ conv 75, likewise                            450, 600, 750           675, 900, 1125      13³ … 9³
head    what every stream has seen, concatenated                 1800                    4050                9³
        1³ convs 400, 200, 150, each ReLU, dropout               150                     150                 9³
        1³ conv to the classes                                   classes                 classes             9³
======  =======================================================  ======================  ==================  ==========

In what a stream sees, its own output of each layer comes first and the others follow in their order, so that every
stream receives another arrangement (the paper's shuffling). Every convolution has a bias; a PReLU has a single slope.
The receptive field is 19³. With ``padding="same"`` the output is as large as the input.

Departures: the paper compares two and three modalities; any number works here (with one, `densenet3d`). As there, what
follows the 1³ convolutions is ReLU and dropout. The transposed convolution at the end of the thesis' code is not part
of the network.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from napari_medzoo.models.blocks import DenseLayer, Network, Padding, crop, dense_head
from napari_medzoo.models.densenet3d import HEAD, WIDTHS, check_dense, dense_margin


class HyperDenseNet(Network):
    """See the module's docstring.

    Parameters
    ----------
    in_channels, num_classes : int
        At least 1 (a stream each) and at least 2.
    widths, head : sequence of int
        New channels of each 3³ layer of a stream (two at least); channels of the 1³ layers before the classes.
    padding : {"valid", "same"}
        ``"valid"``: the output lacks `margin` voxels on every side.
    dropout : float
        After each 1³ layer, in training.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        widths: Sequence[int] = WIDTHS,
        head: Sequence[int] = HEAD,
        padding: Padding = "valid",
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        check_dense(in_channels, num_classes, widths, padding)
        self.margin = dense_margin(widths, padding)
        self.lost = 1 if padding == "valid" else 0
        self.receptive_field = (2 * len(widths) + 1,) * 3
        self.layers = nn.ModuleList()
        seen = 1
        for number, width in enumerate(widths):
            self.layers.append(
                nn.ModuleList(DenseLayer(seen, width, padding, norm=number > 0) for _ in range(in_channels))
            )
            seen = in_channels * width + (seen if number > 0 else 0)
        self.head = dense_head(in_channels * seen, num_classes, head, dropout)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, in_channels, X, Y, Z)`` → logits ``(B, num_classes, …)``, `margin` voxels less on every side."""
        self.check_size(x)
        seen = list(x.split(1, 1))
        for number, layers in enumerate(self.layers):
            assert isinstance(layers, nn.ModuleList)
            new = [layer(stream) for layer, stream in zip(layers, seen, strict=True)]
            old = [] if number == 0 else [crop(stream, self.lost) for stream in seen]
            seen = [
                torch.cat((*old[own : own + 1], new[own], *new[:own], *new[own + 1 :]), 1) for own in range(len(new))
            ]
        return self.head(torch.cat(seen, 1))
