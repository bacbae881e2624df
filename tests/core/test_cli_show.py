"""How the command line follows long work."""

from __future__ import annotations

import os
import signal

import pytest

from napari_medzoo.cli.show import follow
from napari_medzoo.progress import Progress, Steps


def swallowing(number: int, closed: list[bool]) -> Steps[str]:
    """Work that is sent a signal while it runs a destructor, where Python drops whatever is raised."""

    class Dying:
        def __del__(self) -> None:
            os.kill(os.getpid(), number)
            sum(range(1000))  # the handler runs between two of these instructions

    try:
        yield Progress("First")
        Dying()
        yield Progress("Second")
        yield Progress("Third")
        return "done"
    finally:
        closed.append(True)


@pytest.mark.usefixtures("interruptible")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_cancel_that_a_destructor_swallows_still_cancels() -> None:
    before = signal.getsignal(signal.SIGINT)
    closed: list[bool] = []
    with pytest.raises(KeyboardInterrupt):
        follow(swallowing(signal.SIGINT, closed))
    assert closed == [True]
    assert signal.getsignal(signal.SIGINT) is before


def test_work_that_nobody_cancels_returns_its_result(capsys: pytest.CaptureFixture[str]) -> None:
    def steps() -> Steps[int]:
        yield Progress("Reading")
        yield Progress("Reading")
        yield Progress("Writing")
        return 3

    assert follow(steps()) == 3
    assert capsys.readouterr().err.splitlines() == ["  Reading ...", "  Writing ..."]
