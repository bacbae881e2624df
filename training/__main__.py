"""`medzoo-train`: train a network without a screen and export it as a model card."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from napari_medzoo.errors import MedzooError

app = typer.Typer(add_completion=False, no_args_is_help=True, help=__doc__)

RecipeArgument = Annotated[
    Path, typer.Argument(help="A recipe file, or the bare name of one that comes with the package.")
]
OutputOption = Annotated[Path | None, typer.Option(help="Folder of this training; default runs/NAME.")]
DeviceOption = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")]
ThreadsOption = Annotated[int | None, typer.Option(help="CPU threads; default all.")]


@app.command()
def fit(
    recipe: RecipeArgument,
    output: OutputOption = None,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
    start: Annotated[str | None, typer.Option(help="Model (name or card) whose weights to begin with.")] = None,
) -> None:
    """Start a training."""
    _train(recipe, output, device, threads, resume=False, start=start)


@app.command()
def resume(
    recipe: RecipeArgument, output: OutputOption = None, device: DeviceOption = "auto", threads: ThreadsOption = None
) -> None:
    """Continue a training from its last checkpoint, also after a crash or with more steps in the recipe."""
    _train(recipe, output, device, threads, resume=True)


@app.command()
def export(
    folder: Annotated[Path, typer.Argument(help="Folder of the training.")],
    output: Annotated[Path, typer.Option(help="Folder for the card and its weights.")],
) -> None:
    """Write the trained weights as a model card."""
    from .checkpoint import load
    from .export import export as write

    name = load(folder)["recipe"]["name"]
    card = write(folder, output, command=f"medzoo-train fit {name}")
    print(f"{output / card.name}.yaml  sha256 {card.sha256}")


@app.command()
def evaluate(
    model: Annotated[str, typer.Argument(help="A model's name or the path of its card.")],
    case: Annotated[list[str] | None, typer.Option(help="Only this case; may be repeated.")] = None,
    write: Annotated[bool, typer.Option("--write", help="Store the scores in the card.")] = False,
    threads: ThreadsOption = None,
) -> None:
    """Score a model on real scans that no training has seen (those below MEDZOO_DATA, and the embedded one)."""
    from napari_medzoo.cards import load_card
    from napari_medzoo.io import replacing

    from .config import data_folder
    from .validation import CASES, validate

    chosen = tuple(case or CASES)
    unknown = [key for key in chosen if key not in CASES]
    if unknown:
        raise MedzooError(f"There is no case '{unknown[0]}'; choose from: {', '.join(CASES)}.")
    card = load_card(model)
    scores = []
    for score in validate(card, data_folder(), chosen, threads):
        print(f"{score.value:.3f}  {score.metric}  ({score.data})", flush=True)
        scores.append(score)
    if write:
        path = card.weights_path.with_name(f"{card.name}.yaml")
        with replacing(path) as temporary:
            card.model_copy(update={"scores": tuple(scores)}).save(temporary)


@app.command()
def pack(
    labelmaps: Annotated[Path, typer.Argument(help="Folder with training_seg_*.nii.gz and the class tables.")],
    output: Annotated[Path, typer.Argument(help="The file to write (.npz).")],
) -> None:
    """Crop the label maps to the head and store them as one small file, for a machine without the originals."""
    from .labelmaps import pack as write

    print(write(labelmaps, output))


def _train(
    path: Path, output: Path | None, device: str, threads: int | None, resume: bool, start: str | None = None
) -> None:
    import torch

    from napari_medzoo.cards import load_card
    from napari_medzoo.inference.network import load_network

    from .config import data_folder, read_recipe
    from .fit import fit as steps
    from .labelmaps import load_packed
    from .labelmaps import pack as write

    recipe = read_recipe(path)
    folder = output or Path("runs") / recipe.name
    if threads:
        torch.set_num_threads(threads)
    packed = folder.parent / "labelmaps.npz"
    if not packed.exists():
        write(data_folder() / "labelmaps", packed)
    chosen = torch.device("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else torch.device(device)
    columns = [TextColumn("{task.description}"), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn()]
    with Progress(*columns) as bar:
        task = bar.add_task(recipe.name, total=recipe.steps)
        smooth = None
        trained = load_network(load_card(start)) if start else None
        for step in steps(recipe, load_packed(packed), folder, chosen, resume, trained):
            smooth = step.loss if smooth is None else 0.98 * smooth + 0.02 * step.loss
            bar.update(task, completed=step.number, description=f"{recipe.name}  loss {smooth:.3f}")


def main() -> None:
    """Run the command line; a `MedzooError` is one sentence and exit code 1."""
    try:
        app()
    except MedzooError as error:
        print(f"medzoo-train: {error}", file=sys.stderr)
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
