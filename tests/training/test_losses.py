from __future__ import annotations

import math
from collections.abc import Iterator

import pytest
import torch
from napari_medzoo_training import losses
from napari_medzoo_training.config import LossTerm
from napari_medzoo_training.losses import LOSSES, Outputs, deep_supervision, total_loss
from torch import Tensor
from torch.nn import functional as F

from napari_medzoo.errors import MedzooError

EVERY = [*LOSSES]
# Four voxels of two classes; probability 3/4 for the right class three times, 1/4 once (the third voxel).
TARGET = torch.tensor([[0, 0, 1, 1]])
ODDS = math.log(3)
LOGITS = torch.tensor([[[ODDS, ODDS, ODDS, 0.0], [0.0, 0.0, 0.0, ODDS]]])
LOG_RIGHT, LOG_WRONG = math.log(0.75), math.log(0.25)


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The walk over the logits takes several parts, the last one shorter."""
    monkeypatch.setattr(losses, "CPU_CHUNK", 24)
    return


def _loss(name: str, logits: Tensor = LOGITS, target: Tensor = TARGET, **settings: object) -> float:
    return float(LOSSES[name](Outputs(logits), target, **settings))


def _perfect(target: Tensor, classes: int) -> Tensor:
    return 60.0 * F.one_hot(torch.where(target == 255, 0, target), classes).movedim(-1, 1).float()


def test_cross_entropy_by_hand() -> None:
    assert _loss("cross_entropy") == pytest.approx(-(3 * LOG_RIGHT + LOG_WRONG) / 4)
    weighted = -(2 * LOG_RIGHT + 3 * (LOG_WRONG + LOG_RIGHT)) / (2 + 6)
    assert _loss("cross_entropy", class_weights=[1.0, 3.0]) == pytest.approx(weighted)


def test_dice_by_hand() -> None:
    assert _loss("dice") == pytest.approx(1 - 2 * (0.25 + 0.75) / (1.5 + 2))
    squares = 3 * 0.25**2 + 0.75**2
    assert _loss("dice", squared_denominator=True) == pytest.approx(1 - 2 / (squares + 2))


def test_generalised_dice_by_hand() -> None:
    """Three voxels of background and one of foreground weigh 1/9 and 1."""
    target = torch.tensor([[0, 0, 0, 1]])
    overlap = (0.75 * 3) / 9 + 0.75
    size = (2.5 + 3) / 9 + (1.5 + 1)
    assert _loss("generalised_dice", target=target) == pytest.approx(1 - 2 * overlap / size)


def test_tversky_by_hand_and_as_dice() -> None:
    hit, false_alarm, missed = 1.0, 0.5, 1.0
    assert _loss("tversky", alpha=0.2, beta=0.9) == pytest.approx(1 - hit / (hit + 0.2 * false_alarm + 0.9 * missed))
    assert _loss("tversky", alpha=0.5, beta=0.5) == pytest.approx(_loss("dice"))


def test_focal_by_hand_and_as_cross_entropy() -> None:
    right, wrong = -(0.25**2) * LOG_RIGHT, -(0.75**2) * LOG_WRONG
    assert _loss("focal") == pytest.approx((3 * right + wrong) / 4)
    assert _loss("focal", class_weights=[0.25, 2.0]) == pytest.approx((0.5 * right + 2 * (wrong + right)) / 4)
    assert _loss("focal", gamma=0.0) == pytest.approx(_loss("cross_entropy"))


def test_boundary_by_hand() -> None:
    """The signed distances of the foreground are 1.5, 0.5, −0.5, −1.5; p − g is 0.25, 0.25, −0.75, −0.25."""
    expected = (1.5 * 0.25 + 0.5 * 0.25 + 0.5 * 0.75 + 1.5 * 0.25) / 4
    assert _loss("boundary") == pytest.approx(expected)
    assert _loss("boundary", spacing=[2.0]) == pytest.approx(2 * expected)


def test_border_weighted_cross_entropy_by_hand() -> None:
    """Two objects of one voxel, three apart: d₁ + d₂ is 3 everywhere between and on them, 5 at the ends."""
    target = torch.tensor([[0, 1, 0, 0, 1, 0]])
    logits = torch.zeros(1, 2, 6)
    logits[0, 0, 0] = ODDS
    inner, outer = (1 + 10 * math.exp(-(far**2) / (2 * 2.0**2)) for far in (3, 5))
    expected = (-LOG_RIGHT * outer + math.log(2) * (4 * inner + outer)) / (4 * inner + 2 * outer)
    assert _loss("cross_entropy", logits, target, border_weight=10.0, border_sigma=2.0) == pytest.approx(expected)


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("shape", [(2, 5), (1, 4, 6), (2, 4, 5, 3)])
def test_a_perfect_prediction_costs_nothing_also_with_absent_classes(name: str, shape: tuple[int, ...]) -> None:
    target = torch.zeros(shape, dtype=torch.int64)
    target[:, 2:4] = 2
    target[:, 1] = 1
    assert _loss(name, _perfect(target, 5), target) == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("name", [name for name in EVERY if name != "cross_entropy"])
def test_an_absent_class_does_not_spoil_the_mean(name: str) -> None:
    """A third channel that no voxel has and that gets no probability changes nothing."""
    third = torch.full((1, 1, 4), -60.0)
    assert _loss(name, torch.cat([LOGITS, third], 1)) == pytest.approx(_loss(name), abs=1e-6)


@pytest.mark.parametrize("name", ["dice", "tversky", "boundary"])
def test_background_alone_gives_no_overlap_loss(name: str) -> None:
    logits = torch.randn(1, 3, 8, requires_grad=True)
    loss = LOSSES[name](Outputs(logits), torch.zeros(1, 8, dtype=torch.int64))
    loss.backward()
    assert loss.item() == 0
    assert logits.grad is not None and not logits.grad.any()


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        *((name, {}) for name in EVERY),
        ("cross_entropy", {"class_weights": [1.0, 2.0], "border_weight": 5.0}),
        ("dice", {"squared_denominator": True}),
        ("focal", {"class_weights": [1.0, 2.0]}),
    ],
)
def test_ignored_voxels_neither_teach_nor_count(name: str, settings: dict[str, object]) -> None:
    target = torch.cat([TARGET, torch.full((1, 3), 255)], 1)
    logits = torch.cat([LOGITS, torch.tensor([[[9.0, -9.0, 4.0], [2.0, 5.0, 8.0]]])], 2).requires_grad_()
    loss = LOSSES[name](Outputs(logits), target, **settings)
    loss.backward()
    assert loss.item() == pytest.approx(_loss(name, **settings), abs=1e-6)
    assert logits.grad is not None
    assert not logits.grad[..., 4:].any() and logits.grad[..., :4].any()


@pytest.mark.parametrize("name", EVERY)
def test_a_target_that_is_ignored_throughout_gives_nothing(name: str) -> None:
    logits = torch.randn(1, 3, 4, 4, requires_grad=True)
    loss = LOSSES[name](Outputs(logits), torch.full((1, 4, 4), 255))
    loss.backward()
    assert logits.grad is not None
    assert torch.isfinite(loss) and not logits.grad.any()


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_logits_are_summed_in_float32(name: str, dtype: torch.dtype) -> None:
    """In bfloat16 a sum over 40 000 voxels would stall at 256, in float16 overflow at 65 504; autocast is no excuse."""
    torch.manual_seed(0)
    target = torch.zeros(1, 32, 64, 40, dtype=torch.int64)
    target[:, 20:] = 1
    target[:, :2, :5] = 2
    logits = (3.0 * F.one_hot(target, 3).movedim(-1, 1) + torch.randn(1, 3, *target.shape[1:])).to(dtype)
    full = _loss(name, logits.float(), target)
    logits.requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        loss = total_loss([LossTerm(name=name)], logits, target)
        loss.backward()
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(full, rel=1e-4)
    assert logits.grad is not None and logits.grad.dtype == dtype
    assert torch.isfinite(logits.grad).all() and logits.grad.any()


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_certain_and_wrong_gives_finite_gradients(name: str, dtype: torch.dtype) -> None:
    logits = torch.tensor([[[3e4, -3e4, 3e4, -3e4], [-3e4, 3e4, -3e4, 3e4]]], dtype=dtype, requires_grad=True)
    loss = LOSSES[name](Outputs(logits), TARGET)
    loss.backward()
    assert logits.grad is not None
    assert torch.isfinite(loss) and torch.isfinite(logits.grad).all()


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("name", EVERY)
def test_gradient_matches_finite_differences(name: str) -> None:
    torch.manual_seed(0)
    logits = torch.randn(2, 3, 3, 4, dtype=torch.float64, requires_grad=True)
    target = torch.randint(0, 3, (2, 3, 4))
    target[1, 2, 1] = 255
    assert torch.autograd.gradcheck(lambda z: LOSSES[name](Outputs(z), target), logits)


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("shape", [(1, 7), (2, 3, 5), (1, 3, 4, 5), (2, 2, 3, 2, 2)])
def test_sums_are_those_of_the_dense_probabilities(shape: tuple[int, ...]) -> None:
    """Value and gradient of the walk in parts, against log_softmax over the whole."""
    torch.manual_seed(1)
    batch, *size = shape
    logits = torch.randn(batch, 4, *size, requires_grad=True)
    target = torch.randint(0, 4, shape)
    target.view(-1)[2] = 255
    outputs = Outputs(logits)
    log_at_target, predicted = outputs.sums(target)
    counts = (target != 255)[:, None]
    dense = outputs.log_probabilities.gather(1, torch.where(counts, target[:, None], 0)) * counts
    total = (outputs.probabilities * counts).movedim(1, 0).flatten(1).sum(1)
    torch.testing.assert_close(log_at_target, dense[:, 0])
    torch.testing.assert_close(predicted, total)
    weights = torch.randn_like(dense), torch.randn(4)
    (ours,) = torch.autograd.grad((log_at_target * weights[0][:, 0]).sum() + predicted @ weights[1], logits)
    (theirs,) = torch.autograd.grad((dense * weights[0]).sum() + total @ weights[1], logits)
    torch.testing.assert_close(ours, theirs)


def test_total_loss_is_the_weighted_sum() -> None:
    terms = [
        LossTerm(name="cross_entropy", weight=0.5, settings={"class_weights": [1.0, 3.0]}),
        LossTerm(name="dice", weight=2.0),
        LossTerm(name="tversky"),
    ]
    expected = 0.5 * _loss("cross_entropy", class_weights=[1.0, 3.0]) + 2 * _loss("dice") + _loss("tversky")
    assert total_loss(terms, LOGITS, TARGET).item() == pytest.approx(expected)


def test_deep_supervision_weighs_and_thins_the_target() -> None:
    terms = [LossTerm(name="cross_entropy")]
    target = torch.tensor([[0, 0, 0, 1, 1, 1, 255, 255]])
    fine, middle, coarse = torch.randn(1, 2, 8), torch.randn(1, 2, 4), torch.randn(1, 2, 2)
    each = [
        total_loss(terms, logits, torch.tensor([nearest])).item()
        for logits, nearest in ((fine, target[0].tolist()), (middle, [0, 1, 1, 255]), (coarse, [0, 255]))
    ]
    expected = (each[0] + each[1] / 2 + each[2] / 4) / 1.75
    assert deep_supervision(terms, [fine, middle, coarse], target).item() == pytest.approx(expected)
    assert deep_supervision(terms, fine, target).item() == pytest.approx(each[0])


@pytest.mark.parametrize(
    ("term", "message"),
    [
        (LossTerm(name="hinge"), "No loss is called 'hinge'; choose one of cross_entropy"),
        (LossTerm(name="tversky", settings={"gamma": 1}), "has no setting 'gamma'; its own are: alpha, beta"),
        (LossTerm(name="cross_entropy", settings={"class_weights": [1.0]}), "needs 2 numbers, one per channel, got 1"),
        (LossTerm(name="boundary", settings={"spacing": [1.0, 2.0]}), "spacing needs 1 lengths"),
    ],
)
def test_errors_say_what_to_do(term: LossTerm, message: str) -> None:
    with pytest.raises(MedzooError, match=message):
        total_loss([term], LOGITS, TARGET)


def test_a_target_that_does_not_fit_the_logits_is_refused() -> None:
    with pytest.raises(MedzooError, match=r"Expected a target of shape \(1, 4\) for these logits, got \(1, 3\)"):
        _loss("dice", target=TARGET[:, :3])
    with pytest.raises(MedzooError, match=r"holds channel 2, the network gives 0–1"):
        _loss("dice", target=TARGET + 1)


@pytest.mark.parametrize(
    "term", [LossTerm(name="boundary"), LossTerm(name="cross_entropy", settings={"border_weight": 1})]
)
def test_distances_need_whole_patches(term: LossTerm) -> None:
    with pytest.raises(MedzooError, match="'sampled_voxels' leaves out the neighbours"):
        total_loss([term], torch.zeros(1, 2, 2, 3, 3, 3), torch.zeros(1, 2, 3, 3, 3, dtype=torch.int64))
