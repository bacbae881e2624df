"""`Med3D`: dilated 3D residual networks of Chen et al. 2019 (Med3D / MedicalNet, arXiv:1904.00625).

==========  =====================================================  ===============  ========  =======
part        layers                                                 channels         dilation  spacing
==========  =====================================================  ===============  ========  =======
stem        7³ stride-2 conv, BN-ReLU, max-pool 3³ stride 2        64               1         4 ×
layer1      residual blocks, stride 1                              64 (256)         1         4 ×
layer2      residual blocks, the first of stride 2                 128 (512)        1         8 ×
layer3      residual blocks, stride 1                              256 (1024)       2         8 ×
layer4      residual blocks, stride 1                              512 (2048)       4         8 ×
conv_seg    2³ stride-2 up-conv, BN-ReLU, 3³ conv, BN-ReLU         32               1         4 ×
            1³ conv                                                classes          1         4 ×
            trilinear ×4                                           classes                    1 ×
==========  =====================================================  ===============  ========  =======

=====  ====================  ============  ==========  ===============================
depth  blocks                block         parameters  shortcut of the public weights
=====  ====================  ============  ==========  ===============================
10     1, 1, 1, 1            two 3³ convs  14,355,520  ``"conv"``
18     2, 2, 2, 2            two 3³ convs  33,160,000  ``"zeros"``
34     3, 4, 6, 3            two 3³ convs  63,469,632  ``"zeros"``
50     3, 4, 6, 3            1³, 3³, 1³    46,155,072  ``"conv"``
=====  ====================  ============  ==========  ===============================

Parameters are the backbone's with one modality. Every convolution is followed by BN-ReLU, the shortcut is added before
the last ReLU of a block; the dilation holds for all 3³ convolutions of a layer. Where a block changes the size, its
shortcut is a 1³ convolution with BN or, without parameters, padded with zero channels. Names and shapes are those of
the public weights (`read_medicalnet`) if `shortcut` is as in the table.

Departures: the authors' code stops the gradient at shortcuts without parameters; here it passes. They enlarge the
logits after the network; here that is its last step.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from napari_medzoo.errors import MedzooError
from napari_medzoo.models.blocks import Network, check_counts

Shortcut = Literal["conv", "zeros"]

DEPTHS: dict[int, tuple[tuple[int, int, int, int], bool]] = {
    10: ((1, 1, 1, 1), False),
    18: ((2, 2, 2, 2), False),
    34: ((3, 4, 6, 3), False),
    50: ((3, 4, 6, 3), True),
}
"""Depth → blocks of each layer, whether they are bottlenecks."""


class ZeroPad(nn.Module):
    """A shortcut without parameters: every `stride`-th voxel, and zeros for the channels that are new."""

    def __init__(self, new_channels: int, stride: int) -> None:
        super().__init__()
        self.new_channels = new_channels
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, X, Y, Z)`` → ``(B, C + new_channels, X / stride, …)``."""
        step = self.stride
        return F.pad(x[:, :, ::step, ::step, ::step], (0, 0, 0, 0, 0, 0, 0, self.new_channels))


class Block(nn.Module):
    """Two 3³ convs, or as a bottleneck 1³, 3³ and 1³ to four times the channels, plus the shortcut."""

    def __init__(
        self, in_channels: int, channels: int, stride: int, dilation: int, bottleneck: bool, shortcut: Shortcut
    ) -> None:
        super().__init__()
        out_channels = 4 * channels if bottleneck else channels
        sizes = (1, 3, 1) if bottleneck else (3, 3)
        widths = [channels] * (len(sizes) - 1) + [out_channels]
        strided = sizes.index(3)
        before = in_channels
        self.count = len(sizes)
        for i, (size, width) in enumerate(zip(sizes, widths, strict=True)):
            spread = dilation if size == 3 else 1
            conv = nn.Conv3d(
                before, width, size, stride if i == strided else 1, spread * (size // 2), spread, bias=False
            )
            self.add_module(f"conv{i + 1}", conv)
            self.add_module(f"bn{i + 1}", nn.BatchNorm3d(width))
            before = width
        self.relu = nn.ReLU(inplace=True)
        self.downsample: nn.Module = nn.Identity()
        if stride > 1 or in_channels != out_channels:
            self.downsample = (
                nn.Sequential(nn.Conv3d(in_channels, out_channels, 1, stride, bias=False), nn.BatchNorm3d(out_channels))
                if shortcut == "conv"
                else ZeroPad(out_channels - in_channels, stride)
            )

    def forward(self, x: Tensor) -> Tensor:
        """``(B, in_channels, X, Y, Z)`` → ``(B, out_channels, X / stride, …)``."""
        y = x
        for i in range(1, self.count + 1):
            y = self.get_submodule(f"bn{i}")(self.get_submodule(f"conv{i}")(y))
            if i < self.count:
                y = self.relu(y)
        return self.relu(y + self.downsample(x))


class Med3D(Network):
    """See the module's docstring.

    Parameters
    ----------
    in_channels, num_classes : int
        At least 1 and at least 2.
    depth : {10, 18, 34, 50}
        Layers of the backbone.
    width : int
        Channels of the first layer.
    shortcut : {"conv", "zeros"}
        Of blocks that change the size.
    """

    def __init__(
        self, in_channels: int, num_classes: int, depth: int = 18, width: int = 64, shortcut: Shortcut = "conv"
    ) -> None:
        super().__init__()
        check_counts(in_channels, num_classes)
        if shortcut not in ("conv", "zeros"):
            raise ValueError(f"Expected the shortcut to be 'conv' or 'zeros', got {shortcut!r}.")
        if depth not in DEPTHS or width < 1:
            raise ValueError(f"Expected a depth of {', '.join(map(str, DEPTHS))} and width ≥ 1, got {depth}, {width}.")
        blocks, bottleneck = DEPTHS[depth]
        self.divisor = 8
        self.receptive_field = (_receptive_field(blocks, bottleneck),) * 3
        self.conv1 = nn.Conv3d(in_channels, width, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm3d(width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool3d(3, stride=2, padding=1)
        before = width
        for number, (count, stride, dilation) in enumerate(zip(blocks, (1, 2, 1, 1), (1, 1, 2, 4), strict=True)):
            channels = width * 2**number
            layer = nn.Sequential()
            for i in range(count):
                layer.append(Block(before, channels, stride if i == 0 else 1, dilation, bottleneck, shortcut))
                before = 4 * channels if bottleneck else channels
            self.add_module(f"layer{number + 1}", layer)
        self.conv_seg = nn.Sequential(
            nn.ConvTranspose3d(before, 32, 2, stride=2),
            nn.BatchNorm3d(32),
            nn.ReLU(inplace=True),
            nn.Conv3d(32, 32, 3, padding=1, bias=False),
            nn.BatchNorm3d(32),
            nn.ReLU(inplace=True),
            nn.Conv3d(32, num_classes, 1, bias=False),
        )
        for module in self.modules():
            if isinstance(module, nn.Conv3d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """``(B, in_channels, X, Y, Z)``, multiples of 8 → logits ``(B, num_classes, X, Y, Z)``."""
        self.check_size(x)
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        for number in range(1, 5):
            x = self.get_submodule(f"layer{number}")(x)
        return F.interpolate(self.conv_seg(x), scale_factor=4.0, mode="trilinear")


def read_medicalnet(path: Path) -> dict[str, Tensor]:
    """Weights of a file of MedicalNet (``resnet_10.pth`` …), under the names that `Med3D` has.

    Only the backbone is in these files; the first convolution takes one modality.

    Raises
    ------
    MedzooError
        If the file is not one of them.
    """
    try:
        content: Any = torch.load(path, map_location="cpu", weights_only=True)
        weights = content.get("state_dict", content)
        named = {name.removeprefix("module."): tensor for name, tensor in weights.items()}
        known = isinstance(named["conv1.weight"], Tensor)
    except Exception as error:
        raise MedzooError(
            f"{path} cannot be read as weights of MedicalNet ({type(error).__name__}); choose a resnet_*.pth."
        ) from error
    if not known or named["conv1.weight"].shape[2:] != (7, 7, 7):
        raise MedzooError(f"{path} holds weights of another network than MedicalNet's; choose a resnet_*.pth.")
    return named


def _receptive_field(blocks: Sequence[int], bottleneck: bool) -> int:
    convs = 1 if bottleneck else 2  # 3³ ones of a block
    voxels = 4 // 2 + 1  # two voxels for the interpolation, four under the 3³ conv, then those under the up-conv
    voxels += 2 * convs * (4 * blocks[3] + 2 * blocks[2] + blocks[1]) - 2
    voxels = 2 * voxels + 1  # the first conv of layer2
    voxels += 2 * convs * blocks[0]
    return 2 * (2 * voxels + 1) + 5  # pool, stem
