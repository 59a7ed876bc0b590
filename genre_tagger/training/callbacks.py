"""Keras callbacks of a training: exact validation, the best model, the resumable state, log lines and a stop on NaN."""

import logging
import math
import time
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pandas as pd

from genre_tagger.config import TrainingConfig
from genre_tagger.errors import UserError
from genre_tagger.evaluation.metrics import compute_metrics
from genre_tagger.files import replacing
from genre_tagger.runs.directory import RunDirectory
from genre_tagger.training.checkpoint import save_state

_logger = logging.getLogger(__name__)

MONITORED = "val_roc_auc"
FIRST_STEP_SECONDS = 5.0  # a first step that takes longer than this is logged
PROGRESS_SECONDS = 10.0  # between two log lines within an epoch

Logs = dict[str, Any]


class DivergedError(UserError):
    """The training diverged: a loss or a score is not finite."""


class BudgetError(UserError):
    """The first epoch took longer than `training.minutes`."""


class ExactValidation(keras.callbacks.Callback):
    """Add exact `val_loss`, `val_roc_auc` and `val_pr_auc` of whole clips to the logs of each epoch.

    Args:
        labels: int8 [clips, tags], 1, 0 or -1 for unknown.
        score: function from the model to its probabilities float32 [clips, tags] for these clips.
    """

    def __init__(self, labels: np.ndarray, score: Callable[[keras.Model], np.ndarray]) -> None:
        super().__init__()
        self._labels = labels
        self._score = score

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        scores = self._score(self.model)
        if not np.isfinite(scores).all():  # the last step can make weights NaN although its loss is finite
            raise DivergedError(
                f"training: found validation scores that are not finite after epoch {epoch + 1}; lower "
                "training.learning_rate or set training.precision=float32"
            )
        metrics = compute_metrics(self._labels, scores, [str(tag) for tag in range(self._labels.shape[1])])
        logs["val_loss"] = float(self.model.loss(self._labels, scores))
        logs["val_roc_auc"], logs["val_pr_auc"] = metrics.roc_auc, metrics.pr_auc


class RunKeeper(keras.callbacks.Callback):
    """Write the best model, the history and the resumable state after each epoch, and stop the training at its end.

    The history is the only state of this callback. It is saved with the resumable state.

    Args:
        run: the run directory.
        training: training section of the configuration, for its epochs, minutes and patience.
        history: one dict per finished epoch. Each new epoch is appended.
        protocol: protocol of the data, if any; written as a column of `history.csv`.
    """

    def __init__(
        self,
        run: RunDirectory,
        training: TrainingConfig,
        history: list[dict[str, Any]],
        protocol: str | None = None,
    ) -> None:
        super().__init__()
        self._run = run
        self._protocol = protocol
        self._training = training
        self.history = history
        self._began = time.monotonic()

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        self._began = time.monotonic()

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        seconds = self.seconds()
        if not self.history:
            self._check_budget(seconds)
        rate = float(np.asarray(self.model.optimizer.learning_rate))
        self.history.append({"epoch": epoch + 1, **{name: float(value) for name, value in logs.items()}})
        self.history[-1] |= {"learning_rate": rate, "seconds": seconds}
        if best_epoch(self.history) == epoch + 1:
            save_model(self.model, self._run)
        with replacing(self._run.history) as unfinished:
            pd.DataFrame(self.history).assign(**_column(self._protocol)).to_csv(unfinished, index=False)
        save_state(self._run.checkpoint, self.model, self.history)
        if has_ended(self.history, self._training):
            self.model.stop_training = True

    def seconds(self) -> float:
        """Return the training time so far in seconds, over all calls, without interrupted epochs."""
        return seconds_used(self.history) + time.monotonic() - self._began

    def _check_budget(self, seconds: float) -> None:
        """Raise BudgetError if the first epoch took longer than `training.minutes`, before anything is written."""
        minutes = self._training.minutes
        if minutes is not None and seconds > 60 * minutes:
            raise BudgetError(
                f"{self._run.path}: training.minutes is {minutes:g}, but the first epoch took {seconds:.1f} s; "
                f"expected more than {seconds / 60:.3g}"
            )


class CosineOverTime(keras.callbacks.Callback):
    """Lower the learning rate to 0 along half a cosine over the time limit of the training.

    Args:
        learning_rate: the rate at the beginning.
        minutes: time limit of the training.
        seconds: function that returns the training time so far, in seconds.
    """

    def __init__(self, learning_rate: float, minutes: float, seconds: Callable[[], float]) -> None:
        super().__init__()
        self._learning_rate = learning_rate
        self._minutes = minutes
        self._seconds = seconds

    def on_train_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        used = min(1.0, self._seconds() / (60 * self._minutes))
        self.model.optimizer.learning_rate = self._learning_rate * (1 + math.cos(math.pi * used)) / 2


def _column(protocol: str | None) -> dict[str, str]:
    return {"protocol": protocol} if protocol else {}


def best_epoch(history: list[dict[str, Any]]) -> int:
    """Return the first epoch, counted from 1, with the highest validation ROC-AUC. NaN counts as the lowest."""
    return 1 + int(np.argmax(np.nan_to_num([row[MONITORED] for row in history], nan=-1.0)))


def seconds_used(history: list[dict[str, Any]]) -> float:
    """Return the seconds of the finished epochs, validation included; NaN if an older version did not record them."""
    return float(history[-1].get("seconds", math.nan)) if history else 0.0


def has_ended(history: list[dict[str, Any]], training: TrainingConfig) -> bool:
    """Return whether the maximum number of epochs, the time limit or the patience is reached."""
    out_of_time = training.minutes is not None and seconds_used(history) >= 60 * training.minutes
    return len(history) >= training.epochs or out_of_time or is_out_of_patience(history, training.patience)


def is_out_of_patience(history: list[dict[str, Any]], patience: int) -> bool:
    """Return whether none of the last `patience` epochs has improved the validation ROC-AUC."""
    return bool(history) and len(history) - best_epoch(history) >= patience


def save_model(model: keras.Model, run: RunDirectory) -> None:
    """Write `model.keras` of a run without the optimizer, which is in the resumable state."""
    bare = keras.Model(model.inputs, model.outputs, name=model.name)
    with replacing(run.model) as unfinished:
        with_suffix = unfinished.with_suffix(".keras")  # Keras requires this suffix
        bare.save(with_suffix)
        with_suffix.replace(unfinished)


class StopOnNaN(keras.callbacks.Callback):
    """Raise DivergedError at the first loss that is not finite. The best model so far is kept."""

    def __init__(self, run: RunDirectory) -> None:
        super().__init__()
        self._run = run
        self._epoch = 0

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: Logs) -> None:
        if not np.isfinite(logs["loss"]):
            raise DivergedError(
                f"training: found the loss {logs['loss']} in epoch {self._epoch + 1}, step {batch + 1}, expected a "
                f"finite number; lower training.learning_rate or set training.precision=float32 ({self._run.path} "
                "keeps the earlier epochs)"
            )


class ProgressLog(keras.callbacks.Callback):
    """Log the progress of training.

    A line is logged after the first step if it is slow, then every few seconds, after the last step of an epoch, and
    after its validation.

    Args:
        training: training section of the configuration, for its batch size and epochs.
        steps: number of steps per epoch.
        protocol: protocol of the data, if any; logged with the validation scores.
    """

    def __init__(self, training: TrainingConfig, steps: int, protocol: str | None = None) -> None:
        super().__init__()
        self._steps, self._batch_size = steps, training.batch_size
        self._of = f"/{training.epochs}" if training.minutes is None else ""  # unknown with a time limit
        self._validation = f"validation, protocol {protocol}" if protocol else "validation"
        self._epoch = self._since_step = 0
        self._since = self._started = time.monotonic()

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        self._epoch, self._since_step, self._since = epoch, 0, time.monotonic()

    def on_train_batch_end(self, batch: int, logs: Logs) -> None:
        step, now = batch + 1, time.monotonic()
        is_first = step == 1 and now - self._since > FIRST_STEP_SECONDS
        if is_first or step == self._steps or now - self._since >= PROGRESS_SECONDS:
            rate = (step - self._since_step) * self._batch_size / (now - self._since)
            _logger.info(
                "%s",
                f"epoch {self._epoch + 1}{self._of}  step {step}/{self._steps}  loss {logs['loss']:.4f}  "
                f"roc-auc {logs['roc_auc']:.4f}  {rate:.1f} clips/s",
            )
            self._since_step, self._since = step, now

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        _logger.info(
            "%s",
            f"epoch {epoch + 1}{self._of}  {self._validation}: loss {logs['val_loss']:.4f}  "
            f"roc-auc {logs['val_roc_auc']:.4f}  pr-auc {logs['val_pr_auc']:.4f}  "
            f"({time.monotonic() - self._started:.0f} s since start)",
        )
