"""``python -m napari_medzoo`` is ``medzoo``, also where the command is not on the search path."""

from napari_medzoo.cli import main

if __name__ == "__main__":
    main()
