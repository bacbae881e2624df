from __future__ import annotations

import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from napari_medzoo_training.cases import PreparedCases
from napari_medzoo_training.config import Recipe
from napari_medzoo_training.data import open_source
from napari_medzoo_training.held_out import hard_dice, split_cases
from napari_medzoo_training.labelmaps import LabelMaps
from napari_medzoo_training.overrides import override
from napari_medzoo_training.patches import Loader, Mixed, Patches, batches

from napari_medzoo.errors import MedzooError
from napari_medzoo.progress import run

CPU = torch.device("cpu")


def test_a_pair_follows_from_its_number_alone(label_maps: LabelMaps, recipe: Recipe) -> None:
    larger = override(recipe, ["stages.0.patch=[32, 32, 32]"])
    patches, again = Patches(larger, label_maps, CPU), Patches(larger, label_maps, CPU)
    scan, target = patches[3]
    for _ in range(2):  # neither what was drawn before nor the global seed matters
        torch.manual_seed(int(time.time()))
        np.random.seed(0)  # noqa: NPY002
        assert torch.equal(again[3][0], scan) and torch.equal(again[3][1], target)
        again[2]
    assert len({float(patches[number][0].sum()) for number in range(6)}) > 2


def test_a_pair_has_the_patch_of_its_stage(label_maps: LabelMaps, recipe: Recipe) -> None:
    """Four steps of 16³, then two of 16 × 12 × 16; a step takes six pairs."""
    patches = Patches(override(recipe, ["batch=3"]), label_maps, CPU, world=2)
    assert patches.per_step == 6 and len(patches) == 36
    assert patches[23][0].shape == (1, 16, 16, 16)
    assert patches[24][0].shape == (1, 16, 12, 16) and patches[24][1].shape == (16, 12, 16)


@pytest.mark.parametrize(("batch", "accumulate", "world"), [(1, 1, 2), (2, 3, 1), (2, 2, 3)])
def test_the_processes_share_every_pair(batch: int, accumulate: int, world: int, recipe: Recipe) -> None:
    chosen = override(recipe, [f"batch={batch}", f"accumulate={accumulate}"])
    taken = [list(batches(chosen, rank, world, 2, 4)) for rank in range(world)]
    per_step = batch * accumulate * world
    assert all(len(mine) == 2 * accumulate and {len(one) for one in mine} == {batch} for mine in taken)
    assert sorted(n for mine in taken for one in mine for n in one) == list(range(2 * per_step, 4 * per_step))
    # Micro-batch by micro-batch the processes together see what one process with the larger batch sees.
    together = override(recipe, [f"batch={batch * world}", f"accumulate={accumulate}"])
    for number, expected in enumerate(batches(together, 0, 1, 2, 4)):
        assert [n for mine in taken for n in mine[number]] == list(expected)


@pytest.mark.parametrize("threads", [0, 1, 3])
def test_the_loader_keeps_the_order(threads: int, label_maps: LabelMaps, recipe: Recipe) -> None:
    chosen = override(recipe, ["batch=2"])
    patches = Patches(chosen, label_maps, CPU)
    numbers = list(batches(chosen, 0, 1, 1, 4))
    loader = Loader(patches, numbers, threads)
    found = list(loader)
    assert len(found) == len(loader) == 3
    for (scan, target), pair in zip(found, numbers, strict=True):
        assert scan.shape == (2, 1, 16, 16, 16) and target.dtype == torch.int64
        assert torch.equal(scan, torch.stack([patches[n][0] for n in pair]))
        assert torch.equal(target, torch.stack([patches[n][1] for n in pair]))


class Slow(Patches):
    """Pairs that take a twentieth of a second; the sixth cannot be made."""

    def __init__(self) -> None:
        pass

    def __getitem__(self, number: int) -> tuple[torch.Tensor, torch.Tensor]:
        time.sleep(0.05)
        if number == 5:
            raise MedzooError("no such pair")
        return torch.zeros(1, 2, 2, 2), torch.zeros(2, 2, 2, dtype=torch.int64)


def test_the_loader_measures_how_long_it_is_waited_for() -> None:
    numbers = [range(n, n + 1) for n in range(4)]
    direct, ahead = Loader(Slow(), numbers), Loader(Slow(), numbers, threads=1)
    for loader in (direct, ahead):
        for _ in loader:
            time.sleep(0.1)
    assert 0.2 <= direct.waited < 0.4
    assert ahead.waited < 0.75 * direct.waited, "all but the first pair were ready when asked for"


@pytest.mark.parametrize("threads", [0, 2])
def test_an_error_reaches_whoever_asks_and_no_thread_stays(threads: int) -> None:
    before = threading.active_count()
    with pytest.raises(MedzooError, match="no such pair"):
        list(Loader(Slow(), [range(n, n + 1) for n in range(9)], threads))
    abandoned = iter(Loader(Slow(), [range(n, n + 1) for n in range(4)], threads))
    next(abandoned)
    abandoned.close()  # type: ignore[attr-defined]  # it is a generator
    assert threading.active_count() == before


def test_pairs_of_real_cases(cases_recipe: Recipe, tmp_path: Path) -> None:
    cases = run(open_source(cases_recipe, tmp_path / "cache"))
    patches = Patches(cases_recipe, cases, CPU, indices=[4])
    seen = set()
    for number in range(6):
        scan, target = patches[number]
        assert scan.shape == (1, 16, 16, 12) and scan.dtype == torch.float32
        assert target.shape == (16, 16, 12) and target.dtype == torch.int64
        seen |= set(target.unique().tolist())
        assert torch.equal(patches[number][0], scan)
    assert seen == {0, 1, 2}


def test_synthetic_and_real_pairs_by_turns(cases_recipe: Recipe, label_maps: LabelMaps, tmp_path: Path) -> None:
    """A pair is the very one that its own kind of source would have made next, in the share that was asked for."""
    cases = run(open_source(cases_recipe, tmp_path / "cache"))
    assert isinstance(cases, PreparedCases)
    both = override(cases_recipe, ["folds=null", "validate_every=null", "synthesis={}", "real_share=0.25"])
    mixed = Patches(both, Mixed(label_maps, cases), CPU, indices=())  # no split, as in a training
    made, cut = Patches(both, label_maps, CPU), Patches(both, cases, CPU)
    real = 0
    for number in range(len(mixed)):
        random = np.random.default_rng([both.seed, number])
        chosen = cut if random.random() < 0.25 else made
        real += chosen is cut
        scan, target = chosen._make(number // mixed.per_step, random)
        assert torch.equal(mixed[number][0], scan) and torch.equal(mixed[number][1], target)
    assert 0 < real < len(mixed) / 2


def test_the_share_of_real_pairs_is_said_where_there_is_a_choice(cases_recipe: Recipe) -> None:
    plain = ["folds=null", "validate_every=null"]
    for changes in (["synthesis={}"], ["real_share=0.5"], ["synthesis={}", "dataset=null", "real_share=0.5"]):
        with pytest.raises(MedzooError, match="real_share"):
            override(cases_recipe, [*plain, *changes])


def test_the_held_out_fold_chooses_nothing(cases_recipe: Recipe, tmp_path: Path) -> None:
    subjects = [f"sub-{number // 2:02}" for number in range(40)]  # two visits each
    split = split_cases(override(cases_recipe, ["folds.validation_share=0.2"]), subjects, tmp_path)
    parts = [{subjects[n] for n in part} for part in (split.training, split.validation, split.held_out)]
    assert [len(part) for part in parts] == [13, 3, 4]
    assert set.union(*parts) == set(subjects) and sum(map(len, parts)) == 20
    assert sorted((*split.training, *split.validation, *split.held_out)) == list(range(40))
    assert split == split_cases(override(cases_recipe, ["folds.validation_share=0.2"]), subjects, tmp_path)
    without = split_cases(override(cases_recipe, ["validate_every=null"]), subjects, tmp_path)
    assert not without.validation and without.held_out == split.held_out
    everything = split_cases(override(cases_recipe, ["folds=null", "validate_every=null"]), subjects, tmp_path)
    assert everything.training == tuple(range(40))


def test_too_few_subjects_to_validate(cases_recipe: Recipe, tmp_path: Path) -> None:
    with pytest.raises(MedzooError, match="1 subjects are too few"):
        split_cases(override(cases_recipe, ["folds=null"]), ["a", "a"], tmp_path)


def test_hard_dice_by_hand() -> None:
    """Class 1: two of three voxels found, none too many; class 2 absent from both; class 3 missed; one ignored."""
    reference = np.array([[[0, 1, 1, 1, 3, 255]]], dtype=np.uint8)
    prediction = np.array([[[0, 1, 1, 0, 0, 1]]])
    found = hard_dice(prediction, reference, 4)
    assert found[0] == pytest.approx(2 * 2 / (2 + 3))
    assert np.isnan(found[1])
    assert found[2] == 0
