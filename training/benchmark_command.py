"""The command `medzoo-train benchmark`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from napari_medzoo.errors import MedzooError


def benchmark(
    recipe: Annotated[Path, typer.Argument(help="A benchmark file, or one of the package by its name: fusion, zoo.")],
    output: Annotated[Path | None, typer.Option(help="Folder of the benchmark; default runs/NAME.")] = None,
    network: Annotated[list[str] | None, typer.Option(help="Only this network; may be repeated.")] = None,
    fold: Annotated[list[int] | None, typer.Option(help="Hold out this fold; may be repeated.")] = None,
    seed: Annotated[list[int] | None, typer.Option(help="Begin with this seed; may be repeated.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    threads: Annotated[int, typer.Option(min=1, help="CPU threads; with one, times can be compared.")] = 1,
    report_only: Annotated[bool, typer.Option("--report-only", help="Train nothing.")] = False,
    docs: Annotated[Path | None, typer.Option(help="Another folder for the page, its table and its pictures.")] = None,
    export: Annotated[Path | None, typer.Option(help="Folder for the cards of the small networks.")] = None,
) -> None:
    """Train all networks by one protocol and compare them; call it again to continue."""
    from .benchmark import choose_runs, run_benchmark
    from .benchmark_cards import export_cards
    from .benchmark_config import read_benchmark
    from .benchmark_report import write_report

    chosen = read_benchmark(recipe)
    folder = output or Path("runs") / chosen.name
    failed = 0
    runs = () if report_only else choose_runs(chosen, network, fold, seed)
    for one, error in run_benchmark(chosen, runs, folder, device=device, threads=threads):
        print(f"{one}: {error or 'finished'}", flush=True)
        failed += error is not None
        write_report(chosen, folder)
    written = write_report(chosen, folder, docs)
    print("written:", ", ".join(map(str, written)) or "nothing, for no training is finished")
    for card in export_cards(chosen, folder, export) if export else ():
        print(f"{card.name}  sha256 {card.sha256}")
    if failed:
        raise MedzooError(f"{failed} of {len(runs)} trainings have failed, see above; call it again to continue.")
