"""The HTML report as its reader sees it: complete, without external resources, and with all names escaped."""

import base64
import io
import json
import os
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from facts import check_facts, expect_error
from PIL import Image
from sklearn.metrics import average_precision_score, roc_auc_score
from typer.testing import CliRunner

from genre_tagger.commands.app import app
from genre_tagger.evaluation.predictions import read_predictions
from genre_tagger.reporting import html_report
from genre_tagger.reporting.html_report import gather, write_html_report
from genre_tagger.reporting.run_sections import NO_DATA, STREAMED
from genre_tagger.reporting.tags_section import best_first
from genre_tagger.runs.directory import open_run

# As in conftest.py.
TAGS = ("<script>document.title='owned'</script>", "\"double\" & 'single'", "piano", "never")
LONG_CLIP = "<b onclick='x'>long & loud.wav"
PNG = bytes.fromhex("89504e470d0a1a0a") + b"any picture"
SECTIONS = ["data", "model", "training", "tags", "calibration", "errors", "robustness"]
VOID = {"meta", "img", "line", "circle"}  # elements without an end tag


class Parsed(HTMLParser):
    """Elements with their attributes, and the text of each section. Asserts that the tags are nested correctly."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements, self.open, self.sections, self.rows = [], [], {}, []
        self.html = html
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, name, attributes):
        self.elements.append((name, dict(attributes)))
        if name == "section":
            self.sections[dict(attributes)["id"]] = ""
        if name == "tr":
            self.rows.append([])
        if name == "td":
            self.rows[-1].append(dict(attributes).get("data-value"))
        if name not in VOID:
            self.open.append(name)

    def handle_startendtag(self, name, attributes):
        self.elements.append((name, dict(attributes)))

    def handle_endtag(self, name):
        assert self.open.pop() == name

    def handle_data(self, text):
        if "section" in self.open:
            self.sections[list(self.sections)[-1]] += text

    def all(self, name):
        return [attributes for found, attributes in self.elements if found == name]


def parsed(path) -> Parsed:
    return Parsed(path.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def written_file(shared_run, tmp_path_factory) -> Path:
    return write_html_report(shared_run.path, tmp_path_factory.mktemp("reports") / "page.html")


@pytest.fixture(scope="module")
def written(written_file) -> Parsed:
    return parsed(written_file)


@pytest.fixture(scope="module")
def opened(written_file):
    """The report in a browser of phone size: (page, requested addresses, console messages and errors)."""
    playwright = pytest.importorskip("playwright.sync_api")
    chromium = shutil.which("chromium") or pytest.skip("chromium is not installed")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page, requests, messages = browser.new_page(viewport={"width": 390, "height": 800}), [], []
        page.on("request", lambda request: requests.append(request.url))
        page.on("console", lambda message: messages.append(message.text))
        page.on("pageerror", lambda error: messages.append(str(error)))
        page.goto(written_file.as_uri())
        yield page, requests, messages
        browser.close()


def test_the_command_prints_the_path_of_the_report(run, tmp_path):
    output = tmp_path / "reports" / "mine.html"
    result = CliRunner().invoke(app, ["report", str(run.path), "--output", str(output)], catch_exceptions=False)
    assert result.exit_code == 0
    check_facts(result.stdout, output)
    assert [file.name for file in output.parent.iterdir()] == ["mine.html"]
    assert not run.html_report.exists()
    assert output.stat().st_size < 1e6


def test_every_section_has_its_content(written, shared_run):
    assert list(written.sections) == SECTIONS
    test = read_predictions(shared_run.predictions).of_split("test")
    mean = test.scores[test.labels >= 0].mean()
    expected = {
        "data": ("folder", "stratified", "WAV", "8000 Hz", "0.6 s"),
        "model": ("24 trainable", "8,000 Hz", "dilation depth"),
        "training": ("2 of 3", "0.6123", "CPU"),
        "tags": ("95 %", "4 tags"),
        "calibration": (f"{mean:.3f}", "0.8 to 0.9"),
        "errors": ("15 s", "17.0 s", "piano 0.990"),
        "robustness": (f"genre-tagger evaluate {shared_run.path} --robustness",),
    }
    for section, facts in expected.items():
        check_facts(written.sections[section], *facts)
    assert {link["href"] for link in written.all("a")} == {f"#{section}" for section in SECTIONS}


def test_the_report_loads_nothing_from_outside(written):
    addresses = [of[key] for _, of in written.elements for key in ("src", "href", "srcset", "action") if key in of]
    assert len(addresses) > 10
    assert all(address.startswith(("data:", "#")) for address in addresses)
    assert not re.search(r"https?:|url\(|@import|//\w", re.sub(r"base64,[\w+/=]+", "", written.html))
    policy = next(of["content"] for of in written.all("meta") if of.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'; ")


def test_the_report_contains_the_plots_and_the_audio(written, run):
    plots = [base64.b64decode(of["src"].split("base64,")[1]) for of in written.all("img")]
    assert {PNG + name.encode() for name in ("tags.png", "curves.png", "history.png")} <= set(plots)
    assert len(plots) == 5  # also the plot of the dataset card and the reliability diagram
    assert all(of["alt"] for of in written.all("img"))
    sounds = [base64.b64decode(of["src"].removeprefix("data:audio/mpeg;base64,")) for of in written.all("audio")]
    assert len(sounds) == len(written.all("article")) > 4
    assert all(sound[:3] == b"ID3" or sound[0] == 0xFF for sound in sounds)


def test_names_of_tags_and_files_are_escaped(written):
    assert len(written.all("script")) == 1 and written.all("b") == []
    for name in (*TAGS, LONG_CLIP):
        assert name in "".join(written.sections.values())
    assert "my <run>" in written.html.replace("&lt;", "<").replace("&gt;", ">") and "<run>" not in written.html


def test_the_table_of_tags_contains_exact_scores(written, run):
    rows = {row[0]: row for row in written.rows if row and row[0] in TAGS and len(row) == 9}
    test = read_predictions(run.predictions).of_split("test")
    for column, tag in enumerate(test.tags):
        known = test.labels[:, column] >= 0
        truth, scores = test.labels[known, column], test.scores[known, column]
        assert int(rows[tag][2]) == truth.sum()
        if tag == "never":
            assert (rows[tag][3], rows[tag][5]) == (None, None)
            continue
        assert float(rows[tag][3]) == pytest.approx(roc_auc_score(truth, scores))
        assert float(rows[tag][5]) == pytest.approx(average_precision_score(truth, scores))
        assert rows[tag][3] == rows[tag][4]  # the baseline has the same predictions here
    assert list(rows)[-1] == "never"


def test_undefined_tags_are_named(shared_run):
    (tags,) = (section for section in gather(*open_run(shared_run.path)).sections if section.anchor == "tags")
    assert any("never" in line and "piano" not in line for line in tags.lines)


def test_the_worst_tag_is_above_undefined_tags():
    areas = {"gong": None, "piano": 0.5, "tuba": 0.0, "rock": 0.9}
    assert best_first({tag: {"roc_auc": area} for tag, area in areas.items()}) == ["rock", "piano", "tuba", "gong"]


def test_the_robustness_table_can_have_any_columns(run):
    table = "condition,roc_auc,roc_auc_difference,roc_auc_difference_low,roc_auc_difference_high,worst_tags\n"
    (run.report / "robustness.csv").write_text(
        f"{table}clean,0.9,,,,\nnoise <10 dB>,0.812,-0.088,-0.1,-0.05,piano\ngain,0.9,-0.0002,-0.0004,0.0006,\n"
    )
    (run.report / "robustness.png").write_bytes(PNG)
    page = parsed(write_html_report(run.path))
    shown = ("noise <10 dB>", "0.812", "ROC-AUC difference", "-0.088", "[-0.100, -0.050]", "worst tags", "3 conditions")
    check_facts(page.sections["robustness"], *shown)
    assert ["noise <10 dB>", "0.812", "-0.088", "piano"] in page.rows
    assert "0.000 [0.000, 0.001]" in page.sections["robustness"] and "-0.000" not in page.sections["robustness"]
    os.utime(run.report / "robustness.csv", (0, 0))
    stale = parsed(write_html_report(run.path)).sections["robustness"]
    check_facts(stale, f"genre-tagger evaluate {run.path} --robustness")
    assert "noise" not in stale


def test_missing_data_is_noted_in_its_place(run):
    record = json.loads(run.record.read_text())
    gone = {"source": {"source": "folder", "root": "gone/music"}, "prepared": "/gone/prepared"}
    run.record.write_text(json.dumps({**record, **gone}))
    run.baseline.unlink()
    run.history.unlink()
    page = parsed(write_html_report(run.path))
    check_facts(page.sections["data"], "/gone/prepared")
    check_facts(page.sections["errors"], "gone/music: no such folder")
    assert page.all("audio") == [] and page.all("article")
    (errors,) = (section for section in gather(*open_run(run.path)).sections if section.anchor == "errors")
    clips = [clip for clips in errors.clips.values() for clip in clips]
    assert len(clips) == len(page.all("article")) and all(clip.note for clip in clips)
    run.record.write_text(json.dumps({**record, **gone, "stream": True}))
    check_facts(parsed(write_html_report(run.path)).sections["data"], STREAMED)


def test_an_imported_run_without_data(run):
    nothing = dict.fromkeys(("source", "data", "prepared", "hash", "protocol"))
    origin = {"licence": "ISC", "notice": "Permission <is> granted."}
    run.record.write_text(json.dumps({**nothing, "stream": False, "origin": origin}))
    run.metrics.unlink()
    run.predictions.unlink()
    run.history.unlink()
    page = parsed(write_html_report(run.path))
    assert list(page.sections) == SECTIONS
    check_facts(page.sections["data"], NO_DATA)
    check_facts(page.sections["model"], "ISC", "Permission <is> granted.")
    check_facts(page.sections["training"], "imported")
    for section in SECTIONS[3:]:
        check_facts(page.sections[section], f"genre-tagger evaluate {run.path} SOURCE")


@pytest.mark.parametrize("missing", ["metrics", "predictions"])
def test_a_run_without_evaluation_raises_an_error(run, failure, missing):
    getattr(run, missing).unlink()
    check_facts(failure("report", run.path), getattr(run, missing), f"genre-tagger evaluate {run.path}")
    assert not run.html_report.exists()


@pytest.mark.parametrize(
    ("file", "content", "reason"),
    [
        ("metrics.json", "{", "line 1 column 2"),
        ("history.csv", "", "No columns"),
        ("tags.txt", None, "No such file"),
        ("report/robustness.csv", "", "No columns"),
    ],
)
def test_errors_name_a_broken_file(run, failure, file, content, reason):
    path = run.path / file
    path.unlink() if content is None else path.write_text(content)
    check_facts(failure("report", run.path), path, reason)
    assert not run.html_report.exists()


def test_a_run_trained_after_its_evaluation_raises_an_error(run, failure):
    os.utime(run.metrics, (0, 0))
    check_facts(failure("report", run.path), run.metrics, "model.keras")


def test_other_outputs_than_an_html_file_raise_errors(run, failure, tmp_path):
    check_facts(failure("report", tmp_path / "nowhere"), tmp_path / "nowhere", "genre-tagger train")
    check_facts(failure("report", run.path, "--output", run.model), "output", run.model, ".html")
    (tmp_path / "folder.html").mkdir()
    line = failure("report", run.path, "--output", tmp_path / "folder.html")
    check_facts(line, "output", "directory", tmp_path / "folder.html")
    (tmp_path / "file").write_text("")
    line = failure("report", run.path, "--output", tmp_path / "file" / "page.html")
    check_facts(line, tmp_path / "file", "File exists")


def test_a_failed_report_keeps_the_old_one(run, monkeypatch):
    run.html_report.write_text("old")

    class Unwritable:
        def encode(self, *_):
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(html_report, "render", lambda _: Unwritable())
    with expect_error(run.path, "space"):
        write_html_report(run.path)
    assert run.html_report.read_text() == "old"
    assert not list(run.path.glob(".*.tmp"))


def test_in_a_browser_tables_sort_audio_plays_and_nothing_is_requested(opened):
    page, requests, messages = opened
    assert page.title() == "my <run>"  # the script in the name of a tag has not run
    heading = page.locator("th", has_text="positives")

    def column():
        return page.locator("#tags table").first.locator("tbody td:nth-child(3)").all_inner_texts()

    counts = sorted(map(int, column()))
    heading.locator("button").click()
    assert (heading.get_attribute("aria-sort"), list(map(int, column()))) == ("ascending", counts)
    heading.locator("button").press("Enter")
    assert (heading.get_attribute("aria-sort"), list(map(int, column()))) == ("descending", counts[::-1])
    areas = page.locator("th", has_text="ROC-AUC").first
    areas.locator("button").click()
    names = page.locator("#tags table").first.locator("tbody td:first-child")
    assert names.last.inner_text() == "never"  # undefined values are last in both directions
    areas.locator("button").click()
    assert names.last.inner_text() == "never"
    playable = "[...document.querySelectorAll('audio')].every((one) => one.duration > 0.5)"
    page.wait_for_function(playable, timeout=5000)
    assert page.evaluate("document.documentElement.scrollWidth") == 390  # no horizontal scrolling on a phone
    assert messages == []
    assert {url.split(":")[0] for url in requests} <= {"file", "data"}
    assert sum(url.startswith("file:") for url in requests) == 1
    blocked = page.evaluate(
        "new Promise((done) => { document.addEventListener('securitypolicyviolation', (e) => done(e.blockedURI));"
        " new Image().src = 'http://127.0.0.1:9/x.png'; })"
    )
    assert blocked == "http://127.0.0.1:9/x.png"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_table_that_can_be_scrolled_has_a_shadow(opened, scheme):
    """The shadow disappears at the end, and the first column does not move."""
    page = opened[0]
    page.emulate_media(color_scheme=scheme)
    table = page.locator("#tags .scroll").first
    row, first = table.locator("tbody tr").first, table.locator("tbody td").first

    def edge():
        """Return the colours at the right edge of a row, from left to right."""
        place, across = row.bounding_box(), table.bounding_box()
        clip = {"x": across["x"] + across["width"] - 7, "y": place["y"] + 2, "width": 6, "height": 2}
        return np.asarray(Image.open(io.BytesIO(page.screenshot(clip=clip))).convert("L"), int)[0]

    row.scroll_into_view_if_needed()
    page.mouse.move(0, 0)  # a row under the mouse has another colour
    shadow, left = edge(), first.bounding_box()["x"]
    assert abs(shadow[0] - shadow[-1]) > 10
    table.evaluate("table => { table.scrollLeft = table.scrollWidth; }")
    assert np.ptp(edge()) == 0
    assert table.evaluate("table => table.scrollLeft") > 100
    assert first.bounding_box()["x"] == left
    table.evaluate("table => { table.scrollLeft = 0; }")


def test_columns_with_bars_have_a_scale(opened):
    table = opened[0].locator("#tags table").first
    scales, bars = (table.locator(f"{part} {name}").all() for part, name in (("thead", ".scale"), ("tbody", ".range")))
    assert [scale.locator("i").all_inner_texts() for scale in scales] == [["0.5", "1"], ["0", "1"]]
    for scale, bar in zip(scales, bars[:2], strict=True):
        assert scale.bounding_box()["x"] == pytest.approx(bar.bounding_box()["x"], abs=1)
        assert scale.bounding_box()["width"] == bar.bounding_box()["width"]
