from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
from napari_medzoo_training.config import Recipe
from napari_medzoo_training.held_out import predict_prepared
from napari_medzoo_training.losses import deep_supervision, total_loss
from napari_medzoo_training.module import Training, refuse_short_convolutions
from napari_medzoo_training.overrides import override

from napari_medzoo.errors import MedzooError
from napari_medzoo.inference.network import build_network
from napari_medzoo.models.strided_unet import StridedUNet, fold
from napari_medzoo.progress import Steps
from tests.core.zoo import NETWORKS, SIZE, make


def deep() -> StridedUNet:
    torch.manual_seed(0)
    network = StridedUNet(2, 3, widths=(4, 6, 8, 8), refine=5, deep_supervision=2)
    torch.nn.init.normal_(network.fine_head.weight)  # which begins at zero
    return network


def test_deep_supervision_answers_at_every_resolution_while_training() -> None:
    network, x = deep(), torch.rand(1, 2, 32, 16, 32)
    voxels = torch.tensor([5, 0, 7])
    sampled = network.train()(x, voxels)
    answers = network(x)
    assert [tuple(answer.shape[1:]) for answer in answers] == [(3, 32, 16, 32), (3, 16, 8, 16), (3, 8, 4, 8)]
    assert sampled[0].shape == (1, 3, 3, 16, 8, 16)
    cells = fold(answers[0].flatten(0, 1)).view(1, 3, 8, 16, 8, 16)
    torch.testing.assert_close(sampled[0], cells[:, :, voxels])
    assert torch.equal(sampled[1], answers[1]) and torch.equal(sampled[2], answers[2])
    plain = network.eval()(x)
    assert isinstance(plain, torch.Tensor)
    torch.testing.assert_close(plain, answers[0])


@pytest.mark.parametrize("count", [-1, 3])
def test_more_deep_supervision_than_decoders_is_refused(count: int) -> None:
    with pytest.raises(ValueError, match="deep_supervision of 0 to 2"):
        StridedUNet(1, 2, widths=(4, 4, 4, 4), deep_supervision=count)


def test_a_recipe_with_wrong_settings_is_refused_by_the_cards_own_constructor(recipe: Recipe) -> None:
    with pytest.raises(MedzooError, match="widht"):
        build_network(override(recipe, ["settings={widht: 3}"]))


def steps(recipe: Recipe) -> Training:
    torch.manual_seed(0)
    return Training(recipe, build_network(recipe))


def test_sampled_voxels_give_the_loss_of_those_voxels(recipe: Recipe) -> None:
    module = steps(override(recipe, ["sampled_voxels=2"]))
    scan, target = torch.rand(2, 1, 16, 16, 16), torch.randint(0, 8, (2, 16, 16, 16))
    voxels = module._voxels()
    assert len(set(voxels.tolist())) == 2
    assert torch.equal(voxels, module._voxels()), "the same in every process"
    logits = torch.stack([fold(logits) for logits in module.network(scan).unbind(1)], 1)[:, :, voxels]
    expected = total_loss(recipe.losses, logits, fold(target)[:, voxels])
    torch.testing.assert_close(module.training_step((scan, target), 0), expected)


def test_sampled_voxels_under_deep_supervision_weigh_as_in_one_list(recipe: Recipe) -> None:
    """All eight voxels of every cell are all voxels: the loss is that without sampling."""
    settings = "settings={widths: [4, 4, 4, 4], deep_supervision: 2}"
    changes = [settings, "stages.1.patch=[16, 16, 16]", "losses=[{name: cross_entropy}]"]
    sampled = steps(override(recipe, [*changes, "sampled_voxels=8"]))
    plain = steps(override(recipe, changes))
    batch = torch.rand(1, 1, 32, 32, 32), torch.randint(0, 8, (1, 32, 32, 32))
    torch.testing.assert_close(sampled.training_step(batch, 0), plain.training_step(batch, 0))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["sampled_voxels=2", "losses=[{name: boundary}]"], "all voxels"),
        (["losses=[{name: dise}]"], "dise"),
        (["optimiser.schedule=ploy"], "ploy"),
        (["stages.0.patch=[16, 10, 16]"], "multiples of 4"),
    ],
)
def test_a_recipe_that_cannot_be_trained_says_why(changes: list[str], message: str, recipe: Recipe) -> None:
    with pytest.raises(MedzooError, match=message):
        steps(override(recipe, changes))


def test_sampled_voxels_need_a_network_that_can(recipe: Recipe) -> None:
    with pytest.raises(MedzooError, match="leave out sampled_voxels"):
        Training(override(recipe, ["sampled_voxels=2"]), torch.nn.Conv3d(1, 8, 1))


def test_validation_runs_the_network_as_inference_does(recipe: Recipe) -> None:
    """Whole, padded to the divisor with the value of air, and cut back."""
    torch.manual_seed(0)
    network = build_network(recipe)
    scan = np.random.default_rng(0).random((1, 14, 13, 9)).astype(np.float16)
    padded = np.zeros((1, 1, 16, 16, 12), dtype=np.float32)
    padded[0, :, 1:15, 1:14, 1:10] = scan
    with torch.inference_mode():
        expected = network(torch.from_numpy(padded))[0].argmax(0).numpy()[1:15, 1:14, 1:10]
    found = predict_prepared(network, recipe, scan, torch.device("cpu"))
    assert found.dtype == np.uint8
    assert np.array_equal(found, expected)


def test_validation_adapts_to_the_scan_where_the_card_will(recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    """Halves of two brightnesses, in which the network is sure but for one voxel that it takes for the other."""
    truth = np.ones((8, 8, 8), dtype=np.int64)
    truth[4:] = 2
    scan = np.where(truth == 1, 0.2, 0.8) + np.random.default_rng(0).normal(0, 0.05, truth.shape)
    scores = (6.0 * (truth == np.arange(8)[:, None, None, None])).astype(np.float32)
    scores[:, 1, 4, 4] = 0.1 * (np.arange(8) == 2)

    def scores_of(*_: object) -> Steps[np.ndarray]:
        yield from ()
        return scores.copy()

    monkeypatch.setattr(sys.modules["napari_medzoo.inference.predict"], "scores_of", scores_of)
    network, device = build_network(recipe), torch.device("cpu")
    plain = predict_prepared(network, recipe, scan[None], device)
    assert plain[1, 4, 4] == 2
    labels = [recipe.channels[1:2], recipe.channels[2:3]]
    adapted = predict_prepared(network, recipe.model_copy(update={"tissues": labels}), scan[None], device)
    assert np.array_equal(adapted, truth)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_of_the_zoo_trains_with_all_it_returns(name: str, recipe: Recipe) -> None:
    sized = override(recipe, [f"stages=[{{steps: 1, patch: {list(SIZE)}}}]"])
    module = Training(sized, make(name, 1, len(recipe.channels)))
    scan, target = torch.rand(2, 1, *SIZE), torch.randint(0, 8, (2, *SIZE))
    module.training_step((scan, target), 0).backward()
    without = [key for key, weights in module.network.named_parameters() if weights.grad is None]
    assert not without, "an output that no loss reaches"


def test_valid_convolutions_learn_from_what_they_answer_for(recipe: Recipe) -> None:
    sized = override(recipe, ["stages=[{steps: 1, patch: [15, 17, 16]}]"])
    module = Training(sized, make("densenet3d", 1, len(recipe.channels), padding="valid"))
    margin = module.network.margin
    assert min(margin) > 0
    scan, target = torch.rand(1, 1, 15, 17, 16), torch.randint(0, 8, (1, 15, 17, 16))
    module.network.eval()  # dropout would differ
    inner = target[:, *(slice(m, -m) for m in margin)]
    expected = total_loss(recipe.losses, module.network(scan), inner)
    torch.testing.assert_close(module.training_step((scan, target), 0), expected)


def test_a_paper_s_weights_of_auxiliary_outputs_are_used(recipe: Recipe) -> None:
    logits, target = [torch.randn(1, 8, 8, 8, 8), torch.randn(1, 8, 4, 4, 4)], torch.randint(0, 8, (1, 8, 8, 8))
    fine, coarse = (deep_supervision(recipe.losses, [item], target) for item in logits)
    torch.testing.assert_close(deep_supervision(recipe.losses, logits, target, (0.33,)), fine + 0.33 * coarse)


@pytest.mark.parametrize(("width", "refused"), [(8, True), (12, False)])
def test_bfloat16_on_a_cpu_is_refused_where_its_gradient_is_wrong(width: int, refused: bool) -> None:
    network = StridedUNet(1, 2, widths=(4, 4))  # at the bottom 2 or 3 voxels meet a kernel of 3
    refuse_short_convolutions(network)
    scan = torch.rand(1, 1, width, 16, 16)
    if refused:
        with pytest.raises(MedzooError, match="precision: '32'"):
            network(scan)
    else:
        network(scan)
