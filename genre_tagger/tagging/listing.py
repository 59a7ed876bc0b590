"""What the paths of a command line are: a model, audio files, folders of them."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from genre_tagger.data import ffmpeg
from genre_tagger.errors import UserError
from genre_tagger.export.contract import SAVED_MODEL_NAME
from genre_tagger.run import RunDirectory

SUFFIXES = (".mp3", ".flac", ".ogg", ".oga", ".opus", ".wav", ".aif", ".aiff", *ffmpeg.SUFFIXES)


def audio_files(paths: Iterable[Path]) -> list[Path]:
    """Files as they are named, whatever their suffix, and for each folder the audio files below it, in order.

    Hidden files and folders are passed over: what a Mac leaves beside a song ends like one. Links to folders are
    followed; what is reached twice by one name counts once, and so does a folder that links lead to twice.

    Raises:
        UserError: something does not exist or cannot be read, or a folder has no audio.
    """
    return list(dict.fromkeys(file for path in paths for file in _files_of(path)))


def is_model(path: Path) -> bool:
    """Whether a path is a run directory, an exported version or a folder of versions, by the files in it."""
    return RunDirectory(path).config.is_file() or latest_version(path) is not None


def latest_version(path: Path) -> Path | None:
    """The exported version at a path, or the one of the highest number in the folder; None where there is neither."""
    if (path / SAVED_MODEL_NAME).is_file():
        return path
    numbers = [int(file.parent.name) for file in path.glob(f"*/{SAVED_MODEL_NAME}") if file.parent.name.isdecimal()]
    return path / str(max(numbers)) if numbers else None


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
    seen = set()  # a link may lead back up
    for place, folders, names in os.walk(folder, onerror=_refuse, followlinks=True):
        state = Path(place).stat()
        if (identity := (state.st_dev, state.st_ino)) in seen:
            folders.clear()
            continue
        seen.add(identity)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(place, name) for name in sorted(names) if not name.startswith("."))


def _refuse(error: OSError) -> None:
    raise UserError(f"{error.filename}: cannot be read ({error.strerror})") from None
