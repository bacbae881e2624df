"""`DenseNet3DEarly`: a first convolution per modality, then one dense path (the thesis' "early fusion").

=========  ====================================================================  ======================  ==========
part       layers                                                                channels, 2 modalities  valid, 27³
=========  ====================================================================  ======================  ==========
first      per modality: PReLU-3³ conv 25 on that modality                       25 each                 25³
fusion     the first outputs concatenated                                        50                      25³
path       BN-PReLU-3³ conv 25, 25, 50, 50, 50, 75, 75, 75, as in `densenet3d`   75 … 475                9³
head       1³ convs 400, 200, 150, each ReLU, dropout; 1³ conv to the classes    classes                 9³
=========  ====================================================================  ======================  ==========

Layers, biases, PReLUs and padding are those of `densenet3d` (Dolz 2018, arXiv:1804.02967). 2,972,539 parameters for two
modalities and 3,270,515 for three (four classes), the thesis' "2.9 M" and "3.4 M". Any number of modalities; with one
it is `densenet3d`.

Departures from the thesis' code: there two modalities shared one first convolution, and the raw modalities were handed
on beside their first outputs.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from napari_medzoo.models.blocks import DenseLayer, Network, Padding, dense_head, dense_stream
from napari_medzoo.models.densenet3d import HEAD, WIDTHS, check_dense, dense_margin


class DenseNet3DEarly(Network):
    """See the module's docstring.

    Parameters
    ----------
    in_channels, num_classes : int
        At least 1 (a first conv each) and at least 2.
    widths, head : sequence of int
        New channels of each 3³ layer (two at least; the first for each modality); channels of the 1³ layers.
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
        self.receptive_field = (2 * len(widths) + 1,) * 3
        self.firsts = nn.ModuleList(DenseLayer(1, widths[0], padding, norm=False) for _ in range(in_channels))
        self.stream = dense_stream(in_channels * widths[0], widths[1:], padding)
        self.head = dense_head(self.stream.out_channels, num_classes, head, dropout)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, in_channels, X, Y, Z)`` → logits ``(B, num_classes, …)``, `margin` voxels less on every side."""
        self.check_size(x)
        features = [first(x[:, i : i + 1]) for i, first in enumerate(self.firsts)]
        return self.head(self.stream(torch.cat(features, 1)))
