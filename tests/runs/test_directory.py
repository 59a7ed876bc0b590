"""A run directory: opening it, reading its tables, and checking its evaluation."""

import os

import pytest
from facts import expect_error

from genre_tagger.config import load_config
from genre_tagger.runs.creation import create_run
from genre_tagger.runs.directory import RunDirectory, check_evaluated, open_run, read_table
from genre_tagger.runs.record import RunRecord


@pytest.mark.parametrize("content", [None, "", "a,b\n1,2\n1,2,3\n"])
def test_a_broken_table_raises_an_error_of_one_line(tmp_path, content):
    path = tmp_path / "history.csv"
    if content is not None:
        path.write_text(content)
    with expect_error(path, "cannot be read") as caught:
        read_table(path)
    assert "\n" not in str(caught.value)


def test_a_directory_without_a_run_or_a_model_raises_an_error(tmp_path):
    with expect_error(tmp_path, "config.yaml", "genre-tagger train"):
        open_run(tmp_path)
    config = load_config("small")
    run = create_run(tmp_path / "run", config, RunRecord(hash="0"), ("rock",))
    with expect_error(run.path, "model.keras", "genre-tagger train"):
        open_run(run.path)
    run.model.touch()
    assert open_run(run.path) == (run, config)


def test_the_baseline_of_version_1_is_found(tmp_path):
    run = RunDirectory(tmp_path)
    run.report.mkdir()
    assert run.baseline == run.report / "baseline.parquet"
    (run.report / "floor.parquet").touch()
    assert run.baseline == run.report / "floor.parquet"


@pytest.mark.parametrize("name", ["metrics", "predictions"])
def test_an_evaluation_is_missing_or_older_than_the_model(tmp_path, name):
    run = RunDirectory(tmp_path)
    for path in (run.model, run.metrics, run.predictions):
        path.touch()
        os.utime(path, (100, 100))
    check_evaluated(run)
    os.utime(getattr(run, name), (99, 99))
    with expect_error(getattr(run, name), "model.keras", f"genre-tagger evaluate {tmp_path}"):
        check_evaluated(run)
    getattr(run, name).unlink()
    with expect_error(getattr(run, name), "no such file", f"genre-tagger evaluate {tmp_path}"):
        check_evaluated(run)
