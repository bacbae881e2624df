"""`DenseVoxelNet`: DenseVoxNet of Yu et al. 2017 (MICCAI, arXiv:1708.00573).

===========  ====================================================================  ==========  =======
part         layers                                                                channels    spacing
===========  ====================================================================  ==========  =======
stem         3³ stride-2 conv                                                      16          2 ×
block 1      12 × [BN-ReLU-3³ conv 12, dropout], concatenated                      160         2 ×
transition   BN-ReLU-1³ conv (→ auxiliary head), max-pool 2³                       160         4 ×
block 2      12 × [BN-ReLU-3³ conv 12, dropout], concatenated                      304         4 ×
head         BN-ReLU-1³ conv                                                       304         4 ×
             2³ stride-2 up-conv, BN-ReLU                                          128         2 ×
             2³ stride-2 up-conv, BN-ReLU                                          64          1 ×
             1³ conv                                                               classes     1 ×
auxiliary    1³ conv on the transition's, in training only                         classes     2 ×
===========  ====================================================================  ==========  =======

Where batch norm and biases sit: every batch norm is the one in the table, with affine; only the two 1³ convolutions to
the classes have a bias. That gives 1,702,166 parameters for one modality and three classes (the paper says "about
1.8 M").

In training the network returns ``[logits, auxiliary logits]``, the second at half resolution; the paper weights its
loss by 0.33 (`auxiliary_weights`).

Departure: the paper enlarges the auxiliary logits to full resolution before their loss; here the reference is taken at
their resolution, as for every network with deep supervision.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from napari_medzoo.models.blocks import Growing, Network, check_counts, norm_act_conv


class DenseVoxelNet(Network):
    """See the module's docstring.

    Parameters
    ----------
    in_channels, num_classes : int
        At least 1 and at least 2.
    stem, growth : int
        Channels of the stem and of each new layer.
    layers : sequence of int
        Of the two blocks.
    ups : sequence of int
        Channels of the two up-convolutions.
    dropout : float
        After each layer, in training.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        stem: int = 16,
        growth: int = 12,
        layers: Sequence[int] = (12, 12),
        ups: Sequence[int] = (128, 64),
        dropout: float = 0.2,
    ) -> None:
        super().__init__()
        check_counts(in_channels, num_classes)
        if len(layers) != 2 or len(ups) != 2 or min(stem, growth, *layers, *ups) < 1:
            raise ValueError(
                f"Expected two layers, two ups, all numbers ≥ 1, got {stem}, {growth}, {tuple(layers)}, {tuple(ups)}."
            )

        def make_layer(seen: int, new: int) -> nn.Module:
            return norm_act_conv(seen, new, 3).append(nn.Dropout(dropout))

        self.divisor = 4
        self.receptive_field = (2 * (2 * (1 + 2 * layers[1]) + 2 * layers[0]) + 1,) * 3
        self.auxiliary_weights = (0.33,)
        self.stem = nn.Conv3d(in_channels, stem, 3, stride=2, padding=1, bias=False)
        self.block1 = Growing(stem, [growth] * layers[0], make_layer)
        middle = self.block1.out_channels
        self.transition = norm_act_conv(middle, middle, 1)
        self.auxiliary = nn.Conv3d(middle, num_classes, 1)
        self.pool = nn.MaxPool3d(2)
        self.block2 = Growing(middle, [growth] * layers[1], make_layer)
        last = self.block2.out_channels
        self.head = nn.Sequential(
            norm_act_conv(last, last, 1),
            nn.ConvTranspose3d(last, ups[0], 2, stride=2, bias=False),
            nn.BatchNorm3d(ups[0]),
            nn.ReLU(inplace=True),
            nn.ConvTranspose3d(ups[0], ups[1], 2, stride=2, bias=False),
            nn.BatchNorm3d(ups[1]),
            nn.ReLU(inplace=True),
            nn.Conv3d(ups[1], num_classes, 1),
        )

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        """From a scan to logits.

        Parameters
        ----------
        x : torch.Tensor
            ``(B, in_channels, X, Y, Z)``, sizes multiples of 4.

        Returns
        -------
        torch.Tensor or list of torch.Tensor
            ``(B, num_classes, X, Y, Z)``; in training a list of it and of the auxiliary logits of half its size.
        """
        self.check_size(x)
        x = self.transition(self.block1(self.stem(x)))
        logits = self.head(self.block2(self.pool(x)))
        return [logits, self.auxiliary(x)] if self.training else logits
