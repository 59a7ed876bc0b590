"""Training runs: the files they write, how they end, and that an interrupted run ends like an uninterrupted one."""

import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace

import keras
import numpy as np
import pandas as pd
import pytest
from facts import check_facts, expect_error

from genre_tagger.config import load_config
from genre_tagger.runs.creation import create_run
from genre_tagger.runs.directory import RunDirectory
from genre_tagger.runs.record import RunRecord
from genre_tagger.training import fit as fit_module
from genre_tagger.training.callbacks import DivergedError, best_epoch, is_out_of_patience
from genre_tagger.training.fit import fit

COMMON = ["window.seconds=0.5", "model.head.widths=[8]", "training.batch_size=4", "training.epochs=2"]
# One convolution block with dropout. Building and tracing a model takes most of the time of a tiny training.
SMALL = [*COMMON, "model.cnn={kernels: [4], pools: [[4, 4]], dropouts: [0.2], output_width: 4}"]
# Every kind of layer of the published system.
WHOLE = [
    *COMMON,
    "model.cnn={kernels: [4, 4], pools: [[2, 2], [4, 4]], dropouts: [0.2, 0.0], output_width: 4}",
    "model.wavenet={cascade: {width: 8}, dilation_depth: 2, blocks: 1, residual_channels: 4, dilation_channels: 4, "
    "skip_channels: 8, output_width: 4}",
]


def start(path, dataset, *overrides, model=SMALL):
    """Train into `path`; return the run and the history."""
    config = load_config(overrides=[*model, *overrides])
    run = create_run(path, config, RunRecord(hash=dataset.hash), dataset.tags)
    return run, fit(run, config, dataset)


@pytest.fixture(scope="module")
def shared_run(tmp_path_factory, dataset):
    """A small finished run and its history."""
    return start(tmp_path_factory.mktemp("finished") / "run", dataset)


@pytest.fixture
def finished(shared_run, tmp_path):
    """A copy of the finished run that a test may change, and its history."""
    return RunDirectory(shutil.copytree(shared_run[0].path, tmp_path / "run")), shared_run[1]


def test_a_run_leaves_everything_that_the_design_promises(tmp_path, dataset, caplog):
    caplog.set_level(logging.INFO)
    run, history = start(tmp_path / "run", dataset, model=WHOLE)
    assert [row["epoch"] for row in history] == [1, 2]
    table = pd.read_csv(run.history)
    for name in ("loss", "roc_auc", "pr_auc", "val_loss", "val_roc_auc", "val_pr_auc", "learning_rate"):
        assert np.isfinite(table[name]).all(), name
    model = keras.models.load_model(run.model)
    assert model.output_shape == (None, len(dataset.tags))
    assert getattr(model, "optimizer", None) is None
    assert run.tags.read_text().split() == list(dataset.tags)
    assert {"packages", "seed"} <= json.loads(run.environment.read_text()).keys()
    assert list(run.tensorboard.rglob("events.*"))
    last = history[-1]
    check_facts(caplog.messages[-1], "epoch 2/2", *(f"{last[f'val_{name}']:.4f}" for name in ("loss", "roc_auc")))
    assert not list(run.path.rglob("*.tmp"))


def test_the_protocol_of_the_data_is_next_to_the_scores(tmp_path, dataset, caplog):
    caplog.set_level(logging.INFO)
    run, _ = start(tmp_path / "run", replace(dataset, protocol="full"), "training.epochs=1")
    assert pd.read_csv(run.history)["protocol"].tolist() == ["full"]
    check_facts(caplog.messages[-1], "epoch 1/1", "protocol full")
    curves = {events.parent.relative_to(run.tensorboard).as_posix() for events in run.tensorboard.rglob("events.*")}
    assert curves == {"full/train", "full/validation"}  # the names that TensorBoard gives them


def test_training_can_overfit_what_it_sees(tmp_path, dataset):
    overrides = ("training.epochs=12", "training.learning_rate=0.03", "training.patience=12")
    _, history = start(tmp_path / "run", dataset, *overrides, model=WHOLE)
    assert history[-1]["loss"] < 0.5 * history[0]["loss"]


def test_the_same_seed_trains_the_same_and_another_does_not(shared_run, tmp_path, dataset):
    first = [row["loss"] for row in shared_run[1]]
    again, other = (
        [row["loss"] for row in start(tmp_path / name, dataset, f"seed={seed}")[1]]
        for name, seed in (("again", 0), ("other", 5))
    )
    assert first == pytest.approx(again, abs=1e-5)
    assert first != pytest.approx(other, abs=1e-5)


def test_a_finished_run_is_not_trained_again(finished, dataset):
    run, history = finished
    written = run.checkpoint.stat().st_mtime_ns
    assert start(run.path, dataset)[1] == history
    assert run.checkpoint.stat().st_mtime_ns == written


def test_another_configuration_or_other_data_is_refused(finished, dataset):
    path = finished[0].path
    with expect_error(path, "training.alpha", "1.1", "2.0"):
        start(path, dataset, "training.alpha=2.0")
    with expect_error(path, dataset.hash[:8], "other"):
        create_run(path, load_config(overrides=SMALL), RunRecord(hash="other"), dataset.tags)


@pytest.mark.parametrize("damage", [b"", b"no checkpoint", None])
def test_a_damaged_checkpoint_is_named(finished, dataset, damage):
    run, _ = finished
    if damage is None:  # an intact file with the state of another model
        np.savez(run.checkpoint, history=np.array("[]"), **{"00000": np.zeros(3)})
    else:
        run.checkpoint.write_bytes(damage)
    with expect_error(run.checkpoint, "another model" if damage is None else "cannot be read"):
        start(run.path, dataset)


def test_patience_stops_training(tmp_path, dataset):
    _, history = start(
        tmp_path / "run", dataset, "training.epochs=50", "training.patience=2", "training.learning_rate=1e-9"
    )
    assert len(history) < 50
    assert len(history) - best_epoch(history) == 2


def test_patience_counts_from_the_best_epoch():
    history = [{"val_roc_auc": value} for value in (0.5, 0.7, float("nan"), 0.7, 0.6)]
    assert best_epoch(history) == 2
    assert is_out_of_patience(history, 3)
    assert not is_out_of_patience(history, 4)
    assert not is_out_of_patience([], 1)


def test_a_loss_that_is_not_a_number_raises_an_error(tmp_path, dataset, monkeypatch):
    def poisoned(*arguments):
        model = compiled(*arguments)
        model.get_layer("probabilities").bias.assign(np.full(len(dataset.tags), np.nan))
        return model

    compiled = fit_module.compiled_tagger
    monkeypatch.setattr(fit_module, "compiled_tagger", poisoned)
    with expect_error("nan", "epoch 1", "step 1", "training.learning_rate", kind=DivergedError):
        start(tmp_path / "run", dataset)


@pytest.mark.parametrize(
    "override", ["training.precision=mixed_bfloat16", "training.precision=mixed_float16", "training.jit=true"]
)
def test_precisions_and_compilation_train(tmp_path, dataset, override):
    try:
        run, history = start(tmp_path / "run", dataset, override, model=WHOLE)
    finally:
        keras.config.set_dtype_policy("float32")
    assert np.isfinite([row["val_loss"] for row in history]).all()
    assert keras.models.load_model(run.model).get_layer("probabilities").compute_dtype == "float32"


def test_a_cosine_over_epochs_ends_at_zero(tmp_path, dataset):
    run, history = start(tmp_path / "run", dataset, "training.schedule=cosine")
    assert np.isfinite([row["val_loss"] for row in history]).all()
    assert keras.models.load_model(run.model).get_layer("probabilities").compute_dtype == "float32"
    assert history[-1]["learning_rate"] == pytest.approx(0, abs=1e-9)


SCRIPT = """
import logging
import sys
from pathlib import Path
from genre_tagger.config import load_config
from genre_tagger.dataset.dataset import Dataset
from genre_tagger.dataset.manifest import read_manifest
from genre_tagger.runs.creation import create_run
from genre_tagger.runs.record import RunRecord
from genre_tagger.training.fit import fit

logging.basicConfig(stream=sys.stdout, format="%(message)s")
logging.getLogger("genre_tagger").setLevel(logging.INFO)
dataset = Dataset.of_manifest(read_manifest(Path(sys.argv[2])))
config = load_config(overrides=sys.argv[3:])
run = create_run(Path(sys.argv[1]), config, RunRecord(hash=dataset.hash), dataset.tags)
fit(run, config, dataset)
"""
# Everything random and everything with a state: dropout, masks, noise, windows, batch statistics, the schedule.
RESUMED = [
    *SMALL,
    "model.wavenet={dilation_depth: 1, blocks: 1, dropout: 0.1, skip_channels: 8, output_width: 4}",
    "model.spec_augment={}",
    "training.augment.noise_snr_db=10",
    "training.schedule=cosine",
    "training.epochs=10",
    "training.patience=10",
    "window.train=random",
    "window.seconds=0.4",
]
STOPPED_AFTER = (0.02, 0.1, 0.2)  # seconds after an epoch, which takes some tenths of a second


def stop(process):
    """Stop a process without ending it. Its files are then the same as if it had been killed at this moment."""
    process.send_signal(signal.SIGSTOP)
    _, status = os.waitpid(process.pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status)


@pytest.fixture(scope="module")
def killed(tmp_path_factory, prepared):
    """A run that was killed halfway, and copies of its directory from arbitrary earlier moments."""
    folder = tmp_path_factory.mktemp("killed")
    command = [sys.executable, "-c", SCRIPT, str(folder / "run"), str(prepared), *RESUMED]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    copies, delays = [], list(STOPPED_AFTER)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        for line in process.stdout:
            if "validation" in line and delays:
                time.sleep(delays.pop(0))
                stop(process)
                copies.append(RunDirectory(shutil.copytree(folder / "run", folder / f"copy{len(copies)}")))
                process.send_signal(signal.SIGCONT)
            elif "validation" in line:
                process.kill()
                break
    assert process.returncode == -signal.SIGKILL and len(copies) == len(STOPPED_AFTER)
    return RunDirectory(folder / "run"), copies


def epochs_of(run):
    with np.load(run.checkpoint, allow_pickle=False) as state:
        return len(json.loads(str(state["history"])))


@pytest.mark.slow
def test_killed_in_the_middle_it_ends_like_an_unbroken_run(killed, tmp_path, dataset, caplog):
    run, _ = killed
    begun = epochs_of(run)
    assert 1 < begun < 10
    _, unbroken = start(tmp_path / "unbroken", dataset, model=RESUMED)
    caplog.set_level(logging.INFO)
    start(run.path, dataset, model=RESUMED)
    assert any("resuming" in line and f"epoch {begun}" in line for line in caplog.messages)
    table = pd.read_csv(run.history)
    for name in ("loss", "roc_auc", "val_loss", "val_roc_auc", "learning_rate"):
        assert np.allclose(table[name], [row[name] for row in unbroken], atol=1e-4), name
    assert (np.diff(table["seconds"], prepend=0) > 0).all()  # the clock continues from the last finished epoch


@pytest.mark.slow
def test_killed_at_any_moment_its_files_are_whole(killed):
    for run in killed[1]:
        assert keras.models.load_model(run.model) is not None
        assert epochs_of(run) >= 1
