"""The command ``medzoo``: segment, evaluate, prepare, models, demo, open.

One file per subcommand; `app` puts them together. Whatever needs numpy or more is imported inside the
functions, so that ``medzoo --help`` answers at once.
"""

from napari_medzoo.cli.app import app, main

__all__ = ["app", "main"]
