"""Computing without holding the iterating thread, so that Cancel acts at once.

A forward pass cannot be interrupted. It runs in a thread of its own while the generator yields `Progress` several
times a second; closing the generator leaves the pass to end by itself and throws its result away. `busy` says
whether such a discarded pass still holds memory, and nothing new begins until it does not.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from napari_medzoo.progress import Progress, Steps

Result = TypeVar("Result")

INTERVAL_S = 0.2
"""Seconds between two signs of life, and so the longest that a Cancel waits."""

_discarded: set[threading.Thread] = set()
_lock = threading.Lock()


class _Work(Generic[Result]):
    """A function call in a thread, whose outcome is either taken or discarded, never both."""

    def __init__(self, function: Callable[[], Result], clean_up: Callable[[], object]) -> None:
        self._function = function
        self._clean_up = clean_up
        self._wanted = True
        self._outcome: Result | None = None
        self._error: BaseException | None = None
        self.finished = threading.Event()
        # Not a daemon: ending the interpreter under a running library call crashes it.
        self.thread = threading.Thread(target=self._run, name="medzoo-forward-pass")

    def _run(self) -> None:
        try:
            self._outcome = self._function()
        except BaseException as error:  # raised again by take()
            self._error = error
        with _lock:
            self.finished.set()
            wanted = self._wanted and self._error is None
        if not wanted:
            self._drop()

    def _drop(self) -> None:
        self._outcome = None
        self._clean_up()

    def take(self) -> Result:
        if self._error is not None:
            raise self._error
        return self._outcome  # type: ignore[return-value]

    def discard(self) -> None:
        with _lock:
            self._wanted = False
            if not self.finished.is_set():
                _discarded.add(self.thread)
                return
        self._drop()


def in_background(
    function: Callable[[], Result], progress: Progress, clean_up: Callable[[], object] = lambda: None
) -> Steps[Result]:
    """Call `function` in a thread and yield `progress` until it has ended.

    Parameters
    ----------
    function : callable
        Takes nothing; its result is returned and its exception raised here.
    progress : Progress
        Yielded every `INTERVAL_S` seconds, at least once.
    clean_up : callable
        Frees what `function` left in memory. Called when the generator is closed early (after `function` has ended,
        in its thread) and when `function` raises; not when its result is returned.
    """
    work = _Work(function, clean_up)
    work.thread.start()
    taken = False
    try:
        yield progress
        while not work.finished.wait(INTERVAL_S):
            yield progress
        taken = True
        return work.take()
    finally:
        if not taken:
            work.discard()


def busy() -> bool:
    """Whether a cancelled forward pass is still running and holds memory."""
    with _lock:
        _discarded.intersection_update({thread for thread in _discarded if thread.is_alive()})
        return bool(_discarded)


def wait_for_discarded() -> Steps[None]:
    """Yield until no cancelled pass is running."""
    while busy():
        yield Progress("Waiting for the cancelled run to end")
        time.sleep(INTERVAL_S / 2)
