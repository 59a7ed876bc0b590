"""`prepare` from a mirror to prepared data, and the name of the protocol with every score."""

import json
import logging
import threading
from collections import namedtuple
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from facts import check_facts, expect_error
from typer.testing import CliRunner

from genre_tagger import files
from genre_tagger.commands.app import app
from genre_tagger.commands.console import progress_bar
from genre_tagger.commands.metrics_tables import print_metrics
from genre_tagger.dataset.dataset import Dataset
from genre_tagger.dataset.manifest import read_manifest
from genre_tagger.dataset.prepare import prepare_source
from genre_tagger.dataset.request import DataRequest
from genre_tagger.dataset.stream import stream_dataset
from genre_tagger.errors import FieldError
from genre_tagger.evaluation.evaluate_predictions import evaluate_predictions, write_plots_and_tables
from genre_tagger.evaluation.predictions import Predictions, read_predictions, write_predictions
from genre_tagger.sources.registry import SourceOptions, open_source


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *arguments) -> None:
        pass


@pytest.fixture
def mirror(packed: Path) -> Iterator[str]:
    """Serve the dataset from a server that does not support ranges, and yield its address."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(packed))) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def set_free(monkeypatch: pytest.MonkeyPatch, free: int) -> None:
    """Pretend that every disk has `free` bytes, because the space needed is that of the full dataset."""
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(files.shutil, "disk_usage", lambda path: usage(free))


def test_prepare_downloads_prepares_and_reports_the_protocol(mirror: str, tmp_path: Path, monkeypatch):
    set_free(monkeypatch, 10**12)
    places = ["--root", tmp_path / "root", "--data", tmp_path / "data", "--workers", 1]
    options = ["--mirror", mirror, "--split", "full", "--group", "artist"]
    result = CliRunner().invoke(app, [str(word) for word in ["prepare", "magnatagatune", *places, *options]])
    assert result.exit_code == 0, result.output
    output = "".join(result.stdout.split())  # without spaces, because long paths are wrapped
    check_facts(output, tmp_path / "root", tmp_path / "data/prepared", "50tags", "full", "dataset.png", "2of4")
    assert (tmp_path / "root/downloads.json").exists()
    (directory,) = (tmp_path / "data/prepared").glob("magnatagatune-*")
    manifest = read_manifest(directory)
    assert manifest.protocol == "full"
    assert set(manifest.clip_index("train")["group"]) == {"ann", "bob"}
    assert Dataset.of_manifest(manifest).protocol == "full"
    assert json.loads((directory / "dataset.json").read_text())["protocol"] == "full"


def test_a_disk_with_space_only_for_the_download_is_refused_before_it_starts(
    mirror: str, tmp_path, monkeypatch, caplog
):
    caplog.set_level(logging.INFO, "genre_tagger")
    prepared = 21_105 * 349_440 * 2  # clips of `standard`, samples of 29.12 s at 12 kHz, bytes
    set_free(monkeypatch, prepared)
    options = SourceOptions(source="magnatagatune", root=tmp_path / "root", mirror=mirror)
    request = DataRequest(options, tmp_path / "data", workers=1)
    with expect_error(tmp_path / "root", "found 14.75 GB", tmp_path / "data/prepared") as caught:
        prepare_source(request, 12_000)
    assert str(caught.value).count("14.75 GB") == 2  # free and needed
    assert len(caplog.messages) == 1
    assert [path.name for path in (tmp_path / "root").iterdir()] == [".lock"]
    (tmp_path / "data/prepared/magnatagatune-12000hz-0123456789").mkdir(parents=True)
    (tmp_path / "data/prepared/magnatagatune-12000hz-0123456789/manifest.json").touch()
    caplog.clear()
    prepare_source(request, 12_000)
    download, prepare = caplog.messages
    # This may already be the right data. Only the download shows that, so it does not reserve space for prepared data.
    assert str(tmp_path / "data/prepared") not in download
    check_facts(prepare, tmp_path / "data/prepared")


def test_the_bar_of_a_download_shows_rate_and_time_left(capsys):
    with progress_bar("downloading", in_bytes=True) as update:
        update(0, 4_000_000)
        update(3_000_000, 4_000_000)
    shown = capsys.readouterr().err
    assert "3.0/4.0 MB" in shown
    assert "/s" in shown or "?" in shown  # the rate is shown after two measurements
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
def test_scores_carry_the_protocol(tmp_path: Path, capsys, protocol):
    write_predictions(tmp_path / "p.parquet", predictions(protocol))
    metrics = evaluate_predictions(read_predictions(tmp_path / "p.parquet"), replicates=10)
    assert metrics["protocol"] == protocol
    print_metrics(metrics)
    assert ("seed_random" in capsys.readouterr().out) == (protocol is not None)
    write_plots_and_tables(tmp_path / "report", metrics, predictions(protocol))
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
    with expect_error("stream: ", "archive", kind=FieldError) as caught:
        stream_dataset(source, 12_000)
    assert caught.value.field == "stream"


@pytest.mark.parametrize(
    ("options", "facts"),
    [
        ({"split": "random"}, ["split: ", "'random'", "standard, full, seed_random, artist"]),
        ({"group": "clip"}, ["group: ", "'clip'", "song, album, artist"]),
        ({"table": Path("x.csv")}, ["table: ", "'magnatagatune'", "root", "split", "group", "mirror"]),
        ({"root": None}, ["root: ", "'magnatagatune'"]),
        ({"source": "folder", "group": "song"}, ["group: ", "'folder'"]),
        ({"source": "folder", "split": "full"}, ["split: ", "'full'", "column, group, stratified"]),
        ({"source": "demo", "root": None, "mirror": "http://x"}, ["mirror: ", "'demo'"]),
        ({"source": "jamendo", "split": "full"}, ["split: ", "'full'", "files, group, stratified"]),
    ],
)
def test_options_that_do_not_go_together(packed: Path, tmp_path: Path, options: dict, facts: list[str]):
    with expect_error(*facts, kind=FieldError):
        open_source(SourceOptions(**{"source": "magnatagatune", "root": packed, **options}), tmp_path, 1)
