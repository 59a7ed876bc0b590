"""The fit loop: build the model of a configuration and train it into a run directory, or resume the training there."""

import logging
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from genre_tagger.config import Config, TrainingConfig
from genre_tagger.dataset.dataset import Dataset
from genre_tagger.dataset.pipeline import evaluation_windows, steps_per_epoch, training_windows
from genre_tagger.evaluation.scoring import score_clips
from genre_tagger.models.tagger import build_tagger
from genre_tagger.runs.directory import RunDirectory
from genre_tagger.training.callbacks import (
    CosineOverTime,
    ExactValidation,
    ProgressLog,
    RunKeeper,
    StopOnNaN,
    has_ended,
)
from genre_tagger.training.checkpoint import load_state
from genre_tagger.training.losses import WeightedBinaryCrossentropy
from genre_tagger.training.metrics import running_aucs
from genre_tagger.training.optimizer import FusedAdam
from genre_tagger.training.start import Start
from genre_tagger.training.transfer import freeze, start_from

_logger = logging.getLogger(__name__)


def fit(run: RunDirectory, config: Config, dataset: Dataset, start: Start | None = None) -> list[dict[str, Any]]:
    """Train until the maximum number of epochs, the time limit or the patience is reached.

    Args:
        run: the run directory. If it has a checkpoint, training resumes from there.
        config: configuration of the run.
        dataset: data of the run. The split `train` is used for training, and `valid` to choose the best epoch.
        start: the run to start from; None for random weights. It is not used if there is a checkpoint.

    Returns:
        The history, one dict per epoch.

    Raises:
        DivergedError: a loss or a score is not finite.
        BudgetError: the first epoch took longer than `training.minutes`.
        UserError: the model cannot be built, it cannot start from that run, or the checkpoint is damaged.
    """
    train, valid = dataset.splits["train"], dataset.splits["valid"]
    keras.config.set_dtype_policy(config.training.precision)
    steps = steps_per_epoch(train.reader, config)
    with _devices():
        model = compiled_tagger(config, train.two_sided.tolist(), steps, start.freeze if start else ())
        history = _begin(run, config, model, dataset.tags, start)
    if has_ended(history, config.training):
        return history
    if history:
        _logger.info("resuming after epoch %d", len(history))
    keeper = RunKeeper(run, config.training, history, dataset.protocol)

    def score(model: keras.Model) -> np.ndarray:
        return score_clips(model, evaluation_windows(valid.reader, config), valid.numbers, config)

    model.fit(
        training_windows(train.reader, config, len(dataset.tags), first_epoch=len(history)),
        initial_epoch=len(history),
        epochs=config.training.epochs,
        steps_per_epoch=steps,
        verbose=0,
        shuffle=False,
        callbacks=[
            *_schedule(config.training, keeper),
            StopOnNaN(run),
            ExactValidation(valid.labels, score),
            keras.callbacks.TensorBoard(str(run.curves(dataset.protocol)), write_graph=False),
            keeper,
            ProgressLog(config.training, steps, dataset.protocol),
        ],
    )
    return keeper.history


def _begin(
    run: RunDirectory, config: Config, model: keras.Model, tags: Sequence[str], start: Start | None
) -> list[dict[str, Any]]:
    """Restore the checkpoint if there is one; otherwise copy the weights of `start`. Return the history."""
    if run.checkpoint.exists():
        return load_state(run.checkpoint, model)
    if start is not None:
        _logger.info("%s", start_from(start, model, config, tags))
    return []


def compiled_tagger(config: Config, two_sided: list[bool], steps: int, frozen: Sequence[str] = ()) -> keras.Model:
    """Build the tagger of a configuration and compile it for training.

    Args:
        config: configuration of the run.
        two_sided: for each tag, whether it has positives and negatives among the training clips.
        steps: steps per epoch, for the learning-rate schedule.
        frozen: names or prefixes of layers that are not trained.

    Returns:
        The compiled model, from waveform [batch, samples] to probabilities [batch, tags].

    Raises:
        UserError: the configuration has no branch, its sizes do not fit together, or a layer to freeze does not exist.
    """
    model = build_tagger(config, len(two_sided))
    freeze(model, frozen)
    model.compile(
        optimizer=FusedAdam(_learning_rate(config.training, steps)),
        loss=WeightedBinaryCrossentropy(config.training.alpha),
        metrics=running_aucs(two_sided),
        jit_compile=config.training.jit,
    )
    model.optimizer.build(model.trainable_variables)  # otherwise the first step creates them and is traced twice
    return model


def device_names() -> list[str]:
    """Return the names of the devices that a model is trained on."""
    gpus = tf.config.list_physical_devices("GPU")
    return [gpu.name for gpu in gpus] or ["CPU"]


def _devices() -> AbstractContextManager[Any]:
    """Return the scope of a mirrored strategy if there are several GPUs. A single GPU needs no strategy."""
    if len(tf.config.list_physical_devices("GPU")) > 1:
        scope: AbstractContextManager[Any] = tf.distribute.MirroredStrategy().scope()
        return scope
    return nullcontext()


def _learning_rate(training: TrainingConfig, steps: int) -> Any:
    """Return the learning rate, or its schedule over the steps of all epochs."""
    if training.schedule == "constant" or training.minutes is not None:
        return training.learning_rate
    return keras.optimizers.schedules.CosineDecay(training.learning_rate, decay_steps=training.epochs * steps)


def _schedule(training: TrainingConfig, keeper: RunKeeper) -> list[keras.callbacks.Callback]:
    """Return the callback of a cosine schedule over `training.minutes`; an empty list for other schedules.

    A schedule over steps is not possible with a time limit, because the number of steps is not known in advance.
    """
    if training.schedule != "cosine" or training.minutes is None:
        return []
    return [CosineOverTime(training.learning_rate, training.minutes, keeper.seconds)]
