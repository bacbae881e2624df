"""``medzoo segment``: from scans to labels."""

from __future__ import annotations

import time
import traceback
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from napari_medzoo.cli.options import (
    BiasField,
    Device,
    Flair,
    Overwrite,
    Pdw,
    Scans,
    T1w,
    T1wgd,
    T2w,
    given,
    modality_key,
    read_study,
    with_bias_field,
)
from napari_medzoo.cli.show import follow, say, table
from napari_medzoo.errors import MedzooError

if TYPE_CHECKING:
    from napari_medzoo.cards import ModelCard
    from napari_medzoo.cli.cases import Case
    from napari_medzoo.labels import Segmentation
    from napari_medzoo.study import Study


@dataclass(frozen=True)
class Options:
    """What holds for every case of one call."""

    card: ModelCard
    grid: str | None
    device: str
    backend: str
    precision: str
    threads: int | None
    overwrite: bool
    report: bool


def segment(
    scans: Scans = None,
    *,
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", metavar="FILE", help="The label file; its ending decides the format. Or a folder."
        ),
    ],
    model: Annotated[str, typer.Option("--model", "-m", metavar="NAME", help="A model's name or card.")] = "structures",
    t1w: T1w = None,
    t2w: T2w = None,
    flair: Flair = None,
    pdw: Pdw = None,
    t1wgd: T1wgd = None,
    grid: Annotated[
        str | None,
        typer.Option(metavar="MODALITY", help="The scan whose grid the labels lie on [default: the model's first]."),
    ] = None,
    bias_field: BiasField = None,
    device: Annotated[Device, typer.Option(help="Where the network runs.")] = Device.auto,
    backend: Annotated[str, typer.Option(metavar="NAME", help="torch, openvino, or auto for the fastest.")] = "auto",
    precision: Annotated[str, typer.Option(metavar="NAME", help="The back end's arithmetic, or auto.")] = "auto",
    threads: Annotated[int | None, typer.Option(min=1, metavar="N", help="Processor threads [default: all].")] = None,
    report: Annotated[bool, typer.Option("--report", help="Write an HTML report with pictures too.")] = False,
    overwrite: Overwrite = False,
) -> None:
    """Label the structures of one study, or of many.

    Each scan's modality is guessed from its name; say it with --t1w, --flair ... where the name does not tell.
    The labels lie on the grid of the study's own scan. Beside labels.nii.gz come labels.tsv (names and
    colours), labels_volumes.csv (mL per structure), labels_provenance.json (model, versions, settings, inputs, times)
    and with --report labels_report.html. Nothing that exists is replaced without --overwrite.

    \b
      medzoo segment T1.nii.gz --output labels.nii.gz
      medzoo segment --t1w a.mgz --flair b.nrrd --model lesions-t1-t2-flair --output lesions.nii.gz
      medzoo segment sub-01/anat --output labels.nii.gz --report

    Where --output ends in an image format, all that is given is ONE study. Else --output is a folder and what
    is given is MANY: files of one folder that differ only in the modality's name are one case, subfolders are
    searched, label files left out. Or give a table (.csv, .tsv) with one row per case and columns t1w, t2w,
    flair ... or scan, and if you like case and output. A case that fails does not stop the others.

    \b
      medzoo segment scans/ --output results/
      medzoo segment cases.csv --model structures --output results/

    Research use only, not for diagnosis.
    """
    from napari_medzoo.cards import load_card
    from napari_medzoo.cli.cases import TABLES, Case, find_cases
    from napari_medzoo.io import suffix_of
    from napari_medzoo.io.formats import format_for_writing

    named = given(t1w, t2w, flair, pdw, t1wgd)
    paths = list(scans or ())
    if not paths and not named:
        raise typer.BadParameter("name at least one scan, for example: T1.nii.gz, or --t1w scan.nii.gz.")
    card = load_card(model)
    recipe = with_bias_field(card.preprocessing, bias_field)
    if recipe != card.preprocessing:
        say(f"Model '{card.name}' was trained {'without' if bias_field else 'with'} N4: its labels may be worse.")
    options = Options(
        card.model_copy(update={"preprocessing": recipe}),
        modality_key(grid) if grid else None,
        str(device),
        backend,
        precision,
        threads,
        overwrite,
        report,
    )
    if suffix_of(output) and not output.is_dir():
        if any(path.suffix.lower() in TABLES for path in paths):
            raise MedzooError(f"{paths[0]} is a table of cases, so --output must be a folder, not {output}.")
        segment_case(Case(output.name, output, tuple(paths), named), options)
        return
    if output.suffix and not output.is_dir():
        format_for_writing(output)  # says which endings there are
    if named and paths:
        raise MedzooError(
            "Scans given by --t1w, --t2w ... are one study; let --output end in .nii.gz or another format."
        )
    cases = find_cases(paths, output) if paths else [_alone(named, output)]
    failed = _segment_all(cases, options)
    if failed:
        raise typer.Exit(1)


def _alone(named: dict[str, Path], output: Path) -> Case:
    from napari_medzoo.cli.cases import ENDING, Case
    from napari_medzoo.io import stem_of

    name = stem_of(next(iter(named.values())))
    return Case(name, output / f"{name}{ENDING}", (), named)


def segment_case(case: Case, options: Options) -> Segmentation:
    """Segment one study and write everything that belongs to the result.

    Raises
    ------
    MedzooError
        Before any work where an output exists, the model does not fit or a file cannot be read.
    """
    from napari_medzoo.cli.outputs import refuse_existing, write_result
    from napari_medzoo.inference import predict
    from napari_medzoo.inference.provenance import timing_summary

    refuse_existing(case.output, options.report, options.overwrite)
    clock = time.perf_counter()
    study = read_study(list(case.scans), dict(case.modalities))
    reading = time.perf_counter() - clock
    chosen = options.card.choose(study)
    _say_choice(study, chosen, options.card)
    grid = options.grid or chosen[0]
    if grid != chosen[0]:
        study[grid]  # raises for a modality that is not there, before any work
    steps = predict(
        study,
        options.card,
        grid=grid,
        device=options.device,
        backend=options.backend,
        precision=options.precision,
        threads=options.threads,
    )
    segmentation = follow(steps, case.name)
    timings = {"Reading": round(reading, 3), **segmentation.provenance["timings_s"]}
    times = timing_summary(timings)
    segmentation = replace(segmentation, provenance={**segmentation.provenance, "times": times, "timings_s": timings})
    write_result(
        segmentation,
        study,
        case.output,
        like=study[grid].file,
        overwrite=options.overwrite,
        report=options.report,
    )
    for warning in segmentation.warnings:
        say(f"Warning: {warning}")
    say(times)
    present = sum(volume > 0 for volume in segmentation.volumes_ml().values())
    total = sum(segmentation.volumes_ml().values())
    typer.echo(f"{case.output}: {present} of {len(segmentation.table.foreground)} structures, {total:.0f} mL in all")
    return segmentation


def _say_choice(study: Study, chosen: tuple[str, ...], card: ModelCard) -> None:
    """Tell which scans a model of several inputs leaves aside; for one of one input the result carries a warning."""
    from napari_medzoo.study import describe

    aside = [key for key in study.modalities if key not in chosen]
    if aside and len(card.modalities) > 1:
        say(f"Model '{card.name}' uses the {describe(chosen)} ; not used: {describe(aside)}.")


def _segment_all(cases: list[Case], options: Options) -> int:
    """Segment every case, print what became of each, and return how many failed."""
    rows = [("Case", "Result", "Labels or reason")]
    for number, case in enumerate(cases, start=1):
        say(f"[{number}/{len(cases)}] {case.name}")
        try:
            segment_case(case, options)
            rows.append((case.name, "done", case.output.name))
        except MedzooError as error:
            say(f"Error: {error}")
            rows.append((case.name, "failed", str(error)))
        except Exception as error:  # a defect in one case must not cost the night's other cases
            say(traceback.format_exc())
            rows.append((case.name, "failed", f"{type(error).__name__}: {error}"))
    failed = sum(row[1] == "failed" for row in rows)
    typer.echo(table(rows))
    typer.echo(f"{len(cases) - failed} of {len(cases)} cases done, {failed} failed.")
    return failed
