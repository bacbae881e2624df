"""`medzoo-train`: train a network without a screen and export it as a model card."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from napari_medzoo.errors import MedzooError

from .architectures import architectures
from .benchmark_command import benchmark
from .completed import complete_labels
from .evaluate_command import evaluate
from .speed_command import reference_speed

if TYPE_CHECKING:
    from .config import Recipe
    from .display import Display
    from .patches import Source

app = typer.Typer(add_completion=False, no_args_is_help=True, help=__doc__)

RecipeArgument = Annotated[
    Path, typer.Argument(help="A recipe file, or the bare name of one that comes with the package.")
]
OutputOption = Annotated[Path | None, typer.Option(help="Folder of this training; default runs/NAME.")]
DeviceOption = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")]
ThreadsOption = Annotated[int | None, typer.Option(help="CPU threads; default all.")]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change the recipe, as in stages.0.steps=500; may be repeated."),
]
FoldsOption = Annotated[
    Path | None, typer.Option(help="JSON with the subjects of every fold; made where it is absent.")
]
FoldOption = Annotated[int | None, typer.Option(help="The fold that is held out, from 0.")]


@app.command()
def fit(
    recipe: RecipeArgument,
    output: OutputOption = None,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
    start: Annotated[
        str | None,
        typer.Option(help="Weights to begin with: a model's name or card, or for med3d a .pth file of MedicalNet."),
    ] = None,
    folds: FoldsOption = None,
    fold: FoldOption = None,
    changes: SetOption = None,
) -> None:
    """Start a training. Under torchrun, several processes, computers too, train together."""
    from .config import read_recipe

    chosen = _changed(read_recipe(recipe), changes, folds, fold)
    _train(chosen, output or Path("runs") / chosen.name, device, threads, resume=False, start=start)


@app.command()
def resume(
    training: Annotated[Path, typer.Argument(help="Folder of the training, or the recipe it was begun with.")],
    output: OutputOption = None,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
    changes: SetOption = None,
) -> None:
    """Continue a training from its last checkpoint, also after a crash or with more steps in the recipe."""
    from .checkpoint import recipe_of
    from .config import read_recipe

    if training.is_dir():
        folder, recipe = training, recipe_of(training)
    else:
        recipe = read_recipe(training)
        folder = output or Path("runs") / recipe.name
    _train(_changed(recipe, changes), folder, device, threads, resume=True)


@app.command()
def export(
    folder: Annotated[Path, typer.Argument(help="Folder of the training.")],
    output: Annotated[Path, typer.Option(help="Folder for the card and its weights.")],
    which: Annotated[
        str | None, typer.Option("--checkpoint", help="best or last; default the best where validation chose one.")
    ] = None,
    scores_of: Annotated[
        str | None, typer.Option(help="Card the training began with, whose scores the new one is to repeat as such.")
    ] = None,
) -> None:
    """Write the trained weights as a model card."""
    from napari_medzoo.cards import load_card

    from .checkpoint import recipe_of
    from .export import export as write

    earlier = load_card(scores_of) if scores_of else None
    command = f"medzoo-train fit {recipe_of(folder).name}"
    card = write(folder, output, command=command, which=which, scores_of=earlier)
    print(f"{output / card.name}.yaml  sha256 {card.sha256}")


@app.command()
def pack(
    labelmaps: Annotated[Path, typer.Argument(help="Folder with training_seg_*.nii.gz and the class tables.")],
    output: Annotated[Path, typer.Argument(help="The file to write (.npz).")],
) -> None:
    """Crop the label maps to the head and store them as one small file, for a machine without the originals."""
    from .labelmaps import pack as write

    print(write(labelmaps, output))


def _changed(recipe: Recipe, changes: list[str] | None, folds: Path | None = None, fold: int | None = None) -> Recipe:
    from .overrides import override

    wanted = list(changes or ())
    if folds is not None:
        wanted.append(f"folds.file={folds}")
    if fold is not None:
        wanted.append(f"folds.fold={fold}")
    return override(recipe, wanted) if wanted else recipe


def _train(
    recipe: Recipe, folder: Path, device: str, threads: int | None, resume: bool, start: str | None = None
) -> None:
    import torch
    from rich.console import Console

    from .display import Display
    from .fit import fit as train
    from .weights import find_start

    if threads:
        torch.set_num_threads(threads)
    console = Console(quiet=os.environ.get("RANK", "0") != "0")  # of several processes one speaks
    weights = find_start(start) if start else None
    with Display(recipe.name, recipe.steps, console) as display:
        result = train(
            recipe,
            lambda: _open(recipe, folder.parent, display),
            folder,
            device=device,
            resume=resume,
            start=weights,
            callbacks=[display],
        )
    best = f", best validation Dice {result.best_dice:.3f}" if result.best_dice is not None else ""
    why = " (no better validation for a while)" if result.stopped_early else ""
    console.print(
        f"{recipe.name}: {result.steps} steps{why}{best}; checkpoints and logs are in {folder}", soft_wrap=True
    )


def _open(recipe: Recipe, cache: Path, display: Display) -> Source:
    """What the recipe learns from, prepared in `cache` under the eyes of whoever waits for it."""
    from .data import open_source

    steps = open_source(recipe, cache)
    while True:
        try:
            display.preparing(next(steps))
        except StopIteration as stop:
            return stop.value


def _begin(
    recipe: Path, output: Path | None, changes: list[str] | None, folds: Path | None = None
) -> tuple[Recipe, Path, Source]:
    """The recipe that is meant, the folder of its results, and what it learns from."""
    from .config import read_recipe
    from .display import Display

    chosen = _changed(read_recipe(recipe), changes, folds)
    folder = output or Path("runs") / chosen.name
    with Display(chosen.name, chosen.steps) as display:
        return chosen, folder, _open(chosen, folder.parent, display)


@app.command()
def crossval(
    recipe: RecipeArgument,
    output: OutputOption = None,
    folds: FoldsOption = None,
    only: Annotated[str | None, typer.Option(help="Only these folds, as in 0,2; default all.")] = None,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
    changes: SetOption = None,
) -> None:
    """Train fold after fold and score the subjects that each holds out; call it again to continue."""
    import torch

    from .config import data_folder
    from .crossval import fold_recipes, parse_folds, run_fold, write_summary
    from .display import Display
    from .scores import as_table

    if threads:
        torch.set_num_threads(threads)
    chosen, folder, source = _begin(recipe, output, changes, folds)
    recipes = fold_recipes(chosen, source.subjects, folder)
    for fold in parse_folds(only, len(recipes)):
        with Display(f"{chosen.name} fold {fold}", chosen.steps) as display:
            run_fold(recipes[fold], source, data_folder(), folder, device=device, threads=threads, callbacks=[display])
        write_summary(folder, recipes)
    print(as_table(write_summary(folder, recipes)))


@app.command()
def estimate(
    recipe: RecipeArgument,
    output: OutputOption = None,
    steps: Annotated[int, typer.Option(min=1, help="Steps of every stage that are timed.")] = 6,
    range_steps: Annotated[int, typer.Option(min=0, help="Steps of the learning-rate range test; 0 for none.")] = 60,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
    changes: SetOption = None,
) -> None:
    """Say what a training will cost: memory, time, and a learning rate to begin with."""
    from .estimate import as_lines, largest_shape, try_out
    from .estimate import estimate as compute
    from .range_test import write_range_test
    from .reports import write_report
    from .trials import in_own_process

    chosen, folder, source = _begin(recipe, output, changes)
    shape = largest_shape(source)
    trial = in_own_process(try_out, chosen, folder.parent, steps, range_steps, device, threads)
    report = compute(chosen, trial, shape)
    written = [write_report(folder / "estimate.yaml", report)]
    if trial.range_test:
        written += write_range_test(folder, trial.range_test)
    print(as_lines(report, trial.range_test is not None))
    print(f"  written: {', '.join(map(str, written))}")


@app.command()
def throughput(
    recipe: RecipeArgument,
    output: OutputOption = None,
    steps: Annotated[int, typer.Option(min=1, help="Steps of each precision.")] = 20,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
    changes: SetOption = None,
) -> None:
    """Measure how fast a recipe's first stage trains, in bfloat16 against float32 by turns."""
    from .reports import write_report
    from .throughput import as_lines, compare_precisions
    from .trials import in_own_process

    chosen, folder, _ = _begin(recipe, output, changes)
    report = in_own_process(compare_precisions, chosen, folder.parent, steps, device, threads)
    path = write_report(folder / "throughput.yaml", report)
    print(as_lines(report))
    print(f"  written: {path}")


app.command()(benchmark)
app.command()(architectures)
app.command()(complete_labels)
app.command()(evaluate)
app.command("reference-speed")(reference_speed)


def main() -> None:
    """Run the command line; a `MedzooError` is one sentence and exit code 1."""
    try:
        app()
    except MedzooError as error:
        print(f"medzoo-train: {error}", file=sys.stderr)
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
