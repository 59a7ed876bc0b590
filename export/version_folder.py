"""The directory DIR/NAME of a served model, with one numbered folder per version."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

from genre_tagger.errors import FieldError, UserError
from genre_tagger.files import LOCK_NAME, locked, remove_leftovers, storage_errors

UNFINISHED = ".unfinished-"  # a server ignores folders whose names are not numbers


def check_name(name: str) -> None:
    """Raise FieldError if a model cannot have this name, which becomes part of a server's URLs."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", name):
        raise FieldError("name", f"found {name!r}, expected letters, digits, '_', '.' and '-', first a letter or digit")


def check_versions(directory: Path, content: str) -> None:
    """Check that a directory holds versions only, or does not exist yet.

    Args:
        directory: DIR/NAME.
        content: name of a file that every version contains.

    Raises:
        UserError: the directory is a file or holds anything else.
    """
    if not directory.exists():
        return
    if not directory.is_dir():
        raise UserError(f"{directory}: found a file, expected a new directory or one of exported versions")
    for path in directory.iterdir():
        if path.name == LOCK_NAME or path.name.startswith(UNFINISHED):
            continue
        if not (path.name.isdecimal() and (path / content).is_file()):
            raise UserError(
                f"{directory}: found {path.name!r}, expected only exported versions (numbered folders with {content}); "
                "choose another folder or name"
            )


def add_version(directory: Path, content: str, write: Callable[[Path, int], None]) -> Path:
    """Add a version with the next number. It appears under its number only when it is complete.

    Args:
        directory: DIR/NAME, created if it is missing.
        content: name of a file that every version contains.
        write: function that writes the version. It is called with an unfinished folder and the number of the version.
            If it raises an exception, no version is added.

    Returns:
        Directory of the version.

    Raises:
        UserError: the directory holds anything else, cannot be written, or another process is writing to it.
    """
    check_versions(directory, content)
    with storage_errors(directory):
        directory.mkdir(parents=True, exist_ok=True)
        with locked(directory):
            remove_leftovers(directory, UNFINISHED)
            version = 1 + max((int(path.name) for path in directory.iterdir() if path.name.isdecimal()), default=0)
            unfinished = directory / f"{UNFINISHED}{version}"
            unfinished.mkdir()
            try:
                write(unfinished, version)
                return unfinished.rename(directory / str(version))
            except BaseException:
                shutil.rmtree(unfinished)
                raise
