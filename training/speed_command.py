"""The command `medzoo-train reference-speed`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from napari_medzoo.errors import MedzooError


def reference_speed(
    network: Annotated[list[str] | None, typer.Option(help="Only this network; may be repeated.")] = None,
    size: Annotated[int, typer.Option(min=32, help="Voxels of the input along each axis, a multiple of 16.")] = 64,
    rounds: Annotated[int, typer.Option(min=1, help="Passes of each network that count.")] = 7,
    page: Annotated[Path | None, typer.Option(help="Also write the table to this page (Markdown).")] = None,
) -> None:
    """Compare our networks with MONAI's, by turns: time and memory. For an idle computer, as in taskset -c 1."""
    from napari_medzoo.io import replacing

    from .reference_speed import PAIRS, compare, report

    unknown = [name for name in network or () if name not in PAIRS]
    if unknown:
        raise MedzooError(f"MONAI has no '{unknown[0]}' to compare with; choose from: {', '.join(PAIRS)}.")
    if size % 16:
        raise MedzooError(f"Expected a size that is a multiple of 16, got {size}.")
    results = []
    for name in network or PAIRS:
        print(name, flush=True)
        results += compare(name, (size, size, size), rounds)
    text = report(results, size, rounds)
    print(text)
    if page:
        with replacing(page) as temporary:
            temporary.write_text(text, encoding="utf-8")
