"""The trials in TensorBoard's HParams page: `tensorboard --logdir TUNE_DIR/trials`."""

from pathlib import Path

import tensorflow as tf
from tensorboard.plugins.hparams import api

from genre_tagger.files import storage_errors
from genre_tagger.run import RunDirectory
from genre_tagger.tuning.space import Space
from genre_tagger.tuning.table import plain
from genre_tagger.tuning.trial import Outcome


def write_hparams(trials: Path, outcome: Outcome, space: Space, protocol: str | None = None) -> None:
    """Writes what a trial searched and what it reached beside the curves of its run, once."""
    directory = RunDirectory(trials / outcome.trial).curves(protocol)
    if list(directory.glob("events.*")):
        return
    with storage_errors(directory), tf.summary.create_file_writer(str(directory)).as_default():
        api.hparams({name: plain(outcome.values[name]) for name in space.entries}, trial_id=outcome.trial)
        for name in ("parameters", "flops", "inference_ms"):
            if (figure := getattr(outcome, name)) is not None:
                tf.summary.scalar(name, figure, step=0)
        for name, score in outcome.scores.items():
            tf.summary.scalar(name, score, step=0)
