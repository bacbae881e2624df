"""No network of ours slower or hungrier than the plain implementation, MONAI's, where MONAI has one.

Both have the same layers and the same number of weights (`tests/core/test_zoo_monai.py` shows the same numbers), the
same input and one thread, and take turns. Memory is the most that PyTorch has held at once, weights included. (The peak
of the process is no measure: it differs by a fifth between two runs of the very same network.)
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile, record_function

from napari_medzoo.models import ARCHITECTURES

from .side_by_side import Pass, by_turns, forward_pass, training_step, use_one_thread

CLASSES = 3
TOLERANCE = 1.1
"""What ours may take at most of what MONAI's takes."""

Size = tuple[int, int, int]


class Backbone(nn.Module):
    """The part of `med3d` that MONAI has, too: everything before the head."""

    def __init__(self, depth: int) -> None:
        super().__init__()
        self.network = ARCHITECTURES[f"med3d_{depth}"](1, CLASSES)
        del self.network.conv_seg

    def forward(self, x: Tensor) -> Tensor:
        """``(B, 1, X, Y, Z)`` → features at an eighth of its size."""
        whole = self.network
        x = whole.maxpool(whole.relu(whole.bn1(whole.conv1(x))))
        for number in range(1, 5):
            x = whole.get_submodule(f"layer{number}")(x)
        return x


class MonaiBackbone(nn.Module):
    """MONAI's residual network with the strides of its last layers exchanged for dilation, as in Med3D."""

    def __init__(self, depth: int) -> None:
        super().__init__()
        from monai.networks import nets

        make = getattr(nets, f"resnet{depth}")
        self.network = make(
            n_input_channels=1, conv1_t_stride=2, feed_forward=False, shortcut_type="B", bias_downsample=False
        )
        for layer, dilation in ((self.network.layer3, 2), (self.network.layer4, 4)):
            for conv in (module for module in layer.modules() if isinstance(module, nn.Conv3d)):
                conv.stride = (1, 1, 1)
                if conv.kernel_size == (3, 3, 3):
                    conv.dilation = conv.padding = (dilation,) * 3

    def forward(self, x: Tensor) -> Tensor:
        """As `Backbone`."""
        whole = self.network
        x = whole.maxpool(whole.act(whole.bn1(whole.conv1(x))))
        for number in range(1, 5):
            x = whole.get_submodule(f"layer{number}")(x)
        return x


def _monai(name: str, **settings: Any) -> nn.Module:
    from monai.networks import nets

    return getattr(nets, name)(in_channels=1, out_channels=CLASSES, **settings)


def _monai_dynunet(size: Size) -> nn.Module:
    widths = (32, 64, 128, 256, 320)
    return _monai(
        "DynUNet",
        spatial_dims=3,
        kernel_size=[3] * 5,
        strides=[1, 2, 2, 2, 2],
        upsample_kernel_size=[2] * 4,
        filters=widths,
        deep_supervision=True,
        deep_supr_num=3,
    )


def _monai_segresnet(size: Size) -> nn.Module:
    return _monai(
        "SegResNetVAE",
        input_image_size=size,
        vae_estimate_std=True,
        vae_nz=128,
        init_filters=32,
        dropout_prob=0.2,
    )


Maker = Callable[[Size], nn.Module]


def _backbones(depth: int) -> tuple[Maker, Maker]:
    return (lambda size: Backbone(depth)), (lambda size: MonaiBackbone(depth))


PAIRS: Mapping[str, tuple[Maker, Maker]] = {
    "vnet_thesis": (
        lambda size: ARCHITECTURES["vnet_thesis"](1, CLASSES, activation="elu"),
        lambda size: _monai("VNet"),
    ),
    "highresnet": (
        lambda size: ARCHITECTURES["highresnet"](1, CLASSES),
        lambda size: _monai("HighResNet", dropout_prob=0.5),
    ),
    "dynunet": (lambda size: ARCHITECTURES["dynunet"](1, CLASSES), _monai_dynunet),
    "segresnet_vae": (lambda size: ARCHITECTURES["segresnet_vae"](1, CLASSES, size=size), _monai_segresnet),
    **{f"med3d_{depth}": _backbones(depth) for depth in (10, 18, 34, 50)},
}
"""Name → ours and MONAI's, from the size of the input. The other networks have no counterpart in MONAI."""

PASSES: Mapping[str, Callable[[nn.Module, Tensor], Pass]] = {"forward": forward_pass, "training": training_step}


@dataclass(frozen=True)
class Comparison:
    """One network against MONAI's in one kind of pass.

    Attributes
    ----------
    name, kind : str
        Keys of `PAIRS` and `PASSES`.
    seconds, monai_seconds : float
        Medians.
    time_ratio : float
        Median over the rounds of ours divided by MONAI's.
    memory_mb, monai_memory_mb, memory_ratio : float
        Peaks.
    """

    name: str
    kind: str
    seconds: float
    monai_seconds: float
    time_ratio: float
    memory_mb: float
    monai_memory_mb: float
    memory_ratio: float

    @property
    def worse(self) -> bool:
        """Whether ours takes more than `TOLERANCE` allows."""
        return self.time_ratio > TOLERANCE or self.memory_ratio > TOLERANCE


def compare(name: str, size: Size, rounds: int) -> list[Comparison]:
    """Compare one network with MONAI's, forward and in training.

    Parameters
    ----------
    name : str
        A key of `PAIRS`.
    size : tuple of int
        Of the input, one modality.
    rounds : int
        Passes of each that count.
    """
    use_one_thread()
    peaks = [peak_bytes(make, size) for make in PAIRS[name]]
    ours, theirs = (make(size) for make in PAIRS[name])
    x = torch.randn(1, 1, *size)
    results = []
    for kind, make_pass in PASSES.items():
        timing = by_turns(make_pass(ours, x), make_pass(theirs, x), rounds)
        mine, other = (peak[kind] / 1e6 for peak in peaks)
        results.append(
            Comparison(name, kind, timing.seconds, timing.reference_seconds, timing.ratio, mine, other, mine / other)
        )
    return results


def peak_bytes(make: Maker, size: Size) -> dict[str, int]:
    """The most memory that PyTorch has held by the end of each of `PASSES`, from before the network is built."""
    x = torch.randn(1, 1, *size)
    gc.collect()  # an earlier network that is given back meanwhile would be taken off
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        network = make(size)
        for kind, make_pass in PASSES.items():
            make_pass(network, x)()
            with record_function(kind):
                pass
    held, peak, peaks = 0, 0, {}
    for event in sorted(seen.profiler.kineto_results.events(), key=lambda event: event.start_ns()):
        if event.name() == "[memory]":
            held += event.nbytes()
            peak = max(peak, held)
        elif event.name() in PASSES:
            peaks[event.name()] = peak
    return peaks


PAGE = """\
# Beside the plain implementation

<!-- Written by `medzoo-train reference-speed --size {size} --page docs/reference_speed.md` -->

Networks that MONAI has, too, ours against MONAI's on one {size}×{size}×{size} input: medians of {rounds} passes by
turns on one CPU thread (float32, torch {torch}), and the most memory that PyTorch held at once, weights included.
A training step is forward and backward, without an optimiser.

| network | pass | ours (s) | MONAI (s) | time ratio | ours (MB) | MONAI (MB) | memory ratio |
|---|---|--:|--:|--:|--:|--:|--:|
{rows}

More than {tolerance:.0%} worse than MONAI's: {worse}.
"""


def report(results: Sequence[Comparison], size: int, rounds: int) -> str:
    """The comparisons as a page of Markdown."""
    return PAGE.format(
        size=size,
        rounds=rounds,
        torch=torch.__version__.split("+")[0],
        rows="\n".join(map(as_row, results)),
        tolerance=TOLERANCE - 1,
        worse=", ".join(f"{one.name} ({one.kind})" for one in results if one.worse) or "none",
    )


def as_row(one: Comparison) -> str:
    """A row of the table in `PAGE`."""
    times = f"{one.seconds:.3f} | {one.monai_seconds:.3f} | {one.time_ratio:.2f}"
    peaks = f"{one.memory_mb:.0f} | {one.monai_memory_mb:.0f} | {one.memory_ratio:.2f}"
    return f"| {one.name} | {one.kind} | {times} | {peaks} |"
