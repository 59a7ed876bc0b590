"""Audio files in a zip archive that lies in one piece or cut in parts, read without unpacking and without joining.

Decoding processes import this module, so it stays light.
"""

import io
import lzma
import os
import struct
import zipfile
import zlib
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from pathlib import Path, PurePosixPath

from genre_tagger.errors import UserError

BUFFER_BYTES = 1 << 16

# NotImplementedError: a compression that Python does not know; RuntimeError: encryption; ValueError: names no text.
_FAILURES = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error),
    *(EOFError, OSError, KeyError, ValueError, NotImplementedError, RuntimeError),
)
MAX_MEMBER_BYTES = 1 << 28  # unpacked, a hundred times an MP3 of five minutes: bounds memory


class Damaged(Exception):  # noqa: N818, names a state of the file that callers handle
    """A file in an archive that cannot be read; the message is the reason."""


class JoinedFile(io.RawIOBase):
    """Several files one behind the other, as one that is read and sought in."""

    def __init__(self, parts: Sequence[Path]) -> None:
        self._files = [part.open("rb", buffering=0) for part in parts]
        sizes = [os.fstat(file.fileno()).st_size for file in self._files]
        self.starts = [0, *accumulate(sizes)]  # of each part, and the end
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._position = offset + (0, self._position, self.starts[-1])[whence]
        if self._position < 0:
            raise OSError("sought before the start")
        return self._position

    def readinto(self, buffer) -> int:
        if self._position >= self.starts[-1]:
            return 0
        part = bisect_right(self.starts, self._position) - 1
        file = self._files[part]
        file.seek(self._position - self.starts[part])
        wanted = min(len(buffer), self.starts[part + 1] - self._position)
        count = file.readinto(memoryview(buffer)[:wanted])
        self._position += count
        return count

    def close(self) -> None:
        for file in self._files:
            file.close()
        super().close()


@dataclass(frozen=True)
class PackedFile:
    """A file in an archive.

    Attributes:
        parts: the archive.
        name: in it.
        size: unpacked, in bytes.
        crc: CRC-32 of the unpacked content.
    """

    parts: tuple[Path, ...]
    name: str
    size: int
    crc: int

    def __str__(self) -> str:
        return f"{self.parts[0]}:{self.name}"

    @property
    def suffix(self) -> str:
        """The end of the name, `.mp3` say."""
        return PurePosixPath(self.name).suffix

    def read(self) -> bytes:
        """The unpacked content, checked against its CRC-32.

        Raises:
            Damaged: the archive is broken there, or gone.
        """
        if self.size > MAX_MEMBER_BYTES:
            raise Damaged(f"{self.size:,} bytes in its archive, expected at most {MAX_MEMBER_BYTES:,}")
        try:
            return _archive(self.parts).read(self.name)
        except _FAILURES as error:
            raise Damaged(f"damaged in its archive: {' '.join(str(error).split())}") from None


def open_archive(parts: Sequence[Path]) -> dict[str, PackedFile]:
    """The files of an archive by name, after checks that its parts are whole and in their order.

    Args:
        parts: of the archive, in order.

    Raises:
        UserError: a part is missing, cut short or in the wrong place, or a name leads out of the folder.
    """
    for part in parts:
        if not part.is_file():
            raise UserError(f"{part}: no such file, expected a part of the archive")
    last = parts[-1]
    try:
        archive = _archive(tuple(parts))
        members = [member for member in archive.infolist() if not member.is_dir()]
    except (zipfile.BadZipFile, ValueError, OSError) as error:
        raise UserError(
            f"{last}: found no directory of a zip archive at its end ({error}); expected the archive's last part, "
            "whole: it is cut short, or the parts are in the wrong order or not all there"
        ) from None
    for member in members:
        if PurePosixPath(member.filename).is_absolute() or ".." in PurePosixPath(member.filename).parts:
            raise UserError(f"{last}: found a file {member.filename!r} in it, expected names that stay in the folder")
    _check_order(archive, members, parts)
    return {m.filename: PackedFile(tuple(parts), m.filename, m.file_size, m.CRC) for m in members}


@lru_cache(maxsize=1)
def _archive(parts: tuple[Path, ...]) -> zipfile.ZipFile:
    """The opened archive; once a process, as its directory of 26,000 names takes a moment to read."""
    return zipfile.ZipFile(io.BufferedReader(JoinedFile(parts), BUFFER_BYTES))


def _check_order(archive: zipfile.ZipFile, members: Sequence[zipfile.ZipInfo], parts: Sequence[Path]) -> None:
    """The first file that starts in each part must really start there."""
    starts = archive.fp.raw.starts
    missing = -min((member.header_offset for member in members), default=0)
    if missing > 0:
        raise UserError(
            f"{parts[0]}: {missing:,} bytes are missing from here to the archive's directory; expected {len(parts)} "
            "whole parts, none cut short or in the wrong order"
        )
    for part, begin, end in zip(parts, starts, starts[1:], strict=False):
        inside = [member for member in members if begin <= member.header_offset < end]
        if inside and not _starts_there(archive, min(inside, key=lambda member: member.header_offset)):
            raise UserError(
                f"{part}: does not continue the part before it; expected {len(parts)} whole parts of one archive, none "
                "in the wrong order"
            )


def _starts_there(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bool:
    try:
        archive.open(member).close()  # compares the header before the content with the directory
    except _FAILURES:
        return False
    return True
