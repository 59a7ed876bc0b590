"""The songs that a cluster tags: files that all machines can read, a list of names, or a prefix of an object store."""

import os
import stat
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

import pyarrow as pa
from pyarrow import fs

from genre_tagger.audio.decode import Undecodable
from genre_tagger.errors import FieldError, first_line
from genre_tagger.tagging.audio_files import SUFFIXES, audio_files

STORES = ("s3", "gs", "file")


@dataclass(frozen=True)
class Catalogue:
    """Songs of one file system or object store, by the names that they have in the results.

    Attributes:
        stamps: for each song, its size and modification time as text, which change with its content. The key is the
            path as given, or the URI of an object without escapes. The stamp is empty if it is not known.
        store: the store of the objects; None for paths.
    """

    stamps: Mapping[str, str]
    store: fs.FileSystem | None = None

    @classmethod
    def of_files(cls, paths: Sequence[Path]) -> "Catalogue":
        """Return the catalogue of files and folders; raise UserError as `audio_files` does."""
        return cls._of_paths(map(str, audio_files(paths)))

    @classmethod
    def named(cls, name: str) -> "Catalogue":
        """Return the catalogue of a store's prefix or a text file; raise UserError as `of_prefix` and `of_list` do."""
        return cls.of_prefix(name) if "://" in name else cls.of_list(Path(name))

    @classmethod
    def of_list(cls, file: Path) -> "Catalogue":
        """Return the catalogue of a text file with one path or URI per line. Blank lines are skipped.

        Args:
            file: path of the text file.

        Raises:
            UserError: the file cannot be read, has no lines, contains NUL, mixes paths and URIs or several buckets, or
                names a store that is unknown or cannot be opened.
        """
        try:
            lines = os.fsdecode(file.read_bytes()).split("\n")  # splitlines would split names at rarer characters too
        except OSError as error:
            raise FieldError("catalogue", f"{file}: cannot be read ({error.strerror})") from error
        names = list(dict.fromkeys(line.rstrip("\r") for line in lines if line.strip()))
        if any("\0" in name for name in names):
            raise FieldError("catalogue", f"{file}: found NUL (find -print0?), expected one path or URI per line")
        if not names:
            raise FieldError("catalogue", f"{file}: found no lines, expected one path or URI per line")
        buckets = {_bucket(name): name for name in names}
        if len(buckets) > 1:
            first, second = list(buckets.values())[:2]
            raise FieldError(
                "catalogue", f"{file}: found {first!r} and {second!r}, expected only paths or only URIs of one bucket"
            )
        if bucket := next(iter(buckets)):
            return cls(dict.fromkeys(names, ""), _opened(bucket)[0])  # one request per stamp would take days
        return cls._of_paths(names)

    @classmethod
    def of_prefix(cls, uri: str) -> "Catalogue":
        """Return the catalogue of all audio below a prefix of a store. Credentials come from the environment.

        Args:
            uri: the prefix, for example `s3://BUCKET/MUSIC`.

        Raises:
            UserError: the store is unknown or cannot be reached, or there is no audio below the prefix.
        """
        store, place = _opened(uri)
        try:
            entries = store.get_file_info(fs.FileSelector(place, recursive=True))
        except OSError as error:
            raise FieldError("catalogue", f"{uri}: cannot be listed ({first_line(error)})") from error
        stamps = {
            f"{_scheme(uri)}://{entry.path}": _stamp(entry.size, entry.mtime_ns)
            for entry in sorted(entries, key=lambda entry: str(entry.path))
            if entry.type == fs.FileType.File and _is_audio(entry.path, place)
        }
        if not stamps:
            raise FieldError("catalogue", f"{uri}: found no audio, expected names that end in {', '.join(SUFFIXES)}")
        return cls(stamps, store)

    @classmethod
    def _of_paths(cls, paths: Iterable[str]) -> "Catalogue":
        return cls({path: _stamp_of(path) for path in paths})


def open_file(name: str, store: fs.FileSystem | None) -> IO[bytes]:
    """Open a song of a catalogue for reading.

    Args:
        name: name of the song in the catalogue.
        store: the store of the catalogue.

    Raises:
        OSError: the song cannot be opened.
        Undecodable: the song is not a regular file.
    """
    key = name.split("://", 1)[1] if store else name
    if store and not isinstance(store, fs.LocalFileSystem):
        stream: IO[bytes] = store.open_input_stream(key)
        return stream
    path = Path(key)  # opened by Python, because Arrow takes only names that are valid UTF-8
    if not stat.S_ISREG(path.stat().st_mode):  # opening a pipe would block
        raise Undecodable("not a file")
    return path.open("rb")


def _opened(uri: str) -> tuple[fs.FileSystem, str]:
    if _scheme(uri) not in STORES:
        expected = ", ".join(f"{store}://" for store in STORES)
        raise FieldError("catalogue", f"found {uri!r}, expected a path or one of {expected}")
    try:
        store, place = fs.FileSystem.from_uri(uri)
    except (OSError, pa.ArrowInvalid) as error:
        raise FieldError("catalogue", f"{uri}: cannot be opened ({first_line(error)})") from error
    return store, place


def _stamp_of(path: str) -> str:
    try:
        state = Path(path).stat()
    except (OSError, ValueError):  # decoding will report the reason
        return ""
    return _stamp(state.st_size, state.st_mtime_ns)


def _stamp(size: int, changed_ns: int) -> str:
    return f"{size} {changed_ns}"


def _bucket(name: str) -> str:
    """Return the bucket of an object, `s3://bucket/`; an empty string for a path."""
    return "/".join(name.split("/")[:3]) + "/" if "://" in name else ""


def _scheme(uri: str) -> str:
    return uri.split("://")[0]


def _is_audio(path: str, place: str) -> bool:
    """Return whether an object is audio by the rules of `audio_files`: it has a known suffix and is not hidden."""
    below = PurePosixPath(path).relative_to(place)
    return below.suffix.lower() in SUFFIXES and not any(part.startswith(".") for part in below.parts)
