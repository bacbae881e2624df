"""`DynUNet`: the plain U-Net of nnU-Net (Isensee 2021, doi:10.1038/s41592-020-01008-z), from MONAI's blocks.

===========  =============================================================  ==============  =======
level        layers                                                         channels        spacing
===========  =============================================================  ==============  =======
encoder 0    2 × [3³ conv, norm, act]                                       32              1 ×
encoder l    [3³ stride-2 conv, norm, act], [3³ conv, norm, act]            64 … 320        2ˡ ×
decoder l    2³ stride-2 up-conv, concatenate encoder l, 2 × [3³ conv,      320 … 32        2ˡ ×
             norm, act]
head         1³ conv to the classes                                         classes         1 ×
auxiliary    1³ convs from decoder 1, 2 … in training only                  classes         2 ×, 4 ×
===========  =============================================================  ==============  =======

Instance norm with affine, leaky ReLU of slope 0.01; only the 1³ convs to the classes have a bias. With deep supervision
the network returns, in training, a list of logits from fine to coarse: full resolution and then those of every decoder
level but the coarsest.

Departures from MONAI's `DynUNet`, whose weights load as they are: the coarser logits are returned at their own
resolution, as in nnU-Net, instead of enlarged; instance norm is computed faster on a CPU (`blocks.InstanceNorm`); the
blocks are held once, so that the weights can be saved as safetensors. Levels and widths are settings, not planned from
the data.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from napari_medzoo.models.blocks import InstanceNorm, Network, check_counts, require_monai


class DynUNet(Network):
    """See the module's docstring.

    Parameters
    ----------
    in_channels, num_classes : int
        At least 1 and at least 2.
    widths : sequence of int
        Channels of each level from full resolution downwards, three at least.
    deep_supervision : bool
        Whether there are auxiliary heads.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        widths: Sequence[int] = (32, 64, 128, 256, 320),
        deep_supervision: bool = True,
    ) -> None:
        super().__init__()
        check_counts(in_channels, num_classes)
        if len(widths) < 3 or min(widths) < 1:
            raise ValueError(f"Expected at least three widths ≥ 1, got {tuple(widths)}.")
        require_monai("dynunet")
        from monai.networks.nets.dynunet import DynUNet as MonaiDynUNet

        depth = len(widths) - 1
        self.divisor = 2**depth
        self.receptive_field = (_receptive_field(depth),) * 3
        net = MonaiDynUNet(
            spatial_dims=3,
            in_channels=in_channels,
            out_channels=num_classes,
            kernel_size=[3] * len(widths),
            strides=[1] + [2] * depth,
            upsample_kernel_size=[2] * depth,
            filters=list(widths),
            deep_supervision=deep_supervision,
            deep_supr_num=depth - 1,
        )
        self.input_block = net.input_block
        self.downsamples = net.downsamples
        self.bottleneck = net.bottleneck
        self.upsamples = net.upsamples
        self.output_block = net.output_block
        self.deep_supervision_heads = net.deep_supervision_heads if deep_supervision else nn.ModuleList()
        _use_fast_norms(self)

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        """From a scan to logits.

        Parameters
        ----------
        x : torch.Tensor
            ``(B, in_channels, X, Y, Z)``, sizes multiples of `divisor`.

        Returns
        -------
        torch.Tensor or list of torch.Tensor
            ``(B, num_classes, X, Y, Z)``; in training with deep supervision a list of it and of logits of half,
            a quarter … of its size.
        """
        self.check_size(x)
        x = self.input_block(x)
        skips = [x]
        for down in self.downsamples:
            x = down(x)
            skips.append(x)
        x = self.bottleneck(x)
        auxiliary: list[Tensor] = []
        for level, up in zip(reversed(range(len(skips))), self.upsamples, strict=True):
            x = up(x, skips[level])
            if self.training and 0 < level <= len(self.deep_supervision_heads):
                auxiliary.insert(0, self.deep_supervision_heads[level - 1](x))
        logits = self.output_block(x)
        return [logits, *auxiliary] if auxiliary else logits


def _use_fast_norms(module: nn.Module) -> None:
    for name, child in module.named_children():
        if isinstance(child, nn.InstanceNorm3d):
            setattr(module, name, InstanceNorm(child.num_features))
        else:
            _use_fast_norms(child)


def _receptive_field(depth: int) -> int:
    voxels = 1
    for _ in range(depth):
        voxels = (voxels + 4) // 2 + 1  # the decoder's two convs, then the coarse voxels that these lie in
    for _ in range(depth):
        voxels = 2 * (voxels + 2) + 1
    return voxels + 4
