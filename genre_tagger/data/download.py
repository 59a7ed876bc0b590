"""Downloads files over HTTP: goes on where an earlier attempt ended, tries again with growing pauses, checks sizes."""

import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import requests
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential_jitter

from genre_tagger.errors import UserError
from genre_tagger.files import Need, check_space, storage_errors

ATTEMPTS = 6  # in a row that bring nothing
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 1.0, 60.0
TIMEOUT_SECONDS = 30
CHUNK_BYTES = 1 << 18
BUSY = (408, 425, 429, 500, 502, 503, 504)  # worth asking again

OnBytes = Callable[[int, int], None]


class _Broken(Exception):  # noqa: N818, an attempt that may be repeated
    def __init__(self, reason: str, pause_seconds: float = 0.0):
        super().__init__(reason)
        self.pause_seconds = pause_seconds


def download(
    urls: Sequence[str],
    directory: Path,
    *,
    say: Callable[[str], None],
    on_progress: OnBytes | None = None,
    on_finished: Callable[[list[Path]], None] = lambda parts: None,
    afterwards: Sequence[Need] = (),
) -> list[Path]:
    """Downloads files into a directory, each under the last part of its address, if they fit on its disk.

    What is not finished is called `NAME.part`; a later call goes on there.

    Args:
        urls: of the files.
        directory: made if missing.
        say: prints a line: how much disk is needed.
        on_progress: called with the number of bytes that are there and of all.
        on_finished: called with the whole files before they get their names.
        afterwards: what else has to be free before the first byte comes.

    Raises:
        UserError: the server has no such file or keeps failing, or the disk is too full or cannot be written.
    """
    with storage_errors(directory):
        directory.mkdir(parents=True, exist_ok=True)
        with requests.Session() as session:
            session.headers["Accept-Encoding"] = "identity"  # ranges count the bytes of the file itself
            sizes = [_retrying(url, lambda url=url: _ask_size(session, url)) for url in urls]
            parts = [directory / f"{url.rsplit('/', 1)[-1]}.part" for url in urls]
            missing = sum(sizes) - sum(_size(part) for part in parts)
            check_space([Need(directory, missing, "to download into"), *afterwards], say)

            def report(finished: int, count: int) -> None:
                if on_progress:
                    on_progress(finished + count, sum(sizes))

            for number, (url, size, part) in enumerate(zip(urls, sizes, parts, strict=True)):
                _fetch(session, url, size, part, partial(report, sum(sizes[:number])))
        on_finished(parts)
        for part in parts:
            part.rename(part.with_suffix(""))
    return [part.with_suffix("") for part in parts]


def _fetch(session: requests.Session, url: str, size: int, part: Path, report: Callable[[int], None]) -> None:
    if _size(part) > size:  # of another file
        part.unlink()
    report(_size(part))
    while _size(part) < size:
        _retrying(url, lambda: _attempt(session, url, size, part, report))
    part.touch()  # a file of 0 bytes is downloaded too


def _ask_size(session: requests.Session, url: str) -> int:
    """Bytes of the file, from the answer to a request for its first one."""
    with _get(session, url, {"Range": "bytes=0-0"}) as response:
        total = response.headers.get("Content-Range", "").rpartition("/")[2]
        total = total if response.status_code == 206 else response.headers.get("Content-Length", "")
    if not total.isdigit():
        raise UserError(f"{url}: the server does not say how long the file is; try another with --mirror")
    return int(total)


def _attempt(session: requests.Session, url: str, size: int, part: Path, report: Callable[[int], None]) -> None:
    """Appends what the server sends; `_Broken` where that brought the file no nearer to its end."""
    start = _size(part)
    with _get(session, url, {"Range": f"bytes={start}-"}) as response:
        resumed = response.status_code == 206
        found = response.headers.get("Content-Range")
        if resumed and found != f"bytes {start}-{size - 1}/{size}":
            raise _Broken(f"it sends {found}, expected bytes {start}-{size - 1}/{size}")
        try:
            _write(response, part, "ab" if resumed else "wb", size, report)
        except requests.RequestException as error:
            reason = _cause(error)
        else:
            reason = "it ended early"
    if _size(part) < size and not (resumed and _size(part) > start):  # without ranges each attempt starts anew
        raise _Broken(f"{reason}, after {_size(part):,} of {size:,} bytes")


def _write(response: requests.Response, part: Path, mode: str, size: int, report: Callable[[int], None]) -> None:
    with part.open(mode) as file:
        count = os.fstat(file.fileno()).st_size
        for chunk in response.iter_content(CHUNK_BYTES):
            chunk = chunk[: size - count]  # more than was announced is none of the file
            file.write(chunk)
            count += len(chunk)
            report(count)


def _get(session: requests.Session, url: str, headers: dict[str, str]) -> requests.Response:
    try:
        response = session.get(url, headers=headers, stream=True, timeout=TIMEOUT_SECONDS)
    except (requests.ConnectionError, requests.Timeout) as error:
        raise _Broken(_cause(error)) from None
    except (requests.RequestException, ValueError) as error:
        raise UserError(f"{url}: cannot be asked for ({_cause(error)}), expected an address of http or https") from None
    if response.status_code in BUSY:
        pause = response.headers.get("Retry-After", "")
        raise _Broken(f"it answers {response.status_code} {response.reason}", float(pause) if pause.isdigit() else 0.0)
    if response.status_code not in (200, 206):
        found = f"{response.status_code} {response.reason}"
        raise UserError(f"{url}: the server answers {found}, expected the file; try another with --mirror")
    return response


def _retrying(url: str, action: Callable):
    pauses = wait_exponential_jitter(FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS, jitter=FIRST_PAUSE_SECONDS)

    def pause(state: RetryCallState) -> float:
        wanted = state.outcome.exception().pause_seconds  # the server's own wish
        return max(min(wanted, LONGEST_PAUSE_SECONDS), pauses(state))

    retrying = Retrying(
        retry=retry_if_exception_type(_Broken), stop=stop_after_attempt(ATTEMPTS), wait=pause, reraise=True
    )
    try:
        return retrying(action)
    except _Broken as error:
        raise UserError(
            f"{url}: {ATTEMPTS} attempts in a row failed: {error}; what has come is kept, the same command goes on, "
            "--mirror takes another server"
        ) from None


def _cause(error: BaseException) -> str:
    """What lies at the bottom of a chain of wrapped errors: `Connection refused`, say."""
    while error.__cause__ or error.__context__:
        error = error.__cause__ or error.__context__
    return " ".join(str(error).split())


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
