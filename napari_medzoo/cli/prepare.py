"""``medzoo prepare``: the volumes as a network sees them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from napari_medzoo.cli.options import (
    BiasField,
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
from napari_medzoo.cli.show import follow, say
from napari_medzoo.errors import MedzooError

if TYPE_CHECKING:
    from napari_medzoo.preprocess import Prepared, Preprocessing

TRANSFORMS = "transforms.json"


def prepare(
    scans: Scans = None,
    *,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="The folder for the volumes.")],
    t1w: T1w = None,
    t2w: T2w = None,
    flair: Flair = None,
    pdw: Pdw = None,
    t1wgd: T1wgd = None,
    reference: Annotated[
        str | None,
        typer.Option(metavar="MODALITY", help="What the others are aligned to [default: the T1w, else the first]."),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option("--model", "-m", metavar="NAME", help="Prepare as this model does [default: plain recipe]."),
    ] = None,
    recipe: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A recipe of your own (YAML: orientation, spacing, align, ...).")
    ] = None,
    bias_field: BiasField = None,
    overwrite: Overwrite = False,
) -> None:
    """Align, resample and normalise the scans of one study.

    Writes one NIfTI file per modality (t1w.nii.gz, flair.nii.gz ...), all on one grid, and transforms.json:
    per modality the 4×4 matrix that takes RAS+ millimetres of the reference scan to RAS+ millimetres of that
    modality's raw file. The plain recipe: rigid co-registration, RAS axes, 1 mm voxels, cut to the head,
    intensities between two percentiles.

    \b
      medzoo prepare T1.nii.gz T2.nii.gz FLAIR.nii.gz --output ready
      medzoo prepare --t1w a.nii.gz --flair b.nii.gz --reference flair --output ready
      medzoo prepare T1.nii.gz --model structures --output ready
    """
    from napari_medzoo.inference.provenance import timing_summary
    from napari_medzoo.io import replacing, write_volume
    from napari_medzoo.preprocess import prepare as prepare_study

    settings = with_bias_field(_recipe(model, recipe), bias_field)
    named = given(t1w, t2w, flair, pdw, t1wgd)
    wanted = modality_key(reference) if reference else None
    study = read_study(list(scans or ()), named)
    files = {key: output / f"{key}.nii.gz" for key in study.modalities}
    for path in (*files.values(), output / TRANSFORMS):
        if path.exists() and not overwrite:
            raise MedzooError(f"{path} exists already; add --overwrite to replace it, or choose another --output.")
    if wanted:
        study[wanted]  # raises for a modality that is not there
    elif "t1w" in study.volumes:
        wanted = "t1w"
    prepared: Prepared = follow(prepare_study(study, settings, study.modalities, reference=wanted))
    output.mkdir(parents=True, exist_ok=True)
    with replacing(output / TRANSFORMS, overwrite) as temporary:
        # The volumes beside it are moved into place together with it.
        for key, path in files.items():
            write_volume(prepared.volume(key), temporary.with_name(path.name))
        matrices = {key: matrix.tolist() for key, matrix in prepared.transforms.items()}
        temporary.write_text(json.dumps(matrices, indent=2) + "\n", encoding="utf-8")
    for warning in (*study.warnings, *prepared.warnings):
        say(f"Warning: {warning}")
    say(timing_summary(prepared.timings))
    typer.echo(f"{output}: {', '.join(path.name for path in files.values())} ({prepared.grid}) and {TRANSFORMS}")


def _recipe(model: str | None, recipe: Path | None) -> Preprocessing:
    import yaml
    from pydantic import ValidationError

    from napari_medzoo.cards import load_card
    from napari_medzoo.preprocess import Preprocessing

    if model and recipe:
        raise typer.BadParameter("give --model or --recipe, not both.")
    if model:
        return load_card(model).preprocessing
    if recipe is None:
        return Preprocessing()
    try:
        return Preprocessing.model_validate(yaml.safe_load(recipe.read_text(encoding="utf-8")))
    except OSError as error:
        raise MedzooError(f"{recipe}: the recipe cannot be read ({error.strerror}).") from error
    except (ValidationError, yaml.YAMLError, UnicodeDecodeError) as error:
        first = error.errors()[0] if isinstance(error, ValidationError) else None
        what = f"{'.'.join(map(str, first['loc']))}: {first['msg']}" if first else "YAML expected"
        raise MedzooError(f"{recipe}: not a preparation recipe ({what}).") from error
