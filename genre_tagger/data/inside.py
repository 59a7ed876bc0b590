"""Paths of a table that must stay inside a folder, symbolic links included."""

import os
from collections.abc import Callable
from functools import cache
from pathlib import Path

from genre_tagger.data.table import Table


def read_paths(listing: Table, column: str, root: Path) -> list[str]:
    """Paths relative to a folder in their shortest form, so that `./a.wav` and `a.wav` are one file.

    Raises:
        UserError: a blank, absolute or doubled path, or one that leaves the folder.
    """
    seen: dict[str, int] = {}
    resolve = cache(Path.resolve)  # 26,000 files lie in a few folders
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
    """Whether a relative path leads nowhere else, symbolic links followed."""
    if Path(name).is_absolute() or name.split("/")[0] in (".", ".."):
        return False
    path = root / name
    is_link = os.path.islink(path)  # noqa: PTH114, Path.is_symlink raises where a name is too long for the disk
    try:
        real = path.resolve() if is_link else resolve(path.parent)
    except (OSError, RuntimeError):  # links that lead in a circle: decoding will reject the file
        return True
    return real.is_relative_to(resolve(root))
