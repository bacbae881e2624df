"""``medzoo demo``: the whole way on the brains that come with the installation."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from napari_medzoo.cli.show import follow, say

if TYPE_CHECKING:
    from napari_medzoo.cards import ModelCard
    from napari_medzoo.labels import Segmentation
    from napari_medzoo.study import Study


@dataclass(frozen=True)
class Shown:
    """One brain of the demo: the study, its labels and, where there is one, the reference."""

    study: Study
    segmentation: Segmentation
    reference: Segmentation | None


def demo(
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Where the results go.")] = Path(
        "demo-output"
    ),
    model: Annotated[str, typer.Option("--model", "-m", metavar="NAME", help="A model for T1w scans.")] = "structures",
    window: Annotated[
        bool | None,
        typer.Option(
            "--window/--no-window", help="Leave napari open on the result [default: where there is a display]."
        ),
    ] = None,
) -> None:
    """Segment, score and show two embedded real brains.

    The MNI152 template is scored on grey and white matter against its own tissue maps; for the single subject
    (MyConnectome) only volumes are given. Labels, volumes, scores, a report and screenshots go to demo-output/
    (replaced each time). With a display napari stays open on the single subject instead of screenshots.
    Nothing is downloaded.

    \b
      medzoo demo
      medzoo demo --no-window --output /tmp/demo

    Research use only, not for diagnosis.
    """
    from napari_medzoo import screen
    from napari_medzoo.cards import load_card
    from napari_medzoo.samples import SAMPLES

    missing = screen.missing_packages()
    if not missing and not screen.has_display():
        # In a process of its own: Qt does not outlive the screen it was started on.
        command = [sys.executable, "-m", "napari_medzoo", "demo", "--output", str(output), "--model", model]
        raise typer.Exit(screen.run([*command, "--no-window"]))
    card = load_card(model)
    card.check_weights()
    shown = [_segment(key, card, output) for key in SAMPLES]
    if missing:
        say(f"No pictures: napari's window needs system libraries. Type: {screen.apt_line(missing)}")
    else:
        _show(shown, output, stay=screen.has_display() if window is None else window)
    typer.echo(f"Everything is in {output}. Research use only, not for diagnosis.")


def _segment(key: str, card: ModelCard, output: Path) -> Shown:
    """Segment (and where possible score) one sample and write everything about it to `output`."""
    from napari_medzoo.cli.outputs import write_result
    from napari_medzoo.inference import predict
    from napari_medzoo.samples import SAMPLES, load_sample, sample_reference

    say(f"{SAMPLES[key].title}")
    study = load_sample(key)
    segmentation = follow(predict(study, card), key)
    for warning in segmentation.warnings:
        say(f"Warning: {warning}")
    reference = sample_reference(key) if SAMPLES[key].reference else None
    report = None
    if reference is not None:
        from napari_medzoo.evaluate import comparable, evaluate

        report = evaluate(*comparable(segmentation, reference))
        typer.echo(f"\n{key}, scored against {SAMPLES[key].reference}:\n{report.to_table()}\n")
    path = output / f"{key}_dseg.nii.gz"
    like = study["t1w"].file
    write_result(
        segmentation, study, path, like=like, overwrite=True, report=True, evaluation=report, reference=reference
    )
    if report is not None:
        from napari_medzoo.io import replacing

        for ending, text in (("csv", report.to_csv()), ("json", report.to_json())):
            with replacing(output / f"{key}_scores.{ending}") as temporary:
                temporary.write_text(text, encoding="utf-8")
    typer.echo(f"{path}: {sum(segmentation.volumes_ml().values()):.0f} mL labelled")
    return Shown(study, segmentation, reference)


def _show(shown: list[Shown], output: Path, stay: bool) -> None:
    """Leave the single subject open in napari or, where nobody looks, take pictures of every brain."""
    # The plugin, and with it Qt, is imported only now.
    from napari_medzoo.widgets.demo import show

    if stay:
        last = shown[-1]
        say("napari is open on the result; close its window to end the demo.")
        show(last.study, last.segmentation, last.reference)
        return
    for brain in shown:
        folder = output / f"{brain.study.name}_screenshots"
        show(brain.study, brain.segmentation, brain.reference, folder)
        typer.echo(f"{folder}: pictures of the window and of each view")
