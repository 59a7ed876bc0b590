"""The browser page in a headless Chromium, which can reach only this machine."""

import json
import os
import shutil
import socket
import sys
import tempfile
import threading
import time
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
import requests
from facts import check_facts
from tiny_tagger import noise, write

from genre_tagger.page import upload_limits
from genre_tagger.page.server import UPLOADS, UploadLimits, open_page
from genre_tagger.tagging.tagger import Tagger

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
expect = playwright.expect

CAME_WITH_SERVER = "gradio" in sys.modules
LOOPBACK, LIMITS = ip_address("127.0.0.1"), UploadLimits(megabytes=1, minutes=0.1)
PICTURE = Path(__file__).parents[2] / "docs/images/demo.png"
MODEL, SONG = (os.environ.get(name) for name in ("DEMO_MODEL", "DEMO_SONG"))
REFUSAL = ".message:has(b)"
ONLY_HERE = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
expect.set_options(timeout=20_000)  # milliseconds, for the first song on a busy machine


@pytest.fixture(scope="module")
def chromium():
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("there is no chromium on the path")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=program, args=["--no-sandbox", ONLY_HERE])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def lookups():
    """The names of all hosts that this process looks up while the page is served."""
    names, look_up = [], socket.getaddrinfo

    def noted(host, *rest, **options):
        names.append(host)
        return look_up(host, *rest, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", noted)
        yield names


@pytest.fixture(scope="module")
def served(run, lookups, tmp_path_factory):
    """The URL of the page, and the folder of uploads, which is alone in its parent folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(upload_limits, "SWEEP_SECONDS", 0.1)
        patch.setattr(tempfile, "tempdir", str(tmp_path_factory.mktemp("temporary")))
        with open_page(run, LOOPBACK, 0, LIMITS) as page:
            thread = threading.Thread(target=page.run)
            thread.start()
            yield page.address, Path(os.environ[UPLOADS])
            page.stop()
            thread.join()


@pytest.fixture(scope="module")
def tab(chromium, served):
    """The page, which is opened once, the URLs that it requests, and its errors."""
    page, requested, errors = chromium.new_page(viewport={"width": 1100, "height": 800}), [], []
    page.on("request", lambda request: requested.append(request.url))
    page.on("pageerror", lambda error: errors.append(error))
    page.goto(served[0])
    expect(page.locator(".drop")).to_be_visible()
    return page, requested, errors


@pytest.fixture
def page(tab):
    """The page. Requests to other servers and errors fail the test."""
    page, requested, errors = tab
    yield page
    hosts = {urlsplit(url).hostname for url in requested if not url.startswith(("data:", "blob:"))}
    assert (hosts, errors) == ({"127.0.0.1"}, [])


def choose(page, name, content):
    page.set_input_files(".drop input", {"name": name, "mimeType": "audio/wav", "buffer": content})


def files_below(uploads):
    return [path for path in uploads.rglob("*") if path.is_file()]


def test_a_song_is_tagged_plays_and_is_kept_as_json(page, served, run, tmp_path):
    song = write(tmp_path / "song.wav", noise(1.3))
    choose(page, "My song.wav", song.read_bytes())
    expect(page.locator("h2")).to_have_text("My song.wav")
    taggram = Tagger.load(run).taggram(song)
    tags = page.locator(".tag").all_inner_texts()
    scores = dict(zip(Tagger.load(run).tags, taggram.scores, strict=True))
    assert tags == sorted(scores, key=scores.get, reverse=True)
    figures = page.locator(".figure").all_inner_texts()
    np.testing.assert_allclose([float(figure) for figure in figures], [scores[tag] for tag in tags], atol=5.1e-4)

    with page.expect_download() as downloading:
        page.click(".download")
    assert downloading.value.suggested_filename == "My song.wav.json"
    document = json.loads(Path(downloading.value.path()).read_text(encoding="utf-8"))
    assert list(document["tags"]) == tags
    kept = np.array([document["probabilities"][tag] for tag in scores]).T
    np.testing.assert_allclose(kept, taggram.probabilities, atol=1e-6)
    np.testing.assert_allclose(document["times"], taggram.times, atol=1e-6)

    assert files_below(served[1]) == []  # the upload is removed, but the song can still be played
    page.click(".play")
    page.wait_for_function("document.querySelector('.cursor').value > 0.2")
    expect(page.locator(".clock")).to_have_text("0:01 / 0:01")
    expect(page.locator(".playing")).to_have_count(0)  # playing stops at the end of the song


def test_m4a_is_offered_only_if_it_can_be_decoded(page):
    assert ("M4A" in page.locator(".drop small").inner_text()) == (shutil.which("ffmpeg") is not None)


def test_the_cursor_is_at_the_moment_that_is_shown(page, tmp_path):
    choose(page, "song.wav", write(tmp_path / "song.wav", noise(3, seed=1)).read_bytes())
    expect(page.locator("h2")).to_have_text("song.wav")
    cursor = page.locator(".cursor")
    boxes = [page.locator(name).first.bounding_box() for name in (".strip", ".outline", ".axis", ".cursor")]
    assert len({(box["x"], box["width"]) for box in boxes}) == 1
    cursor.click(position={"x": boxes[0]["width"] * 0.75, "y": 10})
    expect(page.locator(".clock output")).to_have_text("0:02")
    second = float(cursor.input_value())
    assert second == pytest.approx(0.75 * 3, abs=0.02)
    with page.expect_download() as downloading:
        page.click(".download")
    document = json.loads(Path(downloading.value.path()).read_text(encoding="utf-8"))
    nearest = np.argmin(np.abs(np.array(document["times"]) + document["window_seconds"] / 2 - second))
    for bar in page.locator(".bar").all():
        now = float(bar.evaluate("bar => bar.style.getPropertyValue('--now')"))
        assert now == document["probabilities"][bar.get_attribute("data-tag")][nearest]


def test_a_file_is_dropped_anywhere(page, tmp_path):
    content = list(write(tmp_path / "song.wav", noise(1, seed=2)).read_bytes())
    page.evaluate(
        """content => {
            const dataTransfer = new DataTransfer();
            dataTransfer.items.add(new File([new Uint8Array(content)], "dropped.wav"));
            document.body.dispatchEvent(new DragEvent("drop", {dataTransfer, bubbles: true}));
        }""",
        content,
    )
    expect(page.locator("h2")).to_have_text("dropped.wav")


def test_a_broken_file_gets_a_message(page, served, tmp_path):
    choose(page, "sound.wav", write(tmp_path / "sound.wav", noise(1, seed=3)).read_bytes())
    expect(page.locator("h2")).to_have_text("sound.wav")
    page.click(".play")
    choose(page, "text.mp3", b"this is no audio")
    expect(page.locator(REFUSAL)).to_contain_text("text.mp3: ")
    expect(page.locator(REFUSAL)).to_contain_text("no audio")
    expect(page.locator(".score")).to_have_count(0)
    assert "Traceback" not in page.content()
    assert files_below(served[1]) == []


def test_a_file_over_the_limit_gets_a_message_and_is_not_sent(page, tmp_path):
    """The previous song is no longer shown, because its tags would seem to belong to the refused file."""
    choose(page, "sound.wav", write(tmp_path / "sound.wav", noise(5, seed=3)).read_bytes())
    expect(page.locator("h2")).to_have_text("sound.wav")
    page.click(".play")
    sent = []
    page.on("request", lambda request: sent.append(request.url))
    choose(page, "large.wav", b"\0" * 1_200_000)
    for fact in ("large.wav: ", "1.2 MB", "1 MB"):
        expect(page.locator(".drop + .message")).to_contain_text(fact)
    assert not [url for url in sent if "upload" in url]
    expect(page.locator("h2, .score")).to_have_count(0)
    choose(page, "long.wav", write(tmp_path / "long.wav", noise(7)).read_bytes())
    expect(page.locator(REFUSAL)).to_contain_text("long.wav: ")
    expect(page.locator(REFUSAL)).to_contain_text("0.1 minutes")
    expect(page.locator(".drop + .message")).to_be_empty()


def test_a_file_that_cannot_be_sent_gets_a_message(page, tmp_path):
    content = write(tmp_path / "sound.wav", noise(1, seed=3)).read_bytes()
    choose(page, "sound.wav", content)
    expect(page.locator("h2")).to_have_text("sound.wav")
    page.route("**/upload*", lambda route: route.abort())
    choose(page, "unsent.wav", content)
    expect(page.locator(".drop + .message")).to_contain_text("unsent.wav: ")
    expect(page.locator("h2, .score")).to_have_count(0)
    page.unroute("**/upload*")


def test_a_foreign_name_is_text(page, tmp_path):
    name = "<img src=x onerror=alert(1)> ${1 + 1} {{value}} \"'&`é.wav"
    choose(page, name, write(tmp_path / "song.wav", noise(1, seed=4)).read_bytes())
    expect(page.locator("h2")).to_have_text(name)
    assert page.locator("h2 img").count() == 0
    assert "${1 + 1} {{value}}" in page.locator(".tag").all_inner_texts()
    choose(page, name, b"this is no audio")
    expect(page.locator(f"{REFUSAL} b")).to_have_text(name)


def test_visitors_wait_for_each_other_and_share_results(page, chromium, served, tmp_path, monkeypatch):
    """Two visitors send the same song, which is stored and tagged once; then one sends another song."""
    at_work, most, taggram = [], [], Tagger.taggram

    def slow(self, path):
        at_work.append(path)
        most.append(len(at_work))
        time.sleep(0.4)
        try:
            return taggram(self, path)
        finally:
            at_work.pop()

    monkeypatch.setattr(Tagger, "taggram", slow)
    same, other = (write(tmp_path / f"{seed}.wav", noise(1, seed=seed)).read_bytes() for seed in (5, 6))
    visitor = chromium.new_page()
    visitor.goto(served[0])
    expect(visitor.locator(".drop")).to_be_visible()
    choose(page, "one.wav", same)
    choose(visitor, "two.wav", same)
    choose(page, "three.wav", other)
    for tab, name in ((visitor, "two.wav"), (page, "three.wav")):
        expect(tab.locator("h2")).to_have_text(name)
        expect(tab.locator(".bar")).to_have_count(5)
    visitor.close()
    assert most == [1, 1]


def test_the_server_refuses_what_the_page_would(served, run):
    address, uploads = served
    api = f"{address}/gradio_api"
    there = files_below(uploads)
    answer = requests.post(f"{api}/upload", files={"files": ("large.wav", b"\0" * 1_200_000)}, timeout=10)
    assert answer.status_code == 413
    assert files_below(uploads) == there
    for file in (run / "config.yaml", Path("/etc/hostname"), "setup.py"):
        assert requests.get(f"{api}/file={file}", timeout=10).status_code in (403, 404)
    for path in ("docs", "redoc", "gradio_api/docs", "monitoring"):
        assert requests.get(f"{address}/{path}", timeout=10).status_code in (403, 404)
    assert requests.get(f"{api}/info", timeout=10).json()["named_endpoints"] == {}


@pytest.mark.parametrize(("megabytes", "status"), [((0.9,) * 6, 413), ((0.4, 0.5), 200), ((0.5, 0.6), 413)])
def test_a_request_is_no_larger_than_a_file_may_be(served, megabytes, status):
    """The limit holds for all files of a request together. Uploads that are not tagged are removed."""
    address, uploads = served
    files = [("files", (f"{n}.wav", bytes([n]) * round(size * 1e6))) for n, size in enumerate(megabytes)]
    answer = requests.post(f"{address}/gradio_api/upload", files=files, timeout=10)
    assert answer.status_code == status
    sent = files_below(uploads)
    assert len(sent) == (len(files) if status == 200 else 0)
    for file in sent:
        os.utime(file.parent, (0, 0))
    deadline = time.monotonic() + 10
    while files_below(uploads) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert files_below(uploads) == []


def test_a_request_without_a_length_is_refused(served):
    chunks = (bytes(100_000) for _ in range(20))
    answer = requests.post(f"{served[0]}/gradio_api/upload", data=chunks, timeout=10)
    assert answer.status_code == 411
    check_facts(answer.text, "Content-Length")


def test_no_other_host_is_looked_up(served, lookups):
    requests.get(served[0], timeout=10)
    assert {str(name) for name in lookups} <= {"127.0.0.1", "localhost"}
    assert lookups


def test_gradio_creates_its_folders_below_the_uploads(served):
    assert not CAME_WITH_SERVER  # gradio would have read the variable already
    assert list(served[1].parent.iterdir()) == [served[1]]


def test_uploads_are_removed_with_the_page(run):
    with open_page(run, LOOPBACK, 0, LIMITS) as page:
        uploads = Path(os.environ[UPLOADS])
        (uploads / "abandoned.wav").write_bytes(b"an abandoned upload")
        assert page.tags == Tagger.load(run).tags
    assert not uploads.exists()


@pytest.mark.skipif(not (MODEL and SONG), reason="draws the README's picture, given DEMO_MODEL and DEMO_SONG")
def test_picture_of_the_readme(chromium):
    with open_page(Path(MODEL), LOOPBACK, 0, UploadLimits(50, 15)) as served:
        thread = threading.Thread(target=served.run)
        thread.start()
        page = chromium.new_page(viewport={"width": 1040, "height": 790})
        page.goto(served.address)
        page.set_input_files(".drop input", SONG)
        page.locator(".play").click(timeout=60_000)
        page.wait_for_function("document.querySelector('.cursor').value > 11")
        page.screenshot(path=PICTURE)
        served.stop()
        thread.join()
    assert PICTURE.stat().st_size < 200_000
