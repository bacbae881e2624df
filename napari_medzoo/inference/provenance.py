"""What a result came from, so that anyone can make it again."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from napari_medzoo.cards import ModelCard, sha256
from napari_medzoo.inference.plan import Plan
from napari_medzoo.preprocess import Prepared
from napari_medzoo.space import Grid
from napari_medzoo.study import Study, Volume

NOTICE = "Research use only, not for diagnosis."

PACKAGES = ("napari-medzoo", "torch", "openvino", "numpy", "scipy", "SimpleITK", "nibabel")

STEPS = {
    "align": "aligning",
    "bias_correction": "correcting bias (N4)",
    "head_crop": "finding the head",
    "resample": "resampling",
    "brain_mask": "masking the brain",
    "normalise": "scaling intensities",
}
"""Steps of the preparation as ``timings_s`` has them → words for a sentence."""


def timing_summary(timings: Mapping[str, float]) -> str:
    """Where the time went, in one sentence, the longest step first; empty where nothing was timed.

    Parameters
    ----------
    timings : mapping of str to float
        ``provenance["timings_s"]``: seconds of each stage. Steps under a twentieth of a second are not told.
    """
    if not timings:
        return ""
    told = sorted((step for step in timings if timings[step] >= 0.05), key=lambda step: -timings[step])
    parts = ", ".join(f"{STEPS.get(step, step.lower())} {timings[step]:.1f} s" for step in told)
    return f"Took {sum(timings.values()):.1f} s{f': {parts}' if parts else ''}."


def provenance(
    study: Study,
    card: ModelCard,
    plan: Plan,
    prepared: Prepared,
    modalities: Sequence[str],
    grid: str,
    timings: Mapping[str, float],
) -> dict[str, Any]:
    """The record of one prediction, JSON-serialisable.

    Parameters
    ----------
    modalities : sequence of str
        The volumes that were used.
    grid : str
        The modality on whose grid the result lies.
    timings : mapping of str to float
        Seconds of each stage.
    """
    return {
        "notice": NOTICE,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "model": {
            "name": card.name,
            "version": card.version,
            "sha256": card.sha256,
            "architecture": card.architecture,
            "label_scheme": card.label_scheme,
            "licence": card.licence,
        },
        "study": study.name,
        "inputs": [{"modality": key, **_describe(study[key])} for key in modalities],
        "grid": grid,
        "reference": prepared.reference,
        "prepared_grid": _grid(prepared.grid),
        "transforms": {key: matrix.tolist() for key, matrix in prepared.transforms.items()},
        "alignment": {key: str(found) for key, found in prepared.alignments.items()},
        "recipe": card.preprocessing.model_dump(mode="json"),
        "plan": plan.model_dump(mode="json"),
        "timings_s": {stage: round(float(seconds), 3) for stage, seconds in timings.items()},
        "versions": {"python": platform.python_version(), **_versions()},
        "platform": f"{platform.system()} {platform.machine()}",
    }


def _describe(volume: Volume) -> dict[str, Any]:
    path = volume.file.path if volume.file else None
    if path is not None and path.exists():
        digest, of = _file_digest(path, path.stat().st_mtime_ns), "file"
    else:
        digest, of = hashlib.sha256(volume.data.tobytes()).hexdigest(), "voxels"
    return {"path": str(path) if path else None, "sha256": digest, "sha256_of": of, "grid": _grid(volume.grid)}


@cache
def _file_digest(path: Path, changed: int) -> str:
    """Of a file, or of a DICOM folder's files in order of their names."""
    if path.is_file():
        return sha256(path)
    return hashlib.sha256("".join(sha256(f) for f in sorted(path.iterdir()) if f.is_file()).encode()).hexdigest()


def _grid(grid: Grid) -> dict[str, Any]:
    return {"shape": list(grid.shape), "affine": grid.affine.tolist(), "axis_codes": grid.axis_codes}


@cache
def _versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
