"""What happens around the epochs: exact validation, the best model, the resumable state, progress, a stop on NaN."""

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
from genre_tagger.run import RunDirectory
from genre_tagger.training.checkpoint import save_state

MONITORED = "val_roc_auc"
PROGRESS_SECONDS = 10.0


class DivergedError(UserError):
    """The training went astray: a loss or a score is no finite number."""


class BudgetError(UserError):
    """The minutes of a training are used up within its first epoch."""


class ExactValidation(keras.callbacks.Callback):
    """Adds exact `val_loss`, `val_roc_auc` and `val_pr_auc` of whole clips to each epoch's logs.

    Args:
        labels: [clips, tags], 0, 1 or -1.
        score: the model's probabilities [clips, tags] for those clips.
    """

    def __init__(self, labels: np.ndarray, score: Callable[[keras.Model], np.ndarray]):
        super().__init__()
        self._labels = labels
        self._score = score

    def on_epoch_end(self, epoch, logs=None):
        scores = self._score(self.model)
        if not np.isfinite(scores).all():  # the last step of an epoch may be the one that goes astray
            raise DivergedError(
                f"training: scores of validation clips are no finite numbers after epoch {epoch + 1}; lower "
                "training.learning_rate or set training.precision=float32"
            )
        metrics = compute_metrics(self._labels, scores, range(self._labels.shape[1]))
        logs["val_loss"] = float(self.model.loss(self._labels, scores))
        logs["val_roc_auc"], logs["val_pr_auc"] = metrics.roc_auc, metrics.pr_auc


class RunKeeper(keras.callbacks.Callback):
    """Keeps the run directory true after each epoch: best model, history, resumable state; stops when it has ended.

    All it knows is the history, which lies in the resumable state: nothing else needs restoring.

    Args:
        run: where to write.
        training: says when training ends.
        history: rows of the epochs done before this start.
        protocol: of the data, where it has one; a column of `history.csv`.
    """

    def __init__(
        self,
        run: RunDirectory,
        training: TrainingConfig,
        history: list[dict[str, Any]],
        protocol: str | None = None,
    ):
        super().__init__()
        self._run = run
        self._protocol = protocol
        self._training = training
        self.history = history
        self._began = time.monotonic()

    def on_epoch_begin(self, epoch, logs=None):
        self._began = time.monotonic()

    def on_epoch_end(self, epoch, logs=None):
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
        """Seconds of training until now, those of earlier starts counted in, but for epochs that a kill cut off."""
        return seconds_used(self.history) + time.monotonic() - self._began

    def _check_budget(self, seconds: float) -> None:
        """Nothing of an epoch that the budget had no room for is kept."""
        minutes = self._training.minutes
        if minutes is not None and seconds > 60 * minutes:
            raise BudgetError(
                f"{self._run.path}: training.minutes is {minutes:g}, and its first epoch alone took {seconds:.1f} s; "
                f"expected more than {seconds / 60:.3g}"
            )


class CosineOverTime(keras.callbacks.Callback):
    """Lets the learning rate fall to 0 along half a cosine of the training time, whatever number of epochs that is.

    Args:
        training: has the minutes and the rate to begin with.
        seconds: gives the seconds of training until now.
    """

    def __init__(self, training: TrainingConfig, seconds: Callable[[], float]):
        super().__init__()
        self._training = training
        self._seconds = seconds

    def on_train_batch_begin(self, batch, logs=None):
        used = min(1.0, self._seconds() / (60 * self._training.minutes))
        self.model.optimizer.learning_rate = self._training.learning_rate * (1 + math.cos(math.pi * used)) / 2


def _column(protocol: str | None) -> dict[str, str]:
    return {"protocol": protocol} if protocol else {}


def best_epoch(history: list[dict[str, Any]]) -> int:
    """The epoch (from 1) of the best validation ROC-AUC, the first of equals; NaN counts as the worst."""
    return 1 + int(np.argmax(np.nan_to_num([row[MONITORED] for row in history], nan=-1.0)))


def seconds_used(history: list[dict[str, Any]]) -> float:
    """Seconds of the epochs so far, their validation included; NaN where a version that did not count them began."""
    return history[-1].get("seconds", math.nan) if history else 0.0


def has_ended(history: list[dict[str, Any]], training: TrainingConfig) -> bool:
    """Whether the epochs, the minutes or the patience are used up."""
    out_of_time = training.minutes is not None and seconds_used(history) >= 60 * training.minutes
    return len(history) >= training.epochs or out_of_time or is_out_of_patience(history, training.patience)


def is_out_of_patience(history: list[dict[str, Any]], patience: int) -> bool:
    """Whether the last `patience` epochs brought nothing better."""
    return bool(history) and len(history) - best_epoch(history) >= patience


def save_model(model: keras.Model, run: RunDirectory) -> None:
    """Writes `model.keras` beside and renames it; the optimizer stays out, it is in the resumable state."""
    bare = keras.Model(model.inputs, model.outputs, name=model.name)
    with replacing(run.model) as unfinished:
        beside = unfinished.with_suffix(".keras")  # Keras insists on the ending
        bare.save(beside)
        beside.replace(unfinished)


class StopOnNaN(keras.callbacks.Callback):
    """Stops training with a DivergedError at the first loss that is no number; the best model so far stays."""

    def __init__(self, run: RunDirectory):
        super().__init__()
        self._run = run
        self._epoch = 0

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if not np.isfinite(logs["loss"]):
            raise DivergedError(
                f"training: the loss is {logs['loss']} in epoch {self._epoch + 1}, step {batch + 1}, expected a finite "
                f"number; {self._run.path} keeps the epochs before; lower training.learning_rate or set "
                "training.precision=float32"
            )


class Progress(keras.callbacks.Callback):
    """Prints a line a group of steps: the first step, then every few seconds.

    Args:
        training: has the batch size, and the epochs unless minutes end the training.
        steps: of an epoch.
        say: prints a line.
        protocol: of the data, where it has one; stands beside the validation figures.
    """

    def __init__(self, training: TrainingConfig, steps: int, say: Callable[[str], None], protocol: str | None = None):
        super().__init__()
        self._steps, self._batch_size, self._say = steps, training.batch_size, say
        self._of = f"/{training.epochs}" if training.minutes is None else ""
        self._validation = f"validation, protocol {protocol}" if protocol else "validation"
        self._epoch = self._since_step = 0
        self._since = self._started = time.monotonic()

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch, self._since_step, self._since = epoch, 0, time.monotonic()

    def on_train_batch_end(self, batch, logs=None):
        step, now = batch + 1, time.monotonic()
        is_first = step == 1 and now - self._since > 5.0
        if is_first or step == self._steps or now - self._since >= PROGRESS_SECONDS:
            rate = (step - self._since_step) * self._batch_size / (now - self._since)
            self._say(
                f"epoch {self._epoch + 1}{self._of}  step {step}/{self._steps}  loss {logs['loss']:.4f}  "
                f"roc-auc {logs['roc_auc']:.4f}  {rate:.1f} clips/s"
            )
            self._since_step, self._since = step, now

    def on_epoch_end(self, epoch, logs=None):
        self._say(
            f"epoch {epoch + 1}{self._of}  {self._validation}: loss {logs['val_loss']:.4f}  "
            f"roc-auc {logs['val_roc_auc']:.4f}  pr-auc {logs['val_pr_auc']:.4f}  "
            f"({time.monotonic() - self._started:.0f} s since start)"
        )
