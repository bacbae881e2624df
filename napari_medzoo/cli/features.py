"""``medzoo features``: what the network sees."""

from __future__ import annotations

import csv
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from napari_medzoo.cli.options import Device, Flair, Overwrite, Pdw, Scans, T1w, T1wgd, T2w, given, read_study
from napari_medzoo.cli.show import follow, say, table
from napari_medzoo.errors import MedzooError

if TYPE_CHECKING:
    from napari_medzoo.inference.features import Feature

TABLE = "features.csv"


class Measure(StrEnum):
    """What channels are ranked by."""

    largest = "largest"
    spread = "spread"


def features(
    scans: Scans = None,
    *,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="DIR", help="The folder for the volumes.")
    ] = None,
    model: Annotated[str, typer.Option("--model", "-m", metavar="NAME", help="A model's name or card.")] = "structures",
    layer: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="A layer to show; may be repeated [default: the last ones]."),
    ] = None,
    count: Annotated[int, typer.Option(min=1, metavar="N", help="Features of each layer.")] = 4,
    measure: Annotated[
        Measure, typer.Option(help="Rank by the largest activation, or by the spread of all.")
    ] = Measure.largest,
    layers: Annotated[bool, typer.Option("--layers", help="Only list the layers of the model.")] = False,
    t1w: T1w = None,
    t2w: T2w = None,
    flair: Flair = None,
    pdw: Pdw = None,
    t1wgd: T1wgd = None,
    device: Annotated[Device, typer.Option(help="Where the network runs.")] = Device.auto,
    threads: Annotated[int | None, typer.Option(min=1, metavar="N", help="Processor threads [default: all].")] = None,
    overwrite: Overwrite = False,
) -> None:
    """Show what a model's network sees in a study.

    Writes the feature volumes of the network's last layers that answer most, one NIfTI file each on the grid of
    the study's own scan, named by layer and channel (decoders.0_021.nii.gz), and features.csv with their
    activations.

    \b
      medzoo features T1.nii.gz --model structures --output seen
      medzoo features T1.nii.gz --layer encoders.4 --count 8 --output seen
      medzoo features --model structures --layers
    """
    from napari_medzoo.cards import load_card
    from napari_medzoo.inference.features import features as look
    from napari_medzoo.inference.features import layers_of

    card = load_card(model)
    if layers:
        rows = [("Layer", "Channels", "Spacing in voxels", "A part of its own")]
        for one in layers_of(card):
            spacing = " × ".join(f"{step:g}" for step in one.step)
            rows.append((one.name, str(one.channels), spacing, "yes" if one.stage else ""))
        typer.echo(table(rows, numbers=(1,)))
        return
    if output is None:
        raise typer.BadParameter("say where the volumes shall go, for example: --output seen.")
    if (output / TABLE).exists() and not overwrite:
        raise MedzooError(f"{output / TABLE} exists already; add --overwrite, or choose another --output.")
    study = read_study(list(scans or ()), given(t1w, t2w, flair, pdw, t1wgd))
    steps = look(
        study, card, layers=layer or (), count=count, measure=measure.value, device=str(device), threads=threads
    )
    found = follow(steps)
    _write(found, output, overwrite)
    for warning in study.warnings:
        say(f"Warning: {warning}")
    typer.echo(f"{output}: {len(found)} features ({found[0].volume.grid}) and {TABLE}")


def _write(found: tuple[Feature, ...], output: Path, overwrite: bool) -> None:
    from napari_medzoo.io import replacing, write_volume

    names = {feature: f"{feature.layer}_{feature.channel:03d}.nii.gz" for feature in found}
    output.mkdir(parents=True, exist_ok=True)
    # The volumes beside the table are moved into place together with it.
    with (
        replacing(output / TABLE, overwrite) as temporary,
        temporary.open("w", newline="", encoding="utf-8") as file,
    ):
        rows = csv.writer(file)
        rows.writerow(("file", "layer", "channel", "largest", "spread"))
        for feature, name in names.items():
            write_volume(feature.volume, temporary.with_name(name))
            rows.writerow((name, feature.layer, feature.channel, f"{feature.largest:.6g}", f"{feature.spread:.6g}"))
