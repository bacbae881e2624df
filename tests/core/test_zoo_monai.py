"""The same weights give the same numbers as MONAI's networks, where it has one."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from napari_medzoo.errors import MedzooError
from napari_medzoo.models import ARCHITECTURES
from napari_medzoo.models.blocks import WithLoss
from napari_medzoo.models.med3d import Med3D, read_medicalnet
from tests.core.zoo import MONAI

nets = pytest.importorskip("monai.networks.nets")


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


def roughen(network: nn.Module) -> nn.Module:
    """Weights, affine and statistics that are not initial values, so that no mistake hides behind zeros and ones."""
    for tensor in (*network.parameters(), *network.buffers()):
        if tensor.ndim == 1:
            nn.init.uniform_(tensor, 0.5, 1.5)
    return network.eval()


def layers(network: nn.Module) -> list[nn.Module]:
    """What has weights, in the order of definition."""
    return [
        module for module in network.modules() if isinstance(module, (nn.Conv3d, nn.ConvTranspose3d, nn.BatchNorm3d))
    ]


def copy(source: list[nn.Module], target: list[nn.Module]) -> None:
    """Weights layer by layer; a bias that the source lacks becomes zero."""
    assert len(source) == len(target)
    with torch.no_grad():
        for a, b in zip(source, target, strict=True):
            values = a.state_dict()
            assert a.weight.shape == b.weight.shape  # type: ignore[union-attr]
            b.load_state_dict({**{"bias": torch.zeros_like(b.bias)}, **values})  # type: ignore[arg-type]


@pytest.mark.parametrize("in_channels", [1, 2])
def test_vnet_thesis(in_channels: int) -> None:
    oracle = roughen(nets.VNet(in_channels=in_channels, out_channels=3))
    ours = ARCHITECTURES["vnet_thesis"](in_channels, 3, activation="elu").eval()
    copy(layers(oracle.in_tr), layers(ours.first))
    for theirs, down in zip(
        (oracle.down_tr32, oracle.down_tr64, oracle.down_tr128, oracle.down_tr256), ours.downs, strict=True
    ):
        copy(layers(theirs), layers(down))
    for theirs, up in zip((oracle.up_tr32, oracle.up_tr64, oracle.up_tr128, oracle.up_tr256), ours.ups, strict=True):
        copy(layers(theirs), layers(up))
    copy(layers(oracle.out_tr), layers(ours.head))
    x = torch.randn(1, in_channels, 16, 16, 32)
    with torch.inference_mode():
        torch.testing.assert_close(ours(x), oracle(x), rtol=1e-4, atol=1e-4)


def test_highresnet() -> None:
    oracle = roughen(nets.HighResNet(in_channels=2, out_channels=4, dropout_prob=0.5))
    ours = ARCHITECTURES["highresnet"](2, 4).eval()
    ours.net.load_state_dict(oracle.state_dict())
    x = torch.randn(1, 2, 8, 9, 10)
    with torch.inference_mode():
        logits = ours(x)
        torch.testing.assert_close(logits.relu(), oracle(x))
    assert (logits < 0).any(), "plain logits"


@pytest.mark.parametrize("deep_supervision", [True, False])
def test_dynunet(deep_supervision: bool) -> None:
    widths = (4, 6, 8, 10)
    oracle = roughen(
        nets.DynUNet(
            spatial_dims=3,
            in_channels=2,
            out_channels=3,
            kernel_size=[3] * 4,
            strides=[1, 2, 2, 2],
            upsample_kernel_size=[2] * 3,
            filters=widths,
            deep_supervision=deep_supervision,
            deep_supr_num=2,
        )
    )
    ours = ARCHITECTURES["dynunet"](2, 3, widths=widths, deep_supervision=deep_supervision)
    assert not ours.load_state_dict(oracle.state_dict(), strict=False).missing_keys
    x = torch.randn(1, 2, 16, 16, 32)
    with torch.inference_mode():
        torch.testing.assert_close(ours.eval()(x), oracle(x), rtol=1e-4, atol=1e-5)
        expected, outputs = oracle.train()(x), ours.train()(x)
    if not deep_supervision:
        assert isinstance(outputs, Tensor)
        return
    assert [tuple(output.shape[2:]) for output in outputs] == [(16, 16, 32), (8, 8, 16), (4, 4, 8)]
    for output, theirs in zip(outputs, expected.unbind(1), strict=True):
        enlarged = nn.functional.interpolate(output, theirs.shape[2:])
        torch.testing.assert_close(enlarged, theirs, rtol=1e-4, atol=1e-5)


def test_segresnet_vae() -> None:
    size = (16, 16, 32)
    oracle = roughen(
        nets.SegResNetVAE(size, vae_estimate_std=True, vae_nz=8, init_filters=8, in_channels=2, out_channels=3)
    )
    ours = ARCHITECTURES["segresnet_vae"](2, 3, size=size, filters=8, latent=8, dropout=0)
    ours.net.load_state_dict(oracle.state_dict())
    x, larger = torch.randn(1, 2, *size), torch.randn(1, 2, 24, 16, 8)
    with torch.inference_mode():
        torch.testing.assert_close(ours.eval()(x), oracle(x)[0])
        plain = nets.SegResNet(init_filters=8, in_channels=2, out_channels=3).eval()
        plain.load_state_dict({key: value for key, value in oracle.state_dict().items() if "vae" not in key})
        torch.testing.assert_close(ours(larger), plain(larger))
        torch.manual_seed(1)
        logits, branch = oracle.train()(x)
        torch.manual_seed(1)
        outputs = ours.train()(x)
    assert isinstance(outputs, WithLoss)
    torch.testing.assert_close(outputs.logits, logits)
    torch.testing.assert_close(outputs.extra_loss, 0.1 * branch)
    with pytest.raises(ValueError, match="training patches"):
        ours(larger)


@pytest.mark.parametrize(("depth", "shortcut"), [(10, "conv"), (18, "zeros"), (50, "conv")])
def test_backbone_of_med3d(depth: int, shortcut: str) -> None:
    """MONAI's residual network, with the strides of its last layers exchanged for dilation."""
    kind = {"shortcut_type": "B" if shortcut == "conv" else "A", "bias_downsample": False, "widen_factor": 1 / 16}
    oracle = getattr(nets, f"resnet{depth}")(
        n_input_channels=1, conv1_t_stride=2, feed_forward=False, num_classes=2, **kind
    )
    for layer, dilation in ((oracle.layer3, 2), (oracle.layer4, 4)):
        for conv in (module for module in layer.modules() if isinstance(module, nn.Conv3d)):
            conv.stride = (1, 1, 1)
            if conv.kernel_size == (3, 3, 3):
                conv.dilation = conv.padding = (dilation,) * 3
        if shortcut == "zeros":
            layer[0].downsample.keywords["stride"] = 1
    roughen(oracle)
    ours = Med3D(1, 2, depth=depth, width=4, shortcut=shortcut).eval()  # type: ignore[arg-type]
    report = ours.load_state_dict(oracle.state_dict(), strict=False)
    assert all(key.startswith("conv_seg") for key in report.missing_keys)
    assert not report.unexpected_keys
    features: dict[str, Tensor] = {}
    for key, network in (("ours", ours), ("theirs", oracle)):
        network.layer4.register_forward_hook(lambda module, x, y, key=key: features.update({key: y}))
    with torch.inference_mode():
        x = torch.randn(1, 1, 16, 16, 32)
        ours(x)
        oracle(x)
    torch.testing.assert_close(features["ours"], features["theirs"], rtol=1e-4, atol=1e-4)


def test_public_weights_of_med3d_are_read_from_a_file(tmp_path: Path) -> None:
    source = roughen(Med3D(1, 2, depth=10, width=4))
    weights = {f"module.{key}": value for key, value in source.state_dict().items() if "conv_seg" not in key}
    torch.save({"epoch": 1, "state_dict": weights}, tmp_path / "resnet_10.pth")
    ours = Med3D(1, 5, depth=10, width=4)
    report = ours.load_state_dict(read_medicalnet(tmp_path / "resnet_10.pth"), strict=False)
    assert not report.unexpected_keys
    assert {key.split(".")[0] for key in report.missing_keys} == {"conv_seg"}
    assert torch.equal(ours.layer4[0].conv2.weight, source.layer4[0].conv2.weight)


@pytest.mark.parametrize(
    "content", [{"state_dict": {"stem.weight": torch.zeros(1)}}, {"conv1.weight": torch.zeros(1, 1, 3, 3, 3)}]
)
def test_another_file_is_not_read_as_med3d(tmp_path: Path, content: dict) -> None:
    torch.save(content, tmp_path / "other.pth")
    with pytest.raises(MedzooError, match=r"other\.pth.*choose a resnet_"):
        read_medicalnet(tmp_path / "other.pth")


@pytest.mark.parametrize("name", MONAI)
def test_without_monai_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    for module in ("monai", "monai.networks", "monai.networks.nets"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MedzooError, match=rf"'{name}' needs MONAI.*napari-medzoo\[zoo\]"):
        ARCHITECTURES[name](1, 2)
