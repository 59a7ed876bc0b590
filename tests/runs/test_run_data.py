"""The data of a run: recorded when it is opened, and opened again with the same hash or refused."""

import logging
import shutil

import numpy as np
import pandas as pd
import pytest
import soundfile
from facts import check_facts, expect_error

from genre_tagger.config import load_config
from genre_tagger.dataset.request import DataRequest
from genre_tagger.runs.creation import create_run
from genre_tagger.runs.record import RunRecord
from genre_tagger.runs.run_data import attach_data, check_window, data_of_run, open_data
from genre_tagger.sources.registry import SourceOptions

CONFIG = load_config(overrides=["window.seconds=0.6"])
IMPORTED = RunRecord(origin={"licence": "ISC"})


def request_of(music, folder, **options):
    return DataRequest(SourceOptions(source="folder", root=music), folder, workers=1, **options)


@pytest.fixture(scope="module")
def shared(tmp_path_factory, shared_music_folder):
    """A folder with prepared data, and the request and the opened data."""
    request = request_of(shared_music_folder, tmp_path_factory.mktemp("data"))
    return request, open_data(request, CONFIG)


def run_of(opened, path):
    return create_run(path, CONFIG, opened.record, opened.dataset.tags)


def relabel(music, split, labels):
    """Change the labels of all clips of a split in the table of a music folder."""
    table = pd.read_csv(music / "tags.csv", dtype=str, keep_default_na=False)
    table.loc[table["split"] == split, ["drums", "loud"]] = labels
    table.to_csv(music / "tags.csv", index=False)


def test_prepared_data_is_recorded_and_described(shared, caplog, monkeypatch):
    request, opened = shared
    monkeypatch.chdir(request.folder.parent)
    relative = DataRequest(request.source, request.folder.relative_to(request.folder.parent), workers=1)
    caplog.set_level(logging.INFO)
    again = open_data(relative, CONFIG)
    assert again.record == opened.record and again.rejected is None
    record = again.record
    assert (record.source, record.folder) == (request.source, request.folder)
    assert (record.stream, record.hash) == (False, opened.dataset.hash)
    assert record.prepared.is_relative_to(request.folder) and (record.prepared / "manifest.json").exists()
    assert any(str(record.prepared.name) in line and "6 train, 3 valid, 3 test" in line for line in caplog.messages)
    short = sum((clips.seconds < 0.6).sum() for clips in opened.dataset.splits.values())
    assert short > 1 and any(str(short) in line and "0.6 s" in line for line in caplog.messages)


def test_streamed_data_is_recorded_with_its_rejected_files(music_folder, tmp_path, caplog):
    (music_folder / "a1.wav").write_text("this is no audio")
    caplog.set_level(logging.INFO)
    opened = open_data(request_of(music_folder, tmp_path / "data", stream=True), CONFIG)
    assert opened.rejected["id"].tolist() == ["a1.wav"]
    assert (opened.record.stream, opened.record.prepared) == (True, None)
    assert opened.record.hash == opened.dataset.hash
    assert not (tmp_path / "data").exists()
    lines = "\n".join(caplog.messages)
    check_facts(lines, "5 train, 3 valid, 3 test", "2 tags", "rejected.csv")
    run = run_of(opened, tmp_path / "run")
    assert data_of_run(run, CONFIG, workers=1).hash == opened.record.hash


def test_tags_without_positives_are_logged(music_folder, tmp_path, caplog):
    relabel(music_folder, "test", ["0", "1"])
    caplog.set_level(logging.INFO)
    open_data(request_of(music_folder, tmp_path, stream=True), CONFIG)
    (line,) = (line for line in caplog.messages if "drums, loud" in line)
    assert " test" in line


def test_a_window_longer_than_every_clip_raises_an_error(shared):
    dataset = shared[1].dataset
    check_window(dataset, load_config(overrides=["window.seconds=1.5"]))
    with expect_error("'window.seconds'", "found 4", f"{dataset.splits['train'].seconds.max():.2f} s"):
        check_window(dataset, load_config(overrides=["window.seconds=4"]))


def test_the_prepared_data_of_a_run_is_read(shared, tmp_path, caplog):
    run = run_of(shared[1], tmp_path / "run")
    dataset = data_of_run(run, CONFIG, workers=1)
    assert (dataset.hash, dataset.tags) == (shared[1].dataset.hash, shared[1].dataset.tags)


def test_the_data_has_the_tags_of_the_run(shared, tmp_path):
    opened = shared[1]
    run = create_run(tmp_path / "run", CONFIG, opened.record, ("loud", "choir"))
    labels = data_of_run(run, CONFIG, workers=1).splits["test"].labels
    np.testing.assert_array_equal(labels[:, 0], opened.dataset.splits["test"].labels[:, 1])
    assert (labels[:, 1] == -1).all()


@pytest.mark.parametrize("is_moved", [True, False])
def test_missing_prepared_data_is_prepared_again_unless_the_music_has_changed(
    shared, music_folder, tmp_path, is_moved, caplog
):
    opened = open_data(request_of(music_folder, tmp_path / "data"), CONFIG)
    run = run_of(opened, tmp_path / "run")
    if is_moved:
        (tmp_path / "data").rename(tmp_path / "moved")
    else:
        shutil.rmtree(tmp_path / "data")
    assert data_of_run(run, CONFIG, workers=1).hash == opened.record.hash
    assert (opened.record.prepared / "manifest.json").exists()
    shutil.rmtree(tmp_path / "data")
    relabel(music_folder, "test", ["0", "1"])
    with expect_error(run.path, opened.record.hash[:8]):
        data_of_run(run, CONFIG, workers=1)


def test_changed_audio_of_a_streamed_run_raises_an_error(music_folder, tmp_path):
    opened = open_data(request_of(music_folder, tmp_path, stream=True), CONFIG)
    run = run_of(opened, tmp_path / "run")
    soundfile.write(music_folder / "a1.wav", np.random.default_rng(0).normal(0, 0.1, 9000), 12_000)
    with expect_error(run.path, opened.record.hash[:8]):
        data_of_run(run, CONFIG, workers=1)


def test_an_imported_run_gets_its_data_once(shared, music_folder, tmp_path):
    opened = shared[1]
    run = create_run(tmp_path / "run", CONFIG, IMPORTED, ("loud", "choir"))
    with expect_error(run.path, "imported", f"genre-tagger evaluate {run.path} SOURCE"):
        data_of_run(run, CONFIG, workers=1)
    attach_data(run, opened)
    assert run.read_record() == opened.record.model_copy(update={"origin": IMPORTED.origin})
    assert data_of_run(run, CONFIG, workers=1).tags == ("loud", "choir")
    attach_data(run, opened)  # the same data again
    relabel(music_folder, "test", ["0", "1"])
    before = run.record.read_text()
    with expect_error(run.path, "data.json"):
        attach_data(run, open_data(request_of(music_folder, tmp_path, stream=True), CONFIG))
    assert run.record.read_text() == before


def test_data_without_any_tag_of_the_run_is_not_attached(shared, tmp_path):
    run = create_run(tmp_path / "run", CONFIG, IMPORTED, ("choir", "flute"))
    with expect_error("choir", "flute"):
        attach_data(run, shared[1])
    assert run.read_record() == IMPORTED
