"""`DenseNet3D`: the single-path dense network that HyperDense-Net was compared with (Dolz 2018, arXiv:1804.02967).

======  ===========================================  =====================  ==========
layer   layers                                       channels handed on     valid, 27³
======  ===========================================  =====================  ==========
1       PReLU-3³ conv 25 on the scan                 25                     25³
2, 3    BN-PReLU-3³ conv 25 each                     50, 75                 23³, 21³
4 … 6   BN-PReLU-3³ conv 50 each                     125, 175, 225          19³ … 15³
7 … 9   BN-PReLU-3³ conv 75 each                     300, 375, 450          13³ … 9³
head    1³ convs 400, 200, 150, each ReLU, dropout   150                    9³
        1³ conv to the classes                       classes                9³
======  ===========================================  =====================  ==========

Every layer sees the outputs of all layers before it, cropped to their common centre; all modalities enter together as
channels of the scan. Every convolution has a bias; a PReLU has a single slope. There is no pooling: the receptive field
is 19³. With ``padding="same"`` the output is as large as the input.

Departure: the paper leaves open what follows the 1³ convolutions; here it is ReLU and dropout, without parameters.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from napari_medzoo.models.blocks import (
    DenseLayer,
    Network,
    Padding,
    check_counts,
    check_padding,
    dense_head,
    dense_stream,
)

WIDTHS = (25, 25, 25, 50, 50, 50, 75, 75, 75)
HEAD = (400, 200, 150)


class DenseNet3D(Network):
    """See the module's docstring.

    Parameters
    ----------
    in_channels, num_classes : int
        At least 1 and at least 2.
    widths, head : sequence of int
        New channels of each 3³ layer (two at least); channels of the 1³ layers before the classes.
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
        self.first = DenseLayer(in_channels, widths[0], padding, norm=False)
        self.stream = dense_stream(widths[0], widths[1:], padding)
        self.head = dense_head(self.stream.out_channels, num_classes, head, dropout)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, in_channels, X, Y, Z)`` → logits ``(B, num_classes, …)``, `margin` voxels less on every side."""
        self.check_size(x)
        return self.head(self.stream(self.first(x)))


def check_dense(in_channels: int, num_classes: int, widths: Sequence[int], padding: str) -> None:
    """Say what the dense networks take, as `ValueError`."""
    check_counts(in_channels, num_classes)
    check_padding(padding)
    if len(widths) < 2 or min(widths) < 1:
        raise ValueError(f"Expected at least two widths ≥ 1, got {tuple(widths)}.")


def dense_margin(widths: Sequence[int], padding: Padding) -> tuple[int, int, int]:
    """Voxels that 3³ convs, one for each of `widths`, cost on every side."""
    return (len(widths) if padding == "valid" else 0,) * 3
