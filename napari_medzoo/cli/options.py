"""Arguments and options that several subcommands share."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from napari_medzoo.preprocess import Preprocessing
    from napari_medzoo.study import Study


class Device(StrEnum):
    """Where a network runs."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"
    mps = "mps"


Scans = Annotated[
    list[Path] | None,
    typer.Argument(metavar="[SCAN ...]", help="Scans of one study (NIfTI, Analyze, MGH, NRRD, MHA) or a folder."),
]
T1w = Annotated[Path | None, typer.Option("--t1w", metavar="FILE", help="The T1w scan, whatever its name says.")]
T2w = Annotated[Path | None, typer.Option("--t2w", metavar="FILE", help="The T2w scan.")]
Flair = Annotated[Path | None, typer.Option("--flair", metavar="FILE", help="The FLAIR scan.")]
Pdw = Annotated[Path | None, typer.Option("--pdw", metavar="FILE", help="The PDw scan.")]
T1wgd = Annotated[Path | None, typer.Option("--t1wgd", metavar="FILE", help="The T1w scan with contrast agent.")]
BiasField = Annotated[
    bool | None,
    typer.Option("--bias-field/--no-bias-field", help="Correct slow shading (N4), or not [default: as in the recipe]."),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace existing output.")]


def given(
    t1w: Path | None, t2w: Path | None, flair: Path | None, pdw: Path | None, t1wgd: Path | None
) -> dict[str, Path]:
    """The scans whose modality was said, by modality."""
    named = {"t1w": t1w, "t2w": t2w, "flair": flair, "pdw": pdw, "t1wgd": t1wgd}
    return {key: path for key, path in named.items() if path is not None}


def modality_key(text: str) -> str:
    """A modality as typed (``T1w``, ``flair``) as its key.

    Raises
    ------
    typer.BadParameter
        If there is none called so.
    """
    from napari_medzoo.study import MODALITIES

    key = text.lower()
    if key not in MODALITIES:
        raise typer.BadParameter(f"'{text}' is no modality; choose one of: {', '.join(MODALITIES)}.")
    return key


def with_bias_field(recipe: Preprocessing, wanted: bool | None) -> Preprocessing:
    """The recipe with N4 switched on (as it has it, else by the defaults) or off; None leaves it as it is."""
    from napari_medzoo.preprocess import BiasCorrection

    if wanted is None:
        return recipe
    step = (recipe.bias_correction or BiasCorrection()) if wanted else None
    return recipe.model_copy(update={"bias_correction": step})


def read_study(scans: list[Path], modalities: dict[str, Path]) -> Study:
    """Read the study, and say which scan was taken for what, and why."""
    from napari_medzoo.cli.show import say
    from napari_medzoo.io import LEFT_OUT, load_study
    from napari_medzoo.study import describe

    if not scans and not modalities:
        raise typer.BadParameter("name at least one scan, for example: T1.nii.gz, or --t1w scan.nii.gz.")
    study = load_study(scans, modalities)
    for key, volume in study.volumes.items():
        say(f"{describe([key])}: {study.reasons.get(key, volume.name)}")
    if LEFT_OUT in study.reasons:
        say(study.reasons[LEFT_OUT])
    return study
