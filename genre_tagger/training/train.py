"""Train a run: from a source of music to a trained and evaluated run directory."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genre_tagger.config import Config
from genre_tagger.dataset.request import DataRequest
from genre_tagger.dataset.stream import decoding_errors
from genre_tagger.errors import UserError
from genre_tagger.evaluation.evaluate_run import evaluate_run
from genre_tagger.evaluation.predictions import Predictions
from genre_tagger.files import replacing, storage_errors
from genre_tagger.models.tagger import build_tagger
from genre_tagger.runs.creation import check_run, create_run, discard_run
from genre_tagger.runs.directory import RunDirectory
from genre_tagger.runs.run_data import OpenedData, check_window, open_data
from genre_tagger.training.callbacks import BudgetError
from genre_tagger.training.fit import device_names, fit
from genre_tagger.training.start import Start
from genre_tagger.training.transfer import check_start, record_of

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainRequest:
    """One training.

    Attributes:
        data: the data to train on.
        config: configuration of the run.
        run: the run directory. It is created if it is missing, and resumed if it holds the same run.
        start: the run to start from; None for random weights.
    """

    data: DataRequest
    config: Config
    run: Path
    start: Start | None = None


@dataclass(frozen=True)
class TrainingResult:
    """The result of a training.

    Attributes:
        run: the run directory.
        history: one dict per epoch.
        metrics: content of `metrics.json`.
        predictions: labels and scores of the validation and test clips.
    """

    run: RunDirectory
    history: list[dict[str, Any]]
    metrics: dict[str, Any]
    predictions: Predictions


def train_run(request: TrainRequest) -> TrainingResult:
    """Prepare the data, train and evaluate. If an earlier call was interrupted, resume it.

    Args:
        request: data, configuration, run directory and start of the training.

    Returns:
        The run directory, its history, metrics and predictions.

    Raises:
        UserError: any error that the user can correct. Nothing that was finished is lost.
    """
    check_run(request.run, request.config)
    check_model(request.config, RunDirectory(request.run), request.start)
    opened = open_data(request.data, request.config)
    check_window(opened.dataset, request.config)
    return train_and_evaluate(request.run, request.config, opened, request.start)


def check_model(config: Config, run: RunDirectory, start: Start | None = None) -> None:
    """Check, before data is prepared, that the model can be built and can start from another run.

    Args:
        config: configuration of the run.
        run: the run directory.
        start: the run to start from; None for random weights.

    Raises:
        UserError: the model cannot be built, or cannot start from that run.
    """
    model = build_tagger(config, num_tags=1)
    if not run.checkpoint.exists():  # with a checkpoint, the start is not used again
        check_start(model, config, start)


def train_and_evaluate(path: Path, config: Config, opened: OpenedData, start: Start | None = None) -> TrainingResult:
    """Train into a run directory, or resume the training there, and evaluate the run.

    Args:
        path: the run directory.
        config: configuration of the run.
        opened: data of the run.
        start: the run to start from; None for random weights.

    Raises:
        UserError: see `train_only`.
    """
    run, history = train_only(path, config, opened, start)
    with storage_errors(run.path), decoding_errors(opened.record.stream):
        metrics, predictions = evaluate_run(run, config, opened.dataset)
    return TrainingResult(run, history, metrics, predictions)


def train_only(
    path: Path, config: Config, opened: OpenedData, start: Start | None = None
) -> tuple[RunDirectory, list[dict[str, Any]]]:
    """Train into a run directory, or resume the training there.

    Args:
        path: the run directory.
        config: configuration of the run.
        opened: data of the run.
        start: the run to start from; None for random weights.

    Returns:
        The run directory, and the history as one dict per epoch.

    Raises:
        UserError: any error that the user can correct, including DivergedError and BudgetError.
    """
    if not opened.dataset.splits["valid"].two_sided.any():
        raise UserError(
            "split 'valid': found no tag with both positives and negatives, expected at least one, to choose the "
            "best epoch"
        )
    devices = device_names()
    record = opened.record.model_copy(update={"start": record_of(start, RunDirectory(path))})
    run = create_run(path, config, record, opened.dataset.tags, devices)
    _logger.info("training on %s into %s", ", ".join(devices), run.path)
    with storage_errors(run.path), decoding_errors(opened.record.stream):
        if opened.rejected is not None:
            with replacing(run.rejected) as unfinished:
                opened.rejected.to_csv(unfinished, index=False)
        try:
            return run, fit(run, config, opened.dataset, start)
        except BudgetError:
            discard_run(run)  # otherwise a rerun with more minutes would be refused: its configuration differs
            raise
