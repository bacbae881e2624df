"""What makes `structures` better: one thing of its recipe changed at a time, the same time of training for each.

    OMP_NUM_THREADS=1 python benchmarks/trials.py --minutes 15 --page docs/trials.md

Every variant is trained from the beginning, as many steps as fit into the time (a few are timed first), and scored on
real scans that no training has seen. Called again, it goes on where it was stopped. The time is that of an otherwise
idle core; a machine that does other things trains all of them less.
"""

from __future__ import annotations

import argparse
import json
import math
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

from napari_medzoo_training import checkpoint
from napari_medzoo_training.benchmark_page import markdown_table
from napari_medzoo_training.config import Recipe, Stage, data_folder, read_recipe
from napari_medzoo_training.display import Display
from napari_medzoo_training.estimate import try_out
from napari_medzoo_training.export import export
from napari_medzoo_training.fit import fit
from napari_medzoo_training.overrides import override
from napari_medzoo_training.trials import in_own_process, open_quietly
from napari_medzoo_training.validation import CASES, SUBCORTICAL_METRIC, TISSUE_METRIC, validate

from napari_medzoo.cards import Score, read_card
from napari_medzoo.inference.network import build_network
from napari_medzoo.io import replacing

SCANS = ("ixi012", "fsaverage", "mni152", "contrasts")
OUTCOME = "outcome.json"
FIRST_RATE, LAST_RATE = 2.0e-3, 1.0e-5

FINE, COARSE = (0.9, 1.1), (1.5, 2.0)
"""Voxels of the patches, in mm."""


@dataclass(frozen=True)
class Variant:
    """What is changed, in words and as ``--set`` takes it, and the stages: edge of the patch, and its voxels in mm.

    The stages share the time.
    """

    words: str
    changes: tuple[str, ...] = ()
    stages: tuple[tuple[int, tuple[float, float]], ...] = ((96, FINE),)


VARIANTS = {
    "base": Variant("as the recipe, at 1 mm"),
    "narrow": Variant("half the width, more steps", ("settings.widths=[16, 32, 48, 64, 80]",)),
    "wide": Variant("one and a half times the width, fewer steps", ("settings.widths=[48, 96, 144, 192, 240]",)),
    "small-patch": Variant(
        "patches of 64³, in float32, which they need; more steps", ("precision='32'",), ((64, FINE),)
    ),
    "large-patch": Variant("patches of 128³, fewer steps", stages=((128, FINE),)),
    "coarse": Variant("voxels of 1.3 mm", ("preprocessing.spacing=[1.3, 1.3, 1.3]",), ((96, (1.2, 1.4)),)),
    "random-contrast": Variant("no priors: every contrast random", ("synthesis.contrasts={random: 1}",)),
    "curriculum": Variant("half of the time whole heads in coarse voxels", stages=((96, COARSE), (96, FINE))),
}

PAGE = """# What makes `structures` better

The recipe [`structures`](../training/recipes/structures.yaml) with one thing changed at a time, trained from the
beginning for about {minutes:g} minutes of one core each ({threads} thread), on the same label maps with the same seed.
This is a small part of what the shipped weights took, so it says what helps early. Scores are hard Dice on whole real
scans that no training has seen; agreement is the mean over the pairs of one patient's T1w, T2w and FLAIR, each
segmented alone.

Written by `OMP_NUM_THREADS={threads} python benchmarks/trials.py --minutes {minutes:g} --page docs/trials.md`.

{table}
"""


def recipe_of(name: str, minutes: float, cache: Path, threads: int) -> Recipe:
    """The training of a variant, with as many steps as fit into the time."""
    variant = VARIANTS[name]
    base = override(read_recipe(Path("structures")), ["preprocessing.spacing=[1.0, 1.0, 1.0]", *variant.changes])
    stages = tuple(
        Stage(steps=1, patch=(edge,) * 3, voxel_mm=voxel_mm, learning_rate=FIRST_RATE, final_learning_rate=LAST_RATE)
        for edge, voxel_mm in variant.stages
    )
    recipe = base.model_copy(update={"name": f"structures-{name}", "stages": stages, "checkpoint_every": 50})
    seconds = in_own_process(try_out, recipe, cache, 6, 0, "cpu", threads).seconds_per_step
    steps = [max(1, round(minutes * 60 / len(stages) / each)) for each in seconds]
    return recipe.model_copy(update={"stages": _one_fall(stages, steps)})


def _one_fall(stages: tuple[Stage, ...], steps: list[int]) -> tuple[Stage, ...]:
    """The stages with their steps and with rates that fall as those of a single stage would."""
    total, done, rates = sum(steps), 0, [FIRST_RATE]
    for count in steps:
        done += count
        rates.append(max(LAST_RATE, FIRST_RATE * (1 - done / total) ** 0.9))
    changed = []
    for number, (stage, count) in enumerate(zip(stages, steps, strict=True)):
        rate = {"learning_rate": rates[number], "final_learning_rate": rates[number + 1]}
        changed.append(stage.model_copy(update={"steps": count, "warmup": 1 if number else 50, **rate}))
    return tuple(changed)


def train(recipe: Recipe, cache: Path, folder: Path, command: str, threads: int) -> None:
    """Train, or continue, and export; for a process of its own."""
    source = open_quietly(recipe, cache, threads)
    begun = checkpoint.path_of(folder, checkpoint.LAST).exists()
    with Display(recipe.name, recipe.steps) as display:
        fit(recipe, lambda: source, folder, device="cpu", resume=begun, callbacks=[display])
    export(folder, folder / "model", command)


def score(recipe: Recipe, folder: Path, threads: int) -> list[Score]:
    """The scores on `SCANS`; for a process of its own."""
    card = read_card(folder / "model" / f"{recipe.name}.yaml")
    return list(validate(card, data_folder(), SCANS, threads))


def run_variant(name: str, minutes: float, output: Path, threads: int) -> dict[str, Any]:
    """What became of a variant; trained and scored where it is not yet."""
    folder = output / name
    if (folder / OUTCOME).exists():
        outcome: dict[str, Any] = json.loads((folder / OUTCOME).read_text(encoding="utf-8"))
        return outcome
    begun = checkpoint.path_of(folder, checkpoint.LAST).exists()
    recipe = checkpoint.recipe_of(folder) if begun else recipe_of(name, minutes, output, threads)
    command = f"python benchmarks/trials.py --minutes {minutes:g}"
    in_own_process(train, recipe, output, folder, command, threads)
    outcome = {
        "parameters": sum(weights.numel() for weights in build_network(recipe, "meta").parameters()),
        "steps": recipe.steps,
        "minutes": minutes,
        "scores": [one.model_dump() for one in in_own_process(score, recipe, folder, threads)],
    }
    with replacing(folder / OUTCOME) as temporary:
        temporary.write_text(json.dumps(outcome, indent=1), encoding="utf-8")
    return outcome


def table_of(outcomes: dict[str, dict[str, Any]]) -> str:
    """Markdown, in the order of `VARIANTS`."""
    columns = [(key, metric) for key in SCANS[:3] for metric in (TISSUE_METRIC, SUBCORTICAL_METRIC)]
    columns.remove(("mni152", SUBCORTICAL_METRIC))  # it has tissue maps alone
    short = {TISSUE_METRIC: "GM and WM", SUBCORTICAL_METRIC: "subcortical"}
    head = ["changed", "parameters (M)", "steps", *(f"{key}, {short[metric]}" for key, metric in columns), "agreement"]
    body = []
    for name, outcome in outcomes.items():
        values = {(one["data"], one["metric"]): one["value"] for one in outcome["scores"]}
        cells = [values.get((CASES[key].title, metric), math.nan) for key, metric in columns]
        cells.append(mean(value for (data, _), value in values.items() if data == CASES["contrasts"].title))
        size = f"{outcome['parameters'] / 1e6:.1f}"
        body.append([VARIANTS[name].words, size, str(outcome["steps"]), *(f"{cell:.3f}" for cell in cells)])
    return markdown_table(head, body)


def main() -> None:
    """Train what is missing, print the table, and write the page where one is wanted."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=15, help="Of training for every variant")
    parser.add_argument("--output", type=Path, default=Path("runs/trials"))
    parser.add_argument("--only", nargs="*", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--page", type=Path, help="Markdown to write")
    arguments = parser.parse_args()
    outcomes = {
        name: run_variant(name, arguments.minutes, arguments.output, arguments.threads) for name in arguments.only
    }
    table = table_of(outcomes)
    print(table)
    if arguments.page is not None:
        page = PAGE.format(minutes=arguments.minutes, threads=arguments.threads, table=table)
        arguments.page.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
