"""``medzoo open``: the same work in napari."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer


def open_window(
    files: Annotated[list[Path] | None, typer.Argument(metavar="[FILE ...]", help="Scans and label files.")] = None,
) -> None:
    """Open scans and labels in napari, the MedZoo panel beside them.

    \b
      medzoo open
      medzoo open T1.nii.gz labels.nii.gz

    Research use only, not for diagnosis.
    """
    # A process of its own: the command line never imports Qt.
    command = [sys.executable, "-m", "napari", *map(str, files or []), "--with", "napari-medzoo"]
    if files:
        command += ["--plugin", "napari-medzoo"]
    raise typer.Exit(subprocess.run(command, check=False).returncode)
