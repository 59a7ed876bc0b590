"""Downloading from a local server that misbehaves in every way that servers do."""

import hashlib
import json
import re
import threading
from collections import Counter, namedtuple
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from genre_tagger import files
from genre_tagger.data import download as module
from genre_tagger.data.download import download
from genre_tagger.data.magnatagatune import fetch_missing
from genre_tagger.errors import UserError

CONTENT = np.random.default_rng(0).bytes(700_001)
NAMES = ("annotations_final.csv", "clip_info_final.csv", "mp3.zip.001", "mp3.zip.002", "mp3.zip.003")


class Server(ThreadingHTTPServer):
    """Serves files by name; `faults` are handlers that each answer one request of a body in place of the usual one."""

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
        """The usual answer, its body cut short if wanted."""
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
        with suppress(ConnectionError):  # the client has seen enough
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


def short_without_saying(handler: Handler, content: bytes) -> None:
    """No Content-Length: nothing but the size that was asked for first tells that it ended early."""
    start = int(handler.headers["Range"][6:-1])
    handler.send_response(206)
    handler.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
    handler.end_headers()
    handler.wfile.write(content[start : start + 1000])


def ranged(start_shift: int, total_shift: int) -> Callable:
    """A range other than the one that was asked for."""

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
    monkeypatch.setattr(module, "CHUNK_BYTES", 10_000)  # what a broken connection loses at most
    with Server() as server:
        server.files["a.bin"] = CONTENT
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


def fetch(server: Server, folder: Path, name: str = "a.bin", **options) -> Path:
    (path,) = download([f"{server.url}/{name}"], folder, say=lambda line: None, **options)
    return path


@pytest.mark.parametrize(
    "faults",
    [
        [],
        [drop, drop, drop],
        [hang_up],
        [failing(500), failing(503), failing(429, "1"), failing(429, "soon")],
        [short_without_saying] * 8,
        [ranged(5, 0), ranged(0, 7), drop, ranged(-5, 0)],
        [too_long],
        [drop, failing(500), drop, hang_up],
    ],
    ids=lambda faults: "-".join(fault.__name__ for fault in faults) or "none",
)
def test_the_file_comes_whole_whatever_happens(server: Server, tmp_path: Path, faults):
    server.faults = list(faults)
    progress = []
    path = fetch(server, tmp_path, on_progress=lambda *step: progress.append(step))
    assert path == tmp_path / "a.bin"
    assert path.read_bytes() == CONTENT
    assert server.faults == []
    assert [file.name for file in tmp_path.iterdir()] == ["a.bin"]
    assert progress[-1] == (len(CONTENT), len(CONTENT))


def test_only_what_is_missing_is_asked_for_again(server: Server, tmp_path: Path):
    server.faults = [drop]
    fetch(server, tmp_path)
    assert server.asked == ["bytes=0-", "bytes=200000-"]


def test_a_later_call_goes_on(server: Server, tmp_path: Path):
    (tmp_path / "a.bin.part").write_bytes(CONTENT[:600_000])
    assert fetch(server, tmp_path).read_bytes() == CONTENT
    assert server.asked == ["bytes=600000-"]


def test_what_is_longer_than_the_file_is_of_another_one(server: Server, tmp_path: Path):
    (tmp_path / "a.bin.part").write_bytes(CONTENT + b"more")
    assert fetch(server, tmp_path).read_bytes() == CONTENT
    assert server.asked == ["bytes=0-"]


def test_a_server_without_ranges_sends_everything_again(server: Server, tmp_path: Path):
    server.ranges = False
    server.faults = [drop, drop]
    assert fetch(server, tmp_path).read_bytes() == CONTENT


@pytest.mark.parametrize("ranges", [True, False])
def test_gives_up_after_six_attempts_that_bring_nothing_and_keeps_what_came(server: Server, tmp_path: Path, ranges):
    server.ranges = ranges
    server.faults = [drop, *[failing(500)] * 6] if ranges else [drop] * 20
    with pytest.raises(UserError, match=r"a\.bin: 6 attempts in a row failed: .*what has come is kept"):
        fetch(server, tmp_path)
    assert (tmp_path / "a.bin.part").read_bytes() == CONTENT[:200_000]
    assert not (tmp_path / "a.bin").exists()


@pytest.mark.parametrize("status", [404, 403])
def test_a_refusal_is_said_at_once(server: Server, tmp_path: Path, status: int):
    server.faults = [failing(status)] * 2
    with pytest.raises(UserError, match=rf"a\.bin: the server answers {status} .*--mirror"):
        fetch(server, tmp_path)
    assert len(server.faults) == 1
    with pytest.raises(UserError, match=r"b\.bin: the server answers 404 Not Found"):
        fetch(server, tmp_path, "b.bin")


def test_nobody_there_and_no_address(server: Server, tmp_path: Path):
    with pytest.raises(UserError, match=r"http://127.0.0.1:9/a: 6 attempts in a row failed: .*refused"):
        download(["http://127.0.0.1:9/a"], tmp_path, say=lambda line: None)
    with pytest.raises(UserError, match=r"ftp://x/a: cannot be asked for .*expected an address of http"):
        download(["ftp://x/a"], tmp_path, say=lambda line: None)


def test_needed_disk_is_said_first_and_too_little_is_refused(server: Server, tmp_path: Path, monkeypatch):
    (tmp_path / "a.bin.part").write_bytes(CONTENT[:300_001])
    usage = namedtuple("usage", "free")
    lines = []
    monkeypatch.setattr(files.shutil, "disk_usage", lambda path: usage(399_999))
    with pytest.raises(UserError, match=r"found 0\.40 MB free on its disk, expected 0\.40 MB"):
        download([f"{server.url}/a.bin"], tmp_path, say=lines.append)
    assert lines == [f"0.40 MB to download into {tmp_path}: 0.40 MB free on that disk"]
    assert server.asked == []
    monkeypatch.setattr(files.shutil, "disk_usage", lambda path: usage(400_000))
    assert fetch(server, tmp_path).read_bytes() == CONTENT


def test_fetches_what_is_missing_of_the_dataset_and_notes_it(server: Server, tmp_path: Path):
    server.files = {name: CONTENT[: 1000 * number] for number, name in enumerate(NAMES, start=1)}
    root = tmp_path / "mtt"
    root.mkdir()
    (root / "clip_info_final.csv").write_bytes(b"mine")
    fetch_missing(root, server.url + "/", None, lambda line: None)
    assert (root / "clip_info_final.csv").read_bytes() == b"mine"
    assert server.requests == {name: 1 for name in NAMES if name != "clip_info_final.csv"}
    notes = json.loads((root / "downloads.json").read_text())
    assert notes.keys() == server.requests.keys()
    assert notes["mp3.zip.002"] == {
        "url": f"{server.url}/mp3.zip.002",
        "bytes": 4000,
        "sha256": hashlib.sha256(CONTENT[:4000]).hexdigest(),
    }
    fetch_missing(root, "http://127.0.0.1:9", None, lambda line: None)  # nothing is asked for
    (root / "mp3.zip.002").write_bytes(b"short")
    with pytest.raises(UserError, match=r"mp3.zip.002: found 5 bytes, expected the 4,000 that were downloaded"):
        fetch_missing(root, server.url, None, lambda line: None)


@pytest.mark.parametrize(
    "content", [b"[]", b'{"mp3.zip.001": 5}', b'{"mp3.zip.001": {"bytes": "many"}}', b"{", b'"\xff"', b""]
)
def test_damaged_notes_are_said_and_removing_them_helps(server: Server, tmp_path: Path, content: bytes):
    server.files = {name: b"x" for name in NAMES}
    (tmp_path / "downloads.json").write_bytes(content)
    with pytest.raises(UserError, match=r"downloads\.json: broken \(.*\); remove it") as caught:
        fetch_missing(tmp_path, server.url, None, lambda line: None)
    assert "\n" not in str(caught.value)
    (tmp_path / "downloads.json").unlink()
    fetch_missing(tmp_path, server.url, None, lambda line: None)
    assert json.loads((tmp_path / "downloads.json").read_text()).keys() == set(NAMES)


def test_an_archive_joined_by_hand_or_a_tree_needs_the_tables_only(server: Server, tmp_path: Path):
    server.files = {name: b"x" for name in NAMES[:2]}
    for root in (tmp_path / "joined", tmp_path / "tree"):
        root.mkdir()
    (tmp_path / "joined/mp3.zip").write_bytes(b"x")
    for folder in "0123456789abcdef":
        (tmp_path / "tree/mp3" / folder).mkdir(parents=True)
    for root in (tmp_path / "joined", tmp_path / "tree"):
        fetch_missing(root, server.url, None, lambda line: None)
    assert server.requests == {"annotations_final.csv": 2, "clip_info_final.csv": 2}
