"""The command `medzoo-train reference-speed`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from napari_medzoo.errors import MedzooError


def reference_speed(
    network: Annotated[list[str] | None, typer.Option(help="Only this network; may be repeated.")] = None,
    size: Annotated[int, typer.Option(min=32, help="Voxels of the input along each axis, a multiple of 16.")] = 64,
    rounds: Annotated[int, typer.Option(min=1, help="Passes of each network that count.")] = 7,
    memory: Annotated[bool, typer.Option(help="Measure memory too, in processes of their own.")] = True,
    output: Annotated[Path | None, typer.Option(help="Also write the figures to this YAML file.")] = None,
) -> None:
    """Compare our networks with MONAI's, by turns: time and memory. For an idle computer, as in taskset -c 1."""
    import torch

    from .reference_speed import HEADING, PAIRS, TOLERANCE, as_row, compare
    from .reports import write_report

    unknown = [name for name in network or () if name not in PAIRS]
    if unknown:
        raise MedzooError(f"MONAI has no '{unknown[0]}' to compare with; choose from: {', '.join(PAIRS)}.")
    if size % 16:
        raise MedzooError(f"Expected a size that is a multiple of 16, got {size}.")
    results = []
    print(HEADING)
    for name in network or PAIRS:
        found = compare(name, (size, size, size), rounds, memory)
        print("\n".join(map(as_row, found)), flush=True)
        results += found
    if output:
        report = {"size": size, "rounds": rounds, "torch": str(torch.__version__), "threads": 1}
        print(write_report(output, {**report, "results": [asdict(one) for one in results]}))
    worse = [f"{one.name} ({one.kind})" for one in results if one.worse]
    print(f"More than {TOLERANCE - 1:.0%} worse than MONAI's: {', '.join(worse) or 'none'}.")
