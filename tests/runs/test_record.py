"""The record of a run: it is read as it was written, also from version 0.1.0; errors name the file and the field."""

import json
from pathlib import Path

import pytest
from facts import expect_error

from genre_tagger.files import read_json
from genre_tagger.runs.record import RunRecord, StartRecord, read_metrics, read_record
from genre_tagger.sources.registry import SourceOptions

SOURCE = SourceOptions(source="folder", root=Path("/music"), split="group", seed=3)


def start_record():
    first = StartRecord(run="/runs/first", digest="b" * 64)
    return StartRecord(
        run="/runs/start",
        digest="a" * 64,
        frozen=("cnn", "wavenet_"),
        source=SOURCE,
        protocol="full",
        origin={"licence": "ISC"},
        start=first,
    )


@pytest.mark.parametrize(
    "record",
    [
        RunRecord(),
        RunRecord(origin={"licence": "ISC", "notice": "Permission <is> granted."}),
        RunRecord(
            source=SOURCE,
            folder=Path("/data"),
            prepared=Path("/data/prepared/folder"),
            stream=True,
            hash="0" * 64,
            protocol="full",
            start=start_record(),
        ),
    ],
)
def test_a_record_is_read_as_it_was_written(tmp_path, record):
    path = tmp_path / "data.json"
    path.write_text(record.to_json())
    assert read_record(path) == record
    assert record.has_data == (record.source is not None)
    assert record.is_imported == (record.origin is not None)


def test_a_record_of_version_1_is_read(tmp_path):
    options = {"source": "folder", "root": "/music", "table": None, "songs": 400, "seed": 0}
    old = {"source": options, "data": "/data", "prepared": None, "stream": False, "hash": "00", "protocol": None}
    path = tmp_path / "data.json"
    path.write_text(json.dumps({**old, "init": {"run": "/runs/start", "source": options, "init": {"run": "/first"}}}))
    record = read_record(path)
    assert (record.folder, record.source.root, record.hash) == (Path("/data"), Path("/music"), "00")
    assert (record.start.run, record.start.digest, record.start.frozen) == ("/runs/start", None, ())
    assert record.start.start.run == "/first"
    path.write_text(record.to_json())
    assert read_record(path) == record


@pytest.mark.parametrize(
    ("content", "facts"),
    [
        (None, ["No such file"]),
        (b"", ["Invalid JSON"]),
        (b"{", ["line 1 column 1"]),
        (b"\xff\xfe", ["Invalid JSON"]),
        (b"[]", ["object"]),
        (b'{"hash": 3}', ["hash"]),
        (b'{"stream": "perhaps"}', ["stream"]),
        (b'{"source": {"source": "demo", "songs": "many"}}', ["source.songs"]),
        (b'{"init": {"digest": "00"}}', ["init.run"]),
    ],
)
def test_a_broken_record_raises_an_error_that_names_the_field(tmp_path, content, facts):
    path = tmp_path / "data.json"
    if content is not None:
        path.write_bytes(content)
    with expect_error(path, *facts) as caught:
        read_record(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "fact"),
    [(None, "No such file"), (b"{", "line 1 column 2"), (b"\xff", "utf-8"), (b"[1]", "list"), (b"3", "int")],
)
def test_other_json_than_an_object_raises_an_error(tmp_path, content, fact):
    path = tmp_path / "metrics.json"
    if content is not None:
        path.write_bytes(content)
    for read in (read_json, read_metrics):
        with expect_error(path, fact) as caught:
            read(path)
        assert "\n" not in str(caught.value)


def test_metrics_of_version_1_have_their_baseline(tmp_path):
    path = tmp_path / "metrics.json"
    baseline = {"roc_auc": {"value": 0.7, "low": 0.6, "high": 0.8}}
    for key in ("floor", "baseline"):
        path.write_text(json.dumps({"clips": 3, key: baseline}))
        assert read_metrics(path) == {"clips": 3, "baseline": baseline}
