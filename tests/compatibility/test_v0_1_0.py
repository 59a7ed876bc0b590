"""A run and an export of version 0.1.0 still work: they can be read, reported, evaluated, exported and trained further.

v0.1.0/ has a run of two epochs on twelve short clips, its prepared data, its export (without the warm-up requests) and
one of its audio files. tags.json is the output of `genre-tagger tag RUN f1.mp3 --json`. model.keras was saved again by
Keras 3.12 with the same weights, because Keras 3.12 cannot read files of Keras 3.15.
"""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from facts import check_facts, expect_error

from genre_tagger.config import load_config
from genre_tagger.evaluation.evaluate import EvaluateRequest, evaluate
from genre_tagger.evaluation.predictions import read_predictions
from genre_tagger.export.exported_version import ExportedVersion
from genre_tagger.export.exporter import ExportRequest, export_savedmodel
from genre_tagger.models.tagger import build_tagger, load_tagger
from genre_tagger.reporting.html_report import write_html_report
from genre_tagger.runs.creation import check_run
from genre_tagger.runs.directory import RunDirectory, open_run
from genre_tagger.runs.record import read_metrics
from genre_tagger.tagging.tagger import Tagger
from genre_tagger.training.start import Start
from genre_tagger.training.transfer import start_from

DATA = Path(__file__).parent / "v0.1.0"
RUN, VERSION, SONG = DATA / "run", DATA / "tagger/1", DATA / "f1.mp3"
CONFIGS = {"run": RUN / "config.yaml", "export": VERSION / "assets/config.yaml"}
TAGS = ("drums", "loud")
PREPARED = "data/prepared/folder-12000hz-9f8b17740a"


@pytest.fixture
def run(tmp_path):
    """Return a copy of the run, evaluated after its training, with its data at the path in its record."""
    path = Path(shutil.copytree(RUN, tmp_path / "run"))
    os.utime(path / "model.keras", (0, 0))  # in a checkout the order of the file times is arbitrary
    shutil.copytree(DATA / "prepared", tmp_path / PREPARED)
    record = json.loads((path / "data.json").read_text())
    record["source"]["root"] = str(tmp_path / "music")  # this folder is not needed
    record["data"] = str(tmp_path / record["data"])
    record["prepared"] = str(tmp_path / record["prepared"])
    (path / "data.json").write_text(json.dumps(record))
    return path


@pytest.mark.parametrize("path", CONFIGS.values(), ids=CONFIGS)
def test_configuration(path):
    config = load_config(path=path)
    assert config.schema_version == 2
    assert (config.window.seconds, config.window.hop_seconds, config.frontend.n_mels) == (0.6, 0.25, 40)
    assert (config.model.cnn.kernels, config.model.wavenet.skip_channels) == ((4, 4), 8)
    assert (config.model.wavenet.cascade.width, config.model.wavenet.cascade.first_batch_norm) == (8, True)
    assert config.model.spec_augment.model_dump() == {"masks": 1, "mel_share": 0.1, "frame_share": 0.1}
    assert (config.training.batch_size, config.inference.batch_size) == (4, 4)
    assert config.training.augment.model_dump() == {"gain_db": 0.0, "noise_snr_db": None, "mixup": 0.0}


def test_resolved_configuration_names_every_moved_key():
    values = json.loads(load_config(path=CONFIGS["run"]).model_dump_json())
    assert "cascade" not in values["model"] and values["model"]["wavenet"]["cascade"]["width"] == 8
    assert "spectrogram" not in values["training"]["augment"] and values["model"]["spec_augment"]["masks"] == 1
    assert not {"init", "freeze"} & values["training"].keys()


def test_record_and_metrics():
    run = RunDirectory(RUN)
    record = run.read_record()
    assert (record.source.source, str(record.source.root), str(record.folder)) == ("folder", "music", "data")
    assert str(record.prepared) == PREPARED
    assert record.hash == json.loads((DATA / "prepared/manifest.json").read_text())["hash"]
    assert record.has_data and not record.is_imported and not record.stream and record.start is None
    written, read = json.loads(run.metrics.read_text()), read_metrics(run.metrics)
    assert read["baseline"] == written.pop("floor")
    assert {**written, "baseline": read["baseline"]} == read
    assert run.baseline.name == "floor.parquet"
    assert read_predictions(run.baseline).tags == TAGS


@pytest.mark.parametrize("path", [RUN, VERSION, VERSION.parent], ids=["run", "version", "folder of versions"])
def test_scores_a_song_as_version_0_1_0(path):
    expected = json.loads((DATA / "tags.json").read_text())
    scores = Tagger.load(path).tag(SONG)
    assert list(scores) == list(expected["tags"])
    assert scores == pytest.approx(expected["tags"], abs=1e-4)


def test_report(run):
    text = write_html_report(run).read_text(encoding="utf-8")
    old = json.loads((RUN / "metrics.json").read_text())
    check_facts(text, *TAGS, f"{old['floor']['pr_auc']['value']:.3f}", "0.1.0")


def test_evaluation_on_its_own_data(run):
    old = json.loads((RUN / "metrics.json").read_text())
    metrics = evaluate(EvaluateRequest(run, workers=1))
    assert metrics["clips"] == old["clips"] == 3
    assert metrics["roc_auc"] == pytest.approx(old["roc_auc"], abs=1e-6)
    assert metrics["baseline"]["pr_auc"] == pytest.approx(old["floor"]["pr_auc"], abs=1e-6)
    assert read_metrics(run / "metrics.json")["baseline"] == metrics["baseline"]
    before, after = (read_predictions(path / "predictions.parquet") for path in (RUN, run))
    assert before.clip_ids == after.clip_ids
    np.testing.assert_allclose(after.scores, before.scores, atol=1e-4)
    assert not (run / "report/baseline.parquet").exists()  # the old file is used


def test_evaluation_fits_the_baseline_again_without_the_old_file(run):
    before = read_predictions(run / "report/floor.parquet")
    (run / "report/floor.parquet").unlink()
    evaluate(EvaluateRequest(run, workers=1))
    np.testing.assert_allclose(read_predictions(run / "report/baseline.parquet").scores, before.scores, atol=1e-3)


def test_evaluation_without_its_data_names_the_source(run, tmp_path):
    shutil.rmtree(tmp_path / "data")
    with expect_error(tmp_path / "music"):
        evaluate(EvaluateRequest(run, workers=1))


def test_export_compared_with_the_old_version(run, tmp_path):
    exported = export_savedmodel(ExportRequest(run, tmp_path / "models", against=VERSION, limit=0.0))
    assert exported.comparison.flips == 0
    old, new = ExportedVersion.open(VERSION), ExportedVersion.open(exported.path)
    assert (new.tags, new.config) == (old.tags, old.config)
    assert new.thresholds == pytest.approx(old.thresholds, abs=1e-4)
    assert load_config(path=new.path / "assets/config.yaml").schema_version == 2
    check_facts((new.path / "assets/config.yaml").read_text(), "schema_version: 2")


def test_an_old_run_is_resumed_with_its_own_configuration(run):
    check_run(run, load_config(path=run / "config.yaml"))
    with expect_error(run, "model.wavenet.cascade.width", "8", "9"):
        check_run(run, load_config(path=run / "config.yaml", overrides=["model.wavenet.cascade.width=9"]))


def test_training_can_start_from_an_old_run(run):
    old, config = open_run(run)
    model = build_tagger(config, len(TAGS))
    check_facts(start_from(Start(run), model, config, TAGS), run, "2 of 2 tags")
    sound = np.random.default_rng(0).normal(0, 0.1, (2, config.window_samples)).astype("float32")
    np.testing.assert_allclose(model(sound), load_tagger(old.model)(sound), atol=1e-6)
