"""Read audio files from a zip archive without unpacking it. An archive split into parts need not be joined.

The decoding processes import this module, so its imports must stay few and fast.
"""

import io
import lzma
import os
import struct
import zipfile
import zlib
from bisect import bisect_right
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from pathlib import Path, PurePosixPath
from typing import Any

from genre_tagger.errors import UserError

BUFFER_BYTES = 1 << 16

# NotImplementedError: unsupported compression method; RuntimeError: encryption; ValueError: undecodable file name.
_FAILURES = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error),
    *(EOFError, OSError, KeyError, ValueError, NotImplementedError, RuntimeError),
)
MAX_MEMBER_BYTES = 1 << 28  # maximum unpacked size, far above that of a song; bounds memory


class Damaged(Exception):  # noqa: N818, describes the file and is not a bug
    """A file in an archive that cannot be read. The message is the reason."""


class JoinedFile(io.RawIOBase):
    """Read-only binary stream over several files, as if they were concatenated.

    Args:
        parts: paths of the files, in order.
    """

    def __init__(self, parts: Sequence[Path]) -> None:
        self._files = [part.open("rb", buffering=0) for part in parts]
        sizes = [os.fstat(file.fileno()).st_size for file in self._files]
        self.starts = [0, *accumulate(sizes)]  # offset of each part, then the total size
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._position = offset + (0, self._position, self.starts[-1])[whence]
        if self._position < 0:
            raise OSError("cannot seek to a position before the start of the file")
        return self._position

    def readinto(self, buffer: Any) -> int:
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
        parts: paths of the archive's parts, in order.
        name: name of the file in the archive.
        size: unpacked size in bytes.
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
        """File extension with its dot, such as `.mp3`."""
        return PurePosixPath(self.name).suffix

    def read(self) -> bytes:
        """Return the unpacked content after checking its CRC-32.

        Raises:
            Damaged: the archive is missing or damaged at this file, or the file is too large.
        """
        if self.size > MAX_MEMBER_BYTES:
            raise Damaged(f"{self.size:,} bytes in its archive, expected at most {MAX_MEMBER_BYTES:,}")
        try:
            return _archive(self.parts).read(self.name)
        except _FAILURES as error:
            raise Damaged(f"damaged in its archive: {' '.join(str(error).split())}") from error


def open_archive(parts: Sequence[Path]) -> dict[str, PackedFile]:
    """Return the files of an archive by name, after checking that its parts are complete and in order.

    Args:
        parts: paths of the archive's parts, in order.

    Raises:
        UserError: a part is missing, truncated or out of order, or a file name points outside the archive's folder.
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
            f"{last}: found no zip directory at its end ({error}), expected the complete last part of the archive; "
            "check that no part is missing, truncated or out of order"
        ) from error
    for member in members:
        if PurePosixPath(member.filename).is_absolute() or ".." in PurePosixPath(member.filename).parts:
            raise UserError(
                f"{last}: found the file name {member.filename!r}, expected names inside the archive's folder"
            )
    _check_order(archive, members, parts)
    return {m.filename: PackedFile(tuple(parts), m.filename, m.file_size, m.CRC) for m in members}


@lru_cache(maxsize=1)
def _archive(parts: tuple[Path, ...]) -> zipfile.ZipFile:
    """Open an archive. The result is cached, because reading a directory of 26,000 names takes a while."""
    return zipfile.ZipFile(io.BufferedReader(JoinedFile(parts), BUFFER_BYTES))


def _check_order(archive: zipfile.ZipFile, members: Sequence[zipfile.ZipInfo], parts: Sequence[Path]) -> None:
    """Check that the first file of each part starts at the offset that the zip directory gives."""
    with closing(JoinedFile(parts)) as joined:
        starts = joined.starts
    missing = -min((member.header_offset for member in members), default=0)
    if missing > 0:
        raise UserError(
            f"{parts[0]}: {missing:,} bytes are missing between this part and the zip directory, expected "
            f"{len(parts)} complete parts in order"
        )
    for part, begin, end in zip(parts, starts, starts[1:], strict=False):
        inside = [member for member in members if begin <= member.header_offset < end]
        if inside and not _starts_there(archive, min(inside, key=lambda member: member.header_offset)):
            raise UserError(
                f"{part}: does not continue the previous part, expected {len(parts)} complete parts of one archive, "
                "in order"
            )


def _starts_there(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bool:
    try:
        archive.open(member).close()  # compares the file's own header with the directory
    except _FAILURES:
        return False
    return True
