"""What is installed is what lies in the folders, and the floors hold."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from importlib import import_module
from importlib.metadata import entry_points, requires
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
TOP = {"napari_medzoo": REPOSITORY / "napari_medzoo", "napari_medzoo_training": REPOSITORY / "training"}


def packages_on_disk() -> set[str]:
    found = set()
    for name, folder in TOP.items():
        for init in folder.rglob("__init__.py"):
            found.add(".".join((name, *init.parent.relative_to(folder).parts)))
    return found


def test_every_package_is_listed() -> None:
    assert set(PROJECT["tool"]["setuptools"]["packages"]) == packages_on_disk()


def test_every_data_file_is_packed() -> None:
    for name, folder in TOP.items():
        patterns = PROJECT["tool"]["setuptools"]["package-data"][name]
        packed = {path for pattern in patterns for path in folder.glob(pattern)}
        for path in folder.rglob("*"):
            if path.is_file() and path.suffix not in {".py", ".pyc"}:
                assert path in packed, f"{path.relative_to(REPOSITORY)} is not in package-data"


def test_the_base_brings_no_qt_binding() -> None:
    base = [text for text in requires("napari-medzoo") or () if "extra ==" not in text]
    assert any(text.startswith("qtpy") for text in base)
    assert not any(text.lower().startswith(("pyqt", "pyside")) or "napari[" in text for text in base)


@pytest.mark.parametrize(
    ("group", "name"),
    [("console_scripts", "medzoo"), ("console_scripts", "medzoo-train")],
)
def test_the_commands_lead_to_functions(group: str, name: str) -> None:
    (entry,) = entry_points(group=group, name=name)
    assert callable(entry.load())


def test_napari_finds_the_manifest() -> None:
    (entry,) = entry_points(group="napari.manifest", name="napari-medzoo")
    module, _, file = entry.value.partition(":")
    inside = Path(import_module(module).__path__[0]) / file
    assert inside.is_file()
    link = REPOSITORY / "napari.yaml"
    assert link.is_symlink()
    assert link.resolve() == inside.resolve()


def test_every_pin_meets_its_lower_bound() -> None:
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    lines = (REPOSITORY / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = {canonicalize_name(r.name): r for r in map(Requirement, filter(lambda line: line[:1] not in "#", lines))}
    wanted = [*PROJECT["project"]["dependencies"], *PROJECT["project"]["optional-dependencies"]["dev"]]
    for requirement in map(Requirement, wanted):
        (pin,) = pins[canonicalize_name(requirement.name)].specifier
        assert pin.operator == "=="
        assert "+" not in pin.version, "a local version is on no index"
        assert requirement.specifier.contains(pin.version), f"{requirement} and the tested {pin}"


def test_the_floors_hold() -> None:
    program = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run(
        [program, "--no-cache"], cwd=REPOSITORY, capture_output=True, encoding="utf-8", check=False, timeout=120
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("arguments", [["--help"], ["segment", "--help"], ["models", "--help"]])
def test_help_loads_nothing_heavy(arguments: list[str]) -> None:
    heavy = ("torch", "openvino", "SimpleITK", "napari", "matplotlib", "numpy", "napari_medzoo_training")
    script = (
        "import sys\n"
        "from typer.testing import CliRunner\n"
        "from napari_medzoo.cli import app\n"
        f"result = CliRunner().invoke(app, {arguments!r})\n"
        "assert result.exit_code == 0, result.output\n"
        f"print([name for name in {heavy!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, encoding="utf-8", check=True, timeout=60)
    assert done.stdout.strip() == "[]"
