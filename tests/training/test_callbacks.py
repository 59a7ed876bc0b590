"""Callbacks: the seconds of a run over restarts, the minutes that end it, the learning rate, and NaN scores."""

import math
from types import SimpleNamespace

import keras
import numpy as np
import pandas as pd
import pytest
from facts import expect_error

from genre_tagger.config import load_config
from genre_tagger.runs.directory import RunDirectory
from genre_tagger.training import callbacks
from genre_tagger.training.callbacks import (
    BudgetError,
    CosineOverTime,
    DivergedError,
    ExactValidation,
    RunKeeper,
    has_ended,
    seconds_used,
)
from genre_tagger.training.checkpoint import load_state


@pytest.fixture(scope="module")
def model():
    """A compiled model of one layer."""
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("adam", "mse")
    return model


@pytest.fixture
def clock(monkeypatch):
    """A clock that only moves when a test sets `clock.now`."""
    clock = SimpleNamespace(now=1000.0)
    monkeypatch.setattr(callbacks, "time", SimpleNamespace(monotonic=lambda: clock.now))
    return clock


@pytest.fixture
def run(tmp_path):
    return RunDirectory(tmp_path)


def keeper_of(run, model, history, *overrides):
    keeper = RunKeeper(run, load_config(overrides=overrides).training, history)
    keeper.set_model(model)
    model.stop_training = False
    return keeper


def epoch(keeper, clock, number, seconds):
    keeper.on_epoch_begin(number)
    clock.now += seconds
    keeper.on_epoch_end(number, {"loss": 1.0, "val_roc_auc": 0.5 + number / 100})
    clock.now += 7.0  # the time between epochs does not count


def test_seconds_add_up_over_restarts(run, model, clock):
    keeper = keeper_of(run, model, [])
    epoch(keeper, clock, 0, 30.0)
    epoch(keeper, clock, 1, 20.0)
    clock.now = 5.0  # another process, another clock
    resumed = keeper_of(run, model, load_state(run.checkpoint, model))
    epoch(resumed, clock, 2, 10.0)
    assert pd.read_csv(run.history)["seconds"].tolist() == pytest.approx([30, 50, 60])


def test_minutes_end_training_after_the_epoch_that_uses_them_up(run, model, clock):
    keeper = keeper_of(run, model, [], "training.minutes=1")
    for number, seconds in enumerate((29.0, 30.0)):
        epoch(keeper, clock, number, seconds)
        assert not model.stop_training
    resumed = keeper_of(run, model, load_state(run.checkpoint, model), "training.minutes=1")
    epoch(resumed, clock, 2, 1.0)
    assert model.stop_training and seconds_used(resumed.history) == pytest.approx(60)


def test_a_first_epoch_longer_than_the_minutes_raises_an_error_and_leaves_nothing(run, model, clock):
    keeper = keeper_of(run, model, [], "training.minutes=0.5")
    with expect_error(run.path, "training.minutes", "0.5", "31.0 s", kind=BudgetError):
        epoch(keeper, clock, 0, 31.0)
    assert not list(run.path.iterdir())


def test_training_ends_by_epochs_minutes_or_patience():
    training = load_config(overrides=["training.epochs=3", "training.minutes=2", "training.patience=2"]).training
    history = [{"val_roc_auc": auc, "seconds": seconds} for auc, seconds in ((0.5, 50.0), (0.6, 100.0), (0.7, 110.0))]
    assert not has_ended([], training) and not has_ended(history[:2], training)
    assert has_ended(history, training)
    assert has_ended([history[0] | {"seconds": 120.0}], training)
    assert has_ended([history[1], history[0]], training.model_copy(update={"patience": 1}))
    uncounted = [{"val_roc_auc": 0.5}]  # older versions did not count seconds
    assert math.isnan(seconds_used(uncounted)) and not has_ended(uncounted, load_config().training)


@pytest.mark.parametrize(("seconds", "rate"), [(0, 1e-3), (20, 0.75e-3), (30, 0.5e-3), (60, 0), (99, 0)])
def test_a_cosine_over_minutes_follows_the_time(seconds, rate):
    follower = CosineOverTime(1e-3, 1.0, lambda: seconds)
    follower.set_model(SimpleNamespace(optimizer=SimpleNamespace(learning_rate=None)))
    follower.on_train_batch_begin(0)
    assert follower.model.optimizer.learning_rate == pytest.approx(rate, abs=1e-12)


def test_validation_scores_that_are_not_finite_raise_an_error(model):
    validation = ExactValidation(np.int8([[1], [0]]), lambda _: np.array([[0.5], [np.nan]]))
    validation.set_model(model)
    with expect_error("epoch 3", "training.learning_rate", kind=DivergedError):
        validation.on_epoch_end(2, {})
