"""Files that the person chooses in a dialog or drops on a widget."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qtpy.QtWidgets import QFileDialog, QWidget

LABEL_ENDINGS = ".nii.gz, .mgz, .nrrd, .mha"


def ask_files(parent: QWidget) -> list[Path]:
    """Scans of one person; empty where the person thought better of it."""
    names, _ = QFileDialog.getOpenFileNames(parent, "Scans of one person")
    return [Path(name) for name in names]


def ask_folder(parent: QWidget) -> list[Path]:
    """One folder in a list, or none."""
    name = QFileDialog.getExistingDirectory(parent, "Folder of one study or one DICOM series")
    return [Path(name)] if name else []


def ask_labels_file(parent: QWidget, title: str, start: Path) -> Path | None:
    """Where to save labels; the dialog has asked before a file is replaced."""
    name, _ = QFileDialog.getSaveFileName(parent, f"{title} ({LABEL_ENDINGS})", str(start))
    return Path(name) if name else None


def paths_of(mime: Any) -> list[Path]:
    """Local files and folders in dropped data."""
    return [Path(url.toLocalFile()) for url in mime.urls() if url.isLocalFile()]
