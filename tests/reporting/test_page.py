"""The page as its reader gets it: everything is on it, nothing comes from outside, foreign names stay text."""

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
from PIL import Image
from sklearn.metrics import average_precision_score, roc_auc_score
from typer.testing import CliRunner

from genre_tagger.cli import app
from genre_tagger.evaluation.predictions import read_predictions
from genre_tagger.reporting import page as page_module
from genre_tagger.reporting.page import write_page
from genre_tagger.reporting.tags import best_first

TAGS = ("<script>document.title='owned'</script>", "\"double\" & 'single'", "piano", "never")  # of conftest.py
LONG_CLIP, PNG = "<b onclick='x'>long & loud.wav", bytes.fromhex("89504e470d0a1a0a") + b"any picture"  # too
SECTIONS = ["data", "model", "training", "tags", "calibration", "errors", "robustness"]
VOID = {"meta", "img", "line", "circle"}  # elements without an end here


class Parsed(HTMLParser):
    """Elements with their attributes, the text of the page, and the text below each section; asserts that tags nest."""

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
    return write_page(shared_run.path, tmp_path_factory.mktemp("pages") / "page.html")


@pytest.fixture(scope="module")
def written(written_file) -> Parsed:
    return parsed(written_file)


@pytest.fixture(scope="module")
def opened(written_file):
    """The page on a phone's screen; (page, addresses that it asks for, its messages and errors)."""
    playwright = pytest.importorskip("playwright.sync_api")
    chromium = shutil.which("chromium") or pytest.skip("no chromium here")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page, asked, said = browser.new_page(viewport={"width": 390, "height": 800}), [], []
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.goto(written_file.as_uri())
        yield page, asked, said
        browser.close()


def test_the_command_says_where_the_page_is(run, tmp_path):
    output = tmp_path / "pages" / "mine.html"
    result = CliRunner().invoke(app, ["report", str(run.path), "--output", str(output)], catch_exceptions=False)
    assert result.exit_code == 0 and f"page: {output}" in result.stdout
    assert [file.name for file in output.parent.iterdir()] == ["mine.html"]
    assert not run.page.exists()
    assert output.stat().st_size < 1e6


def test_every_section_has_its_content(written):
    assert list(written.sections) == SECTIONS
    expected = {
        "data": ("folder", "stratified", "WAV, 8000 Hz, 1 channel", "0.6 s"),
        "model": ("24 trainable, 24 in all", "8,000 Hz", "dilation depth"),
        "training": ("2 of 3", "1, validation ROC-AUC 0.6123", "CPU"),
        "tags": ("95 % intervals", "Left out of averages"),
        "calibration": ("mean predicted probability", "0.8 to 0.9"),
        "errors": ("15 s from the middle of 17.0 s", "threshold"),
        "robustness": ("Not measured", "--robustness"),
    }
    for section, texts in expected.items():
        for text in texts:
            assert text in written.sections[section], (section, text)
    assert {link["href"] for link in written.all("a")} == {f"#{section}" for section in SECTIONS}


def test_nothing_on_it_comes_from_outside(written):
    addresses = [of[key] for _, of in written.elements for key in ("src", "href", "srcset", "action") if key in of]
    assert len(addresses) > 10
    assert all(address.startswith(("data:", "#")) for address in addresses)
    assert not re.search(r"https?:|url\(|@import|//\w", re.sub(r"base64,[\w+/=]+", "", written.html))
    policy = next(of["content"] for of in written.all("meta") if of.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'; ")


def test_the_runs_plots_and_the_clips_are_in_it(written, run):
    plots = [base64.b64decode(of["src"].split("base64,")[1]) for of in written.all("img")]
    assert {PNG + name.encode() for name in ("tags.png", "curves.png", "history.png")} <= set(plots)
    assert len(plots) == 5  # and the dataset card's, and the reliability diagram
    assert all(of["alt"] for of in written.all("img"))
    sounds = [base64.b64decode(of["src"].removeprefix("data:audio/mpeg;base64,")) for of in written.all("audio")]
    assert len(sounds) == len(written.all("article")) > 4
    assert all(sound[:3] == b"ID3" or sound[0] == 0xFF for sound in sounds)


def test_names_of_tags_and_files_stay_text(written):
    assert len(written.all("script")) == 1 and written.all("b") == []
    for foreign in (*TAGS, LONG_CLIP):
        assert foreign in "".join(written.sections.values())
    assert "my <run>" in written.html.replace("&lt;", "<").replace("&gt;", ">") and "<run>" not in written.html


def test_the_table_of_tags_has_the_exact_areas(written, run):
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
        assert rows[tag][3] == rows[tag][4]  # the floor has the same predictions here
    assert list(rows)[-1] == "never"


def test_a_tag_of_the_worst_area_stands_above_the_undefined():
    areas = {"gong": None, "piano": 0.5, "tuba": 0.0, "rock": 0.9}
    assert best_first({tag: {"roc_auc": area} for tag, area in areas.items()}) == ["rock", "piano", "tuba", "gong"]


def test_robustness_is_shown_with_whatever_columns_it_has(run):
    table = "condition,roc_auc,roc_auc_difference,roc_auc_difference_low,roc_auc_difference_high,worst_tags\n"
    (run.report / "robustness.csv").write_text(
        f"{table}clean,0.9,,,,\nnoise <10 dB>,0.812,-0.088,-0.1,-0.05,piano\ngain,0.9,-0.0002,-0.0004,0.0006,\n"
    )
    (run.report / "robustness.png").write_bytes(PNG)
    page = parsed(write_page(run.path))
    shown = ("noise <10 dB>", "0.812", "ROC-AUC difference", "-0.088", "[-0.100, -0.050]", "worst tags", "3 conditions")
    for text in shown:
        assert text in page.sections["robustness"], text
    assert ["noise <10 dB>", "0.812", "-0.088", "piano"] in page.rows
    assert "0.000 [0.000, 0.001]" in page.sections["robustness"] and "-0.000" not in page.sections["robustness"]
    os.utime(run.report / "robustness.csv", (0, 0))
    stale = parsed(write_page(run.path)).sections["robustness"]
    assert "Measured before the model was last trained" in stale and "noise" not in stale


def test_what_is_gone_is_said_in_its_place(run):
    record = json.loads(run.data.read_text())
    gone = {"source": {"source": "folder", "root": "gone"}, "prepared": "/gone/prepared"}
    run.data.write_text(json.dumps({**record, **gone}))
    run.floor.unlink()
    run.history.unlink()
    page = parsed(write_page(run.path))
    assert "/gone/prepared: the dataset card is not there any more" in page.sections["data"]
    assert "the audio is not there any more: gone: no such folder" in page.sections["errors"]
    assert "The audio is not there any more." in page.sections["errors"]
    assert page.all("audio") == [] and page.all("article")
    run.data.write_text(json.dumps({**record, **gone, "stream": True}))
    assert "straight from their files" in parsed(write_page(run.path)).sections["data"]


def test_an_imported_run_without_data_says_so(run):
    nothing = dict.fromkeys(("source", "data", "prepared", "hash", "protocol"))
    origin = {"licence": "ISC", "notice": "Permission <is> granted."}
    run.data.write_text(json.dumps({**nothing, "stream": False, "origin": origin}))
    run.metrics.unlink()
    run.predictions.unlink()
    run.history.unlink()
    page = parsed(write_page(run.path))
    assert list(page.sections) == SECTIONS
    assert "no data of its own" in page.sections["data"]
    assert "ISC" in page.sections["model"] and "Permission <is> granted." in page.sections["model"]
    assert "imported, not trained here" in page.sections["training"]
    for section in SECTIONS[3:]:
        assert "Not evaluated; genre-tagger evaluate" in page.sections[section]


@pytest.mark.parametrize("missing", ["metrics", "predictions"])
def test_a_run_that_was_not_evaluated_is_refused(run, failure, missing):
    getattr(run, missing).unlink()
    assert f"no such file; `genre-tagger evaluate {run.path}` writes it" in failure("report", run.path)
    assert not run.page.exists()


@pytest.mark.parametrize(
    ("file", "content"), [("metrics.json", "{"), ("history.csv", ""), ("tags.txt", None), ("report/robustness.csv", "")]
)
def test_a_broken_file_is_named(run, failure, file, content):
    path = run.path / file
    path.unlink() if content is None else path.write_text(content)
    assert failure("report", run.path).startswith(f"{path}: cannot be read (")
    assert not run.page.exists()


def test_a_run_that_was_trained_since_is_refused(run, failure):
    os.utime(run.metrics, (0, 0))
    assert f"{run.metrics}: older than model.keras" in failure("report", run.path)


def test_only_an_html_file_is_written_to(run, failure, tmp_path):
    assert failure("report", tmp_path / "nowhere").endswith("expected one made by `genre-tagger train` or `import`")
    line = failure("report", run.path, "--output", run.model)
    assert line == f"--output {run.model}: found 'model.keras', expected a file name that ends in .html"
    (tmp_path / "folder.html").mkdir()
    assert "found a directory" in failure("report", run.path, "--output", tmp_path / "folder.html")
    (tmp_path / "file").write_text("")
    assert "cannot be written" in failure("report", run.path, "--output", tmp_path / "file" / "page.html")


def test_a_page_that_fails_leaves_the_old_one(run, monkeypatch):
    run.page.write_text("old")

    class Unwritable:
        def encode(self, *_):
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(page_module, "render", lambda _: Unwritable())
    with pytest.raises(page_module.UserError, match="no space left"):
        write_page(run.path)
    assert run.page.read_text() == "old"
    assert not list(run.path.glob(".*.tmp"))


def test_in_a_browser_it_sorts_plays_and_asks_nobody(opened):
    page, asked, said = opened
    assert page.title() == "my <run>"  # no tag's script has run
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
    assert names.last.inner_text() == "never"  # undefined, whichever the direction
    areas.locator("button").click()
    assert names.last.inner_text() == "never"
    playable = "[...document.querySelectorAll('audio')].every((one) => one.duration > 0.5)"
    page.wait_for_function(playable, timeout=5000)
    assert page.evaluate("document.documentElement.scrollWidth") == 390  # no sideways scrolling on a phone
    assert said == []
    assert {url.split(":")[0] for url in asked} <= {"file", "data"}
    assert sum(url.startswith("file:") for url in asked) == 1
    blocked = page.evaluate(
        "new Promise((done) => { document.addEventListener('securitypolicyviolation', (e) => done(e.blockedURI));"
        " new Image().src = 'http://127.0.0.1:9/x.png'; })"
    )
    assert blocked == "http://127.0.0.1:9/x.png"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_table_that_goes_on_at_the_right_shows_it(opened, scheme):
    """By a shadow, which is gone at its end; the first column stays."""
    page = opened[0]
    page.emulate_media(color_scheme=scheme)
    table = page.locator("#tags .scroll").first
    row, first = table.locator("tbody tr").first, table.locator("tbody td").first

    def edge():
        """The colours right of the words in a row, from left to right."""
        place, across = row.bounding_box(), table.bounding_box()
        clip = {"x": across["x"] + across["width"] - 7, "y": place["y"] + 2, "width": 6, "height": 2}
        return np.asarray(Image.open(io.BytesIO(page.screenshot(clip=clip))).convert("L"), int)[0]

    row.scroll_into_view_if_needed()
    page.mouse.move(0, 0)  # or the row has another colour
    shadow, left = edge(), first.bounding_box()["x"]
    assert abs(shadow[0] - shadow[-1]) > 10
    table.evaluate("table => { table.scrollLeft = table.scrollWidth; }")
    assert np.ptp(edge()) == 0
    assert table.evaluate("table => table.scrollLeft") > 100
    assert first.bounding_box()["x"] == left
    table.evaluate("table => { table.scrollLeft = 0; }")


def test_small_bars_have_their_scale_above(opened):
    table = opened[0].locator("#tags table").first
    scales, bars = (table.locator(f"{part} {name}").all() for part, name in (("thead", ".scale"), ("tbody", ".range")))
    assert [scale.locator("i").all_inner_texts() for scale in scales] == [["0.5", "1"], ["0", "1"]]
    for scale, bar in zip(scales, bars[:2], strict=True):
        assert scale.bounding_box()["x"] == pytest.approx(bar.bounding_box()["x"], abs=1)
        assert scale.bounding_box()["width"] == bar.bounding_box()["width"]
