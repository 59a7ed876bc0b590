"""Training runs: what they leave behind, how they stop, and that a killed one ends like an unbroken one."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import keras
import numpy as np
import pandas as pd
import pytest

from genre_tagger.config import load_config
from genre_tagger.data.dataset import Dataset
from genre_tagger.data.folder import FolderSource
from genre_tagger.data.records import prepare
from genre_tagger.errors import UserError
from genre_tagger.run import RunDirectory, create_run
from genre_tagger.training import fit as fit_module
from genre_tagger.training.callbacks import best_epoch, is_out_of_patience
from genre_tagger.training.fit import fit

TINY = [
    "window.seconds=0.5",
    "model.cnn={kernels: [4, 4], pools: [[2, 2], [4, 4]], dropouts: [0.2, 0.0], output_width: 4}",
    "model.cascade.width=8",
    "model.wavenet={dilation_depth: 2, blocks: 1, residual_channels: 4, dilation_channels: 4, skip_channels: 8, "
    "output_width: 4}",
    "model.head.widths=[8]",
    "training.batch_size=4",
    "training.epochs=2",
]


@pytest.fixture
def dataset(music_folder, tmp_path):
    return Dataset.of_manifest(prepare(FolderSource(music_folder), 12_000, tmp_path / "prepared", workers=1))


def start(path, dataset, *overrides):
    """Trains into `path` and returns the run and the history."""
    config = load_config(overrides=[*TINY, *overrides])
    run = create_run(path, config, {"hash": dataset.hash}, dataset.tags)
    return run, fit(run, config, dataset, print)


def test_a_run_leaves_everything_that_the_design_promises(tmp_path, dataset, capsys):
    run, history = start(tmp_path / "run", dataset)
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
    assert "epoch 2/2  validation: loss" in capsys.readouterr().out
    assert not list(run.path.rglob("*.tmp"))


def test_the_protocol_of_the_data_stands_beside_the_figures(tmp_path, dataset, capsys):
    run, _ = start(tmp_path / "run", replace(dataset, protocol="full"), "training.epochs=1")
    assert pd.read_csv(run.history)["protocol"].tolist() == ["full"]
    assert "epoch 1/1  validation, protocol full: loss" in capsys.readouterr().out
    curves = {events.parent.relative_to(run.tensorboard).as_posix() for events in run.tensorboard.rglob("events.*")}
    assert curves == {"full/train", "full/validation"}  # the names that TensorBoard gives them


def test_training_can_overfit_what_it_sees(tmp_path, dataset):
    _, history = start(
        tmp_path / "run", dataset, "training.epochs=30", "training.learning_rate=0.01", "training.patience=30"
    )
    assert history[-1]["loss"] < 0.5 * history[0]["loss"]


def test_the_same_seed_trains_the_same_and_another_does_not(tmp_path, dataset):
    losses = [
        [row["loss"] for row in start(tmp_path / name, dataset, f"seed={seed}")[1]]
        for name, seed in (("one", 0), ("again", 0), ("other", 5))
    ]
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)
    assert losses[0] != pytest.approx(losses[2], abs=1e-5)


def test_a_finished_run_is_not_trained_again(tmp_path, dataset):
    run, history = start(tmp_path / "run", dataset)
    written = run.checkpoint.stat().st_mtime_ns
    assert start(tmp_path / "run", dataset)[1] == history
    assert run.checkpoint.stat().st_mtime_ns == written


def test_another_configuration_or_other_data_is_refused(tmp_path, dataset):
    start(tmp_path / "run", dataset)
    with pytest.raises(UserError, match=r"training\.alpha is 1\.1 there, 2\.0 here"):
        start(tmp_path / "run", dataset, "training.alpha=2.0")
    with pytest.raises(UserError, match="on other data"):
        create_run(tmp_path / "run", load_config(overrides=TINY), {"hash": "other"}, dataset.tags)


@pytest.mark.parametrize("damage", [b"", b"no checkpoint", None])
def test_a_damaged_checkpoint_is_named(tmp_path, dataset, damage):
    run, _ = start(tmp_path / "run", dataset)
    if damage is None:
        np.savez(run.checkpoint, history=np.array("[]"), **{"00000": np.zeros(3)})
    else:
        run.checkpoint.write_bytes(damage)
    with pytest.raises(UserError, match=r"state\.npz: (cannot be read|holds another model's variables)"):
        start(tmp_path / "run", dataset)


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


def test_a_loss_that_is_no_number_stops_with_one_line(tmp_path, dataset, monkeypatch):
    def poisoned(config, two_sided, steps):
        model = compiled(config, two_sided, steps)
        model.get_layer("probabilities").bias.assign(np.full(len(two_sided), np.nan))
        return model

    compiled = fit_module.compiled_tagger
    monkeypatch.setattr(fit_module, "compiled_tagger", poisoned)
    with pytest.raises(UserError, match=r"the loss is nan in epoch 1, step 1"):
        start(tmp_path / "run", dataset)


@pytest.mark.parametrize(
    "override",
    [
        "training.precision=mixed_bfloat16",
        "training.precision=mixed_float16",
        "training.jit=true",
        "training.schedule=cosine",
    ],
)
def test_precisions_compilation_and_schedules_train(tmp_path, dataset, override):
    try:
        run, history = start(tmp_path / "run", dataset, override)
    finally:
        keras.config.set_dtype_policy("float32")
    assert np.isfinite([row["val_loss"] for row in history]).all()
    assert keras.models.load_model(run.model).get_layer("probabilities").compute_dtype == "float32"
    if "cosine" in override:
        assert history[-1]["learning_rate"] == pytest.approx(0, abs=1e-9)


SCRIPT = """
import sys
from pathlib import Path
from genre_tagger.config import load_config
from genre_tagger.data.dataset import Dataset
from genre_tagger.data.manifest import read_manifest
from genre_tagger.run import create_run
from genre_tagger.training.fit import fit

dataset = Dataset.of_manifest(read_manifest(Path(sys.argv[2])))
config = load_config(overrides=sys.argv[3:])
run = create_run(Path(sys.argv[1]), config, {"hash": dataset.hash}, dataset.tags)
fit(run, config, dataset, lambda line: print(line, flush=True))
"""


def process(run, prepared, *overrides):
    command = [sys.executable, "-c", SCRIPT, str(run), str(prepared), *overrides]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"})


@pytest.mark.slow
def test_killed_in_the_middle_it_ends_like_an_unbroken_run(tmp_path, dataset):
    overrides = [*TINY, "training.epochs=5", "window.train=random", "window.seconds=0.4", "training.schedule=cosine"]
    _, unbroken = start(tmp_path / "unbroken", dataset, *overrides[len(TINY) :])
    killed = process(tmp_path / "killed", tmp_path / "prepared", *overrides)
    for line in killed.stdout:
        if line.startswith("epoch 3/5  validation"):
            killed.send_signal(signal.SIGKILL)
            break
    assert killed.wait() == -signal.SIGKILL
    resumed = process(tmp_path / "killed", tmp_path / "prepared", *overrides)
    output, _ = resumed.communicate(timeout=300)
    assert resumed.returncode == 0
    assert "going on after epoch 3" in output
    table = pd.read_csv(RunDirectory(tmp_path / "killed").history)
    for name in ("loss", "roc_auc", "val_loss", "val_roc_auc", "learning_rate"):
        assert np.allclose(table[name], [row[name] for row in unbroken], atol=1e-4), name


@pytest.mark.slow
def test_killed_while_it_writes_it_still_resumes(tmp_path, dataset):
    """Kills at arbitrary moments; whatever is there afterwards must be whole."""
    overrides = [*TINY, "training.epochs=40", "training.patience=40"]
    for seconds in (0.2, 0.5):
        running = process(tmp_path / "run", tmp_path / "prepared", *overrides)
        for line in running.stdout:
            if "validation" in line:
                break
        time.sleep(seconds)
        running.kill()
        running.wait()
        assert keras.models.load_model(RunDirectory(tmp_path / "run").model) is not None
        with np.load(RunDirectory(tmp_path / "run").checkpoint, allow_pickle=False) as state:
            assert len(json.loads(str(state["history"]))) >= 1
