"""Where the layers of every network lie: a planted blob is seen where its place says, to a fiftieth of a step."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from napari_medzoo.inference.places import Layer, find_layers
from napari_medzoo.models import ARCHITECTURES
from tests.core.test_zoo_geometry import transparent
from tests.core.zoo import NETWORKS, SMALL, make

SIZE = (48, 48, 48)
BLOB = (22.0, 25.0, 24.0)
SIGMA = 5.0

ASIDE = (
    "resunet",
    "unet3d_thesis",
    "dynunet",
    "segresnet_vae",
    "med3d",
    "med3d_10",
    "med3d_18",
    "med3d_34",
    "med3d_50",
)
"""Networks whose skips and coarser ways look at different places: on the way up the blob lies between the two."""


def look_straight(network: nn.Module) -> nn.Module:
    """Weights that only hand on what a convolution looks at: odd kernels take their middle, even ones the mean."""
    with torch.no_grad():
        for module in network.modules():
            if not isinstance(module, (nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.ConvTranspose3d)):
                continue
            weight = module.weight
            if weight.shape[-1] % 2:
                weight.zero_()
                weight[(..., *[size // 2 for size in weight.shape[2:]])] = 1 / weight.shape[1]
            else:
                weight.fill_(1 / weight[0].numel())
            if module.bias is not None:
                module.bias.zero_()
    return network


def blob(size: tuple[int, int, int], at: tuple[float, float, float], sigma: float) -> Tensor:
    axes = (torch.arange(length, dtype=torch.double) for length in size)
    x, y, z = (torch.exp(-((axis - middle) ** 2) / (2 * sigma**2)) for axis, middle in zip(axes, at, strict=True))
    return x[:, None, None] * y[:, None] * z


def centroid(maps: Tensor) -> list[float]:
    """Of ``(C, X, Y, Z)`` summed over channels, in voxels."""
    total = maps.sum(0)
    axes = [torch.arange(size, dtype=torch.double) for size in total.shape]
    others = ((1, 2), (0, 2), (0, 1))
    return [float((total.sum(o) * axis).sum() / total.sum()) for o, axis in zip(others, axes, strict=True)]


def seen_at(network: nn.Module, layers: tuple[Layer, ...], x: Tensor) -> dict[str, list[float]]:
    """Layer → where in the input it saw the blob of `x`."""
    outputs: dict[str, Tensor] = {}
    for layer in layers:
        network.get_submodule(layer.name).register_forward_hook(
            lambda module, inputs, output, layer=layer: outputs.update(
                {layer.name: output.permute(1, 2, 3, 0) if layer.sliced else output[0]}
            )
        )
    with torch.no_grad():
        network(x)
    return {
        layer.name: [
            step * i + origin
            for i, step, origin in zip(centroid(outputs[layer.name]), layer.step, layer.origin, strict=True)
        ]
        for layer in layers
    }


@pytest.mark.parametrize("name", NETWORKS)
def test_a_blob_is_seen_where_its_place_says(name: str) -> None:
    network = make(name, 1, 4)
    transparent(network)
    look_straight(network)
    on_meta = copy.deepcopy(network).float().to("meta")
    layers = [layer for layer in find_layers(on_meta, 1, SIZE) if layer.stage]
    assert len(layers) > 2
    found = seen_at(network, tuple(layers), blob(SIZE, BLOB, SIGMA)[None, None])
    up = False
    for before, layer in zip([layers[0], *layers], layers, strict=False):
        up = up or layer.step < before.step
        tolerance = max(one.step[0] for one in layers) / 2 if up and name in ASIDE else 0.02 * layer.step[0]
        assert found[layer.name] == pytest.approx(BLOB, abs=tolerance), layer


@pytest.mark.parametrize(
    ("name", "size"), [("unet3d", (44, 52, 44)), ("densenet3d", (41, 44, 43)), ("unet2d", (44, 44, 9))]
)
def test_valid_convolutions_move_the_origin(name: str, size: tuple[int, int, int]) -> None:
    settings = {**SMALL[name], "padding": "valid"}
    network = ARCHITECTURES[name](1, 2, **settings)
    transparent(network)
    look_straight(network)
    with torch.device("meta"):
        layers = find_layers(ARCHITECTURES[name](1, 2, **settings).eval(), 1, size)
    at = tuple((length - 1) / 2 for length in size)
    found = seen_at(network, tuple(layer for layer in layers if layer.stage), blob(size, at, 2.0)[None, None])
    assert max(layer.origin[0] for layer in layers) > 3
    for layer in found:
        assert found[layer] == pytest.approx(at, abs=0.02)


def test_the_way_down_differs_between_networks() -> None:
    """The reason for all this: 2³ stride-2 convolutions look between voxels, padded 3³ ones at every second."""
    origins = {}
    for name in ("strided_unet", "dynunet"):
        with torch.device("meta"):
            layers = find_layers(make(name, 1, 2).eval(), 1, SIZE)
        origins[name] = {layer.step[0]: layer.origin[0] for layer in layers[: len(layers) // 2]}
    assert origins["strided_unet"][8.0] == 3.5
    assert origins["dynunet"][8.0] == 0.0


def test_stages_are_parts_of_their_own_before_the_logits() -> None:
    with torch.device("meta"):
        network = make("strided_unet", 1, 4).eval()
    layers = find_layers(network, 1, SIZE)
    stages = [layer.name for layer in layers if layer.stage]
    assert stages[-3:] == ["decoders.1", "ups.0", "decoders.0"]
    assert {"head", "decoders.0.conv1"} < {layer.name for layer in layers} - set(stages)
