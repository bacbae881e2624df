"""The command line as a whole: its subcommands, and what an error or Ctrl-C becomes."""

from __future__ import annotations

import signal
import sys
from types import FrameType
from typing import Any

import typer
from typer.core import TyperGroup

from napari_medzoo.cli.demo import demo
from napari_medzoo.cli.evaluate import evaluate
from napari_medzoo.cli.features import features
from napari_medzoo.cli.lesions import lesions
from napari_medzoo.cli.models import models
from napari_medzoo.cli.prepare import prepare
from napari_medzoo.cli.segment import segment
from napari_medzoo.cli.show import say
from napari_medzoo.cli.surfaces import surfaces
from napari_medzoo.cli.window import open_window
from napari_medzoo.errors import MedzooError

HELP = """\
Named, coloured and scored 3D labels of the brain from a patient's MR study.

Research use only, not for diagnosis.

\b
  medzoo demo                                            the whole way on embedded scans
  medzoo models                                          what can be run
  medzoo segment T1.nii.gz --output labels.nii.gz        labels, volumes and provenance
  medzoo evaluate labels.nii.gz reference.nii.gz         Dice, HD95, ASSD, NSD, volumes
  medzoo prepare T1.nii.gz FLAIR.nii.gz --output ready   aligned and normalised volumes
  medzoo features T1.nii.gz --output seen                what the network sees
  medzoo lesions labels.nii.gz --output lesions.tsv      volume, place and region of each lesion
  medzoo surfaces labels.nii.gz --output meshes          STL, PLY or OBJ of each structure
  medzoo open T1.nii.gz                                  the same in napari

'medzoo COMMAND --help' explains each. Exit codes: 0 done, 1 an error (one sentence on stderr) or a failed
case, 2 a mistake in the command, 130 cancelled with Ctrl-C.
"""


class Commands(TyperGroup):
    """Turns errors that are meant for the person into one sentence and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        """Run the chosen subcommand."""
        try:
            return super().invoke(ctx)
        except MedzooError as error:
            say(f"Error: {error}")
            raise typer.Exit(1) from error
        except KeyboardInterrupt as interrupt:
            say("Cancelled; nothing was written that is not complete.")
            raise typer.Exit(130) from interrupt


app = typer.Typer(
    name="medzoo",
    cls=Commands,
    help=HELP,
    no_args_is_help=True,
    # Plain help keeps the examples as they are written; a defect keeps Python's own traceback.
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
app.command()(segment)
app.command()(evaluate)
app.command()(prepare)
app.command()(models)
app.command()(features)
app.command()(lesions)
app.command()(surfaces)
app.command()(demo)
app.command("open")(open_window)


@app.callback()
def _main() -> None:
    """Keep `HELP` as the help of the whole."""


def _end(signal_number: int, frame: FrameType | None) -> None:
    sys.exit(128 + signal_number)


def main() -> None:
    """Run ``medzoo`` with the arguments of the process and exit with its code."""
    # A job scheduler's SIGTERM leaves as tidily as Ctrl-C: temporary files are removed on the way out.
    signal.signal(signal.SIGTERM, _end)
    app()
