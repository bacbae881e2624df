"""Small pieces that several networks share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from napari_medzoo.errors import MedzooError
from napari_medzoo.models.geometry import geometry_of

Padding = Literal["valid", "same"]
PADDINGS = ("valid", "same")


class Network(nn.Module):
    """What a network of the zoo says about itself; the contract is in the docstring of `napari_medzoo.models`.

    Attributes
    ----------
    divisor, remainder : int
        It takes inputs of ``k·divisor + remainder`` voxels along every axis whose receptive field is more than 1.
    margin : tuple of int
        Voxels that the output lacks on every side of each axis (valid convolutions).
    receptive_field : tuple of int, optional
        Voxels of the input along each axis that a voxel of the output can depend on at most, apart from what
        instance or group normalisation tells it of the whole input.
    auxiliary_weights : tuple of float
        Weights that the paper gives to the outputs in training after the first, which counts 1; empty where it
        gives none.
    """

    divisor: int = 1
    remainder: int = 0
    margin: tuple[int, int, int] = (0, 0, 0)
    receptive_field: tuple[int, int, int] | None = None
    auxiliary_weights: tuple[float, ...] = ()

    def check_size(self, x: Tensor) -> None:
        """Compare the size of `x` ``(B, C, *spatial)`` with the network's geometry (see `geometry_of`).

        Raises
        ------
        ValueError
            If the network cannot take it.
        """
        if torch.jit.is_tracing() or torch.compiler.is_compiling():
            return  # sizes are symbols there
        geometry = geometry_of(self)
        if not geometry.takes(x.shape[2:]):
            raise ValueError(f"Expected sizes of {geometry}, got {tuple(x.shape[2:])}; pad or crop the input.")


@dataclass(frozen=True)
class WithLoss:
    """What a network returns in training that brings a loss of its own (a reconstruction, say).

    Attributes
    ----------
    logits : torch.Tensor
        ``(B, classes, X, Y, Z)``.
    extra_loss : torch.Tensor
        Scalar, already weighted as in the paper: add it to the loss of the logits.
    """

    logits: Tensor
    extra_loss: Tensor


class InstanceNorm(nn.Module):
    """Instance normalisation, with affine if `channels` are given.

    The same numbers as `torch.nn.InstanceNorm3d` to 1e-6. On a CPU it is computed as group normalisation of one channel
    each, which is several times faster there; elsewhere that would leave mixed precision.
    """

    def __init__(self, channels: int | None = None) -> None:
        super().__init__()
        self.weight = None if channels is None else nn.Parameter(torch.ones(channels))
        self.bias = None if channels is None else nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, X, Y, Z)`` in and out."""
        if x.device.type in ("cpu", "meta"):
            return F.group_norm(x, x.shape[1], self.weight, self.bias)
        return F.instance_norm(x, weight=self.weight, bias=self.bias)


class DenseLayer(nn.Sequential):
    """BN-PReLU-3³ conv of the networks of Dolz (2018): one scalar PReLU, biases; the first layer has no BN."""

    def __init__(self, in_channels: int, out_channels: int, padding: Padding, norm: bool = True) -> None:
        super().__init__()
        if norm:
            self.norm = nn.BatchNorm3d(in_channels)
        self.activation = nn.PReLU()
        self.conv = nn.Conv3d(in_channels, out_channels, 3, padding=padding)


class Growing(nn.Module):
    """Layers that each see all earlier outputs (cropped to their size), which are all handed on.

    Parameters
    ----------
    in_channels : int
        Of what the first layer sees, which is handed on, too.
    widths : sequence of int
        New channels of each layer. `out_channels` is the sum of all.
    make : callable
        A layer, from the channels that it sees and those that it adds.
    margin : int
        Voxels that a layer costs on every side.
    """

    def __init__(
        self, in_channels: int, widths: Sequence[int], make: Callable[[int, int], nn.Module], margin: int = 0
    ) -> None:
        super().__init__()
        self.margin = margin
        self.layers = nn.ModuleList()
        for width in widths:
            self.layers.append(make(in_channels, width))
            in_channels += width
        self.out_channels = in_channels

    def forward(self, x: Tensor) -> Tensor:
        """``(B, in_channels, X, Y, Z)`` → ``(B, out_channels, …)``, `margin` less on every side for each layer."""
        for layer in self.layers:
            x = torch.cat((crop(x, self.margin), layer(x)), 1)
        return x


def dense_stream(in_channels: int, widths: Sequence[int], padding: Padding) -> Growing:
    """`DenseLayer` after `DenseLayer`, each seeing all before it."""
    return Growing(
        in_channels, widths, lambda seen, new: DenseLayer(seen, new, padding), margin=1 if padding == "valid" else 0
    )


def norm_act_conv(in_channels: int, out_channels: int, size: int, stride: int = 1, bias: bool = False) -> nn.Sequential:
    """BN-ReLU-conv; padded to keep the size if `stride` is 1, else not padded."""
    return nn.Sequential(
        nn.BatchNorm3d(in_channels),
        nn.ReLU(inplace=True),
        nn.Conv3d(in_channels, out_channels, size, stride, size // 2 if stride == 1 else 0, bias=bias),
    )


def dense_head(in_channels: int, num_classes: int, widths: Sequence[int], dropout: float) -> nn.Sequential:
    """1³ convs with ReLU and dropout to each of `widths` (the "fully connected" layers of Dolz 2018), then classes."""
    head = nn.Sequential()
    for width in widths:
        head.extend((nn.Conv3d(in_channels, width, 1), nn.ReLU(inplace=True), nn.Dropout(dropout)))
        in_channels = width
    return head.append(nn.Conv3d(in_channels, num_classes, 1))


def crop(x: Tensor, margin: int) -> Tensor:
    """`x` ``(B, C, *spatial)`` without its outermost `margin` voxels on every side (a view)."""
    # Slices count from both ends: OpenVINO cannot compile `narrow`, whose length would be worked out from the input's.
    return x[:, :, *[slice(margin, -margin)] * (x.ndim - 2)] if margin > 0 else x


def crop_to(x: Tensor, size: Sequence[int]) -> Tensor:
    """The centre of `x` ``(..., *spatial)``, as large as `size` (a view): a target for logits of that size."""
    for axis, new in enumerate(reversed(size), start=1):
        x = x.narrow(-axis, (x.shape[-axis] - new) // 2, new)
    return x


def unet_pass(
    x: Tensor,
    encoders: nn.ModuleList,
    pool: nn.Module,
    ups: nn.ModuleList,
    decoders: nn.ModuleList,
    crops: Sequence[int],
) -> Tensor:
    """Down and up a U-Net that concatenates its skips, each cropped by as many voxels as `crops` says.

    All lists go from full resolution downwards; `x` is ``(B, C, *spatial)``, and so is the result, before the head.
    """
    skips = []
    for encoder in encoders[:-1]:
        x = encoder(x)
        skips.append(x)
        x = pool(x)
    x = encoders[-1](x)
    for level in reversed(range(len(decoders))):
        x = decoders[level](torch.cat((crop(skips[level], crops[level]), ups[level](x)), 1))
    return x


def unet_crops(depth: int, padding: Padding) -> tuple[int, int, list[int]]:
    """Geometry of a U-Net with `depth` poolings and two 3-voxel convs per level.

    Returns
    -------
    margin, remainder : int
        As in `Network`.
    crops : list of int
        Voxels of each level that its skip loses on every side, from full resolution downwards.
    """
    if padding == "same":
        return 0, 0, [0] * depth
    # On the way down and up each level costs four voxels of its own on a side, the bottom two; skips only those below.
    margin = 6 * 2**depth - 4
    return margin, 4 * (2**depth - 1) % 2**depth, [6 * 2 ** (depth - level) - 8 for level in range(depth)]


def unet_receptive_field(depth: int) -> int:
    """Of a U-Net with `depth` poolings, two 3-voxel convs per level and 2-voxel up-convs, in voxels along an axis."""
    voxels = 1
    for _ in range(depth):
        voxels = (voxels + 4) // 2 + 1  # the decoder's two convs, then the coarse voxels that these lie in
    voxels += 4
    for _ in range(depth):
        voxels = 2 * voxels + 4
    return voxels


def repeat_channels(x: Tensor, channels: int) -> Tensor:
    """`x` ``(B, C, X, Y, Z)`` with its channels repeated in turn up to `channels` (≥ C)."""
    return x.repeat(1, -(-channels // x.shape[1]), 1, 1, 1)[:, :channels]


def check_counts(in_channels: int, num_classes: int) -> None:
    """Say what every network takes, as `ValueError`."""
    if in_channels < 1 or num_classes < 2:
        raise ValueError(f"Expected in_channels ≥ 1 and num_classes ≥ 2, got {in_channels} and {num_classes}.")


def check_padding(padding: str) -> None:
    """Say what `padding` can be, as `ValueError`."""
    if padding not in PADDINGS:
        raise ValueError(f"Expected padding to be one of {', '.join(PADDINGS)}, got {padding!r}.")


def require_monai(network: str) -> None:
    """Say which extra brings MONAI, as `MedzooError`, where it is not installed."""
    try:
        import monai.networks.nets  # noqa: F401
    except ImportError as error:
        raise MedzooError(
            f"The network '{network}' needs MONAI, which is not installed ({error}); "
            "install it with: pip install 'napari-medzoo[zoo]'."
        ) from error
