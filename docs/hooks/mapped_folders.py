"""A Griffe extension that shows the folders `tuning/` and `export/` as parts of the package genre_tagger."""

from typing import Any

import griffe

PACKAGE, FOLDERS = "genre_tagger", ("tuning", "export")


class MappedFolders(griffe.Extension):
    """The mapping of folders to packages in setup.py, for Griffe, which reads files without importing them."""

    def on_package(self, *, pkg: griffe.Module, loader: griffe.GriffeLoader, **kwargs: Any) -> None:
        """Load the mapped folders and add them to the package."""
        if pkg.name == PACKAGE:
            for folder in FOLDERS:
                pkg.set_member(folder, loader.load(folder))
