"""The command `export` on a trained run: what it writes and prints, and its one-line errors."""

import json
import os
import shutil

import keras
import pytest
from facts import check_facts
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel
from typer.testing import CliRunner

from genre_tagger.commands.app import app
from genre_tagger.export.contract import SIGNATURES
from genre_tagger.models.tagger import load_tagger

TINY = [
    "window.seconds=0.6",
    "window.hop_seconds=0.25",
    "model.cnn=none",
    "model.wavenet={cascade: {width: 4}, dilation_depth: 1, blocks: 1, skip_channels: 4, output_width: 4}",
    "model.head.widths=[]",
    "frontend.n_mels=40",
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
    places = ["--run", work / "run", "--data", work / "data", "--workers", "1"]
    result = invoke("train", "folder", "--root", shared_music_folder, *overrides, *places)
    assert result.exit_code == 0, result.output
    return work / "run"


@pytest.fixture(scope="module")
def first(trained):
    """The directory of models, and the output of the first export."""
    result = invoke("export", trained, trained.parent / "models", "--licence", "CC BY 4.0")
    assert result.exit_code == 0, result.output
    return trained.parent / "models", result.stdout


def test_export_writes_a_version_and_prints_the_next_command(first):
    directory, output = first
    check_facts(output, directory / "tagger/1", f"genre-tagger serve {directory}")
    check_facts(output, "drums, loud")  # too few validation clips for thresholds of their own
    saved = SavedModel.FromString((directory / "tagger/1/saved_model.pb").read_bytes())
    assert set(saved.meta_graphs[0].signature_def) >= set(SIGNATURES)


def test_card_has_the_facts_of_the_run(first, trained):
    card = (first[0] / "tagger/1/model_card.md").read_text()
    metrics, data = (json.loads((trained / name).read_text()) for name in ("metrics.json", "data.json"))
    area = metrics["roc_auc"]
    assert f"| model | {area['value']:.4f} [{area['low']:.3f}, {area['high']:.3f}] |" in card
    check_facts(card, data["hash"], "CC BY 4.0", "3 test clips", "2 groups", "12000 Hz", f"keras {keras.__version__}")


def test_version_does_not_differ_from_itself_and_the_next_version_appears(first, trained):
    directory, _ = first
    result = invoke("export", trained, directory, "--against", directory / "tagger/1", "--limit", "0")
    assert result.exit_code == 0, result.output
    check_facts(result.stdout, f"{directory / 'tagger/1'}", " 0.0%")
    assert (directory / "tagger/2/saved_model.pb").is_file()


def test_version_with_too_many_changed_decisions_is_not_written(first, trained, tmp_path):
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
    check_facts(result.stdout, "--limit 0.05")
    assert sorted(path.name for path in (directory / "tagger").iterdir()) == before


def test_onnx_prints_and_writes_its_difference(first, trained):
    pytest.importorskip("tf2onnx", reason="the extra [onnx] is not installed")
    result = invoke("export", trained, first[0], "--format", "onnx")
    assert result.exit_code == 0, result.output
    version = first[0] / "tagger-onnx/1"
    measured = json.loads((version / "difference.json").read_text())
    assert measured["windows"] > 0 and 0 < measured["largest_difference"] < 1e-4
    check_facts(result.stdout, f"{measured['largest_difference']:.1e}", version)
    assert {path.name for path in version.iterdir()} >= {"model.onnx", "tags.txt", "thresholds.json", "model_card.md"}


@pytest.mark.parametrize(
    ("options", "facts"),
    [
        (["--objective", "best"], ("--objective:", "'best'", "f1", "youden", "precision:P")),
        (["--name", "../other"], ("--name:", "'../other'")),
        (["--format", "tflite"], ("--format:", "'tflite'", "savedmodel", "onnx")),
        (["--limit", "0.1"], ("--limit:", "--against")),
        (["--format", "onnx", "--against", "x"], ("--against:", "--format savedmodel")),
        (["--against", "nowhere"], ("nowhere:", "saved_model.pb")),
    ],
)
def test_mistakes_in_options_are_reported_in_one_line(trained, tmp_path, failure, options, facts):
    line = failure("export", trained, tmp_path, *options)
    check_facts(line, *facts)
    assert line.startswith(facts[0])
    assert not list(tmp_path.iterdir())


def test_directory_with_other_files_is_refused(trained, tmp_path, failure):
    (tmp_path / "tagger").mkdir()
    (tmp_path / "tagger" / "thesis.txt").write_text("mine")
    check_facts(failure("export", trained, tmp_path), tmp_path / "tagger", "'thesis.txt'")


def test_runs_that_are_not_ready_are_refused(trained, tmp_path, failure):
    check_facts(failure("export", tmp_path, tmp_path / "models"), f"{tmp_path}:", "config.yaml")
    copy = shutil.copytree(trained, tmp_path / "run")
    for name in ("predictions.parquet", "metrics.json"):
        before = (copy / name).stat().st_mtime
        os.utime(copy / name, (0, 0))
        line = failure("export", copy, tmp_path / "models")
        check_facts(line, f"{copy / name}:", "older than model.keras", f"genre-tagger evaluate {copy}")
        os.utime(copy / name, (before, before))
    (copy / "predictions.parquet").unlink()
    line = failure("export", copy, tmp_path / "models")
    check_facts(line, f"{copy / 'predictions.parquet'}:", f"genre-tagger evaluate {copy}")
    (copy / "model.keras").unlink()
    check_facts(failure("export", copy, tmp_path / "models"), f"{copy}:", "model.keras")
    assert not (tmp_path / "models").exists()
