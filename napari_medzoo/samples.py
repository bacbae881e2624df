"""Real brains that come with the installation, so that everything can be tried without a network.

>>> study = load_sample("mni152")
>>> reference = sample_reference("mni152")
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from napari_medzoo.errors import MedzooError
from napari_medzoo.label_tables import LABEL_TABLES
from napari_medzoo.labels import Segmentation
from napari_medzoo.space import Grid
from napari_medzoo.study import Study, Volume

DATA = Path(__file__).parent / "data"

GM, WM = 2, 3
"""Indices of the table ``tissue``."""


@dataclass(frozen=True)
class Sample:
    """Where an embedded brain comes from.

    Attributes
    ----------
    title : str
        For menus.
    source, licence : str
        Who made it, and under which terms it may be passed on.
    reference : str
        What `sample_reference` gives, or ``""`` where there is none.
    """

    title: str
    source: str
    licence: str
    reference: str = ""


SAMPLES = {
    "mni152": Sample(
        title="MNI152 template (T1w, 1 mm, skull-stripped)",
        source="ICBM 152 nonlinear symmetric 2009a (Fonov et al., NeuroImage 2011), as nilearn carries it",
        licence="ICBM 152: free to use, copy and pass on with its copyright notice (McConnell BIC, MNI, McGill)",
        reference="grey and white matter: nilearn's maps of the same template, at least half of the voxel",
    ),
    "myconnectome": Sample(
        title="MyConnectome subject (T1w, 1.1 mm, full head, defaced)",
        source="OpenfMRI ds000031, sub-01 ses-006 (Poldrack et al., Nat Commun 2015), through pydeface 2.1.0",
        licence="PDDL (public domain)",
    ),
}
"""Key → where it comes from. `load_sample` gives the study itself."""


def load_sample(key: str) -> Study:
    """The embedded brain `key` as a study of one T1w volume.

    Nothing is downloaded. ``"mni152"``: ``(197, 233, 189) float32`` of 0–1, 1 mm, RAS; ``"myconnectome"``:
    ``(158, 202, 161) uint8``, 1.1 mm, LAS.

    Raises
    ------
    MedzooError
        For an unknown key.
    """
    sample = _sample(key)
    if key == "mni152":
        volume = _template("t1", "t1w")
    else:
        from napari_medzoo.io import read_volume

        volume = read_volume(DATA / "myconnectome_T1w.nii.gz", modality="t1w")
    return Study({"t1w": volume}, name=key, reasons={"t1w": f"the embedded sample '{sample.title}'"})


def sample_reference(key: str) -> Segmentation:
    """What is known about the embedded brain `key`, on its grid, in the table ``tissue``.

    For ``"mni152"`` grey (2) and white matter (3): voxels where nilearn's map of the tissue is at least 0.5
    (where both are, the larger wins). There is no cerebrospinal fluid in it, so its table has none.

    Raises
    ------
    MedzooError
        For a sample that has no reference.
    """
    if not _sample(key).reference:
        with_reference = ", ".join(name for name, sample in SAMPLES.items() if sample.reference)
        raise MedzooError(f"The sample '{key}' has no reference segmentation; choose one of: {with_reference}.")
    gray, white = _template("gm", "unknown"), _template("wm", "unknown")
    labels = np.zeros(gray.grid.shape, dtype=np.uint8)
    labels[gray.data >= 0.5] = GM
    labels[(white.data >= 0.5) & (white.data > gray.data)] = WM
    provenance = {"source": SAMPLES[key].source, "rule": SAMPLES[key].reference}
    return Segmentation(labels, gray.grid, LABEL_TABLES["tissue"].subset((GM, WM)), provenance)


def _sample(key: str) -> Sample:
    if key not in SAMPLES:
        raise MedzooError(f"There is no sample '{key}'; choose one of: {', '.join(SAMPLES)}.")
    return SAMPLES[key]


def _template(kind: str, modality: str) -> Volume:
    """The copy that nilearn carries of the MNI152 template (``"t1"``) or of its tissue map (``"gm"``, ``"wm"``)."""
    from nilearn import datasets  # 1.5 s, only when the template is wanted

    load = {
        "t1": datasets.load_mni152_template,
        "gm": datasets.load_mni152_gm_template,
        "wm": datasets.load_mni152_wm_template,
    }[kind]
    image = load(resolution=1)
    return Volume(np.asarray(image.dataobj, dtype=np.float32), Grid(image.shape, image.affine), modality)
