"""How the command line talks: results on stdout, everything else on stderr."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

import typer

from napari_medzoo.progress import Result, Steps


def say(text: str) -> None:
    """One line for the person, on stderr."""
    typer.echo(text, err=True)


def follow(steps: Steps[Result], title: str = "") -> Result:
    """Exhaust `steps` under a progress bar and return their result; where stderr is a file, one line per stage.

    Whatever stops us (an error, Ctrl-C) closes the generator, so that it can tidy up.
    """
    try:
        with _no_signal_lost() as raise_again:
            watched = _checked(steps, raise_again)
            return _bar(watched, title) if sys.stderr.isatty() else _lines(watched)
    finally:
        steps.close()


@contextmanager
def _no_signal_lost() -> Iterator[Callable[[], None]]:
    """What a signal's handler raises is swallowed where it meets a destructor or a library's callback.

    Yields a function that lets the handler of a signal that has arrived raise once more.
    """
    arrived: list[int] = []
    handlers = {}
    if threading.current_thread() is threading.main_thread():  # no other can set handlers
        found = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        handlers = {number: handler for number, handler in found.items() if callable(handler)}

    def remember(number: int, frame: FrameType | None) -> None:
        arrived.append(number)
        handlers[signal.Signals(number)](number, frame)

    for number in handlers:
        signal.signal(number, remember)
    try:
        yield lambda: handlers[signal.Signals(arrived[0])](arrived[0], None) if arrived else None
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _checked(steps: Steps[Result], raise_again: Callable[[], None]) -> Steps[Result]:
    while True:
        try:
            step = next(steps)
        except StopIteration as stop:
            raise_again()
            return stop.value
        raise_again()
        yield step


def _lines(steps: Steps[Result]) -> Result:
    stage = ""
    while True:
        try:
            step = next(steps)
        except StopIteration as stop:
            return stop.value
        if step.stage != stage:
            stage = step.stage
            say(f"  {stage} ...")


def _bar(steps: Steps[Result], title: str) -> Result:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.fields[title]}{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("Reading", total=None, title=f"{title}: " if title else "")
        while True:
            try:
                step = next(steps)
            except StopIteration as stop:
                return stop.value
            bar.update(task, description=step.stage, completed=step.done, total=step.total or None)


def table(rows: Sequence[Sequence[str]], numbers: Sequence[int] = ()) -> str:
    """Rows of text as aligned columns, the first row a heading; the columns `numbers` align to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  ".join(
            cell.rjust(width) if column in numbers else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(lines)
