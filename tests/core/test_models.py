"""Every network of the zoo, by name."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from napari_medzoo.inference.memory import activation_bytes
from napari_medzoo.models import ARCHITECTURES
from napari_medzoo.models.strided_unet import Norm, StridedUNet

SIZE = (32, 32, 64)


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize(("in_channels", "num_classes"), [(1, 2), (3, 5)])
@pytest.mark.parametrize("name", sorted(ARCHITECTURES))
def test_forward_and_backward(name: str, in_channels: int, num_classes: int) -> None:
    network = ARCHITECTURES[name](in_channels=in_channels, num_classes=num_classes).train()
    logits = network(torch.randn(1, in_channels, *SIZE))
    assert logits.shape == (1, num_classes, *SIZE)
    torch.nn.functional.cross_entropy(logits, torch.randint(num_classes, (1, *SIZE))).backward()
    for key, parameter in network.named_parameters():
        assert parameter.grad is not None, f"{key} gets no gradient"
        assert torch.isfinite(parameter.grad).all(), key
        assert parameter.grad.abs().max() > 0, f"{key} does not influence the result"


@pytest.mark.parametrize("name", sorted(ARCHITECTURES))
def test_state_dict_round_trip_reproduces_the_logits(name: str) -> None:
    x = torch.randn(1, 2, *SIZE)
    first = ARCHITECTURES[name](in_channels=2, num_classes=3).eval()
    second = ARCHITECTURES[name](in_channels=2, num_classes=3).eval()
    with torch.inference_mode():
        assert not torch.equal(first(x), second(x))
        second.load_state_dict(first.state_dict())
        assert torch.equal(first(x), second(x))


@pytest.mark.parametrize("name", sorted(ARCHITECTURES))
def test_memory_can_be_counted_without_computing(name: str) -> None:
    with torch.device("meta"):
        network = ARCHITECTURES[name](in_channels=1, num_classes=4).eval()
    small, large = (activation_bytes(network, 1, (64, 64, z)) for z in (64, 128))
    assert small >= 4 * 64**3 * (1 + 4), "the input and the logits at least"
    assert large == pytest.approx(2 * small, rel=0.1)


def test_unknown_name_lists_the_networks() -> None:
    with pytest.raises(KeyError, match="strided_unet"):
        ARCHITECTURES["unet"]


def test_listing_the_names_does_not_import_torch() -> None:
    code = "import sys; from napari_medzoo.models import ARCHITECTURES as a; list(a); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("arguments", [{"in_channels": 0}, {"num_classes": 1}, {"widths": (8,)}])
def test_strided_unet_says_what_it_takes(arguments: dict) -> None:
    with pytest.raises(ValueError, match="in_channels ≥ 1, num_classes ≥ 2"):
        StridedUNet(**{"in_channels": 1, "num_classes": 2, **arguments})


def test_strided_unet_states_its_divisor() -> None:
    network = StridedUNet(1, 2, widths=(4, 8, 8))
    assert network.divisor == 8
    assert network(torch.zeros(1, 1, 8, 16, 24)).shape == (1, 2, 8, 16, 24)
    with pytest.raises(RuntimeError):
        network(torch.zeros(1, 1, 12, 16, 24))


def test_norm_is_instance_normalisation() -> None:
    x = 5 + 3 * torch.randn(2, 4, 6, 7, 8)
    ours, oracle = Norm(4), torch.nn.InstanceNorm3d(4, affine=True)
    with torch.no_grad():
        ours.weight.uniform_(0.5, 2)
        ours.bias.uniform_(-1, 1)
    oracle.load_state_dict(ours.state_dict())
    torch.testing.assert_close(ours(x), oracle(x), atol=1e-5, rtol=1e-5)
