"""Figures that a command leaves beside a training, to be read by people and programs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from napari_medzoo.io import replacing


def write_report(path: Path, report: dict[str, Any]) -> Path:
    """Write a report as YAML; returns `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        temporary.write_text(yaml.safe_dump(report, sort_keys=False, allow_unicode=True), encoding="utf-8")
    return path
