"""What a cluster is to tag: files that all its machines see, a list of names, or a prefix of an object store."""

import os
import stat
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

import pyarrow as pa
from pyarrow import fs

from genre_tagger.data.decode import Undecodable
from genre_tagger.errors import UserError
from genre_tagger.tagging.listing import SUFFIXES, audio_files

STORES = ("s3", "gs", "file")


@dataclass(frozen=True)
class Catalogue:
    """Files that lie in one place, by the names that results have for them.

    Attributes:
        stamps: by path as it was given, or by URI of a store's object, written without escapes: the size and when it
            was last changed, by which another content under an old name is noticed; empty where nobody told.
        store: that has the objects; None for paths.
    """

    stamps: Mapping[str, str]
    store: fs.FileSystem | None = None

    @classmethod
    def of_files(cls, paths: Sequence[Path]) -> "Catalogue":
        """Files and folders of a command line; raises UserError as `audio_files` does."""
        return cls._of_paths(map(str, audio_files(paths)))

    @classmethod
    def named(cls, name: str) -> "Catalogue":
        """A store's prefix, or else a text file; raises UserError as the two below."""
        return cls.of_prefix(name) if "://" in name else cls.of_list(Path(name))

    @classmethod
    def of_list(cls, file: Path) -> "Catalogue":
        """A path or URI a line, as it is; blank lines are passed over.

        Raises:
            UserError: it cannot be read, has no lines, or NUL in them, names of several places, or a store that is not
                known.
        """
        try:
            lines = os.fsdecode(file.read_bytes()).split("\n")  # splitlines would cut names at rarer marks too
        except OSError as error:
            raise UserError(f"--catalogue {file}: cannot be read ({error.strerror})") from None
        names = list(dict.fromkeys(line.rstrip("\r") for line in lines if line.strip()))
        if any("\0" in name for name in names):
            raise UserError(f"--catalogue {file}: found NUL in it, as of -print0; expected a path or URI a line")
        if not names:
            raise UserError(f"--catalogue {file}: found nothing in it, expected a path or URI a line")
        places = {_bucket(name): name for name in names}
        if len(places) > 1:
            first, second = list(places.values())[:2]
            raise UserError(
                f"--catalogue {file}: found {first!r} and {second!r}, expected paths, or URIs of one bucket"
            )
        if bucket := next(iter(places)):
            return cls(dict.fromkeys(names, ""), _opened(bucket)[0])  # a request for each would take days
        return cls._of_paths(names)

    @classmethod
    def of_prefix(cls, uri: str) -> "Catalogue":
        """All audio below a store's prefix; the environment's credentials are used.

        Raises:
            UserError: the store is not known or cannot be reached, or nothing lies there.
        """
        store, place = _opened(uri)
        try:
            entries = store.get_file_info(fs.FileSelector(place, recursive=True))
        except OSError as error:
            raise UserError(f"--catalogue {uri}: cannot be listed ({_first_line(error)})") from None
        stamps = {
            f"{_scheme(uri)}://{entry.path}": _stamp(entry.size, entry.mtime_ns)
            for entry in sorted(entries, key=lambda entry: entry.path)
            if entry.type == fs.FileType.File and _is_audio(entry.path, place)
        }
        if not stamps:
            raise UserError(f"--catalogue {uri}: found no audio, expected names that end in {', '.join(SUFFIXES)}")
        return cls(stamps, store)

    @classmethod
    def _of_paths(cls, paths: Iterable[str]) -> "Catalogue":
        return cls({path: _stamp_of(path) for path in paths})


def open_file(name: str, store: fs.FileSystem | None) -> BinaryIO:
    """Opens a file of a catalogue for reading from its start; raises OSError, or Undecodable where it is no file."""
    key = name.split("://", 1)[1] if store else name
    if store and not isinstance(store, fs.LocalFileSystem):
        return store.open_input_stream(key)
    path = Path(key)  # opened by Python, as Arrow takes no names that are no UTF-8
    if not stat.S_ISREG(path.stat().st_mode):  # a pipe would be waited for
        raise Undecodable("not a file")
    return path.open("rb")


def _opened(uri: str) -> tuple[fs.FileSystem, str]:
    if _scheme(uri) not in STORES:
        expected = ", ".join(f"{store}://" for store in STORES)
        raise UserError(f"--catalogue: found {uri!r}, expected a path or one of {expected}")
    try:
        return fs.FileSystem.from_uri(uri)
    except (OSError, pa.ArrowInvalid) as error:
        raise UserError(f"--catalogue {uri}: cannot be opened ({_first_line(error)})") from None


def _stamp_of(path: str) -> str:
    try:
        state = Path(path).stat()
    except (OSError, ValueError):  # whoever is to read it gives the reason
        return ""
    return _stamp(state.st_size, state.st_mtime_ns)


def _stamp(size: int, changed_ns: int) -> str:
    return f"{size} {changed_ns}"


def _bucket(name: str) -> str:
    """Where an object lies, `s3://bucket/`; nothing for a path."""
    return "/".join(name.split("/")[:3]) + "/" if "://" in name else ""


def _scheme(uri: str) -> str:
    return uri.split("://")[0]


def _is_audio(path: str, place: str) -> bool:
    """As `audio_files` has it: by the suffix, and nothing hidden below the prefix."""
    below = PurePosixPath(path).relative_to(place)
    return below.suffix.lower() in SUFFIXES and not any(part.startswith(".") for part in below.parts)


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]
