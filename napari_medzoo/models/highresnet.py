"""`HighResNet`: HighRes3DNet of Li et al. 2017 (IPMI, arXiv:1707.01992), wrapping MONAI's implementation.

==========  ====================================================================  ========  ========
part        layers                                                                channels  dilation
==========  ====================================================================  ========  ========
stem        3³ conv, BN-ReLU                                                      16        1
stage 1     3 × residual block of two [BN-ReLU-3³ conv]                           16        1
stage 2     3 × residual block of two [BN-ReLU-3³ conv]                           32        2
stage 3     3 × residual block of two [BN-ReLU-3³ conv]                           64        4
head        1³ conv, BN-ReLU, dropout                                             80        1
            1³ conv, BN                                                           classes   1
==========  ====================================================================  ========  ========

Nothing is down-sampled: every layer has full resolution, the receptive field is 87³. Where a stage begins, the block's
input is padded with zero channels. No convolution has a bias. 821,904 parameters for one modality and 160 classes, of
which 7,840 belong to the layer with dropout.

Departure from MONAI's `HighResNet`: ReLU and dropout after the last convolution are left out, so that the network
returns plain logits (as in the authors' NiftyNet).
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from napari_medzoo.models.blocks import Network, check_counts, require_monai


class HighResNet(Network):
    """See the module's docstring.

    Parameters
    ----------
    in_channels, num_classes : int
        At least 1 and at least 2.
    widths : sequence of int
        Channels of the stages, not decreasing; the stem has the first. Every stage doubles the dilation.
    repeat : int
        Residual blocks of each stage.
    head : int
        Channels of the 1³ layer before the classes.
    dropout : float
        After that layer, in training.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        widths: Sequence[int] = (16, 32, 64),
        repeat: int = 3,
        head: int = 80,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        check_counts(in_channels, num_classes)
        if not widths or list(widths) != sorted(widths) or min(*widths, repeat, head) < 1:
            raise ValueError(f"Expected rising widths, repeat and head ≥ 1, got {tuple(widths)}, {repeat} and {head}.")
        require_monai("highresnet")
        from monai.networks.nets.highresnet import HighResNet as MonaiHighResNet

        self.receptive_field = (3 + 4 * repeat * (2 ** len(widths) - 1),) * 3
        self.net = MonaiHighResNet(
            in_channels=in_channels,
            out_channels=num_classes,
            dropout_prob=dropout,
            layer_params=(
                {"n_features": widths[0], "kernel_size": 3},
                *({"n_features": width, "kernels": (3, 3), "repeat": repeat} for width in widths),
                {"n_features": head, "kernel_size": 1},
                {"kernel_size": 1},
            ),
        )
        last = self.net.blocks[-1]
        last.adn = nn.Sequential()
        last.adn.add_module("N", nn.BatchNorm3d(num_classes))

    def forward(self, x: Tensor) -> Tensor:
        """``(B, in_channels, X, Y, Z)`` → logits ``(B, num_classes, X, Y, Z)``."""
        return self.net(x)
