"""Scores of the test clips under each condition, and the tables and the plot in `report/` of the run."""

import hashlib
import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import tensorflow as tf

from genre_tagger import __version__
from genre_tagger.config import Config
from genre_tagger.dataset.dataset import Dataset, LabelledClips
from genre_tagger.dataset.pipeline import ClipReader, evaluation_windows, to_float
from genre_tagger.evaluation.evaluate_run import predictions_of
from genre_tagger.evaluation.predictions import Predictions, read_predictions, write_predictions
from genre_tagger.evaluation.robustness import perturbations
from genre_tagger.evaluation.robustness.perturbations import CONDITIONS, LENGTHS, TELEPHONE, TELEPHONE_RATE
from genre_tagger.evaluation.robustness.plot import plot_robustness
from genre_tagger.evaluation.robustness.table import robustness_table, tag_table
from genre_tagger.evaluation.scoring import score_clips
from genre_tagger.files import locked, replacing, write_text
from genre_tagger.models.tagger import load_tagger
from genre_tagger.progress import Update, progress
from genre_tagger.runs.directory import RunDirectory

_logger = logging.getLogger(__name__)

ORIGIN_NAME = "origin.txt"
FILE_STEM = "robustness"


@dataclass(frozen=True)
class PerturbedReader:
    """A `ClipReader` that perturbs the clips of another reader, several clips in parallel.

    Attributes:
        reader: reader of the clips.
        perturb: function from waveform float32 [samples] and index of the clip to waveform float32 [samples].
    """

    reader: ClipReader
    perturb: Callable[[np.ndarray, np.ndarray], np.ndarray]

    @property
    def num_clips(self) -> int:
        """Number of clips."""
        return self.reader.num_clips

    def entries(self, seed: tf.Tensor | None = None) -> tf.data.Dataset:
        """Return the entries of the reader."""
        return self.reader.entries(seed)

    def load(self, entries: tf.data.Dataset) -> tf.data.Dataset:
        """Return the perturbed clips of the entries."""
        return self.reader.load(entries).map(self._perturbed, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)

    def _perturbed(self, waveform: tf.Tensor, labels: tf.Tensor, index: tf.Tensor) -> Any:
        waveform, index = to_float(waveform, index)
        perturbed = tf.numpy_function(self.perturb, [waveform, index], tf.float32)
        return tf.ensure_shape(perturbed, [None]), labels, index


def measure_robustness(
    run: RunDirectory,
    config: Config,
    dataset: Dataset,
    clean: Predictions,
) -> pd.DataFrame:
    """Score the test clips under each condition and write the results into the run directory.

    The results are `robustness/CONDITION.parquet` for each condition, and `robustness.csv`, `robustness_tags.csv` and
    `robustness.png` in `report/`. If a call is interrupted, the next one scores only the remaining conditions.

    Args:
        run: evaluated run.
        config: configuration of the run.
        dataset: data of the run.
        clean: predictions of the run for the clean test clips.

    Returns:
        The return value of `robustness_table`.

    Raises:
        UserError: another process is measuring this run, or the run directory cannot be written.
    """
    seconds = dataset.splits["test"].seconds
    left_out = left_out_conditions(seconds, config.frontend.sample_rate)
    for name, reason in left_out.items():
        _logger.info("%s: left out because %s", name, reason)
    for name in LENGTHS:
        if name not in left_out and (short := int((seconds <= LENGTHS[name]).sum())):
            _logger.info(
                "%s: %d of %d test clips are not longer than this length and remain unchanged",
                name,
                short,
                len(seconds),
            )
    run.robustness.mkdir(exist_ok=True)
    with locked(run.robustness):
        _keep_same_origin(run, config, dataset)
        names = [name for name in CONDITIONS if name not in left_out]
        with progress("scoring perturbed clips") as update:
            scored = _score_conditions(names, run, config, dataset, update)
        return _write_tables(run, clean, scored, config.seed)


def left_out_conditions(seconds: np.ndarray, sample_rate: int) -> dict[str, str]:
    """Find the conditions that would leave at least half of the clips unchanged.

    Args:
        seconds: float [clips], lengths of the clips in seconds.
        sample_rate: sample rate of the model, in Hz.

    Returns:
        The reason why each of them would do so, by the name of the condition.
    """
    median = float(np.median(seconds))
    reasons = {
        name: f"half of the test clips are not longer than {median:g} s" for name in LENGTHS if median <= LENGTHS[name]
    }
    if sample_rate <= TELEPHONE_RATE:
        reasons[TELEPHONE] = f"the sample rate of the model is {sample_rate} Hz"
    return reasons


def score_condition(
    model: keras.Model, clips: LabelledClips, config: Config, name: str, on_clips: Callable[[int], None]
) -> np.ndarray:
    """Score clips under a condition, with the windows and the pooling of the run.

    Args:
        model: model from waveform [batch, samples] to probabilities [batch, tags].
        clips: the clean clips.
        config: configuration of the run.
        name: name of the condition.
        on_clips: called after each batch with the number of clips of which at least one window has been scored.

    Returns:
        float32 [clips, tags], probabilities.
    """
    perturb = partial(_perturb, name=name, sample_rate=config.frontend.sample_rate, seed=config.seed)
    windows = evaluation_windows(PerturbedReader(clips.reader, perturb), config)
    return score_clips(model, _counted(windows, on_clips), clips.numbers, config)


def _perturb(waveform: np.ndarray, index: np.ndarray, name: str, sample_rate: int, seed: int) -> np.ndarray:
    return CONDITIONS[name](waveform, sample_rate, (seed, int(index)))


def _counted(windows: Iterable[Any], on_clips: Callable[[int], None]) -> Iterator[Any]:
    begun = set()
    for waveform, index in windows:
        yield waveform, index
        begun.update(np.asarray(index).tolist())
        on_clips(len(begun))


def _keep_same_origin(run: RunDirectory, config: Config, dataset: Dataset) -> None:
    """Remove the results of another model, dataset or set of perturbations, and record a digest of the present ones."""
    identity = config.model_dump_json(exclude={"inference"})  # how many windows are scored at once changes no score
    digest = hashlib.sha256(f"{__version__}\n{dataset.hash}\n{identity}".encode())
    for file in (run.model, Path(perturbations.__file__)):
        digest.update(file.read_bytes())
    origin = run.robustness / ORIGIN_NAME
    if origin.exists() and origin.read_text(encoding="utf-8") == digest.hexdigest():
        return
    for stale in (*run.robustness.glob("*.parquet"), *run.report.glob(f"{FILE_STEM}*")):
        stale.unlink()
    write_text(origin, digest.hexdigest())


def _score_conditions(
    names: list[str], run: RunDirectory, config: Config, dataset: Dataset, update: Update
) -> dict[str, Predictions]:
    model, clips = load_tagger(run.model), len(dataset.splits["test"].ids)
    scored = {}
    for number, name in enumerate(names):
        path = run.robustness / f"{name.replace(' ', '-')}.parquet"

        def on_clips(done: int, before: int = number * clips) -> None:
            update(before + done, len(names) * clips)

        if not path.exists():
            scores = score_condition(model, dataset.splits["test"], config, name, on_clips)
            write_predictions(path, predictions_of(dataset, {"test": scores}))
        on_clips(clips)
        scored[name] = read_predictions(path)
    return scored


def _write_tables(run: RunDirectory, clean: Predictions, scored: dict[str, Predictions], seed: int) -> pd.DataFrame:
    tags = tag_table(clean, scored)
    table = robustness_table(clean, scored, tags, seed=seed)
    for name, written in ((f"{FILE_STEM}_tags.csv", tags), (f"{FILE_STEM}.csv", table)):
        with replacing(run.report / name) as unfinished:
            written.to_csv(unfinished, index=False)
    plot_robustness(run.report / f"{FILE_STEM}.png", table, clean.protocol)
    return table
