"""Every network of the zoo, by name."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch import Tensor

from napari_medzoo.inference.memory import activation_bytes
from napari_medzoo.models import ARCHITECTURES
from napari_medzoo.models.blocks import WithLoss
from napari_medzoo.models.strided_unet import Norm, StridedUNet
from tests.core.zoo import NETWORKS, SIZE, SMALL, loss, make


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


def test_every_name_has_small_settings_here() -> None:
    assert set(SMALL) == set(ARCHITECTURES)


@pytest.mark.parametrize(("in_channels", "num_classes"), [(1, 2), (3, 5)])
@pytest.mark.parametrize("name", sorted(ARCHITECTURES))
def test_forward_and_backward(name: str, in_channels: int, num_classes: int) -> None:
    network = make(name, in_channels, num_classes).train()
    outputs = network(torch.randn(2, in_channels, *SIZE))
    if isinstance(outputs, WithLoss):
        assert outputs.extra_loss.ndim == 0
        first = outputs.logits
    elif isinstance(outputs, Tensor):
        first = outputs
    else:
        first, *others = outputs
        assert all(other.shape[:2] == first.shape[:2] for other in others)
    assert first.shape == (2, num_classes, *SIZE)
    loss(outputs, torch.randint(num_classes, (2, *SIZE))).backward()
    for key, parameter in network.named_parameters():
        assert parameter.grad is not None, f"{key} gets no gradient"
        assert torch.isfinite(parameter.grad).all(), key
        # A constant before a normalisation cancels, so biases may have no influence.
        assert key.endswith("bias") or parameter.grad.abs().max() > 0, f"{key} does not influence the result"


@pytest.mark.parametrize("name", sorted(ARCHITECTURES))
def test_state_dict_round_trip_reproduces_the_logits(name: str) -> None:
    x = torch.randn(1, 2, *SIZE)
    first, second = make(name, 2, 3).eval(), make(name, 2, 3).eval()
    with torch.inference_mode():
        logits = first(x)
        assert isinstance(logits, Tensor), "plain logits at inference"
        assert logits.shape == (1, 3, *SIZE)
        assert not torch.equal(logits, second(x))
        second.load_state_dict(first.state_dict())
        assert torch.equal(logits, second(x))


@pytest.mark.parametrize("name", NETWORKS)
def test_weights_can_be_saved_as_safetensors(name: str) -> None:
    """Which refuses one tensor under two names."""
    pointers = [tensor.data_ptr() for tensor in make(name, 1, 2).state_dict().values()]
    assert len(set(pointers)) == len(pointers)


@pytest.mark.parametrize("name", NETWORKS)
def test_memory_can_be_counted_without_computing(name: str) -> None:
    with torch.device("meta"):
        network = make(name, 1, 4).eval()
    small, large = (activation_bytes(network, 1, (64, 64, z)) for z in (64, 128))
    assert small >= 4 * 64**3 * (1 + 4), "the input and the logits at least"
    assert large == pytest.approx(2 * small, rel=0.1)


@pytest.mark.parametrize("name", NETWORKS)
def test_mixed_precision_gives_about_the_same(name: str) -> None:
    x = torch.randn(1, 2, *SIZE)
    network = make(name, 2, 3).eval()
    with torch.inference_mode():
        exact = network(x)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            rounded = network(x).float()
    assert (rounded - exact).abs().mean() <= 0.05 * exact.abs().max()


@pytest.mark.parametrize("name", NETWORKS)
def test_mixed_precision_trains(name: str) -> None:
    # Six voxels at the bottom along the first axis: where a kernel is longer than that axis, torch's bfloat16 conv3d on
    # a CPU touches memory that is not its own in the backward pass (torch 2.13).
    divisor = make(name, 1, 2).divisor
    size = (max(6 * divisor, 16), max(2 * divisor, 16), max(2 * divisor, 16))
    network = make(name, 1, 2, **({"size": size} if name == "segresnet_vae" else {})).train()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss(network(torch.randn(1, 1, *size)), torch.randint(2, (1, *size))).backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in network.parameters())


@pytest.mark.parametrize("name", NETWORKS)
def test_a_traced_network_takes_other_sizes(name: str) -> None:
    """The way that OpenVINO reads a network."""
    network = make(name, 2, 3).eval()
    side = 2 * network.divisor
    other = torch.randn(1, 2, side, 2 * side, 3 * side)
    with torch.inference_mode():
        traced = torch.jit.trace(network, torch.zeros(1, 2, side, side, side), check_trace=False)
        torch.testing.assert_close(traced(other), network(other), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", NETWORKS)
def test_it_says_what_it_takes(name: str) -> None:
    make(name, 1, 2)
    for counts in ((0, 2), (1, 1)):
        with pytest.raises(ValueError, match="in_channels ≥ 1"):
            make(name, *counts)


@pytest.mark.parametrize("name", [name for name in NETWORKS if name != "strided_unet"])
def test_a_size_that_does_not_fit_is_named(name: str) -> None:
    network = make(name, 1, 2).eval()
    if network.divisor == 1:
        pytest.skip("takes any size")
    with pytest.raises(ValueError, match=f"multiples of {network.divisor}"):
        network(torch.zeros(1, 1, *(side + 1 for side in SIZE)))


def test_unknown_name_lists_the_networks() -> None:
    with pytest.raises(KeyError, match="strided_unet"):
        ARCHITECTURES["unet"]


def test_listing_the_names_does_not_import_torch() -> None:
    code = "import sys; from napari_medzoo.models import ARCHITECTURES as a; list(a); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_preset_can_be_overridden() -> None:
    with torch.device("meta"):
        assert len(ARCHITECTURES["vnet_light"](1, 2).downs) == 3
        assert len(ARCHITECTURES["vnet_light"](1, 2, encoder=(1, 1), decoder=(1, 1)).downs) == 2


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


def test_a_second_summand_begins_at_nothing_and_sees_single_voxels() -> None:
    plain = StridedUNet(2, 3, widths=(4, 8)).eval()
    refined = StridedUNet(2, 3, widths=(4, 8), refine=6).eval()
    refined.load_state_dict(plain.state_dict(), strict=False)
    x = torch.randn(1, 2, 8, 12, 8)
    with torch.inference_mode():
        torch.testing.assert_close(refined(x), plain(x))
        # Made to look at the middle of its 3³ kernel and at one channel of the folded input: it gives that voxel back.
        channel, voxel = 1, 5
        for parameter in (refined.head.weight, refined.head.bias, refined.refine.weight, refined.refine.bias):
            parameter.zero_()
        refined.refine.weight[0, 4 + 8 * channel + voxel, 1, 1, 1] = 1
        refined.fine_head.weight[2 * 8 + voxel, 0] = 1
        answer = refined(x)[0, 2]
    where = (slice(voxel >> 2, None, 2), slice(voxel >> 1 & 1, None, 2), slice(voxel & 1, None, 2))
    expected = torch.zeros_like(answer)
    expected[where] = torch.nn.functional.leaky_relu(x[0, channel][where], 0.01)
    torch.testing.assert_close(answer, expected)


def test_the_second_summand_can_be_traced_for_other_sizes() -> None:
    network = StridedUNet(2, 3, widths=(4, 8), refine=6).eval()
    torch.nn.init.normal_(network.fine_head.weight)
    x = torch.randn(1, 2, 16, 8, 12)
    with torch.inference_mode():
        traced = torch.jit.trace(network, torch.randn(1, 2, 8, 8, 8))
        torch.testing.assert_close(traced(x), network(x))


def test_norm_is_instance_normalisation() -> None:
    x = 5 + 3 * torch.randn(2, 4, 6, 7, 8)
    ours, oracle = Norm(4), torch.nn.InstanceNorm3d(4, affine=True)
    with torch.no_grad():
        ours.weight.uniform_(0.5, 2)
        ours.bias.uniform_(-1, 1)
    oracle.load_state_dict(ours.state_dict())
    torch.testing.assert_close(ours(x), oracle(x), atol=1e-5, rtol=1e-5)
