"""Evaluates a trained run on its own data, beside the logistic-regression floor."""

import json
from collections.abc import Iterator, Mapping

import keras
import numpy as np
import pandas as pd

from genre_tagger.config import Config
from genre_tagger.data.dataset import Dataset, LabelledClips
from genre_tagger.data.pipeline import evaluation_windows, whole_clips
from genre_tagger.evaluation.floor import fit_regressions, log_mel_statistics
from genre_tagger.evaluation.predictions import Predictions, read_predictions, write_predictions
from genre_tagger.evaluation.report import evaluate_predictions, write_report
from genre_tagger.evaluation.scoring import score_clips
from genre_tagger.files import storage_errors
from genre_tagger.models.tagger import frontend_layer, load_tagger
from genre_tagger.run import RunDirectory, read_table, write_text

EVALUATED_SPLITS = ("valid", "test")


def evaluate_run(
    run: RunDirectory, config: Config, dataset: Dataset, families: Mapping[str, str] | None = None
) -> tuple[dict, Predictions]:
    """Scores the validation and test clips with the run's best model; writes metrics, predictions and report.

    Args:
        run: a run with a trained model.
        config: its configuration.
        dataset: its data.
        families: the family of each tag, by default those of `families.tsv`.

    Returns:
        The content of `metrics.json`, and the predictions.

    Raises:
        UserError: the run directory cannot be written.
    """
    model = load_tagger(run.model)
    scores = {split: _score(model, dataset.splits[split], config) for split in EVALUATED_SPLITS}
    predictions = predictions_of(dataset, scores)
    floor = _floor(run, config, dataset)
    report = evaluate_predictions(predictions, families=families, floor=floor, seed=config.seed)
    with storage_errors(run.path):
        write_predictions(run.predictions, predictions)
        write_report(run.report, report, predictions, _history(run), floor)
        write_text(run.metrics, json.dumps(report, indent=2, allow_nan=False))
    return report, predictions


def _history(run: RunDirectory) -> pd.DataFrame | None:
    return read_table(run.history) if run.history.exists() else None


def _score(model: keras.Model, clips: LabelledClips, config: Config) -> np.ndarray:
    return score_clips(model, evaluation_windows(clips.reader, config), clips.numbers, config)


def predictions_of(dataset: Dataset, scores: Mapping[str, np.ndarray]) -> Predictions:
    """Labels and scores of the clips of one or several splits, whose scores [clips, tags] are given by split."""
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


def _floor(run: RunDirectory, config: Config, dataset: Dataset) -> Predictions:
    """The floor's scores of the test clips; fitted once a run, whose data never changes."""
    if run.floor.exists():
        return read_predictions(run.floor)
    floor = fitted_floor(config, dataset)
    run.report.mkdir(exist_ok=True)
    write_predictions(run.floor, floor)
    return floor


def fitted_floor(config: Config, dataset: Dataset) -> Predictions:
    """The floor's scores of the test clips, fitted on the training clips."""
    train, test = dataset.splits["train"], dataset.splits["test"]
    scores = fit_regressions(_statistics(train, config), train.labels, _statistics(test, config))
    return predictions_of(dataset, {"test": scores})


def _statistics(clips: LabelledClips, config: Config) -> np.ndarray:
    """Log-mel statistics [clips, 3 * mels] in the order of `clips.numbers`."""
    rows = dict(_numbered_statistics(clips, config))
    return np.stack([rows[number] for number in clips.numbers.tolist()])


def _numbered_statistics(clips: LabelledClips, config: Config) -> Iterator[tuple[int, np.ndarray]]:
    for log_mel, number in whole_clips(clips.reader, frontend_layer(config)):
        yield int(number), log_mel_statistics(np.asarray(log_mel))
