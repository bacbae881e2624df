"""Parameters of the zoo as the papers, the thesis or their code have them, counted on the meta device."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import torch

from napari_medzoo.models import ARCHITECTURES
from tests.core.zoo import MONAI, count

COUNTS: list[tuple[str, int, int, dict[str, Any], int]] = [
    ("unet2d", 1, 2, {}, 31_030_658),
    ("unet3d", 3, 3, {}, 19_074_627),
    ("unet3d", 3, 3, {"padding": "same"}, 19_074_627),
    ("resunet", 2, 4, {}, 9_475_296),
    ("unet3d_thesis", 2, 4, {}, 9_475_296),
    ("unet3d_thesis", 2, 4, {"base": 8, "shared": True}, 1_781_744),  # the thesis' public code
    ("vnet", 1, 2, {}, 65_175_314),
    ("vnet_thesis", 1, 4, {}, 45_611_956),
    ("vnet_light", 1, 4, {}, 12_247_988),
    ("densenet3d", 2, 4, {}, 2_675_238),
    ("densenet3d_late", 2, 4, {}, 5_237_772),
    ("densenet3d_late", 3, 4, {}, 7_800_981),
    ("densenet3d_early", 2, 4, {}, 2_972_539),
    ("densenet3d_early", 3, 4, {}, 3_270_515),
    ("hyperdensenet", 2, 4, {}, 10_361_922),
    ("hyperdensenet", 3, 4, {}, 23_173_431),
    ("skipdensenet3d", 2, 4, {}, 1_552_256),
    ("densevoxelnet", 1, 3, {}, 1_702_166),
    ("highresnet", 1, 160, {}, 821_904),
    ("segresnet_vae", 4, 3, {"latent": 256}, 30_726_935),  # MONAI's default
]
"""Name, modalities, classes, settings, trainable parameters."""


def build(name: str, *arguments: int, **settings: Any) -> torch.nn.Module:
    if name in MONAI:
        pytest.importorskip("monai.networks.nets")
    with torch.device("meta"):
        return ARCHITECTURES[name](*arguments, **settings)


@pytest.mark.parametrize(("name", "in_channels", "num_classes", "settings", "expected"), COUNTS)
def test_trainable_parameters(
    name: str, in_channels: int, num_classes: int, settings: dict[str, Any], expected: int
) -> None:
    assert count(build(name, in_channels, num_classes, **settings)) == expected


@pytest.mark.parametrize(
    ("name", "in_channels", "expected"),
    [
        ("densenet3d", 1, 2_380_050 + 290_600),
        ("hyperdensenet", 2, 10_349_450),
        ("hyperdensenet", 3, 23_147_000),
    ],
)
def test_weights_of_the_convolutions(name: str, in_channels: int, expected: int) -> None:
    assert sum(p.numel() for p in build(name, in_channels, 4).parameters() if p.ndim == 5) == expected


def test_unet3d_without_normalisation_has_the_papers_count() -> None:
    network = build("unet3d", 3, 3)
    norms = [m for m in network.modules() if isinstance(m, torch.nn.BatchNorm3d)]
    assert count(network) - sum(count(norm) for norm in norms) == 19_069_955


@pytest.mark.parametrize(
    ("depth", "expected"), [(10, 14_355_520), (18, 33_160_000), (34, 63_469_632), (50, 46_155_072)]
)
def test_backbones_of_med3d(depth: int, expected: int) -> None:
    for network in (build("med3d", 1, 2, depth=depth), build(f"med3d_{depth}", 1, 2)):
        assert count(network) - count(network, "conv_seg") == expected


def test_segresnet_without_its_branch() -> None:
    network = build("segresnet_vae", 4, 3)
    assert count(network) - count(network, "net.vae") == 18_798_627


def test_the_layer_with_dropout_of_highresnet() -> None:
    """64 → 80 → 160 instead of 64 → 160, and 80 times two numbers of batch normalisation."""
    assert count(build("highresnet", 1, 160)) - (64 * 80 + 80 * 160 + 2 * 80 - 64 * 160) == 814_064


def test_dynunet_by_arithmetic() -> None:
    widths, classes = (32, 64, 128, 256, 320), 3
    total = 27 * (1 * 32 + 32 * 32) + 2 * 2 * 32
    for fine, coarse in pairwise(widths):
        total += 27 * (fine * coarse + coarse * coarse) + 2 * 2 * coarse  # encoder, norms
        total += 8 * coarse * fine + 27 * (2 * fine * fine + fine * fine) + 2 * 2 * fine  # decoder, norms
    heads = sum((width + 1) * classes for width in widths[:-1])
    assert count(build("dynunet", 1, classes)) == total + heads


@pytest.mark.parametrize("num_classes", [2, 3, 5, 9])
def test_skipdensenet_has_a_group_per_class(num_classes: int) -> None:
    """Three and nine classes failed in the thesis' code."""
    network = build("skipdensenet3d", 1, num_classes)
    ups = [m for m in network.modules() if isinstance(m, torch.nn.ConvTranspose3d)]
    assert [up.groups for up in ups] == [num_classes] * 4
    assert network(torch.empty(1, 1, 16, 16, 32, device="meta")).shape == (1, num_classes, 16, 16, 32)
