"""Virtual screens, and what is said about missing libraries."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from napari_medzoo import screen
from napari_medzoo.errors import MedzooError

needs_xvfb = pytest.mark.skipif(shutil.which("Xvfb") is None, reason="Xvfb is not installed")


@needs_xvfb
def test_a_command_runs_on_a_screen_of_its_own_and_its_exit_code_comes_back(capfd: pytest.CaptureFixture[str]) -> None:
    before = os.environ.get("DISPLAY")
    assert screen.run(["sh", "-c", "echo $DISPLAY; exit 7"]) == 7
    shown = capfd.readouterr().out.strip()
    assert shown.startswith(":")
    assert shown != before
    assert os.environ.get("DISPLAY") == before


@needs_xvfb
def test_two_screens_do_not_collide_and_both_end() -> None:
    with screen.virtual_display() as first, screen.virtual_display() as second:
        assert first != second
        assert screen.has_display()
    left = subprocess.run(["ps", "-eo", "args"], capture_output=True, encoding="utf-8", check=False).stdout
    assert f"-displayfd {first}" not in left
    for name in (first, second):
        assert not Path(f"/tmp/.X11-unix/X{name[1:]}").exists()


def test_a_missing_server_is_said_with_the_line_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(screen.shutil, "which", lambda name: None)
    with pytest.raises(MedzooError, match="apt-get install -y --no-install-recommends xvfb"), screen.virtual_display():
        pass


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="system libraries are looked for on Linux only")
def test_a_missing_library_is_named_by_its_package(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(screen, "LIBRARIES", {"libc.so.6": "libc6", "libnowhere.so.9": "libnowhere9"})
    monkeypatch.setattr(screen.shutil, "which", lambda name: "/usr/bin/Xvfb" if name == "Xvfb" else None)
    assert screen.missing_packages() == ["libnowhere9"]
    assert not screen.install()
    assert "sudo apt-get install -y --no-install-recommends libnowhere9" in capsys.readouterr().err


def test_the_module_starts_without_anything_installed() -> None:
    """Make setup runs it with a bare Python: only the standard library may be imported."""
    script = "import sys, napari_medzoo.screen; print('numpy' in sys.modules, 'typer' in sys.modules)"
    done = subprocess.run([sys.executable, "-S", "-c", script], cwd=Path(screen.__file__).parents[1],
                          capture_output=True, encoding="utf-8", check=True)  # fmt: skip
    assert done.stdout.split() == ["False", "False"]
