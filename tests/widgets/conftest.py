"""A tiny head, a tiny model with random weights (no figure is ever taken from it), and a panel in a viewer."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from napari_medzoo.cards import ModelCard, load_card
from napari_medzoo.models import ARCHITECTURES
from napari_medzoo.preprocess.recipe import Preprocessing

TINY_CHANNELS = (0, 10, 49, 16)
WIDTHS = (8, 16)


@pytest.fixture
def tiny_card(tmp_path_factory, monkeypatch) -> ModelCard:
    """Card ``tiny`` in a models folder of its own: one scan of any contrast in, three labels out."""
    return make_card(tmp_path_factory.mktemp("models"), monkeypatch, "tiny", ("any",))


@pytest.fixture
def pair_card(tiny_card, monkeypatch) -> ModelCard:
    """Card ``pair`` beside ``tiny``: needs T1w and FLAIR."""
    return make_card(tiny_card.folder, monkeypatch, "pair", ("t1w", "flair"))


def make_card(folder: Path, monkeypatch, name: str, modalities: tuple[str, ...]) -> ModelCard:
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(0)
    network = ARCHITECTURES["strided_unet"](in_channels=len(modalities), num_classes=4, widths=WIDTHS)
    weights = folder / f"{name}.safetensors"
    save_file(network.state_dict(), weights)
    card = ModelCard(
        name=name,
        title=f"{name.capitalize()} test network",
        architecture="strided_unet",
        settings={"widths": list(WIDTHS)},
        modalities=modalities,
        label_scheme="aseg",
        channels=TINY_CHANNELS,
        preprocessing=Preprocessing(spacing=(3.0, 3.0, 3.0)),
        patch=(16, 16, 16),
        divisor=4,
        weights=weights.name,
        sha256=hashlib.sha256(weights.read_bytes()).hexdigest(),
        licence="none, random numbers",
        data="none",
        command="none",
    )
    card.save(folder / f"{name}.yaml")
    monkeypatch.setenv("MEDZOO_MODELS", str(folder))
    return load_card(name)


def head(shape: tuple[int, int, int] = (30, 36, 26), seed: int = 0) -> np.ndarray:
    """``(X, Y, Z) int16``: a bright ball with structure in dark noise, nearer to one corner than to the others."""
    random = np.random.default_rng(seed)
    place = np.moveaxis(np.indices(shape), 0, -1) / np.array(shape) - (0.55, 0.5, 0.45)
    radius = np.linalg.norm(place, axis=-1)
    inside = radius < 0.4
    data = random.normal(20, 4, shape)
    data[inside] = 400 + 300 * np.cos(9 * radius[inside]) + random.normal(0, 20, int(inside.sum()))
    return np.clip(data, 0, None).astype(np.int16)


def write_scan(path: Path, affine: np.ndarray, seed: int = 0) -> Path:
    """A head as a NIfTI file."""
    nib.save(nib.Nifti1Image(head(seed=seed), affine), path)
    return path


LPS_AFFINE = np.array([[-4.0, 0, 0, 60], [0, -4.0, 0, 70], [0, 0, 5.0, -50], [0, 0, 0, 1]])
SIDEWAYS_AFFINE = np.array([[0, 0, 5.0, -60], [-4.0, 0, 0, 70], [0, -4.0, 0, 50], [0, 0, 0, 1]])


@pytest.fixture
def t1w(tmp_path) -> Path:
    """A T1w file, axes left, posterior, superior."""
    return write_scan(tmp_path / "sub-01_T1w.nii.gz", LPS_AFFINE)


@pytest.fixture
def flair(tmp_path) -> Path:
    """A FLAIR file of the same person on another grid, axes posterior, inferior, right."""
    return write_scan(tmp_path / "sub-01_FLAIR.nii.gz", SIDEWAYS_AFFINE, seed=1)


@pytest.fixture
def notified(monkeypatch) -> list[str]:
    """Sentences that napari was asked to show, in order."""
    from napari.utils.notifications import notification_manager

    texts: list[str] = []

    def record(notification) -> None:
        texts.append(notification.message)

    notification_manager.notification_ready.connect(record)
    yield texts
    notification_manager.notification_ready.disconnect(record)


@pytest.fixture(autouse=True)
def journals(tmp_path_factory, monkeypatch) -> Path:
    """The folder of the journals, away from the person's own."""
    folder = tmp_path_factory.mktemp("state") / "journals"
    monkeypatch.setenv("MEDZOO_STATE", str(folder))
    return folder


@pytest.fixture(autouse=True)
def neurological(monkeypatch):
    """The look, which all windows share, as it is at the start, whatever this computer's preferences say."""
    from napari_medzoo.widgets import preferences, view

    monkeypatch.setattr(preferences, "_page", lambda: None)
    view.LOOK.convention = view.NEUROLOGICAL
    yield
    view.LOOK.convention = view.NEUROLOGICAL


@pytest.fixture
def panel(make_napari_viewer, tiny_card, qtbot):
    """The panel docked in a viewer, with the card ``tiny`` chosen."""
    from napari_medzoo.widgets.panel import MedzooPanel

    viewer = make_napari_viewer()
    widget = MedzooPanel(viewer)
    viewer.window.add_dock_widget(widget, name="MedZoo")
    widget.choose("card", "tiny")
    yield widget
    widget.jobs.cancel()
    qtbot.waitUntil(lambda: not widget.state.releasing, timeout=30_000)


@pytest.fixture
def finish(qtbot) -> Callable:
    """``finish(panel, request)``: make a request and wait until the work it starts is done."""

    def wait(panel, request: Callable[[], object], timeout: int = 60_000) -> None:
        request()
        qtbot.waitUntil(lambda: not panel.state.work, timeout=timeout)

    return wait


def close_views(views, qtbot) -> None:
    """Close orthogonal views and wait until Qt has deleted them: PySide6 holds the canvases until then."""
    desk = views.desk
    if desk is not None:
        with qtbot.waitSignal(desk.destroyed, timeout=60_000):
            views.close_views()
