"""The fit loop: builds the model from a configuration and trains it into a run directory, from wherever that stands."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from genre_tagger.config import Config, TrainingConfig
from genre_tagger.data.dataset import Dataset
from genre_tagger.data.pipeline import evaluation_windows, steps_per_epoch, training_windows
from genre_tagger.evaluation.scoring import score_clips
from genre_tagger.models.tagger import build_tagger
from genre_tagger.run import RunDirectory
from genre_tagger.training.callbacks import (
    CosineOverTime,
    ExactValidation,
    Progress,
    RunKeeper,
    StopOnNaN,
    has_ended,
)
from genre_tagger.training.checkpoint import load_state
from genre_tagger.training.losses import WeightedBinaryCrossentropy
from genre_tagger.training.metrics import running_aucs
from genre_tagger.training.optimizer import FusedAdam
from genre_tagger.training.transfer import freeze, start_from


def fit(run: RunDirectory, config: Config, dataset: Dataset, say: Callable[[str], None]) -> list[dict[str, Any]]:
    """Trains until the epochs, the minutes or the patience are used up and returns the history, one row an epoch.

    Args:
        run: where the state lies that training goes on from, if there is one, and where it goes.
        config: everything else that training depends on.
        dataset: trains on `train`, chooses the best epoch on `valid`.
        say: prints a progress line.

    Raises:
        UserError: the configuration does not fit together, the loss is no finite number, or the minutes are used up
            within the first epoch.
    """
    train, valid = dataset.splits["train"], dataset.splits["valid"]
    keras.config.set_dtype_policy(config.training.precision)
    steps = steps_per_epoch(train.reader, config)
    with _devices():
        model = compiled_tagger(config, train.two_sided.tolist(), steps)
        history = _begin(run, config, model, dataset.tags, say)
    if has_ended(history, config.training):
        return history
    if history:
        say(f"going on after epoch {len(history)}")
    keeper = RunKeeper(run, config.training, history, dataset.protocol)

    def score(model):
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
            Progress(config.training, steps, say, dataset.protocol),
        ],
    )
    return keeper.history


def _begin(
    run: RunDirectory, config: Config, model: keras.Model, tags: Sequence[str], say: Callable[[str], None]
) -> list[dict[str, Any]]:
    """Restores what an earlier call left, or else starts from another run if that is wanted; returns the history."""
    if run.checkpoint.exists():
        return load_state(run.checkpoint, model)
    if config.training.init is not None:
        say(start_from(Path(config.training.init), model, config, tags))
    return []


def compiled_tagger(config: Config, two_sided: list[bool], steps: int) -> keras.Model:
    """The tagger of a configuration, compiled for training with `steps` steps an epoch."""
    model = build_tagger(config, len(two_sided))
    freeze(model, config.training.freeze)
    model.compile(
        optimizer=FusedAdam(_learning_rate(config.training, steps)),
        loss=WeightedBinaryCrossentropy(config.training.alpha),
        metrics=running_aucs(two_sided),
        jit_compile=config.training.jit,
    )
    model.optimizer.build(model.trainable_variables)  # made inside the first step, they would have it traced twice
    return model


def device_names() -> list[str]:
    """What the model trains on."""
    gpus = tf.config.list_physical_devices("GPU")
    return [gpu.name for gpu in gpus] or ["CPU"]


def _devices() -> AbstractContextManager:
    """All GPUs when there are several; TensorFlow by itself takes the one when there is one."""
    if len(tf.config.list_physical_devices("GPU")) > 1:
        return tf.distribute.MirroredStrategy().scope()
    return nullcontext()


def _learning_rate(training: TrainingConfig, steps: int):
    if training.schedule == "constant" or training.minutes is not None:
        return training.learning_rate
    return keras.optimizers.schedules.CosineDecay(training.learning_rate, decay_steps=training.epochs * steps)


def _schedule(training: TrainingConfig, keeper: RunKeeper) -> list[keras.callbacks.Callback]:
    """What changes the learning rate by the time, where the number of steps is not known beforehand."""
    by_time = training.schedule == "cosine" and training.minutes is not None
    return [CosineOverTime(training, keeper.seconds)] if by_time else []
