"""Files and directories: atomic writes, locks, disk space, JSON, digests, and messages for full or unwritable disks."""

import errno
import hashlib
import json
import logging
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from genre_tagger.errors import UserError

LOCK_NAME = ".lock"

_FULL = {errno.ENOSPC, errno.EDQUOT}
_UNWRITABLE = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.EFBIG, errno.ENAMETOOLONG}
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP}
HASHED_BYTES = 1 << 18  # block size of sha256_of

_logger = logging.getLogger(__name__)


@contextmanager
def working_in(directory: Path) -> Iterator[None]:
    """Create a directory if it is missing and keep other processes out of it.

    Raises:
        UserError: the directory cannot be created or written, or another process works in it.
    """
    with ExitStack() as stack:
        with storage_errors(directory):
            directory.mkdir(parents=True, exist_ok=True)
            stack.enter_context(locked(directory))
        yield


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Keep other processes out of a directory. The lock ends with the process, even if the process is killed.

    Raises:
        UserError: another process holds the lock, or the lock file cannot be written.
    """
    with _holding(directory / LOCK_NAME, directory):
        yield


@contextmanager
def locked_file(path: Path) -> Iterator[None]:
    """Keep other processes from working on a file, as `locked` does for a directory. The file need not exist.

    The lock is a separate hidden file, because writing replaces the file itself.

    Raises:
        UserError: another process holds the lock, or the lock file cannot be written.
    """
    with _holding(path.parent / f".{path.name}{LOCK_NAME}", path):
        yield


@contextmanager
def _holding(lock_file: Path, protected: Path) -> Iterator[None]:
    # The lock file is kept. If it were removed, a process that had just opened it would hold a lock that no other
    # process sees.
    lock = FileLock(lock_file, timeout=0, thread_local=False, fallback_to_soft=False)
    try:
        with storage_errors(lock_file.parent):
            lock_file.parent.stat()  # if it were missing, filelock would create it
            lock.acquire()
    except Timeout as error:
        raise UserError(
            f"{protected}: another process is working here; wait for it to end, then rerun the command"
        ) from error
    except (NotImplementedError, OSError) as error:
        if isinstance(error, OSError) and error.errno not in _NO_LOCKS:
            raise
        # Some network file systems do not support locks. It is better to work there without a lock than to refuse.
        _logger.warning("%s: the file system does not support locks; do not run two commands here at once", protected)
    try:
        yield
    finally:
        lock.release()


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal, reading one block at a time."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(HASHED_BYTES):  # hashlib.file_digest needs Python 3.11
            digest.update(block)
    return digest.hexdigest()


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON file that contains an object.

    Raises:
        UserError: the file is missing or does not contain a JSON object.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read ({error})") from error
    if not isinstance(content, dict):
        raise UserError(f"{path}: found {type(content).__name__}, expected a JSON object")
    return content


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a hidden path next to `path` to write to. It becomes `path` at the end, or is removed on an error."""
    unfinished = path.with_name(f".{path.name}.tmp")
    try:
        yield unfinished
        unfinished.replace(path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file under a hidden name, then rename it."""
    with replacing(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8")


def remove_leftovers(directory: Path, *prefixes: str) -> None:
    """Remove what a killed process left behind: unfinished files of `replacing`, and folders with these prefixes."""
    for leftover in directory.glob(".*.tmp"):
        leftover.unlink()
    for prefix in prefixes:
        for folder in directory.glob(f"{prefix}*"):
            shutil.rmtree(folder)


@contextmanager
def storage_errors(directory: Path) -> Iterator[None]:
    """Turn failures to write below `directory` into a UserError with a remedy. Other errors pass through.

    Raises:
        UserError: the disk is full, or the directory cannot be written.
    """
    try:
        yield
    except Exception as error:
        if _is_full(error):
            raise UserError(
                f"{directory}: no space left on its disk; finished parts are kept: free some space and rerun the "
                "command to resume"
            ) from error
        if _is_unwritable(error, directory):
            reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
            raise UserError(
                f"{directory}: cannot be written ({reason}); expected a directory that can be created or written to"
            ) from error
        raise


@dataclass(frozen=True)
class DiskNeed:
    """Bytes that a step needs in a directory, which may not exist yet.

    Attributes:
        directory: directory of the new files.
        bytes: number of bytes.
        purpose: words between the number and the directory in a message, for example `to download into`.
    """

    directory: Path
    bytes: int
    purpose: str

    def __str__(self) -> str:
        return f"{_readable(self.bytes)} {self.purpose} {self.directory}"


def check_space(needs: Sequence[DiskNeed]) -> None:
    """Check that every disk has enough free space, and log the needed and the free space.

    Args:
        needs: the bytes needed in each directory. Needs on the same disk are added up.

    Raises:
        UserError: a disk has less free space than is needed.
    """
    on_disk: dict[int, list[DiskNeed]] = {}
    for need in needs:
        on_disk.setdefault(_existing(need.directory).stat().st_dev, []).append(need)
    for together in on_disk.values():
        where = together[0].directory
        free = shutil.disk_usage(_existing(where)).free
        needed = " and ".join(str(need) for need in together)
        _logger.info("%s: %s free on that disk", needed, _readable(free))
        if free < sum(need.bytes for need in together):
            raise UserError(f"{where}: found {_readable(free)} free on its disk, expected {needed}")


def _existing(directory: Path) -> Path:
    return next(path for path in (directory, *directory.absolute().parents) if path.exists())


def _readable(count: int) -> str:
    return f"{count / 1e9:.2f} GB" if count >= 1e9 else f"{count / 1e6:.2f} MB"


def _is_unwritable(error: Exception, directory: Path) -> bool:
    if getattr(error, "errno", None) in _UNWRITABLE or "file too large" in str(error).lower():
        return True
    # In /proc and similar file systems, the system call to create a folder reports a missing file.
    return isinstance(error, FileNotFoundError) and not directory.exists()


def _is_full(error: Exception) -> bool:
    # TensorFlow reports a full disk with one of several errors of its own. Only the message identifies the cause.
    return getattr(error, "errno", None) in _FULL or "no space left" in str(error).lower()
