"""The committed page of all networks says what the code says now."""

from __future__ import annotations

from pathlib import Path

import pytest
from napari_medzoo_training.architectures import MEASURED, STATIC, about, architectures, page, static_row, table_of

from napari_medzoo.errors import MedzooError
from napari_medzoo.models import ARCHITECTURES
from tests.conftest import REPOSITORY
from tests.core.zoo import MONAI

COMMAND = "write it again with: medzoo-train architectures --no-times"


@pytest.fixture(scope="module")
def committed() -> str:
    return (REPOSITORY / "docs" / "architectures.md").read_text(encoding="utf-8")


def test_every_network_has_a_row_and_a_sentence(committed: str) -> None:
    assert list(table_of(committed)) == list(ARCHITECTURES)
    for name in ARCHITECTURES:
        if name not in MONAI:
            assert about(name) in committed, COMMAND


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_static_columns_are_those_of_the_code(committed: str, name: str) -> None:
    if name in MONAI:
        pytest.importorskip("monai.networks.nets")
    row = table_of(committed)[name]
    assert tuple(row[column] for column in STATIC) == static_row(name), COMMAND


def test_columns_are_what_they_say() -> None:
    row = dict(zip(STATIC, static_row("unet3d"), strict=True))
    assert row["parameters"] == "19,073,828"
    assert row["receptive field"] == "100 × 100 × 100"
    assert row["input sizes"] == "multiples of 8 plus 4, more than 88"
    first, second = (32 + 64 * 32) * 27, 64  # a level's convolutions; what is counted is more than the first alone
    assert float(row["GFLOP"]) > 2e-9 * 64**3 * (first + second)


def test_times_survive_a_page_without_timing(tmp_path: Path) -> None:
    pytest.importorskip("monai.networks.nets")
    path = tmp_path / "page.md"
    path.write_text(page({"vnet": ("4.50", "5.25")}), encoding="utf-8")
    architectures(path, times=False)
    assert [table_of(path.read_text(encoding="utf-8"))["vnet"][column] for column in MEASURED] == ["4.50", "5.25"]


def test_a_network_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(MedzooError, match="no network 'u-net'"):
        architectures(tmp_path / "page.md", network=["u-net"])
