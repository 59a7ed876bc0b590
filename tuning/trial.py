"""One trial: train a configuration into an ordinary run directory and write the outcome there."""

import json
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import keras

from genre_tagger.config import Config
from genre_tagger.errors import UserError
from genre_tagger.evaluation.model_cost import count_flops, count_parameters, inference_graph, inference_ms
from genre_tagger.files import storage_errors, working_in, write_text
from genre_tagger.models.tagger import build_tagger
from genre_tagger.runs.creation import create_run
from genre_tagger.runs.directory import RunDirectory
from genre_tagger.runs.run_data import OpenedData, check_window
from genre_tagger.training.callbacks import BudgetError, DivergedError, best_epoch
from genre_tagger.training.failures import TrainingFailed, counting_kills, memory_faults
from genre_tagger.training.fit import device_names
from genre_tagger.training.start import Start
from genre_tagger.training.train import train_only
from genre_tagger.training.transfer import check_start, record_of
from genre_tagger.tuning.space import config_with

OUTCOME_NAME = "trial.json"
OBJECTIVES = {"val_auc": "val_roc_auc", "val_pr_auc": "val_pr_auc"}  # their columns in the history of a run
COMPLETED, FAILED = "completed", "failed"


@dataclass(frozen=True)
class ModelLimits:
    """Limits of the size of a model; None means no limit.

    Attributes:
        parameters: number of trainable parameters.
        flops: floating-point operations per window.
    """

    parameters: int | None = None
    flops: int | None = None


@dataclass(frozen=True)
class Outcome:
    """The outcome of a trial.

    Attributes:
        trial: name of the trial.
        values: searched values, by the names of the space.
        status: COMPLETED or FAILED.
        reason: why the trial failed.
        epochs: limit of epochs in its configuration.
        parameters: number of trainable parameters.
        flops: floating-point operations per window.
        inference_ms: milliseconds per window in a batch of 16.
        scores: for each objective, the exact score of the epoch whose weights are kept, averaged over the executions.
        seconds: duration since the trial was last started or resumed.
    """

    trial: str
    values: dict[str, Any]
    status: str
    reason: str | None = None
    epochs: int | None = None
    parameters: int | None = None
    flops: int | None = None
    inference_ms: float | None = None
    scores: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0


@dataclass(frozen=True)
class TrialRunner:
    """Trains the trials of a search with the functions that `train` uses, so that both give the same scores.

    Attributes:
        base: configuration of everything that is not searched.
        open_data: returns the data that a configuration is trained on.
        executions: number of runs per trial, with seeds s, s + 1, ..., whose scores are averaged.
        limits: limits of the size of a model.
        start: the run that every trial starts from; None for random weights.
    """

    base: Config
    open_data: Callable[[Config], OpenedData]
    executions: int
    limits: ModelLimits
    start: Start | None = None

    def run(self, path: Path, values: dict[str, Any]) -> Outcome:
        """Train a trial, or resume it if it was interrupted. The outcome of an ended trial is only read.

        A trial fails if memory runs out, its process is killed repeatedly, a loss or score is not finite, the first
        epoch takes longer than `training.minutes`, the model exceeds a limit, every clip is shorter than the window, or
        its values are not valid in combination. Any other error is raised.

        Args:
            path: run directory of the trial. The directories of further executions are next to it and have its
                name with a number appended.
            values: searched values, by the names of the space.

        Returns:
            The outcome, which is also written into `path`.

        Raises:
            UserError: an error that would affect any trial, such as a full disk; another process runs the trial; or
                the trial has ended with other values.
        """
        with working_in(path):
            return self._read(path, values) if (path / OUTCOME_NAME).exists() else self._run(path, values)

    def _read(self, path: Path, values: dict[str, Any]) -> Outcome:
        outcome = read_outcome(path)
        if outcome.values != values:
            raise UserError(
                f"{path / OUTCOME_NAME}: found a trial of {outcome.values}, expected {values}; search into another "
                "directory"
            )
        return outcome

    def _run(self, path: Path, values: dict[str, Any]) -> Outcome:
        start = time.monotonic()
        facts: dict[str, Any] = {"trial": path.name, "values": values, "status": COMPLETED}
        try:
            with counting_kills(path):
                self._train(path, facts)
        except TrainingFailed as failure:
            facts.update(status=FAILED, reason=str(failure))
        outcome = Outcome(**facts, seconds=time.monotonic() - start)
        write_outcome(path, outcome)
        return outcome

    def _train(self, path: Path, facts: dict[str, Any]) -> None:
        """Train the runs of a trial, and add the attributes of its outcome to `facts` as they become known."""
        with _refusals():
            config = config_with(self.base, facts["values"])
        facts["epochs"] = config.training.epochs
        opened = self.open_data(config)
        with _refusals():
            check_window(opened.dataset, config)
        record = opened.record.model_copy(update={"start": record_of(self.start, RunDirectory(path))})
        create_run(path, config, record, opened.dataset.tags, device_names())
        with memory_faults():
            self._measure(config, len(opened.dataset.tags), facts)
            histories = []
            for number in range(self.executions):
                seeded = config_with(config, {"seed": config.seed + number})
                place = path if number == 0 else path.with_name(f"{path.name}-{number + 1}")
                histories.append(self._history(place, seeded, opened))
        facts["scores"] = _scores(histories)

    def _measure(self, config: Config, num_tags: int, facts: dict[str, Any]) -> None:
        keras.backend.clear_session()  # frees the model of the previous trial
        keras.config.set_dtype_policy(config.training.precision)
        with _refusals():
            model = build_tagger(config, num_tags)
            check_start(model, config, self.start)
        graph = inference_graph(model)
        facts.update(parameters=count_parameters(model), flops=count_flops(graph))
        for name, limit in asdict(self.limits).items():
            if limit is not None and facts[name] > limit:
                raise TrainingFailed(f"the model has {facts[name]:,} {name}, more than the limit of {limit:,}")
        facts["inference_ms"] = inference_ms(graph)

    def _history(self, place: Path, config: Config, opened: OpenedData) -> list[dict[str, Any]]:
        try:
            return train_only(place, config, opened, self.start)[1]
        except (BudgetError, DivergedError) as error:
            raise TrainingFailed(str(error)) from error


def read_outcome(path: Path) -> Outcome:
    """Read the outcome of a trial.

    Args:
        path: run directory of the trial.

    Raises:
        UserError: the file is missing or damaged.
    """
    file = path / OUTCOME_NAME
    try:
        return Outcome(**json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise UserError(
            f"{file}: cannot be read ({error}); remove it and rerun the command to write it again"
        ) from error


def write_outcome(path: Path, outcome: Outcome) -> None:
    """Write the outcome of a trial into its run directory, which is created if it is missing."""
    with storage_errors(path):
        path.mkdir(parents=True, exist_ok=True)
        write_text(path / OUTCOME_NAME, json.dumps(asdict(outcome), indent=2))


def read_outcomes(trials: Path) -> list[Outcome]:
    """Read the outcomes of all ended trials, sorted by name.

    Args:
        trials: folder of the trials.

    Raises:
        UserError: a file is damaged.
    """
    return [read_outcome(file.parent) for file in sorted(trials.glob(f"*/{OUTCOME_NAME}"))]


def _scores(histories: list[list[dict[str, Any]]]) -> dict[str, float]:
    """Return the scores of the epochs whose weights are kept, averaged over the executions."""
    kept = [history[best_epoch(history) - 1] for history in histories]
    return {name: statistics.fmean(row[column] for row in kept) for name, column in OBJECTIVES.items()}


@contextmanager
def _refusals() -> Iterator[None]:
    """Turn a UserError about the values of a trial into a failure of that trial."""
    try:
        yield
    except UserError as error:
        raise TrainingFailed(str(error)) from error
