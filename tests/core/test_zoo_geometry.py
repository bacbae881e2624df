"""Sizes, margins and receptive fields of the zoo: what is stated is what is measured."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from napari_medzoo.models import ARCHITECTURES
from napari_medzoo.models.blocks import InstanceNorm, crop, crop_to, repeat_channels
from tests.core.zoo import MONAI, make

VALID = ("unet3d", "densenet3d", "densenet3d_late", "densenet3d_early", "hyperdensenet")


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


def roughen(network: nn.Module) -> nn.Module:
    """Statistics and affine of batch norms that are not the identity."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm3d):
            nn.init.uniform_(module.running_mean, -0.2, 0.2)  # type: ignore[arg-type]
            nn.init.uniform_(module.running_var, 0.5, 2)  # type: ignore[arg-type]
            nn.init.uniform_(module.weight, 0.5, 2)
            nn.init.uniform_(module.bias, -0.2, 0.2)
    return network.eval()


@pytest.mark.parametrize(
    ("name", "size", "expected"),
    [
        ("unet2d", (572, 572), (388, 388)),
        ("unet2d", (572, 572, 2), (388, 388, 2)),
        ("unet3d", (132, 132, 116), (44, 44, 28)),
        *((name, (27, 27, 27), (9, 9, 9)) for name in VALID[1:]),
    ],
)
def test_valid_sizes_of_the_papers(name: str, size: tuple[int, ...], expected: tuple[int, ...]) -> None:
    with torch.device("meta"):
        network = ARCHITECTURES[name](2, 4)
        assert network(torch.empty(1, 2, *size)).shape == (1, 4, *expected)
    margins = network.margin[: len(size)]
    assert all(s - 2 * m == e for s, m, e in zip(size, margins, expected, strict=True))
    assert all(s % network.divisor == network.remainder for s in size[:2])


@pytest.mark.parametrize("name", VALID)
def test_valid_is_the_inside_of_same(name: str) -> None:
    valid = roughen(make(name, 2, 3, padding="valid"))
    same = make(name, 2, 3, padding="same").eval()
    same.load_state_dict(valid.state_dict())
    assert same.margin == (0, 0, 0)
    side = 2 * valid.margin[0] + 4
    x = torch.randn(1, 2, side, side, side + 4)
    frame = 2 if name == "unet3d" else 0  # which voxels are pooled together depends on where a valid level begins
    with torch.inference_mode():
        inside = crop(same(nn.functional.pad(x, (frame,) * 6)), valid.margin[0] + frame)
        torch.testing.assert_close(valid(x), inside, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", VALID)
def test_valid_networks_tile_by_the_size_of_the_output(name: str) -> None:
    """Neighbouring outputs are those of one large input, and a reference is cropped to them."""
    network = roughen(make(name, 1, 2, padding="valid"))
    margin, length = network.margin[0], 4
    side = 2 * margin + length
    x = torch.randn(1, 1, side, side, side + length)
    with torch.inference_mode():
        whole = network(x)
        tiles = [network(x[..., start : start + side]) for start in (0, length)]
    torch.testing.assert_close(torch.cat(tiles, -1), whole, rtol=1e-4, atol=1e-5)
    target = torch.arange(x.numel()).reshape(x.shape[2:])[None]
    assert torch.equal(crop_to(target, whole.shape[2:]), target[(slice(None), *[slice(margin, -margin)] * 3)])


@pytest.mark.parametrize("name", ["unet3d", "unet2d"])
def test_a_valid_network_names_the_sizes_it_takes(name: str) -> None:
    network = ARCHITECTURES[name](1, 2, widths=(2, 2, 2), padding="valid")
    with pytest.raises(ValueError, match="multiples of 4, more than 40"):
        network(torch.zeros(1, 1, 40, 40, 40))
    with pytest.raises(ValueError, match="multiples of 4"):
        network(torch.zeros(1, 1, 45, 45, 45))


@pytest.mark.parametrize("name", [*VALID, "unet2d"])
def test_padding_is_valid_or_same(name: str) -> None:
    with torch.device("meta"), pytest.raises(ValueError, match="valid, same"):
        ARCHITECTURES[name](1, 2, padding="reflect")


def test_unet2d_does_a_volume_slice_by_slice() -> None:
    network = make("unet2d", 2, 3).eval()
    x = torch.randn(2, 2, 16, 24, 3)
    with torch.inference_mode():
        slices = torch.stack([network(x[..., z]) for z in range(3)], -1)
        torch.testing.assert_close(network(x), slices)


RECEPTIVE: list[tuple[str, dict[str, Any], int]] = [
    ("unet2d", {"widths": (2, 2, 2), "padding": "same"}, 44),
    ("unet3d", {"widths": (2, 2), "padding": "same"}, 18),
    ("unet3d", {"widths": (2, 2, 2, 2), "padding": "same"}, 100),
    ("resunet", {"base": 1, "levels": 4}, 109),
    ("vnet", {"base": 1, "encoder": (1, 2, 3), "decoder": (1, 2)}, 92),
    ("vnet_light", {"base": 1}, 196),
    ("densenet3d", {"widths": (1,) * 9, "head": (1,), "padding": "same"}, 19),
    ("densenet3d_late", {"widths": (1,) * 9, "head": (1,), "padding": "same"}, 19),
    ("densenet3d_early", {"widths": (1,) * 9, "head": (1,), "padding": "same"}, 19),
    ("hyperdensenet", {"widths": (1,) * 9, "head": (1,), "padding": "same"}, 19),
    ("skipdensenet3d", {"stem": 1, "growth": 1, "bottleneck": 1, "layers": (1, 2, 1)}, 58),
    ("densevoxelnet", {"stem": 1, "growth": 1, "layers": (3, 2), "ups": (1, 1)}, 33),
    ("highresnet", {"widths": (1, 1, 1), "head": 1}, 87),
    ("dynunet", {"widths": (1, 1, 1, 1)}, 79),
    ("segresnet_vae", {"size": (16, 16, 16), "filters": 8, "blocks_down": (1, 2, 1)}, 65),
    ("med3d", {"depth": 10, "width": 1}, 259),
    ("med3d", {"depth": 50, "width": 1}, 491),
]


@pytest.mark.parametrize(("name", "settings", "expected"), RECEPTIVE)
def test_receptive_field(name: str, settings: dict[str, Any], expected: int) -> None:
    if name in MONAI:
        pytest.importorskip("monai.networks.nets")
    network = ARCHITECTURES[name](1, 2, **settings)
    assert network.receptive_field[0] == expected
    transparent(network)
    length = -(-(expected + 20) // (2 * network.divisor)) * 2 * network.divisor
    side = max(network.divisor, 8)
    x = torch.ones(1, 1, length, side, side, dtype=torch.double, requires_grad=True)
    logits = network(x)
    assert max(seen(logits[0, 0, length // 2 + i, 0, 0], x) for i in range(network.divisor)) == expected


def transparent(network: nn.Module) -> None:
    """Make every weight positive and nothing cancel, be chosen or be normalised, so that the gradient shows all."""
    for parent in list(network.modules()):
        for name, child in parent.named_children():
            if isinstance(child, (nn.MaxPool2d, nn.MaxPool3d)):
                average = nn.AvgPool2d if isinstance(child, nn.MaxPool2d) else nn.AvgPool3d
                setattr(parent, name, average(child.kernel_size, child.stride, child.padding))
            elif isinstance(child, (InstanceNorm, nn.BatchNorm3d, nn.GroupNorm, nn.ReLU, nn.PReLU)):
                setattr(parent, name, nn.Identity())
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.fill_(1 / parameter[0].numel() if parameter.ndim > 1 else 0)
    network.eval().double()


def seen(logit: Tensor, x: Tensor) -> int:
    """Extent of what `logit` depends on along the first axis of `x`, in voxels."""
    (gradient,) = torch.autograd.grad(logit, x, retain_graph=True)
    places = gradient[0, 0].ne(0).any(2).any(1).nonzero()
    return int(places.max() - places.min()) + 1


def test_channels_are_repeated_in_turn() -> None:
    """Three modalities failed in the thesis' V-Net."""
    x = torch.arange(3.0).reshape(1, 3, 1, 1, 1)
    assert repeat_channels(x, 16).flatten().tolist() == ([0, 1, 2] * 6)[:16]
    for name in ("vnet", "vnet_thesis", "vnet_light"):
        with torch.device("meta"):
            assert ARCHITECTURES[name](3, 2)(torch.empty(1, 3, 16, 16, 32)).shape == (1, 2, 16, 16, 32)
            with pytest.raises(ValueError, match="at most 16 in_channels"):
                ARCHITECTURES[name](17, 2)


@pytest.mark.parametrize("affine", [True, False])
def test_instance_norm_is_torchs(affine: bool) -> None:
    x = 5 + 3 * torch.randn(2, 4, 6, 7, 8)
    ours, oracle = InstanceNorm(4 if affine else None), nn.InstanceNorm3d(4, affine=affine)
    if affine:
        nn.init.uniform_(oracle.weight)
        nn.init.uniform_(oracle.bias)
    ours.load_state_dict(oracle.state_dict())
    torch.testing.assert_close(ours(x), oracle(x), atol=1e-5, rtol=1e-5)
