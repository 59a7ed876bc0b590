"""Finds the audio files among given files and folders."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from genre_tagger.audio import ffmpeg
from genre_tagger.errors import UserError

SUFFIXES = (".mp3", ".flac", ".ogg", ".oga", ".opus", ".wav", ".aif", ".aiff", *ffmpeg.SUFFIXES)


def audio_files(paths: Iterable[Path]) -> list[Path]:
    """Return the given files, with any suffix, and the audio files below the given folders.

    The order is that of `paths`, and alphabetical in each folder. Hidden files and folders are skipped, because macOS
    leaves hidden files next to songs with the same suffix. Links to folders are followed. A path is returned once even
    if it is given twice, and a folder is searched once even if several links lead to it.

    Args:
        paths: files and folders.

    Raises:
        UserError: a path does not exist or cannot be read, or a folder has no audio.
    """
    return list(dict.fromkeys(file for path in paths for file in _files_of(path)))


def _files_of(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise UserError(f"{path}: no such file, expected an audio file or a folder of audio files")
    files = [file for file in _files_below(path) if file.suffix.lower() in SUFFIXES]
    if not files:
        raise UserError(f"{path}: found no audio in it, expected files that end in {', '.join(SUFFIXES)}")
    return files


def _files_below(folder: Path) -> Iterator[Path]:
    seen = set()  # a link may point to a parent folder
    for place, folders, names in os.walk(folder, onerror=_refuse, followlinks=True):
        state = Path(place).stat()
        if (identity := (state.st_dev, state.st_ino)) in seen:
            folders.clear()
            continue
        seen.add(identity)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(place, name) for name in sorted(names) if not name.startswith("."))


def _refuse(error: OSError) -> None:
    raise UserError(f"{error.filename}: cannot be read ({error.strerror})") from error
