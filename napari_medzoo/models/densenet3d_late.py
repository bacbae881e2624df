"""`DenseNet3DLate`: one dense stream per modality, fused late (the thesis' "2-stream late fusion").

=========  ====================================================================  ======================  ==========
part       layers                                                                channels, 2 modalities  valid, 27³
=========  ====================================================================  ======================  ==========
streams    per modality: nine 3³ layers as in `densenet3d`, on that modality     450 each                9³
fusion     all streams' outputs concatenated                                     900                     9³
head       1³ convs 400, 200, 150, each ReLU, dropout; 1³ conv to the classes    classes                 9³
=========  ====================================================================  ======================  ==========

Layers, biases, PReLUs and padding are those of `densenet3d` (Dolz 2018, arXiv:1804.02967). 5,237,772 parameters for two
modalities and four classes, the thesis' "5.2 M". Any number of modalities; with one it is `densenet3d`.

Departures from the thesis' code: its streams had one layer too few for two modalities, and each had a head of its own
down to 150 channels before the fusion; neither gives the count that the thesis states.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from napari_medzoo.models.blocks import DenseLayer, Network, Padding, dense_head, dense_stream
from napari_medzoo.models.densenet3d import HEAD, WIDTHS, check_dense, dense_margin


class DenseNet3DLate(Network):
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
        self.receptive_field = (2 * len(widths) + 1,) * 3
        self.streams = nn.ModuleList(
            nn.Sequential(DenseLayer(1, widths[0], padding, norm=False), dense_stream(widths[0], widths[1:], padding))
            for _ in range(in_channels)
        )
        self.head = dense_head(in_channels * sum(widths), num_classes, head, dropout)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, in_channels, X, Y, Z)`` → logits ``(B, num_classes, …)``, `margin` voxels less on every side."""
        self.check_size(x)
        features = [stream(x[:, i : i + 1]) for i, stream in enumerate(self.streams)]
        return self.head(torch.cat(features, 1))
