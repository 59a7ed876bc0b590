"""Read paths from a table and check that they stay inside a folder, even through symbolic links."""

import os
from collections.abc import Callable
from functools import cache
from pathlib import Path

from genre_tagger.sources.text_table import TextTable


def read_paths(listing: TextTable, column: str, root: Path) -> list[str]:
    """Read the paths in a column, normalised so that `./a.wav` and `a.wav` are the same file.

    Args:
        listing: the table.
        column: name of the column.
        root: folder that the paths are relative to.

    Returns:
        The paths relative to the folder, in the order of the rows.

    Raises:
        UserError: a path is blank, absolute or duplicated, or points outside the folder.
    """
    seen: dict[str, int] = {}
    resolve = cache(Path.resolve)  # 26,000 files share a few folders
    for row, cell in enumerate(listing.column(column)):
        if not cell:
            raise listing.error(row, column, "nothing", "the path of an audio file")
        name = Path(os.path.normpath(cell)).as_posix()
        if not stays_inside(name, root, resolve):
            raise listing.error(row, column, repr(cell), f"a relative path that stays inside {root}")
        if name in seen:
            earlier = listing.lines[seen[name]]
            raise listing.error(row, column, f"{cell!r} again after line {earlier}", "each file once")
        seen[name] = row
    return list(seen)


def stays_inside(name: str, root: Path, resolve: Callable[[Path], Path] = Path.resolve) -> bool:
    """Return whether a path points inside a folder, after following symbolic links.

    Args:
        name: the path, relative to the folder.
        root: the folder.
        resolve: resolves the links of a folder; pass a cached function for many paths.
    """
    if Path(name).is_absolute() or name.split("/")[0] in (".", ".."):
        return False
    path = root / name
    is_link = os.path.islink(path)  # noqa: PTH114, Path.is_symlink raises if a name is too long for the disk
    try:
        real = path.resolve() if is_link else resolve(path.parent)
    except (OSError, RuntimeError):  # circular links; decoding will reject the file
        return True
    return real.is_relative_to(resolve(root))
