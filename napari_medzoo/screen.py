"""The screen that napari draws on: is there one, can a virtual one be had, which system libraries are missing.

Needs nothing but Python's own library, because ``make setup`` runs it before anything is installed::

    python -m napari_medzoo.screen install        # Debian, Ubuntu: the missing libraries (root), else the line to type
    python -m napari_medzoo.screen run pytest     # run a command on a virtual screen, with its exit code
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from napari_medzoo.errors import MedzooError

LIBRARIES = {
    "libglib-2.0.so.0": "libglib2.0-0",
    "libdbus-1.so.3": "libdbus-1-3",
    "libfontconfig.so.1": "libfontconfig1",
    "libEGL.so.1": "libegl1",
    "libGL.so.1": "libgl1",
    "libxkbcommon-x11.so.0": "libxkbcommon-x11-0",
    "libxcb-cursor.so.0": "libxcb-cursor0",
    "libxcb-icccm.so.4": "libxcb-icccm4",
    "libxcb-keysyms.so.1": "libxcb-keysyms1",
    "libxcb-shape.so.0": "libxcb-shape0",
    "libxcb-xkb.so.1": "libxcb-xkb1",
}
"""What Qt and napari load at run time on Linux → Debian's package that carries it."""

VIRTUAL_SCREEN = "1600x1200x24"


def has_display() -> bool:
    """Whether a window can be shown to somebody (always assumed on macOS and Windows)."""
    if not sys.platform.startswith("linux"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def missing_packages() -> list[str]:
    """Debian packages that Qt, napari and a virtual screen need and that are not here; empty except on Linux."""
    if not sys.platform.startswith("linux"):
        return []
    missing = []
    for library, package in LIBRARIES.items():
        try:
            ctypes.CDLL(library)
        except OSError:
            missing.append(package)
    if shutil.which("Xvfb") is None:
        missing.append("xvfb")
    return missing


def apt_line(packages: Sequence[str]) -> str:
    """The line to type that installs `packages` on Debian or Ubuntu."""
    return f"sudo apt-get update && sudo apt-get install -y --no-install-recommends {' '.join(packages)}"


def install() -> bool:
    """Install what `missing_packages` names where we may, else print the line to type; whether all is there now."""
    missing = missing_packages()
    if not missing:
        return True
    if shutil.which("apt-get") and os.geteuid() == 0:
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        subprocess.run(["apt-get", "update"], env=environment, stdin=subprocess.DEVNULL, check=False)
        command = ["apt-get", "install", "-y", "--no-install-recommends", *missing]
        subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, check=False)
        missing = missing_packages()
        if not missing:
            return True
    print(
        f"napari's window needs system libraries that are missing here. On Debian or Ubuntu type:\n\n"
        f"    {apt_line(missing)}\n\n"
        "(elsewhere install the packages that carry them; the command line works without).",
        file=sys.stderr,
    )
    return False


@contextmanager
def virtual_display() -> Iterator[str]:
    """Start a virtual screen (Xvfb) and point ``DISPLAY`` at it for as long as the block lasts.

    Yields
    ------
    str
        The display's name, ``":99"``.

    Raises
    ------
    MedzooError
        If Xvfb is not installed or does not start.
    """
    program = shutil.which("Xvfb")
    if program is None:
        raise MedzooError(f"There is no screen and no Xvfb to make a virtual one; type: {apt_line(['xvfb'])}")
    reading, writing = os.pipe()
    # Xvfb looks for a free number by itself and writes it to the pipe once it is ready.
    command = [program, "-displayfd", str(writing), "-screen", "0", VIRTUAL_SCREEN, "-nolisten", "tcp"]
    server = subprocess.Popen(
        command,
        pass_fds=[writing],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C cancels us, and we end the server ourselves afterwards
    )
    os.close(writing)
    changed = {"DISPLAY": os.environ.get("DISPLAY"), "WAYLAND_DISPLAY": os.environ.get("WAYLAND_DISPLAY")}
    try:
        with os.fdopen(reading) as pipe:
            number = pipe.readline().strip()
        if not number:
            raise MedzooError(f"The virtual screen did not start; try it by itself: {' '.join(command[:1])} :99")
        os.environ["DISPLAY"] = f":{number}"
        os.environ.pop("WAYLAND_DISPLAY", None)
        yield f":{number}"
    finally:
        for key, value in changed.items():
            if value is None:
                os.environ.pop(key, None)
            else:
                os.environ[key] = value
        server.terminate()
        server.wait()


def run(command: Sequence[str]) -> int:
    """Run `command` on a virtual screen (on macOS and Windows: on the screen there is) and return its exit code."""
    if not sys.platform.startswith("linux"):
        return subprocess.run(command, check=False).returncode
    with virtual_display():
        return subprocess.run(command, check=False).returncode


def main(arguments: Sequence[str]) -> int:
    """The two uses in the head of this file."""
    if list(arguments) == ["install"]:
        install()
        return 0  # what is missing was said; everything but the window works
    if len(arguments) > 1 and arguments[0] == "run":
        try:
            return run(arguments[1:])
        except MedzooError as error:
            print(error, file=sys.stderr)
            return 1
    print(__doc__, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
