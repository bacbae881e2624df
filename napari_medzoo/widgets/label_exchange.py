"""Names and colours of a labels layer from and to files of other programs."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from napari.utils.notifications import show_error, show_info
from qtpy.QtWidgets import QFileDialog, QWidget

from napari_medzoo.errors import MedzooError
from napari_medzoo.label_files import read_label_table, write_label_table
from napari_medzoo.widgets.label_display import use_table
from napari_medzoo.widgets.label_names import table_of

if TYPE_CHECKING:
    from napari.layers import Labels

EXPORTS = {
    "BIDS table (*.tsv)": ("bids", ".tsv"),
    "FreeSurfer colour table (*.txt)": ("freesurfer", ".txt"),
    "ITK-SNAP labels (*.label)": ("itksnap", ".label"),
    "nnU-Net dataset (*.json)": ("nnunet", ".json"),
}
"""What the dialog offers → form of `write_label_table` and ending."""


def read_names(layer: Labels, path: Path, present: Collection[int]) -> None:
    """Give a layer the names and colours of a file; says which of the values `present` it leaves without a name."""
    try:
        table = read_label_table(path)
    except MedzooError as error:
        show_error(str(error))
        return
    use_table(layer, table)
    unnamed = sorted({index for index in present if index > 0} - set(table.indices))
    if unnamed:
        show_info(f"{path.name} does not name {', '.join(map(str, unnamed))}; they are shown in magenta.")


def write_names(layer: Labels, path: Path, form: str | None, present: Collection[int]) -> None:
    """Write a layer's names and colours, values that are `present` without a name included."""
    try:
        write_label_table(table_of(layer, present), path, form)
    except MedzooError as error:
        show_error(str(error))


def ask_names_file(parent: QWidget) -> Path | None:
    """Which file to read names and colours from."""
    name, _ = QFileDialog.getOpenFileName(parent, "Names and colours (.tsv, .txt, .label, dataset.json)")
    return Path(name) if name else None


def ask_names_target(parent: QWidget) -> tuple[Path, str | None] | None:
    """Where to write names and colours, and in which form."""
    name, chosen = QFileDialog.getSaveFileName(parent, "Export names and colours", "dseg.tsv", ";;".join(EXPORTS))
    if not name:
        return None
    form, ending = EXPORTS.get(chosen, (None, ""))
    path = Path(name)
    return (path if path.suffix else path.with_suffix(ending)), form
