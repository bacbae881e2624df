"""`SegResNetVAE`: ResNet3D-VAE of Myronenko 2018 (BraTS 2018, arXiv:1810.11654), wrapping MONAI's implementation.

===========  ====================================================================  ========  =======
part         layers                                                                channels  spacing
===========  ====================================================================  ========  =======
stem         3³ conv                                                               32        1 ×
encoder 0    1 × residual block                                                    32        1 ×
encoder 1    3³ stride-2 conv, 2 × residual block                                  64        2 ×
encoder 2    3³ stride-2 conv, 2 × residual block                                  128       4 ×
encoder 3    3³ stride-2 conv, 4 × residual block                                  256       8 ×
decoder 2    1³ conv, trilinear ×2, plus encoder 2, residual block                 128       4 ×
decoder 1    1³ conv, trilinear ×2, plus encoder 1, residual block                 64        2 ×
decoder 0    1³ conv, trilinear ×2, plus encoder 0, residual block                 32        1 ×
head         GN-ReLU-1³ conv                                                       classes   1 ×
VAE          GN-ReLU-3³ stride-2 conv 16, GN-ReLU; mean and deviation of 128       128
(training)   numbers, a draw of them; back to 16, 1³ conv 256, trilinear ×2, then  256 … 32  8 … 1 ×
             the decoder's layers without skips, GN-ReLU-1³ conv to the scan       in        1 ×
===========  ====================================================================  ========  =======

A residual block is GN-ReLU-3³ conv twice, plus its input; group norm has 8 groups. 18,798,627 parameters without the
VAE branch for four modalities and three classes.

In training the network returns `WithLoss`: the logits and 0.1 · (L2 + KL) of the branch. Its fully connected layers fix
the size of the patches in training (`size`); at inference the branch is not computed and any multiple of 8 will do.

Departures: soft-max over all classes with the background instead of a sigmoid per (overlapping) class, chosen by the
loss. As in MONAI, L2 and KL are means over voxels and over the latent numbers, and the branch uses the decoder's own
layers (the paper gives it separate ones). MONAI's default instead has 256 latent numbers and a fixed deviation
(``latent=256``: 30,726,935 parameters with the branch); here there are the paper's 128, with a learned deviation.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from napari_medzoo.models.blocks import Network, WithLoss, check_counts, require_monai

LOSS_WEIGHT = 0.1
"""Of the branch's L2 and of its KL divergence, in the paper."""


class SegResNetVAE(Network):
    """See the module's docstring.

    Parameters
    ----------
    in_channels, num_classes : int
        At least 1 and at least 2.
    size : sequence of int
        Voxels of a patch in training, multiples of 16.
    filters : int
        Channels at full resolution, a multiple of 8; they double at every level.
    blocks_down : sequence of int
        Residual blocks of each level of the encoder.
    latent : int
        Numbers that the VAE branch describes a patch with.
    dropout : float
        Of whole channels after the stem, in training.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        size: Sequence[int] = (160, 192, 128),
        filters: int = 32,
        blocks_down: Sequence[int] = (1, 2, 2, 4),
        latent: int = 128,
        dropout: float = 0.2,
    ) -> None:
        super().__init__()
        check_counts(in_channels, num_classes)
        self.divisor = 2 ** (len(blocks_down) - 1)
        if filters < 8 or filters % 8 or len(blocks_down) < 2 or min(*blocks_down, latent) < 1:
            raise ValueError(
                "Expected filters that are a multiple of 8, two levels or more of at least one block, and latent ≥ 1, "
                f"got {filters}, {tuple(blocks_down)} and {latent}."
            )
        if len(size) != 3 or any(length < 1 or length % (2 * self.divisor) for length in size):
            raise ValueError(f"Expected a size of three multiples of {2 * self.divisor}, got {tuple(size)}.")
        require_monai("segresnet_vae")
        from monai.networks.nets.segresnet import SegResNetVAE as MonaiSegResNetVAE

        self.size = tuple(size)
        self.receptive_field = (_receptive_field(blocks_down),) * 3
        self.net = MonaiSegResNetVAE(
            input_image_size=self.size,
            vae_estimate_std=True,
            vae_nz=latent,
            init_filters=filters,
            in_channels=in_channels,
            out_channels=num_classes,
            dropout_prob=dropout or None,
            blocks_down=tuple(blocks_down),
            blocks_up=(1,) * (len(blocks_down) - 1),
        )

    def forward(self, x: Tensor) -> Tensor | WithLoss:
        """From a scan to logits.

        Parameters
        ----------
        x : torch.Tensor
            ``(B, in_channels, X, Y, Z)``, sizes multiples of `divisor`; in training exactly `size`.

        Returns
        -------
        torch.Tensor or WithLoss
            ``(B, num_classes, X, Y, Z)``; in training with the branch's loss.
        """
        self.check_size(x)
        if self.training and tuple(x.shape[2:]) != self.size:
            raise ValueError(f"Expected training patches of {self.size}, the setting 'size', got {tuple(x.shape[2:])}.")
        logits, branch = self.net(x)
        return WithLoss(logits, LOSS_WEIGHT * branch) if self.training else logits


def _receptive_field(blocks_down: Sequence[int]) -> int:
    voxels = 1
    for _ in blocks_down[1:]:
        voxels = (voxels + 4) // 2 + 2  # the decoder's block, then the coarse voxels that are interpolated
    for blocks in reversed(blocks_down[1:]):
        voxels = 2 * (voxels + 4 * blocks) + 1
    return voxels + 4 * blocks_down[0] + 2
