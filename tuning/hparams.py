"""Trials for the HParams page of TensorBoard: `tensorboard --logdir TUNE_DIR/trials`."""

from pathlib import Path

import tensorflow as tf
from tensorboard.plugins.hparams import api

from genre_tagger.files import storage_errors
from genre_tagger.runs.directory import RunDirectory
from genre_tagger.tuning.space import Space
from genre_tagger.tuning.trial import Outcome
from genre_tagger.tuning.trials_table import plain


def write_hparams(trials: Path, outcome: Outcome, space: Space, protocol: str | None = None) -> None:
    """Write the searched values and the results of a trial next to the curves of its run, once.

    Args:
        trials: folder of the trials.
        outcome: outcome of the trial.
        space: the search space.
        protocol: protocol of the data, if it has one.
    """
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
