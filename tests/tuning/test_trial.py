"""One trial: the same scores as `train`, and the reasons for which it fails."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from facts import check_facts, expect_error

from genre_tagger.config import load_config
from genre_tagger.errors import UserError
from genre_tagger.files import locked, storage_errors
from genre_tagger.models.tagger import load_tagger
from genre_tagger.runs.directory import RunDirectory
from genre_tagger.training.failures import KILLS_NAME
from genre_tagger.training.start import Start
from genre_tagger.training.train import train_only
from genre_tagger.tuning import trial as trial_module
from genre_tagger.tuning.trial import ModelLimits, TrialRunner, read_outcome, read_outcomes

VALUES = {"model.cnn.output_width": 5, "model.cnn.activation": "elu", "training.learning_rate": 0.02}


@pytest.fixture(scope="module")
def ended(tmp_path_factory, tiny, opened):
    """(path, outcome) of a trial of two executions."""
    path = tmp_path_factory.mktemp("trials") / "0000"
    runner = TrialRunner(tiny, lambda config: opened, 2, ModelLimits())
    return path, runner.run(path, VALUES)


def test_the_scores_of_a_trial_are_those_of_training_with_its_configuration(ended, opened, tmp_path):
    path, outcome = ended
    histories = []
    for seed in (0, 1):
        config = load_config(path=path / "config.yaml", overrides=[f"seed={seed}"])
        assert config.model.cnn.output_width == 5 and config.training.learning_rate == 0.02
        histories.append(pd.DataFrame(train_only(tmp_path / f"run{seed}", config, opened)[1]))
    for objective, column in (("val_auc", "val_roc_auc"), ("val_pr_auc", "val_pr_auc")):
        kept = [history.loc[history["val_roc_auc"].idxmax(), column] for history in histories]
        assert outcome.scores[objective] == sum(kept) / 2


def test_an_ended_trial_is_only_read(ended, runner, monkeypatch):
    path, outcome = ended
    monkeypatch.setattr(trial_module, "train_only", None)
    assert runner.run(path, VALUES) == outcome == read_outcome(path)
    assert read_outcomes(path.parent) == [outcome]
    assert outcome.status == "completed" and outcome.epochs == 2
    assert (path.parent / "0000-2" / "history.csv").exists()
    assert not (path / KILLS_NAME).exists()


def test_the_scores_are_those_of_the_epoch_that_is_kept(runner, tmp_path, monkeypatch):
    history = [{"val_roc_auc": auc, "val_pr_auc": pr_auc} for auc, pr_auc in ((0.6, 0.9), (0.8, 0.5), (0.7, 0.7))]
    monkeypatch.setattr(trial_module, "train_only", lambda *_: (None, history))
    assert runner.run(tmp_path / "0000", VALUES).scores == {"val_auc": 0.8, "val_pr_auc": 0.5}


def test_a_trial_of_other_values_is_refused(ended, runner):
    with expect_error("0000/trial.json", "'training.learning_rate': 0.02", "'training.learning_rate': 0.03"):
        runner.run(ended[0], VALUES | {"training.learning_rate": 0.03})


def test_a_trial_is_run_by_one_process_at_a_time(runner, tmp_path):
    (tmp_path / "0000").mkdir()
    with locked(tmp_path / "0000"), expect_error(tmp_path / "0000"):
        runner.run(tmp_path / "0000", VALUES)
    assert read_outcomes(tmp_path) == []


def test_the_model_is_counted(ended):
    """Convolution 1 -> 4 and 4 -> 5 of 3x3 with bias and batch norm, dense 5 -> 4, dense 4 -> 2."""
    convolutions = (9 * 1 * 4 + 3 * 4) + (9 * 4 * 5 + 3 * 5)
    assert ended[1].parameters == convolutions + (5 * 4 + 4) + (4 * 2 + 2)
    image = 96 * (1 + 6000 // 256)
    assert ended[1].flops > 2 * image * 9 * 4
    assert ended[1].inference_ms > 0


@pytest.mark.parametrize(
    ("limits", "limit"), [(ModelLimits(parameters=100), "100"), (ModelLimits(flops=1000), "1,000")]
)
def test_a_model_over_the_limits_fails(runner, tmp_path, limits, limit):
    outcome = dataclasses.replace(runner, limits=limits).run(tmp_path / "0000", VALUES)
    assert outcome.status == "failed"
    (name,) = (name for name, value in dataclasses.asdict(limits).items() if value)
    check_facts(outcome.reason, f"{getattr(outcome, name):,} {name}", limit)
    assert outcome.parameters > 100
    assert read_outcome(tmp_path / "0000") == outcome
    assert (tmp_path / "0000/config.yaml").exists()


@pytest.mark.parametrize(
    ("values", "facts"),
    [
        ({"model.cnn.pools": [[2, 2], [2, 2]]}, ("'model.cnn'", "pools", "kernels")),
        ({"window.hop_seconds": 9.0}, ("'window'", "'hop_seconds': 9.0")),
        ({"model.cnn": "none"}, ("'model'", "wavenet, cnn")),
        ({"window.seconds": 60.0, "window.hop_seconds": 60.0}, ("window.seconds", "60", "1.50 s")),
        ({"training.minutes": 1e-5}, ("training.minutes", "1e-05")),
        ({"training.learning_rate": 1e38}, ("training.learning_rate", "training.precision", "epoch 1")),
    ],
)
def test_invalid_combinations_and_divergence_fail_the_trial(runner, tmp_path, values, facts):
    outcome = runner.run(tmp_path / "0000", values)
    assert outcome.status == "failed"
    check_facts(outcome.reason, *facts)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError("cannot allocate"),
        tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor"),
        tf.errors.InternalError(None, None, "CUDA_ERROR_OUT_OF_MEMORY: out of memory"),
    ],
)
def test_no_memory_fails_the_trial(runner, tmp_path, monkeypatch, error):
    def full(*_):
        raise error

    monkeypatch.setattr(trial_module, "train_only", full)
    outcome = runner.run(tmp_path / "0000", VALUES)
    assert outcome.status == "failed"
    check_facts(outcome.reason, str(error).split(":")[0])


@pytest.mark.parametrize(
    "error", [TypeError("a typo"), UserError("no such file"), tf.errors.InternalError(None, None, "x")]
)
def test_any_other_error_is_raised_and_leaves_the_trial_unfinished(runner, tmp_path, monkeypatch, error):
    def fault(*_):
        raise error

    monkeypatch.setattr(trial_module, "train_only", fault)
    with pytest.raises(type(error)) as raised:
        runner.run(tmp_path / "0000", VALUES)
    assert raised.value is error
    assert read_outcomes(tmp_path) == []
    assert not (tmp_path / "0000" / KILLS_NAME).exists()


def test_a_full_disk_does_not_fail_the_trial(runner, tmp_path, monkeypatch):
    def full(*_):
        with storage_errors(tmp_path):
            raise tf.errors.ResourceExhaustedError(None, None, "No space left on device")

    monkeypatch.setattr(trial_module, "train_only", full)
    with expect_error(tmp_path) as raised:
        runner.run(tmp_path / "0000", VALUES)
    assert isinstance(raised.value.__cause__, tf.errors.ResourceExhaustedError)
    assert read_outcomes(tmp_path) == []


def test_a_trial_whose_process_is_killed_repeatedly_fails(runner, tmp_path):
    path = tmp_path / "0000"
    path.mkdir()
    (path / KILLS_NAME).write_text(json.dumps({"progress": 0, "kills": 3}))
    outcome = runner.run(path, VALUES)
    assert outcome.status == "failed"
    check_facts(outcome.reason, 3)


def test_kills_with_an_epoch_in_between_do_not_count(runner, tmp_path):
    path = tmp_path / "0000"
    path.mkdir()
    (path / KILLS_NAME).write_text(json.dumps({"progress": -1, "kills": 3}))
    assert runner.run(path, VALUES).status == "completed"


def test_a_damaged_outcome_is_named(tmp_path):
    (tmp_path / "trial.json").write_text("{")
    with expect_error(tmp_path / "trial.json", "line 1 column 2"):
        read_outcome(tmp_path)


def test_a_trial_starts_from_a_run(ended, runner, tmp_path):
    """Its frozen layers keep the weights of that run, and the others are trained."""
    started = dataclasses.replace(runner, start=Start(ended[0], ("cnn",)))
    assert started.run(tmp_path / "0000", VALUES).status == "completed"
    before, after = (load_tagger(path / "model.keras") for path in (ended[0], tmp_path / "0000"))
    is_equal = {
        layer.name: all(map(np.array_equal, layer.get_weights(), before.get_layer(layer.name).get_weights()))
        for layer in after.layers
        if layer.weights
    }
    assert {name for name, equal in is_equal.items() if equal} == {name for name in is_equal if name.startswith("cnn")}
    assert 0 < sum(is_equal.values()) < len(is_equal)
    record = RunDirectory(tmp_path / "0000").read_record().start
    assert (record.run, record.frozen) == (str(ended[0].resolve()), ("cnn",))


def test_a_trial_fails_if_a_frozen_layer_has_another_shape_in_the_run(ended, runner, tmp_path):
    started = dataclasses.replace(runner, start=Start(ended[0], ("cnn",)))
    outcome = started.run(tmp_path / "0000", VALUES | {"model.cnn.output_width": 6})
    assert outcome.status == "failed"
    check_facts(outcome.reason, ended[0], "'cnn_")
