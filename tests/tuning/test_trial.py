"""One trial: the same figure as `train`, and what it may fail of."""

import dataclasses
import json

import pandas as pd
import pytest
import tensorflow as tf

from genre_tagger.config import load_config
from genre_tagger.errors import UserError
from genre_tagger.files import locked, storage_errors
from genre_tagger.tuning import trial as trial_module
from genre_tagger.tuning.trial import KILLS_NAME, Limits, read_outcome, read_outcomes
from genre_tagger.workflow import train_run

VALUES = {"model.cnn.output_width": 5, "model.cnn.activation": "elu", "training.learning_rate": 0.02}


@pytest.fixture(scope="module")
def ended(tmp_path_factory, tiny, opened):
    """(path, outcome) of a trial of two executions."""
    from genre_tagger.tuning.trial import TrialRunner

    path = tmp_path_factory.mktemp("trials") / "0000"
    runner = TrialRunner(tiny, lambda config: opened, 2, Limits(), lambda line: None)
    return path, runner.run(path, VALUES)


def test_a_trials_figure_is_what_train_gives_with_its_config(ended, opened, tmp_path):
    path, outcome = ended
    histories = []
    for seed in (0, 1):
        config = load_config(path=path / "config.yaml", overrides=[f"seed={seed}"])
        assert config.model.cnn.output_width == 5 and config.training.learning_rate == 0.02
        histories.append(pd.DataFrame(train_run(tmp_path / f"run{seed}", config, opened, print)[1]))
    for objective, column in (("val_auc", "val_roc_auc"), ("val_pr_auc", "val_pr_auc")):
        kept = [history.loc[history["val_roc_auc"].idxmax(), column] for history in histories]
        assert outcome.scores[objective] == sum(kept) / 2


def test_an_ended_trial_is_only_read(ended, runner, monkeypatch):
    path, outcome = ended
    monkeypatch.setattr(trial_module, "train_run", None)
    assert runner.run(path, VALUES) == outcome == read_outcome(path)
    assert read_outcomes(path.parent) == [outcome]
    assert outcome.status == "completed" and outcome.epochs == 2
    assert (path.parent / "0000-2" / "history.csv").exists()
    assert not (path / KILLS_NAME).exists()


def test_the_figures_are_of_the_epoch_that_is_kept(runner, tmp_path, monkeypatch):
    history = [{"val_roc_auc": auc, "val_pr_auc": pr_auc} for auc, pr_auc in ((0.6, 0.9), (0.8, 0.5), (0.7, 0.7))]
    monkeypatch.setattr(trial_module, "train_run", lambda *_: (None, history))
    assert runner.run(tmp_path / "0000", VALUES).scores == {"val_auc": 0.8, "val_pr_auc": 0.5}


def test_a_trial_of_other_values_is_refused(ended, runner):
    with pytest.raises(UserError, match=r"trial\.json: is of a trial of other values"):
        runner.run(ended[0], VALUES | {"training.learning_rate": 0.03})


def test_a_trial_is_run_by_one_process_at_a_time(runner, tmp_path):
    (tmp_path / "0000").mkdir()
    with locked(tmp_path / "0000"), pytest.raises(UserError, match="0000: another process is working here"):
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
    ("limits", "reason"),
    [
        (Limits(parameters=100), "the model has .* parameters, more than --max-parameters 100"),
        (Limits(flops=1000), "the model has .* flops, more than --max-flops 1,000"),
    ],
)
def test_a_model_over_the_limits_fails(runner, tmp_path, limits, reason):
    outcome = dataclasses.replace(runner, limits=limits).run(tmp_path / "0000", VALUES)
    assert outcome.status == "failed"
    assert pd.Series([outcome.reason]).str.contains(reason)[0]
    assert outcome.parameters > 100
    assert read_outcome(tmp_path / "0000") == outcome
    assert (tmp_path / "0000/config.yaml").exists()


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"model.cnn.pools": [[2, 2], [2, 2]]}, "as many pools and dropouts as kernels"),
        ({"window.hop_seconds": 9.0}, "hop_seconds between"),
        ({"model.cnn": "none"}, "expected a branch"),
        ({"window.seconds": 60.0, "window.hop_seconds": 60.0}, "the longest clip has"),
        ({"training.minutes": 1e-5}, "training.minutes is 1e-05, and its first epoch alone took"),
        ({"training.learning_rate": 1e38}, "no finite number|loss is nan|loss is inf"),
    ],
)
def test_what_the_model_refuses_and_what_diverges_fails(runner, tmp_path, values, reason):
    outcome = runner.run(tmp_path / "0000", values)
    assert outcome.status == "failed"
    assert pd.Series([outcome.reason]).str.contains(reason)[0], outcome.reason


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

    monkeypatch.setattr(trial_module, "train_run", full)
    outcome = runner.run(tmp_path / "0000", VALUES)
    assert outcome.status == "failed"
    assert outcome.reason.startswith("out of memory: ")


@pytest.mark.parametrize(
    "error", [TypeError("a typo"), UserError("no such file"), tf.errors.InternalError(None, None, "x")]
)
def test_anything_else_is_raised_and_leaves_the_trial_open(runner, tmp_path, monkeypatch, error):
    def fault(*_):
        raise error

    monkeypatch.setattr(trial_module, "train_run", fault)
    with pytest.raises(type(error)):
        runner.run(tmp_path / "0000", VALUES)
    assert read_outcomes(tmp_path) == []
    assert not (tmp_path / "0000" / KILLS_NAME).exists()


def test_a_full_disk_is_not_the_trials_fault(runner, tmp_path, monkeypatch):
    def full(*_):
        with storage_errors(tmp_path):
            raise tf.errors.ResourceExhaustedError(None, None, "No space left on device")

    monkeypatch.setattr(trial_module, "train_run", full)
    with pytest.raises(UserError, match="no space left on its disk"):
        runner.run(tmp_path / "0000", VALUES)


def test_a_trial_that_kills_the_process_again_and_again_is_given_up(runner, tmp_path, monkeypatch):
    path = tmp_path / "0000"
    path.mkdir()
    (path / KILLS_NAME).write_text(json.dumps({"progress": 0, "kills": 3}))
    outcome = runner.run(path, VALUES)
    assert outcome.status == "failed"
    assert outcome.reason.startswith("the process was killed 3 times in this trial")


def test_kills_with_an_epoch_in_between_do_not_count(runner, tmp_path):
    path = tmp_path / "0000"
    path.mkdir()
    (path / KILLS_NAME).write_text(json.dumps({"progress": -1, "kills": 3}))
    assert runner.run(path, VALUES).status == "completed"


def test_a_damaged_outcome_is_named(tmp_path):
    (tmp_path / "trial.json").write_text("{")
    with pytest.raises(UserError, match=r"trial\.json: cannot be read"):
        read_outcome(tmp_path)
