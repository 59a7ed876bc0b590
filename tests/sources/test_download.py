"""Download from a local server that fails in all the ways that real servers do."""

import hashlib
import json
import logging
import re
import threading
from collections import Counter, namedtuple
from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from facts import check_facts, expect_error
from shown_progress import progress_to

from genre_tagger import files
from genre_tagger.progress import shown_by
from genre_tagger.sources import download as module
from genre_tagger.sources.download import download
from genre_tagger.sources.magnatagatune import fetch_missing

CONTENT = np.random.default_rng(0).bytes(700_001)
NAMES = ("annotations_final.csv", "clip_info_final.csv", "mp3.zip.001", "mp3.zip.002", "mp3.zip.003")


class Server(ThreadingHTTPServer):
    """Serve files by name. Each of `faults` replaces the response to one request for content."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.faults: list[Callable[[Handler, bytes], None]] = []
        self.ranges = True
        self.requests: Counter[str] = Counter()
        self.asked: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        content = self.server.files.get(self.path.strip("/"))
        asked = self.headers.get("Range", "")
        if asked != "bytes=0-0":
            self.server.requests[self.path.strip("/")] += 1
            self.server.asked.append(asked)
            if self.server.faults:
                self.server.faults.pop(0)(self, content)
                return
        if content is None:
            self.send_error(404)
            return
        self.answer(content)

    def answer(self, content: bytes, cut: int | None = None) -> None:
        """Send the usual response, with the body truncated to `cut` bytes if given."""
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if asked and self.server.ranges:
            start, end = int(asked[1]), int(asked[2] or len(content) - 1)
            body = content[start : end + 1]
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{end}/{len(content)}")
        else:
            body = content
            self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[:cut])

    def handle(self) -> None:
        with suppress(ConnectionError):  # the client has closed the connection
            super().handle()

    def log_message(self, *arguments) -> None:
        pass


def drop(handler: Handler, content: bytes) -> None:
    handler.answer(content, cut=200_000)
    handler.connection.close()


def hang_up(handler: Handler, content: bytes) -> None:
    handler.connection.close()


def failing(status: int, pause: str = "") -> Callable:
    def answer(handler: Handler, content: bytes) -> None:
        handler.send_response(status)
        if pause:
            handler.send_header("Retry-After", pause)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return answer


def truncated_without_length(handler: Handler, content: bytes) -> None:
    """Send no Content-Length, so that only the size requested first shows that the response ended early."""
    start = int(handler.headers["Range"][6:-1])
    handler.send_response(206)
    handler.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
    handler.end_headers()
    handler.wfile.write(content[start : start + 1000])


def ranged(start_shift: int, total_shift: int) -> Callable:
    """Send a different range than requested."""

    def answer(handler: Handler, content: bytes) -> None:
        start = int(handler.headers["Range"][6:-1]) + start_shift
        handler.send_response(206)
        handler.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content) + total_shift}")
        handler.send_header("Content-Length", str(len(content) - start))
        handler.end_headers()
        handler.wfile.write(content[start:])

    return answer


def too_long(handler: Handler, content: bytes) -> None:
    handler.send_response(206)
    handler.send_header("Content-Range", f"bytes 0-{len(content) - 1}/{len(content)}")
    handler.end_headers()
    handler.wfile.write(content + b"more")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(module, "FIRST_PAUSE_SECONDS", 0.001)
    monkeypatch.setattr(module, "LONGEST_PAUSE_SECONDS", 0.002)
    monkeypatch.setattr(module, "CHUNK_BYTES", 10_000)  # at most this much is lost when a connection breaks
    with Server() as server:
        server.files["a.bin"] = CONTENT
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


def fetch(server: Server, folder: Path, name: str = "a.bin", **options) -> Path:
    (path,) = download([f"{server.url}/{name}"], folder, **options)
    return path


@pytest.mark.parametrize(
    "faults",
    [
        [],
        [drop, drop, drop],
        [hang_up],
        [failing(500), failing(503), failing(429, "1"), failing(429, "soon")],
        [truncated_without_length] * 8,
        [ranged(5, 0), ranged(0, 7), drop, ranged(-5, 0)],
        [too_long],
        [drop, failing(500), drop, hang_up],
    ],
    ids=lambda faults: "-".join(fault.__name__ for fault in faults) or "none",
)
def test_the_file_is_complete_after_any_faults(server: Server, tmp_path: Path, faults):
    server.faults = list(faults)
    steps = []
    with progress_to(lambda *step: steps.append(step)):
        path = fetch(server, tmp_path)
    assert path == tmp_path / "a.bin"
    assert path.read_bytes() == CONTENT
    assert server.faults == []
    assert [file.name for file in tmp_path.iterdir()] == ["a.bin"]
    assert steps[-1] == (len(CONTENT), len(CONTENT))


def test_progress_counts_the_bytes_of_all_files(server: Server, tmp_path: Path):
    """The bytes of an earlier call count as done."""
    server.files = {"a.bin": CONTENT[:30_000], "b.bin": CONTENT[:20_000]}
    (tmp_path / "a.bin.part").write_bytes(CONTENT[:10_000])
    calls, steps = [], []

    def display(title: str, in_bytes: bool):
        calls.append(in_bytes)
        return nullcontext(lambda *step: steps.append(step))

    with shown_by(display):
        download([f"{server.url}/{name}" for name in server.files], tmp_path)
    assert calls == [True]
    assert {total for _, total in steps} == {50_000}
    done = [count for count, _ in steps]
    assert done[0] == 10_000 and 30_000 in done and done[-1] == 50_000
    assert done == sorted(done)


def test_only_missing_bytes_are_requested_again(server: Server, tmp_path: Path):
    server.faults = [drop]
    fetch(server, tmp_path)
    assert server.asked == ["bytes=0-", "bytes=200000-"]


def test_a_later_call_resumes(server: Server, tmp_path: Path):
    (tmp_path / "a.bin.part").write_bytes(CONTENT[:600_000])
    assert fetch(server, tmp_path).read_bytes() == CONTENT
    assert server.asked == ["bytes=600000-"]


def test_a_partial_file_that_is_too_long_is_replaced(server: Server, tmp_path: Path):
    (tmp_path / "a.bin.part").write_bytes(CONTENT + b"more")
    assert fetch(server, tmp_path).read_bytes() == CONTENT
    assert server.asked == ["bytes=0-"]


def test_a_server_without_ranges_sends_everything_again(server: Server, tmp_path: Path):
    server.ranges = False
    server.faults = [drop, drop]
    assert fetch(server, tmp_path).read_bytes() == CONTENT


@pytest.mark.parametrize("ranges", [True, False])
def test_six_attempts_without_progress_fail_and_keep_the_partial_file(server: Server, tmp_path: Path, ranges):
    server.ranges = ranges
    server.faults = [drop, *[failing(500)] * 6] if ranges else [drop] * 20
    with expect_error(f"{server.url}/a.bin", "6 ", "500" if ranges else "200,000 of 700,001", "mirror"):
        fetch(server, tmp_path)
    assert (tmp_path / "a.bin.part").read_bytes() == CONTENT[:200_000]
    assert not (tmp_path / "a.bin").exists()


@pytest.mark.parametrize("status", [404, 403])
def test_a_refusal_is_reported_at_once(server: Server, tmp_path: Path, status: int):
    server.faults = [failing(status)] * 2
    with expect_error(f"{server.url}/a.bin", f" {status} ", "mirror"):
        fetch(server, tmp_path)
    assert len(server.faults) == 1
    with expect_error(f"{server.url}/b.bin", "404 Not Found"):
        fetch(server, tmp_path, "b.bin")


def test_no_server_and_no_http_url(server: Server, tmp_path: Path):
    with expect_error("http://127.0.0.1:9/a", "6 ", "refused"):
        download(["http://127.0.0.1:9/a"], tmp_path)
    with expect_error("ftp://x/a", "http or https"):
        download(["ftp://x/a"], tmp_path)


def test_the_disk_space_is_reported_first_and_too_little_is_refused(
    server: Server, tmp_path: Path, monkeypatch, caplog
):
    caplog.set_level(logging.INFO)
    (tmp_path / "a.bin.part").write_bytes(CONTENT[:300_001])
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(files.shutil, "disk_usage", lambda path: usage(399_999))
    with expect_error(tmp_path, "found 0.40 MB", "expected 0.40 MB"):
        download([f"{server.url}/a.bin"], tmp_path)
    (line,) = [record.getMessage() for record in caplog.records if record.name.startswith("genre_tagger")]
    check_facts(line, tmp_path)
    assert line.count("0.40 MB") == 2  # needed and free
    assert server.asked == []
    monkeypatch.setattr(files.shutil, "disk_usage", lambda path: usage(400_000))
    assert fetch(server, tmp_path).read_bytes() == CONTENT


def test_missing_files_of_the_dataset_are_downloaded_and_recorded(server: Server, tmp_path: Path):
    server.files = {name: CONTENT[: 1000 * number] for number, name in enumerate(NAMES, start=1)}
    root = tmp_path / "mtt"
    root.mkdir()
    (root / "clip_info_final.csv").write_bytes(b"mine")
    fetch_missing(root, server.url + "/")
    assert (root / "clip_info_final.csv").read_bytes() == b"mine"
    assert server.requests == {name: 1 for name in NAMES if name != "clip_info_final.csv"}
    notes = json.loads((root / "downloads.json").read_text())
    assert notes.keys() == server.requests.keys()
    assert notes["mp3.zip.002"] == {
        "url": f"{server.url}/mp3.zip.002",
        "bytes": 4000,
        "sha256": hashlib.sha256(CONTENT[:4000]).hexdigest(),
    }
    fetch_missing(root, "http://127.0.0.1:9")  # nothing is requested
    (root / "mp3.zip.002").write_bytes(b"short")
    with expect_error(root / "mp3.zip.002", "found 5 bytes", "4,000"):
        fetch_missing(root, server.url)


@pytest.mark.parametrize(
    "content", [b"[]", b'{"mp3.zip.001": 5}', b'{"mp3.zip.001": {"bytes": "many"}}', b"{", b'"\xff"', b""]
)
def test_damaged_records_are_reported_and_removing_them_helps(server: Server, tmp_path: Path, content: bytes):
    server.files = {name: b"x" for name in NAMES}
    (tmp_path / "downloads.json").write_bytes(content)
    with expect_error(f"{tmp_path / 'downloads.json'}: ", "remove") as caught:
        fetch_missing(tmp_path, server.url)
    assert "\n" not in str(caught.value)
    (tmp_path / "downloads.json").unlink()
    fetch_missing(tmp_path, server.url)
    assert json.loads((tmp_path / "downloads.json").read_text()).keys() == set(NAMES)


def test_a_joined_archive_or_unpacked_folders_need_only_the_tables(server: Server, tmp_path: Path):
    server.files = {name: b"x" for name in NAMES[:2]}
    for root in (tmp_path / "joined", tmp_path / "tree"):
        root.mkdir()
    (tmp_path / "joined/mp3.zip").write_bytes(b"x")
    for folder in "0123456789abcdef":
        (tmp_path / "tree/mp3" / folder).mkdir(parents=True)
    for root in (tmp_path / "joined", tmp_path / "tree"):
        fetch_missing(root, server.url)
    assert server.requests == {"annotations_final.csv": 2, "clip_info_final.csv": 2}
