"""From a mirror to prepared data by the command, and the protocol's name beside every figure."""

import json
import threading
from collections import namedtuple
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from genre_tagger import console, files
from genre_tagger.cli import app
from genre_tagger.data.dataset import Dataset
from genre_tagger.data.manifest import read_manifest
from genre_tagger.data.sources import SourceOptions, open_source
from genre_tagger.data.stream import stream_dataset
from genre_tagger.errors import UserError
from genre_tagger.evaluation.predictions import Predictions, read_predictions, write_predictions
from genre_tagger.evaluation.report import evaluate_predictions, write_report


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *arguments) -> None:
        pass


@pytest.fixture
def mirror(packed: Path) -> Iterator[str]:
    """The dataset on a server that knows no ranges."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(packed))) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def set_free(monkeypatch: pytest.MonkeyPatch, free: int) -> None:
    """Gives every disk so many bytes free: the published number of clips is what is asked for, not what is there."""
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(files.shutil, "disk_usage", lambda path: usage(free))


def test_prepare_fetches_prepares_and_says_the_protocol(mirror: str, tmp_path: Path, monkeypatch):
    set_free(monkeypatch, 10**12)
    places = ["--root", tmp_path / "root", "--data", tmp_path / "data", "--workers", 1]
    options = ["--mirror", mirror, "--split", "full", "--group", "artist"]
    result = CliRunner().invoke(app, [str(word) for word in ["prepare", "magnatagatune", *places, *options]])
    assert result.exit_code == 0, result.output
    output = " ".join(result.stdout.split())
    expected = ["MB to download", "MB to prepare into", "50 tags, protocol full", "dataset.png"]
    for words in (*expected, "artists in more than one split: 2 of 4"):
        assert words in output, words
    assert (tmp_path / "root/downloads.json").exists()
    (directory,) = (tmp_path / "data/prepared").glob("magnatagatune-*")
    manifest = read_manifest(directory)
    assert manifest.protocol == "full"
    assert set(manifest.clip_index("train")["group"]) == {"ann", "bob"}
    assert Dataset.of_manifest(manifest).protocol == "full"
    assert json.loads((directory / "dataset.json").read_text())["protocol"] == "full"


def test_a_disk_that_holds_the_download_alone_is_refused_before_the_first_byte(mirror: str, tmp_path, monkeypatch):
    prepared = 21_105 * 349_440 * 2  # clips of `standard`, samples of 29.12 s at 12 kHz, bytes
    set_free(monkeypatch, prepared)
    lines = []
    options = SourceOptions(source="magnatagatune", root=tmp_path / "root", mirror=mirror)
    with pytest.raises(
        UserError, match=r"root: found 14\.75 GB free on its disk, expected .* and 14\.75 GB to prepare"
    ):
        open_source(options, tmp_path / "data", 1, None, lines.append, 12_000)
    assert len(lines) == 1
    assert [path.name for path in (tmp_path / "root").iterdir()] == [".lock"]
    (tmp_path / "data/prepared/magnatagatune-12000hz-0123456789").mkdir(parents=True)
    (tmp_path / "data/prepared/magnatagatune-12000hz-0123456789/manifest.json").touch()
    open_source(options, tmp_path / "data", 1, None, lines.append, 12_000)  # some of it is prepared, maybe this
    assert "to prepare" not in lines[-1]


def test_the_bar_of_a_download_shows_rate_and_time_left(capsys):
    with console.progress_bar("downloading", in_bytes=True) as on_progress:
        on_progress(0, 4_000_000)
        on_progress(3_000_000, 4_000_000)
    shown = capsys.readouterr().err
    assert "3.0/4.0 MB" in shown
    assert "/s" in shown or "?" in shown  # a rate once there are two measurements
    assert "-:--:--" in shown or "0:00:0" in shown


def predictions(protocol: str | None) -> Predictions:
    rng = np.random.default_rng(0)
    return Predictions(
        clip_ids=[f"{n}.mp3" for n in range(20)],
        groups=np.array([f"song{n // 2}" for n in range(20)]),
        splits=np.array(["test"] * 20),
        tags=("rock", "slow"),
        labels=np.tile(np.int8([[0, 1], [1, 0]]), (10, 1)),
        scores=rng.random((20, 2)).astype(np.float32),
        protocol=protocol,
    )


@pytest.mark.parametrize("protocol", ["seed_random", None])
def test_figures_carry_the_protocol(tmp_path: Path, capsys, protocol):
    write_predictions(tmp_path / "p.parquet", predictions(protocol))
    report = evaluate_predictions(read_predictions(tmp_path / "p.parquet"), replicates=10)
    assert report["protocol"] == protocol
    console.print_report(report)
    assert ("protocol seed_random" in capsys.readouterr().out) == (protocol is not None)
    write_report(tmp_path / "report", report, predictions(protocol))
    table = pd.read_csv(tmp_path / "report/tags.csv")
    assert ("protocol" in table and set(table["protocol"]) == {protocol}) == (protocol is not None)


def test_predictions_from_elsewhere_have_no_protocol(tmp_path: Path):
    write_predictions(tmp_path / "p.parquet", predictions(None))
    table = pd.read_parquet(tmp_path / "p.parquet")
    table.attrs = {}
    table.to_parquet(tmp_path / "other.parquet")
    assert read_predictions(tmp_path / "other.parquet").protocol is None


def test_streaming_from_an_archive_is_refused(packed: Path, tmp_path: Path):
    source = open_source(SourceOptions(source="magnatagatune", root=packed), tmp_path, 1)
    with pytest.raises(UserError, match="--stream: found clips in an archive, expected audio files; unpack it"):
        stream_dataset(source, 12_000)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"split": "random"}, r"--split: found 'random', expected one of standard, full, seed_random, artist"),
        ({"group": "clip"}, r"--group: found 'clip', expected one of song, album, artist"),
        ({"table": Path("x.csv")}, r"--table: the source 'magnatagatune' does not take it, expected --root, --split"),
        ({"root": None}, r"--root: the source 'magnatagatune' needs the folder"),
        ({"source": "folder", "group": "song"}, r"--group: the source 'folder' does not take it"),
        ({"source": "folder", "split": "full"}, r"--split: found 'full', expected one of column, group, stratified"),
        ({"source": "demo", "root": None, "mirror": "http://x"}, r"--mirror: the source 'demo' does not take it"),
        ({"source": "jamendo", "split": "full"}, r"--split: found 'full', expected one of files, group, stratified"),
    ],
)
def test_options_that_do_not_go_together(packed: Path, tmp_path: Path, options: dict, message: str):
    with pytest.raises(UserError, match=message):
        open_source(SourceOptions(**{"source": "magnatagatune", "root": packed, **options}), tmp_path, 1)
