"""`medzoo-train architectures`: the page of all networks: size, receptive field, cost and speed, from the code."""

from __future__ import annotations

import inspect
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_medzoo.errors import MedzooError
from napari_medzoo.models import ARCHITECTURES
from napari_medzoo.models.geometry import Size, geometry_of

if TYPE_CHECKING:
    from torch import nn

CHANNELS, CLASSES = 2, 4
"""As in the table of the thesis' networks: two modalities, three tissues and background."""
COUNTED: Size = (64, 64, 64)
"""Input for which operations and activations are counted."""
TIMED: Size = (64, 32, 32)
"""Input for which passes are timed: the smallest that leaves every network two voxels at its bottom."""
REFERENCE = "dynunet"
"""Times are given as multiples of this network's, measured by turns with it."""

ROUNDS = 3
"""Passes of each that count; a dense network takes minutes for one."""

STATIC = (
    "network",
    "parameters",
    "receptive field",
    "GFLOP",
    "activations (MB)",
    "input sizes",
    "with padding 'same'",
)
MEASURED = ("forward", "training step")


def settings_of(name: str) -> dict[str, Any]:
    """What makes all networks comparable: outputs as large as the input, and patches of the size that is timed."""
    make = ARCHITECTURES[name]
    known = inspect.signature(make.func if isinstance(make, partial) else make).parameters
    settings: dict[str, Any] = {}
    if "padding" in known:
        settings["padding"] = "same"
    if "size" in known:
        settings["size"] = TIMED
    return settings


def static_row(name: str) -> tuple[str, ...]:
    """The columns `STATIC` of one network; built on the meta device, nothing runs."""
    import torch

    from napari_medzoo.inference.memory import activation_bytes

    from .side_by_side import gflop

    with torch.device("meta"):
        own = ARCHITECTURES[name](CHANNELS, CLASSES)
        network: nn.Module = ARCHITECTURES[name](CHANNELS, CLASSES, **settings_of(name)).eval()
    count = sum(parameter.numel() for parameter in own.parameters() if parameter.requires_grad)
    field = getattr(own, "receptive_field", None)
    return (
        f"`{name}`",
        f"{count:,}",
        " × ".join(map(str, field)) if field else "not stated",
        f"{gflop(network, CHANNELS, COUNTED):.1f}",
        f"{activation_bytes(network, CHANNELS, COUNTED) / 1e6:.0f}",
        str(geometry_of(own)),
        str(geometry_of(network)) if "padding" in settings_of(name) else "",
    )


def about(name: str) -> str:
    """What the network is and its paper: the first sentence of its file, and the settings of a preset."""
    make = ARCHITECTURES[name]
    preset = ", ".join(f"{key}={value}" for key, value in make.keywords.items()) if isinstance(make, partial) else ""
    module = inspect.getmodule(make.func if isinstance(make, partial) else make)
    first = (inspect.getdoc(module) or "").split("\n\n")[0].replace("\n", " ")
    return f"- `{name}`{f' ({preset})' if preset else ''}: {first.partition(': ')[2] or first}"


def measured_row(name: str) -> tuple[str, ...]:
    """The columns `MEASURED` of one network: times as multiples of `REFERENCE`'s, by turns with it."""
    import torch

    from .side_by_side import by_turns, forward_pass, training_step, use_one_thread

    use_one_thread()
    network, reference = (ARCHITECTURES[one](CHANNELS, CLASSES, **settings_of(one)) for one in (name, REFERENCE))
    x = torch.randn(1, CHANNELS, *TIMED)
    ratios = [by_turns(kind(network, x), kind(reference, x), ROUNDS).ratio for kind in (forward_pass, training_step)]
    return tuple(f"{ratio:.2f}" for ratio in ratios)


def table_of(page: str) -> dict[str, dict[str, str]]:
    """Network → column → text, read back from a page."""
    rows = [[cell.strip() for cell in line.strip("| ").split("|")] for line in page.splitlines() if line[:1] == "|"]
    if not rows:
        raise MedzooError("The page has no table; write it again with: medzoo-train architectures.")
    return {row[0].strip("`"): dict(zip(rows[0], row, strict=True)) for row in rows[2:]}


def page(measured: dict[str, tuple[str, ...]]) -> str:
    """The page as Markdown; `measured` has the columns `MEASURED` of the networks that were timed."""
    import torch

    counted, timed = ("×".join(map(str, size)) for size in (COUNTED, TIMED))
    heading = [*STATIC, *MEASURED]
    lines = [
        "# Architectures",
        "",
        "<!-- Written by `medzoo-train architectures`; a test compares it with the code. -->",
        "",
        f"Every network of the zoo with {CHANNELS} modalities and {CLASSES} classes. GFLOP (a multiplication and an "
        "addition are two operations) and the largest sum of activations alive at once (float32) are counted for one "
        f"forward pass on {counted} voxels, with padding 'same' where a network has it. Receptive fields are in "
        "voxels, apart from what instance or group normalisation tells of the whole input.",
        "",
        "Forward pass and training step (forward and backward, no optimiser) are multiples of the time of "
        f"`{REFERENCE}`, each measured by turns with it in one run: {timed} voxels, one CPU thread, float32, median of "
        f"{ROUNDS} rounds, torch {torch.__version__.split('+')[0]}.",
        "",
        f"| {' | '.join(heading)} |",
        f"|---|{'--:|' * 4}{'---|' * 2}{'--:|' * len(MEASURED)}",
    ]
    for name in ARCHITECTURES:
        row = (*static_row(name), *measured.get(name, ("–",) * len(MEASURED)))
        lines.append(f"| {' | '.join(row)} |")
    return "\n".join([*lines, "", "## What they are", "", *map(about, ARCHITECTURES), ""])


def architectures(
    output: Annotated[Path, typer.Option(help="The page to write (Markdown).")] = Path("docs/architectures.md"),
    network: Annotated[
        list[str] | None, typer.Option(help="Time only this network, keep the page's other times; may be repeated.")
    ] = None,
    times: Annotated[bool, typer.Option(help="Whether to measure times; else the page's are kept.")] = True,
) -> None:
    """Write the page of all networks: size, receptive field, cost and speed. For an idle computer."""
    from napari_medzoo.io import replacing

    unknown = [name for name in network or () if name not in ARCHITECTURES]
    if unknown:
        raise MedzooError(f"There is no network '{unknown[0]}'; choose from: {', '.join(ARCHITECTURES)}.")
    known = table_of(output.read_text(encoding="utf-8")) if output.exists() else {}
    measured = {name: tuple(known[name][column] for column in MEASURED) for name in ARCHITECTURES if name in known}
    for name in (network or ARCHITECTURES) if times else ():
        measured[name] = measured_row(name)
        print(f"{name}: forward {measured[name][0]}, training step {measured[name][1]} × {REFERENCE}", flush=True)
    output.parent.mkdir(parents=True, exist_ok=True)
    with replacing(output) as temporary:
        temporary.write_text(page(measured), encoding="utf-8")
    print(output)
