"""References for patients of whom only the lesions were drawn: everything else as a model labels it.

A network that learns all classes at once needs a label in every voxel. Where raters drew nothing but lesions, a card
that was learnt from synthetic studies says what the rest is (pseudo-labels: Lee 2013), and the raters what is a lesion.
"""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from napari_medzoo.cards import ModelCard, load_card
from napari_medzoo.errors import MedzooError
from napari_medzoo.inference import predict
from napari_medzoo.io import replacing, write_segmentation
from napari_medzoo.labels import Segmentation
from napari_medzoo.progress import Steps, run
from napari_medzoo.space import require_same_grid

from .case_lists import LABEL
from .config import data_folder
from .lesion_validation import PATIENT, read_patient

LESIONS, WHITE_MATTER = 4, 3
"""In the table ``mrbrains``."""


def complete(labels: Segmentation, drawn: Segmentation) -> Segmentation:
    """The labels with the lesions that were drawn; what is a lesion for the labels alone becomes white matter.

    Parameters
    ----------
    labels : Segmentation
        Of the table ``mrbrains``.
    drawn : Segmentation
        Any value but 0 is a lesion.

    Raises
    ------
    MedzooError
        If the two are on different grids.
    """
    require_same_grid(labels.grid, drawn.grid, "the labels", "the lesions that were drawn")
    data = np.where(labels.data == LESIONS, WHITE_MATTER, labels.data)
    return replace(labels, data=np.where(drawn.data != 0, LESIONS, data).astype(labels.data.dtype))


def complete_patient(card: ModelCard, data: Path, folder: Path, threads: int | None = None) -> Steps[Path]:
    """Complete the reference of the patient of `lesion_validation`, and write a table for the data set kind ``table``.

    Parameters
    ----------
    card : ModelCard
        That has not seen the patient.
    data : pathlib.Path
        Folder of the real scans.
    folder : pathlib.Path
        Where ``labels.nii.gz`` and ``cases.csv`` are written.
    threads : int, optional

    Yields
    ------
    Progress

    Returns
    -------
    pathlib.Path
        The table.

    Raises
    ------
    MedzooError
        If the card does not label the eight classes of MRBrainS18, or the patient is absent.
    """
    if card.label_scheme != "mrbrains":
        raise MedzooError(
            f"Model '{card.name}' labels '{card.label_scheme}'; one of the eight classes 'mrbrains' is needed."
        )
    study, drawn = read_patient(data, card.modalities)
    labels = yield from predict(study, card, threads=threads)
    folder.mkdir(parents=True, exist_ok=True)
    reference = folder / "labels.nii.gz"
    write_segmentation(complete(labels, drawn), reference, overwrite=True)
    table = folder / "cases.csv"
    with replacing(table) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["name", *card.modalities, LABEL])
        files = [study[modality].file for modality in card.modalities]
        assert None not in files  # all were read from the disk
        writer.writerow([Path(PATIENT).name, *(file.path.resolve() for file in files if file), reference.resolve()])
    return table


def complete_labels(
    model: Annotated[
        str, typer.Argument(help="A model's name or the path of its card: one that has not seen the patient.")
    ],
    output: Annotated[Path, typer.Option(help="Folder for the labels and the table that names them.")],
    threads: Annotated[int | None, typer.Option(help="CPU threads; default all.")] = None,
) -> None:
    """Make the patient whose lesions three raters drew a case to train on: all else as a model labels it."""
    print(run(complete_patient(load_card(model), data_folder(), output, threads)))
