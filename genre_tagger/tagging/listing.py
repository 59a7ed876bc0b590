"""Which files a command line means: audio files, and folders of them."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from genre_tagger.data import ffmpeg
from genre_tagger.errors import UserError

SUFFIXES = (".mp3", ".flac", ".ogg", ".oga", ".opus", ".wav", ".aif", ".aiff", *ffmpeg.SUFFIXES)


def audio_files(paths: Iterable[Path]) -> list[Path]:
    """Files as they are named, whatever their suffix, and for each folder the audio files below it, in order.

    Hidden files and folders are passed over: what a Mac leaves beside a song ends like one.

    Raises:
        UserError: something does not exist or cannot be read, or a folder has no audio.
    """
    return [file for path in paths for file in _files_of(path)]


def _files_of(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise UserError(f"{path}: no such file, expected an audio file or a folder of them")
    files = [file for file in _below(path) if file.suffix.lower() in SUFFIXES]
    if not files:
        raise UserError(f"{path}: found no audio in it, expected files that end in {', '.join(SUFFIXES)}")
    return files


def _below(folder: Path) -> Iterator[Path]:
    for place, folders, names in os.walk(folder, onerror=_refuse):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(place, name) for name in sorted(names) if not name.startswith("."))


def _refuse(error: OSError) -> None:
    raise UserError(f"{error.filename}: cannot be read ({error.strerror})") from None
