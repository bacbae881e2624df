"""Measuring by turns, and our networks against MONAI's."""

from __future__ import annotations

import pytest
import torch
from napari_medzoo_training import side_by_side
from napari_medzoo_training.reference_speed import PAIRS, Comparison, as_row, compare, peak_bytes, report
from napari_medzoo_training.side_by_side import by_turns, gflop, outputs_of
from napari_medzoo_training.speed_command import reference_speed
from torch import nn

from napari_medzoo.errors import MedzooError

pytest.importorskip("monai.networks.nets")

SIZE = (32, 32, 32)


class Clock:
    """A clock that passes advance by what they take."""

    def __init__(self) -> None:
        self.now = 0.0
        self.order = ""

    def perf_counter(self) -> float:
        return self.now

    def takes(self, name: str, seconds: list[float]):
        rest = iter(seconds)

        def run() -> None:
            self.order += name
            self.now += next(rest)

        return run


def test_two_passes_take_turns_and_the_warm_up_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(side_by_side, "time", clock)
    # The whole computer is three times slower in the third round; the ratio does not mind.
    timing = by_turns(clock.takes("a", [90, 2, 2, 6]), clock.takes("b", [50, 1, 1, 3]), 3)
    assert clock.order == "ab" + "ab" + "ba" + "ab"
    assert (timing.seconds, timing.reference_seconds, timing.ratio) == (2, 1, 2)


@pytest.mark.parametrize("name", PAIRS)
def test_both_are_the_same_network(name: str) -> None:
    with torch.device("meta"):
        ours, theirs = (make(SIZE).eval() for make in PAIRS[name])
    counts = [sum(p.numel() for p in network.parameters()) for network in (ours, theirs)]
    if name.startswith("med3d"):
        counts[1] -= sum(p.numel() for p in theirs.network.fc.parameters()) if theirs.network.fc else 0
    assert counts[0] == pytest.approx(counts[1], rel=2e-3)
    assert gflop(ours, 1, SIZE) == pytest.approx(gflop(theirs, 1, SIZE), rel=2e-3)
    x = torch.empty(1, 1, *SIZE, device="meta")
    shapes = [outputs_of(network(x))[0].shape for network in (ours, theirs)]
    assert shapes[0] == shapes[1]


def test_a_comparison_in_numbers() -> None:
    forward, training = compare("med3d_10", SIZE, rounds=1)
    assert (forward.kind, training.kind) == ("forward", "training")
    assert 0 < forward.seconds < training.seconds
    assert 0.1 < forward.time_ratio < 10
    assert forward.memory_ratio == training.memory_ratio == 1
    fine = Comparison("a", "forward", 1.09, 1, 1.09, 109, 100, 1.09)
    assert not fine.worse
    slow, hungry = Comparison("a", "b", 1.2, 1, 1.2, 1, 1, 1), Comparison("a", "b", 1, 1, 1, 1.2, 1, 1.2)
    assert slow.worse
    assert hungry.worse
    page = report([fine, hungry], 32, 1)
    assert as_row(hungry) in page
    assert "MONAI's: a (b)." in page


def test_memory_given_back_by_an_earlier_network_is_not_taken_off() -> None:
    ours, theirs = (peak_bytes(make, SIZE) for make in PAIRS["dynunet"])
    assert theirs == pytest.approx(ours, rel=0.05)


def test_memory_is_that_of_the_network() -> None:
    peaks = peak_bytes(PAIRS["med3d_10"][0], SIZE)
    weights = 4 * sum(p.numel() for p in PAIRS["med3d_10"][0](SIZE).parameters())
    assert weights < peaks["forward"] < peaks["training"] < 10 * weights
    assert peaks["training"] > 2 * weights, "gradients are as large as the weights"


def test_flops_are_counted() -> None:
    with torch.device("meta"):
        network = nn.Conv3d(2, 5, 3, padding=1)
    assert gflop(network, 2, (8, 8, 8)) == pytest.approx(2 * 2 * 5 * 27 * 512 / 1e9)


def test_wrong_requests_say_what_there_is() -> None:
    with pytest.raises(MedzooError, match=r"'resunet' to compare.*vnet_thesis"):
        reference_speed(["resunet"])
    with pytest.raises(MedzooError, match="multiple of 16"):
        reference_speed(size=40)
