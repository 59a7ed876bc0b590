"""Files: written never half done and by one process at a time, full or unwritable disks explained, digests."""

import errno
import hashlib
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from genre_tagger.errors import UserError

_FULL = {errno.ENOSPC, errno.EDQUOT}
_UNWRITABLE = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.EFBIG}

LOCK_NAME = ".lock"
HASHED_BYTES = 1 << 18  # of a file at a time


def locked(directory: Path) -> AbstractContextManager[None]:
    """Keeps other processes that ask for the same out of a directory; the kernel ends it with the process, if killed.

    Raises:
        UserError: another process is there, or the lock cannot be written.
    """
    return _holding(directory / LOCK_NAME, directory)


def locked_file(path: Path) -> AbstractContextManager[None]:
    """Keeps them off one file, there yet or not, as `locked` does; by its own lock, as writing may replace the file."""
    return _holding(path.parent / f".{path.name}{LOCK_NAME}", path)


@contextmanager
def _holding(lock: Path, what: Path) -> Iterator[None]:
    try:
        import fcntl
    except ImportError:  # Windows has none; there it is left to the user
        yield
        return
    # The file stays: were it removed, a process that had just opened it would hold a lock that nobody else sees.
    with storage_errors(lock.parent):
        file = lock.open("w")
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(
                f"{what}: another process is working here; wait for it to end, then run the same command"
            ) from None
        except OSError:  # some network file systems know no locks: better to work without than not at all
            pass
        yield


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's content, in hexadecimal; a file of any size takes the memory of one block."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(HASHED_BYTES):  # hashlib.file_digest is of Python 3.11
            digest.update(block)
    return digest.hexdigest()


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields a hidden file name beside `path` to write to; it becomes `path` at the end, or vanishes on an error."""
    unfinished = path.with_name(f".{path.name}.tmp")
    try:
        yield unfinished
        unfinished.replace(path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


def remove_leftovers(directory: Path, *prefixes: str) -> None:
    """Removes what a killed process left: unfinished files of `replacing`, and folders with one of the prefixes."""
    for leftover in directory.glob(".*.tmp"):
        leftover.unlink()
    for prefix in prefixes:
        for folder in directory.glob(f"{prefix}*"):
            shutil.rmtree(folder)


@contextmanager
def storage_errors(directory: Path) -> Iterator[None]:
    """Turns failures to write below `directory` into a UserError that says what to do; passes others on."""
    try:
        yield
    except Exception as error:
        if _is_full(error):
            raise UserError(
                f"{directory}: no space left on its disk; finished parts are kept, free some space and the same "
                "command continues"
            ) from error
        if _is_unwritable(error, directory):
            reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
            raise UserError(
                f"{directory}: cannot be written ({reason}); expected a directory that can be made or written to"
            ) from error
        raise


@dataclass(frozen=True)
class Need:
    """Bytes that something will take in a directory, made or not; the purpose is put between: `to download into`."""

    directory: Path
    bytes: int
    purpose: str

    def __str__(self) -> str:
        return f"{_readable(self.bytes)} {self.purpose} {self.directory}"


def check_space(needs: Sequence[Need], say: Callable[[str], None]) -> None:
    """Says what is needed on each disk and how much is free there; refuses, as UserError, where that is less."""
    on_disk: dict[int, list[Need]] = {}
    for need in needs:
        on_disk.setdefault(_existing(need.directory).stat().st_dev, []).append(need)
    for together in on_disk.values():
        where = together[0].directory
        free = shutil.disk_usage(_existing(where)).free
        needed = " and ".join(str(need) for need in together)
        say(f"{needed}: {_readable(free)} free on that disk")
        if free < sum(need.bytes for need in together):
            raise UserError(f"{where}: found {_readable(free)} free on its disk, expected {needed}")


def _existing(directory: Path) -> Path:
    return next(path for path in (directory, *directory.absolute().parents) if path.exists())


def _readable(count: int) -> str:
    return f"{count / 1e9:.2f} GB" if count >= 1e9 else f"{count / 1e6:.2f} MB"


def _is_unwritable(error: Exception, directory: Path) -> bool:
    if getattr(error, "errno", None) in _UNWRITABLE or "file too large" in str(error).lower():
        return True
    # Below /proc and the like a folder cannot be made, which the system calls a missing file.
    return isinstance(error, FileNotFoundError) and not directory.exists()


def _is_full(error: Exception) -> bool:
    # TensorFlow reports a full disk as one of several of its own errors, known only by the message.
    return getattr(error, "errno", None) in _FULL or "no space left" in str(error).lower()
