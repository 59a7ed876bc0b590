"""Scores of the test clips under each condition, and the tables and the plot of it in the run's report."""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import tensorflow as tf

from genre_tagger import __version__
from genre_tagger.config import Config
from genre_tagger.data.dataset import Dataset, LabelledClips
from genre_tagger.data.pipeline import ClipReader, evaluation_windows, to_float
from genre_tagger.evaluation.evaluate import predictions_of
from genre_tagger.evaluation.predictions import Predictions, read_predictions, write_predictions
from genre_tagger.evaluation.robustness import perturbations
from genre_tagger.evaluation.robustness.perturbations import CONDITIONS, LENGTHS, TELEPHONE, TELEPHONE_RATE
from genre_tagger.evaluation.robustness.plot import plot_robustness
from genre_tagger.evaluation.robustness.table import robustness_table, tag_table
from genre_tagger.evaluation.scoring import score_clips
from genre_tagger.files import locked, replacing
from genre_tagger.models.tagger import load_tagger
from genre_tagger.run import RunDirectory, write_text

ORIGIN_NAME = "origin.txt"
REPORT_STEM = "robustness"

OnProgress = Callable[[int, int], None]


@dataclass(frozen=True)
class PerturbedReader:
    """A `ClipReader` of another's clips, each perturbed on its way, several at a time.

    Attributes:
        reader: the clips.
        perturb: from waveform float32 [samples] and the clip's index to waveform float32 [samples].
    """

    reader: ClipReader
    perturb: Callable[[np.ndarray, np.ndarray], np.ndarray]

    @property
    def num_clips(self) -> int:
        """As many as the reader has."""
        return self.reader.num_clips

    def entries(self, seed: tf.Tensor | None = None) -> tf.data.Dataset:
        """The reader's."""
        return self.reader.entries(seed)

    def load(self, entries: tf.data.Dataset) -> tf.data.Dataset:
        """The reader's clips, perturbed."""
        return self.reader.load(entries).map(self._perturbed, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)

    def _perturbed(self, waveform, labels, index):
        waveform, index = to_float(waveform, index)
        perturbed = tf.numpy_function(self.perturb, [waveform, index], tf.float32)
        return tf.ensure_shape(perturbed, [None]), labels, index


def measure_robustness(
    run: RunDirectory,
    config: Config,
    dataset: Dataset,
    clean: Predictions,
    on_progress: OnProgress,
    say: Callable[[str], None],
) -> pd.DataFrame:
    """Scores the test clips under each condition; a killed call's finished conditions are not scored again.

    Writes `robustness/CONDITION.parquet`, `report/robustness.csv`, `robustness_tags.csv` and `robustness.png`.

    Args:
        run: an evaluated run.
        config: its configuration.
        dataset: its data.
        clean: what it answered for the test clips as they are.
        on_progress: called with the number of clips scored and of all.
        say: prints a line.

    Returns:
        `robustness_table`.

    Raises:
        UserError: another process is measuring this run, or the run directory cannot be written.
    """
    seconds = dataset.splits["test"].seconds
    left_out = left_out_conditions(seconds, config.frontend.sample_rate)
    for name, reason in left_out.items():
        say(f"{name}: left out, {reason}")
    for name in LENGTHS:
        if name not in left_out and (short := int((seconds <= LENGTHS[name]).sum())):
            say(f"{name}: {short} of {len(seconds)} test clips are not longer, and stay as they are")
    run.robustness.mkdir(exist_ok=True)
    with locked(run.robustness):
        _keep_same_origin(run, config, dataset)
        names = [name for name in CONDITIONS if name not in left_out]
        scored = _score_conditions(names, run, config, dataset, on_progress)
        return _write_tables(run, clean, scored, config.seed)


def left_out_conditions(seconds: np.ndarray, sample_rate: int) -> dict[str, str]:
    """Conditions under which clips of these lengths at this rate would stay as they are, with the reasons."""
    median = float(np.median(seconds))
    reasons = {
        name: f"half of the test clips are not longer than {median:g} s" for name in LENGTHS if median <= LENGTHS[name]
    }
    if sample_rate <= TELEPHONE_RATE:
        reasons[TELEPHONE] = f"the model hears {sample_rate} Hz anyway"
    return reasons


def score_condition(
    model: keras.Model, clips: LabelledClips, config: Config, name: str, on_clips: Callable[[int], None]
) -> np.ndarray:
    """Probabilities [clips, tags] of clips under a condition, through the run's own windows and pooling.

    Args:
        model: waveform [batch, samples] -> probabilities [batch, tags].
        clips: as they are.
        config: of the run.
        name: of the condition.
        on_clips: called with the number of clips begun, batch by batch.
    """
    perturb = partial(_perturb, name=name, sample_rate=config.frontend.sample_rate, seed=config.seed)
    windows = evaluation_windows(PerturbedReader(clips.reader, perturb), config)
    return score_clips(model, _counted(windows, on_clips), clips.numbers, config)


def _perturb(waveform: np.ndarray, index: np.ndarray, name: str, sample_rate: int, seed: int) -> np.ndarray:
    return CONDITIONS[name](waveform, sample_rate, (seed, int(index)))


def _counted(windows: Iterable, on_clips: Callable[[int], None]) -> Iterator:
    begun = set()
    for waveform, index in windows:
        yield waveform, index
        begun.update(np.asarray(index).tolist())
        on_clips(len(begun))


def _keep_same_origin(run: RunDirectory, config: Config, dataset: Dataset) -> None:
    """Removes what another model, data or perturbations have left, and says what the scores to come belong to."""
    digest = hashlib.sha256(f"{__version__}\n{dataset.hash}\n{config.to_yaml()}".encode())
    for file in (run.model, Path(perturbations.__file__)):
        digest.update(file.read_bytes())
    origin = run.robustness / ORIGIN_NAME
    if origin.exists() and origin.read_text(encoding="utf-8") == digest.hexdigest():
        return
    for stale in (*run.robustness.glob("*.parquet"), *run.report.glob(f"{REPORT_STEM}*")):
        stale.unlink()
    write_text(origin, digest.hexdigest())


def _score_conditions(
    names: list[str], run: RunDirectory, config: Config, dataset: Dataset, on_progress: OnProgress
) -> dict[str, Predictions]:
    model, clips = load_tagger(run.model), len(dataset.splits["test"].ids)
    scored = {}
    for number, name in enumerate(names):
        path = run.robustness / f"{name.replace(' ', '-')}.parquet"

        def on_clips(done: int, before: int = number * clips) -> None:
            on_progress(before + done, len(names) * clips)

        if not path.exists():
            scores = score_condition(model, dataset.splits["test"], config, name, on_clips)
            write_predictions(path, predictions_of(dataset, {"test": scores}))
        on_clips(clips)
        scored[name] = read_predictions(path)
    return scored


def _write_tables(run: RunDirectory, clean: Predictions, scored: dict[str, Predictions], seed: int) -> pd.DataFrame:
    tags = tag_table(clean, scored)
    table = robustness_table(clean, scored, tags, seed=seed)
    for name, written in ((f"{REPORT_STEM}_tags.csv", tags), (f"{REPORT_STEM}.csv", table)):
        with replacing(run.report / name) as beside:
            written.to_csv(beside, index=False)
    plot_robustness(run.report / f"{REPORT_STEM}.png", table, clean.protocol)
    return table
