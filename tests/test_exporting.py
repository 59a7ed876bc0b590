"""The command `export` on a trained run: what it writes and prints, and every mistake in one line."""

import json
import os
import re
import shutil

import keras
import pytest
import tensorflow as tf
from typer.testing import CliRunner

from genre_tagger.cli import app
from genre_tagger.models.tagger import load_tagger

TINY = [
    "window.seconds=0.6",
    "window.hop_seconds=0.25",
    "model.cnn=none",
    "model.cascade.width=8",
    "model.wavenet={dilation_depth: 2, blocks: 1, skip_channels: 8, output_width: 4}",
    "model.head.widths=[8]",
    "training.batch_size=4",
    "training.epochs=1",
]


def invoke(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)


@pytest.fixture(scope="module")
def trained(tmp_path_factory, shared_music_folder):
    """A run directory."""
    work = tmp_path_factory.mktemp("work")
    overrides = [part for override in TINY for part in ("--set", override)]
    places = ["--run", work / "run", "--data", work / "data"]
    result = invoke("train", "folder", "--root", shared_music_folder, *overrides, *places)
    assert result.exit_code == 0, result.output
    return work / "run"


@pytest.fixture(scope="module")
def first(trained):
    """(directory of models, what the first export printed)."""
    result = invoke("export", trained, trained.parent / "models", "--licence", "CC BY 4.0")
    assert result.exit_code == 0, result.output
    return trained.parent / "models", result.stdout


def test_export_writes_a_version_and_says_what_is_next(first):
    directory, output = first
    assert f"exported {directory / 'tagger/1'}" in output
    assert f"genre-tagger serve {directory}" in output
    assert "drums, loud" in output  # too few validation clips for thresholds of their own
    assert set(tf.saved_model.load(str(directory / "tagger/1")).signatures) >= {"serving_default", "wav"}


def test_the_card_has_what_the_run_knows(first, trained):
    card = (first[0] / "tagger/1/model_card.md").read_text()
    metrics, data = (json.loads((trained / name).read_text()) for name in ("metrics.json", "data.json"))
    area = metrics["roc_auc"]
    assert f"| model | {area['value']:.4f} [{area['low']:.3f}, {area['high']:.3f}] |" in card
    for words in (data["hash"], "CC BY 4.0", "3 test clips of 2 groups", "12000 Hz", f"keras {keras.__version__}"):
        assert words in card, words


def test_against_itself_nothing_flips_and_the_next_version_appears(first, trained):
    directory, _ = first
    result = invoke("export", trained, directory, "--against", directory / "tagger/1", "--limit", "0")
    assert result.exit_code == 0, result.output
    assert "decisions that flip: 0.0%" in result.stdout
    assert (directory / "tagger/2/saved_model.pb").is_file()


def test_a_version_that_drifts_over_the_limit_is_not_published(first, trained, tmp_path):
    directory, _ = first
    other = shutil.copytree(trained, tmp_path / "run")
    model = load_tagger(other / "model.keras")
    last = model.get_layer("probabilities")
    last.bias.assign(last.bias + 5.0)
    model.save(other / "model.keras")
    for name in ("predictions.parquet", "metrics.json"):
        (other / name).touch()
    before = sorted(path.name for path in (directory / "tagger").iterdir())
    result = invoke("export", other, directory, "--against", directory / "tagger/1")
    assert result.exit_code == 1
    assert re.search(r"nothing was exported: \d+\.\d% of decisions flip, over --limit 0\.05", result.stdout)
    assert sorted(path.name for path in (directory / "tagger").iterdir()) == before


def test_onnx_prints_and_writes_its_difference(first, trained):
    pytest.importorskip("tf2onnx", reason="the extra [onnx] is not installed")
    result = invoke("export", trained, first[0], "--format", "onnx")
    assert result.exit_code == 0, result.output
    version = first[0] / "tagger-onnx/1"
    measured = json.loads((version / "difference.json").read_text())
    assert measured["windows"] > 0 and 0 < measured["largest_difference"] < 1e-4
    assert f"{measured['largest_difference']:.1e}" in result.stdout
    assert {path.name for path in version.iterdir()} >= {"model.onnx", "tags.txt", "thresholds.json", "model_card.md"}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--objective", "best"], "--objective: found 'best', expected f1, youden or precision:P"),
        (["--name", "../other"], r"--name: found '\.\./other'"),
        (["--format", "tflite"], "--format: found 'tflite', expected savedmodel or onnx"),
        (["--limit", "0.1"], "--limit: goes with --against"),
        (["--format", "onnx", "--against", "x"], "--against: goes with --format savedmodel"),
        (["--against", "nowhere"], "nowhere: no exported version"),
    ],
)
def test_mistakes_in_options_are_one_line(trained, tmp_path, failure, options, expected):
    assert re.search(expected, failure("export", trained, tmp_path, *options))
    assert not list(tmp_path.iterdir())


def test_a_foreign_directory_is_refused(trained, tmp_path, failure):
    (tmp_path / "tagger").mkdir()
    (tmp_path / "tagger" / "thesis.txt").write_text("mine")
    line = failure("export", trained, tmp_path)
    assert "tagger: found 'thesis.txt', which is no exported version" in line


def test_runs_that_are_not_ready_are_refused(trained, tmp_path, failure):
    assert "not a run directory" in failure("export", tmp_path, tmp_path / "models")
    copy = shutil.copytree(trained, tmp_path / "run")
    for name in ("predictions.parquet", "metrics.json"):
        before = (copy / name).stat().st_mtime
        os.utime(copy / name, (0, 0))
        line = failure("export", copy, tmp_path / "models")
        assert f"{name}: older than model.keras; `genre-tagger evaluate" in line
        os.utime(copy / name, (before, before))
    (copy / "predictions.parquet").unlink()
    assert "genre-tagger evaluate" in failure("export", copy, tmp_path / "models")
    (copy / "model.keras").unlink()
    assert "has no trained model yet" in failure("export", copy, tmp_path / "models")
    assert not (tmp_path / "models").exists()
