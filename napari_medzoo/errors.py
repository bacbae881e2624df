"""The one error that is meant for the person at the screen."""

from __future__ import annotations


class MedzooError(ValueError):
    """One sentence a technician can act on: what was expected, what came, what to do.

    The command line prints it and exits with 1, the window shows it as a notification. Anything else
    that is raised is a defect of the program and keeps its traceback.
    """
