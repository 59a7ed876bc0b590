"""Download files over HTTP: resume partial downloads, retry with growing pauses and check sizes."""

import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

import requests
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential_jitter

from genre_tagger.errors import UserError
from genre_tagger.files import DiskNeed, check_space, storage_errors
from genre_tagger.progress import Update, progress

ATTEMPTS = 6  # consecutive attempts without progress
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 1.0, 60.0
TIMEOUT_SECONDS = 30
CHUNK_BYTES = 1 << 18
BUSY = (408, 425, 429, 500, 502, 503, 504)  # status codes after which a request is repeated


Result = TypeVar("Result")


class _Broken(Exception):  # noqa: N818, a failed attempt that may be repeated
    def __init__(self, reason: str, pause_seconds: float = 0.0):
        super().__init__(reason)
        self.pause_seconds = pause_seconds


def download(
    urls: Sequence[str],
    directory: Path,
    *,
    on_finished: Callable[[list[Path]], None] = lambda parts: None,
    afterwards: Sequence[DiskNeed] = (),
) -> list[Path]:
    """Download files into a directory, each under the last part of its URL, after checking the free disk space.

    An incomplete file is called `NAME.part`. A later call resumes it.

    Args:
        urls: URLs of the files.
        directory: directory for the files, created if missing.
        on_finished: called with the complete files before they are renamed from `NAME.part`.
        afterwards: further disk space that must be free before the download starts.

    Returns:
        The paths of the files, in the order of the URLs.

    Raises:
        UserError: the server does not have a file or keeps failing, or the disk is too full or cannot be written.
    """
    with storage_errors(directory):
        directory.mkdir(parents=True, exist_ok=True)
        with requests.Session() as session:
            session.headers["Accept-Encoding"] = "identity"  # no compression, so that ranges count bytes of the file
            sizes = [_retrying(url, partial(_ask_size, session, url)) for url in urls]
            parts = [directory / f"{url.rsplit('/', 1)[-1]}.part" for url in urls]
            missing = sum(sizes) - sum(_size(part) for part in parts)
            check_space([DiskNeed(directory, missing, "to download into"), *afterwards])

            with progress("downloading", in_bytes=True) as update:
                for number, (url, size, part) in enumerate(zip(urls, sizes, parts, strict=True)):
                    finished = sum(sizes[:number])
                    _fetch(session, url, size, part, partial(_add_up, update, finished, sum(sizes)))
        on_finished(parts)
        for part in parts:
            part.rename(part.with_suffix(""))
    return [part.with_suffix("") for part in parts]


def _add_up(update: Update, finished: int, total: int, count: int) -> None:
    update(finished + count, total)


def _fetch(session: requests.Session, url: str, size: int, part: Path, report: Callable[[int], None]) -> None:
    if _size(part) > size:  # left over from another file
        part.unlink()
    report(_size(part))
    while _size(part) < size:
        _retrying(url, lambda: _attempt(session, url, size, part, report))
    part.touch()  # a file of 0 bytes needs no request


def _ask_size(session: requests.Session, url: str) -> int:
    """Return the size of the file in bytes, from the response to a request for its first byte."""
    with _get(session, url, {"Range": "bytes=0-0"}) as response:
        total = response.headers.get("Content-Range", "").rpartition("/")[2]
        total = total if response.status_code == 206 else response.headers.get("Content-Length", "")
    if not total.isdigit():
        raise UserError(f"{url}: found no file size in the response, expected one; try another mirror")
    return int(total)


def _attempt(session: requests.Session, url: str, size: int, part: Path, report: Callable[[int], None]) -> None:
    """Append what the server sends. Raise `_Broken` if the file is incomplete and made no progress."""
    start = _size(part)
    with _get(session, url, {"Range": f"bytes={start}-"}) as response:
        resumed = response.status_code == 206
        found = response.headers.get("Content-Range")
        if resumed and found != f"bytes {start}-{size - 1}/{size}":
            raise _Broken(f"the server sends {found}, expected bytes {start}-{size - 1}/{size}")
        try:
            _write(response, part, "ab" if resumed else "wb", size, report)
        except requests.RequestException as error:
            reason = _cause(error)
        else:
            reason = "the response ended early"
    if _size(part) < size and not (resumed and _size(part) > start):  # without ranges, each attempt starts over
        raise _Broken(f"{reason}, after {_size(part):,} of {size:,} bytes")


def _write(response: requests.Response, part: Path, mode: str, size: int, report: Callable[[int], None]) -> None:
    with part.open(mode) as file:
        count = os.fstat(file.fileno()).st_size
        for chunk in response.iter_content(CHUNK_BYTES):
            chunk = chunk[: size - count]  # bytes beyond the announced size do not belong to the file
            file.write(chunk)
            count += len(chunk)
            report(count)


def _get(session: requests.Session, url: str, headers: dict[str, str]) -> requests.Response:
    try:
        response = session.get(url, headers=headers, stream=True, timeout=TIMEOUT_SECONDS)
    except (requests.ConnectionError, requests.Timeout) as error:
        raise _Broken(_cause(error)) from error
    except (requests.RequestException, ValueError) as error:
        raise UserError(f"{url}: cannot be requested ({_cause(error)}), expected an http or https URL") from error
    found = f"{response.status_code} {response.reason}"
    if response.status_code in BUSY:
        pause = response.headers.get("Retry-After", "")
        raise _Broken(f"the server responds {found}", float(pause) if pause.isdigit() else 0.0)
    if response.status_code not in (200, 206):
        raise UserError(f"{url}: the server responds {found}, expected the file; try another mirror")
    return response


def _retrying(url: str, action: Callable[[], Result]) -> Result:
    pauses = wait_exponential_jitter(FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS, jitter=FIRST_PAUSE_SECONDS)

    def pause(state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        wanted = error.pause_seconds if isinstance(error, _Broken) else 0.0  # requested by the server
        return max(min(wanted, LONGEST_PAUSE_SECONDS), float(pauses(state)))

    retrying = Retrying(
        retry=retry_if_exception_type(_Broken), stop=stop_after_attempt(ATTEMPTS), wait=pause, reraise=True
    )
    try:
        return retrying(action)
    except _Broken as error:
        raise UserError(
            f"{url}: {ATTEMPTS} consecutive attempts failed: {error}; rerun the command to resume, or try another "
            "mirror"
        ) from error


def _cause(error: BaseException) -> str:
    """Return the message of the innermost error of a chain, such as `Connection refused`."""
    while inner := error.__cause__ or error.__context__:
        error = inner
    return " ".join(str(error).split())


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
