"""The directory DIR/NAME of a served model: one folder a version, each named by the next number."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

from genre_tagger.errors import UserError
from genre_tagger.files import LOCK_NAME, locked, remove_leftovers, storage_errors

UNFINISHED = ".unfinished-"  # no number, so that a server passes it over


def check_name(name: str) -> None:
    """Raises UserError where a model cannot have this name in a server's address."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", name):
        raise UserError(f"--name: found {name!r}, expected letters, digits, '_', '.' and '-', a letter or digit first")


def check_versions(directory: Path, content: str) -> None:
    """Raises UserError where `directory` holds anything but versions that contain the file `content`."""
    if not directory.exists():
        return
    if not directory.is_dir():
        raise UserError(f"{directory}: found a file, expected a directory of exported versions, or none yet")
    for path in directory.iterdir():
        if path.name == LOCK_NAME or path.name.startswith(UNFINISHED):
            continue
        if not (path.name.isdecimal() and (path / content).is_file()):
            raise UserError(
                f"{directory}: found {path.name!r}, which is no exported version (a number, with {content} in it); "
                "expected another DIR or --name"
            )


def add_version(directory: Path, content: str, write: Callable[[Path, int], None]) -> Path:
    """Lets `write` fill a folder and renames it to the next number, so that nobody ever sees half a version.

    Args:
        directory: DIR/NAME, made if missing.
        content: the file that every version contains.
        write: is called with the folder and its number to be; what it raises leaves no version behind.

    Raises:
        UserError: the directory holds something else, is being written to, or cannot be.
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
