"""Evaluation of a trained run on its own data, compared with the logistic-regression baseline."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import keras
import numpy as np
import pandas as pd

from genre_tagger.config import Config
from genre_tagger.dataset.dataset import Dataset, LabelledClips
from genre_tagger.dataset.pipeline import evaluation_windows, whole_clips
from genre_tagger.evaluation.baseline import fit_regressions, log_mel_statistics
from genre_tagger.evaluation.evaluate_predictions import evaluate_predictions, write_plots_and_tables
from genre_tagger.evaluation.predictions import Predictions, read_predictions, write_predictions
from genre_tagger.evaluation.scoring import score_clips
from genre_tagger.files import storage_errors, write_text
from genre_tagger.models.tagger import frontend_layer, load_tagger
from genre_tagger.runs.directory import RunDirectory, read_table

EVALUATED_SPLITS = ("valid", "test")


def evaluate_run(
    run: RunDirectory, config: Config, dataset: Dataset, families: Mapping[str, str] | None = None
) -> tuple[dict[str, Any], Predictions]:
    """Score the validation and test clips with the best model of a run and write the results into the run directory.

    The results are metrics, predictions, plots and tables.

    Args:
        run: run with a trained model.
        config: configuration of the run.
        dataset: data of the run.
        families: family of each tag; by default those of `families.tsv`.

    Returns:
        The metrics (the content of `metrics.json`) and the predictions.

    Raises:
        UserError: the run directory cannot be written.
    """
    model = load_tagger(run.model)
    scores = {split: _score(model, dataset.splits[split], config) for split in EVALUATED_SPLITS}
    predictions = predictions_of(dataset, scores)
    baseline = _baseline(run, config, dataset)
    metrics = evaluate_predictions(predictions, families=families, baseline=baseline, seed=config.seed)
    with storage_errors(run.path):
        write_predictions(run.predictions, predictions)
        write_plots_and_tables(run.report, metrics, predictions, _history(run), baseline)
        write_text(run.metrics, json.dumps(metrics, indent=2, allow_nan=False))
    return metrics, predictions


def _history(run: RunDirectory) -> pd.DataFrame | None:
    return read_table(run.history) if run.history.exists() else None


def _score(model: keras.Model, clips: LabelledClips, config: Config) -> np.ndarray:
    return score_clips(model, evaluation_windows(clips.reader, config), clips.numbers, config)


def predictions_of(dataset: Dataset, scores: Mapping[str, np.ndarray]) -> Predictions:
    """Return the predictions for one or several splits of a dataset.

    Args:
        dataset: clips with their labels.
        scores: float32 [clips, tags] by split.
    """
    parts = [dataset.splits[split] for split in scores]
    return Predictions(
        clip_ids=[name for part in parts for name in part.ids],
        groups=np.concatenate([part.groups for part in parts]),
        splits=np.concatenate([[split] * len(dataset.splits[split].ids) for split in scores]),
        tags=dataset.tags,
        labels=np.concatenate([part.labels for part in parts]),
        scores=np.concatenate(list(scores.values())),
        protocol=dataset.protocol,
    )


def _baseline(run: RunDirectory, config: Config, dataset: Dataset) -> Predictions:
    """Return the scores of the baseline for the test clips.

    The baseline is fitted only once per run, because the data of a run never changes.
    """
    if run.baseline.exists():
        return read_predictions(run.baseline)
    baseline = fitted_baseline(config, dataset)
    run.report.mkdir(exist_ok=True)
    write_predictions(run.baseline, baseline)
    return baseline


def fitted_baseline(config: Config, dataset: Dataset) -> Predictions:
    """Fit the baseline on the training clips and return its scores for the test clips."""
    train, test = dataset.splits["train"], dataset.splits["test"]
    scores = fit_regressions(_statistics(train, config), train.labels, _statistics(test, config))
    return predictions_of(dataset, {"test": scores})


def _statistics(clips: LabelledClips, config: Config) -> np.ndarray:
    """Return the log-mel statistics [clips, 3 * mels] in the order of `clips.numbers`."""
    rows = dict(_numbered_statistics(clips, config))
    return np.stack([rows[number] for number in clips.numbers.tolist()])


def _numbered_statistics(clips: LabelledClips, config: Config) -> Iterator[tuple[int, np.ndarray]]:
    for log_mel, number in whole_clips(clips.reader, frontend_layer(config)):
        yield int(number), log_mel_statistics(np.asarray(log_mel))
