"""A search in its directory, from a request to a table, a winner and plots."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import pandas as pd
import tensorflow as tf

from genre_tagger.config import Config, load_config
from genre_tagger.dataset.request import DataRequest
from genre_tagger.errors import FieldError, UserError
from genre_tagger.files import replacing, storage_errors, working_in, write_text
from genre_tagger.models.tagger import build_tagger
from genre_tagger.runs.directory import RunDirectory
from genre_tagger.runs.run_data import OpenedData, open_data
from genre_tagger.training.start import Start
from genre_tagger.training.train import TrainingResult, TrainRequest, train_run
from genre_tagger.training.transfer import check_start, record_of
from genre_tagger.tuning.cluster import Cluster, join, serve
from genre_tagger.tuning.directory import Search, SearchDirectory, check_search, create_search
from genre_tagger.tuning.hparams import write_hparams
from genre_tagger.tuning.oracle import ALGORITHMS, Budget, SearchOracle, make_oracle
from genre_tagger.tuning.plots import plot_search
from genre_tagger.tuning.space import Space, config_with, without
from genre_tagger.tuning.trial import (
    FAILED,
    OBJECTIVES,
    OUTCOME_NAME,
    ModelLimits,
    Outcome,
    TrialRunner,
    read_outcomes,
    write_outcome,
)
from genre_tagger.tuning.trials_table import trials_table, winner
from genre_tagger.tuning.tuner import TaggerTuner

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TuneRequest:
    """One search.

    Attributes:
        data: the data that trials are trained on.
        config: configuration of everything that is not searched.
        space: the search space.
        run: directory of the search. It is created if it is missing, and resumed if it holds the same search.
        algorithm: one of ALGORITHMS.
        objective: one of OBJECTIVES.
        max_trials: number of trials of the whole search, including those of earlier calls; None for no limit other
            than that of the algorithm.
        minutes: time limit from now; None for no limit.
        limits: limits of the size of a model.
        executions: number of runs per trial, with seeds s, s + 1, ...
        train_best: whether to train and evaluate the winner at the end.
        start: the run that every trial starts from; None for random weights.
        cluster: set if this process is one of several, as the chief or a worker.
    """

    data: DataRequest
    config: Config
    space: Space
    run: Path
    algorithm: str = "random"
    objective: str = "val_auc"
    max_trials: int | None = None
    minutes: float | None = None
    limits: ModelLimits = field(default_factory=ModelLimits)
    executions: int = 1
    train_best: bool = False
    start: Start | None = None
    cluster: Cluster | None = None


@dataclass(frozen=True)
class TuningResult:
    """The result of a search.

    Attributes:
        directory: directory of the search.
        objective: name of the score that was maximised.
        table: one row per trial, see `trials_table`.
        best: outcome of the winner.
        training: result of the winner's training, if one was requested.
        start: the run that every trial started from; None for random weights.
    """

    directory: SearchDirectory
    objective: str
    table: pd.DataFrame
    best: Outcome
    training: TrainingResult | None
    start: Start | None = None


def tune(request: TuneRequest) -> TuningResult | None:
    """Search until the budget is spent. If an earlier call was interrupted, resume it.

    Args:
        request: data, space, budget and directory of the search.

    Returns:
        The result; None for a worker of a cluster.

    Raises:
        UserError: any error that the user can correct. Nothing that was finished is lost.
    """
    config, space, cluster = request.config, request.space, request.cluster
    budget = Budget(request.max_trials, request.minutes)
    if request.algorithm == "hyperband":
        config, space = _epochs_to_grant(config, space)
    _check(request, config)
    tf.get_logger().setLevel(logging.ERROR)  # TensorFlow warns of each new model as a likely mistake
    if cluster and cluster.worker:
        join(cluster)
    opener = data_opener(request.data)
    search = Search(
        request.algorithm,
        request.objective,
        request.executions,
        config,
        opener(config).record,
        record_of(request.start, RunDirectory(request.run)),
    )
    directory = SearchDirectory(request.run)
    runner = TrialRunner(config, opener, request.executions, request.limits, request.start)
    if cluster and cluster.worker:
        _work(directory, search, space, runner, cluster)
        return None
    with working_in(request.run):
        create_search(directory, search, space)
        oracle = open_oracle(directory, search, space, budget, is_chief=cluster is not None)
        if cluster:
            serve(oracle, cluster)
        else:
            TaggerTuner(oracle, space, runner, request.run, _reporter(directory, search, space)).search()
        return _finish(directory, search, space, request)


def open_oracle(
    directory: SearchDirectory, search: Search, space: Space, budget: Budget, *, is_chief: bool = False
) -> SearchOracle:
    """Open the oracle of a search in the state that an earlier call left.

    Args:
        directory: directory of the search.
        search: what identifies the search.
        space: the present space, which may be narrower than that of an earlier call.
        budget: limits of the search.
        is_chief: whether the trials run in other processes.

    Returns:
        The oracle, restored from its state file if there is one.

    Raises:
        UserError: the state file or the outcome of a trial is damaged.
    """
    oracle = _new_oracle(directory, search, space, budget)
    oracle.is_chief = is_chief
    for outcome in read_outcomes(directory.trials):
        budget.note(outcome.seconds)
    if directory.oracle.exists():
        oracle.reload()
    for name, values in oracle.left_out.items():
        if not (directory.trials / name / OUTCOME_NAME).exists():
            reason = "interrupted, and outside the narrower space"
            write_outcome(directory.trials / name, Outcome(name, values, FAILED, reason))
    return oracle


def data_opener(request: DataRequest) -> Callable[[Config], OpenedData]:
    """Return a function that opens the data for a configuration, once for each sample rate and window."""

    @cache
    def opened(sample_rate: int, seconds: float) -> OpenedData:
        return open_data(
            request, load_config(overrides=[f"frontend.sample_rate={sample_rate}", f"window.seconds={seconds}"])
        )

    return lambda config: opened(config.frontend.sample_rate, config.window.seconds)


def _new_oracle(directory: SearchDirectory, search: Search, space: Space, budget: Budget) -> SearchOracle:
    """Return an oracle that writes the results so far after each trial."""

    def on_end() -> None:
        outcomes = read_outcomes(directory.trials)
        budget.note(max((outcome.seconds for outcome in outcomes), default=0.0))
        _write_results(directory, outcomes, space, search)

    oracle = make_oracle(
        search.algorithm,
        search.objective,
        space,
        budget,
        seed=search.config.seed,
        max_epochs=search.config.training.epochs,
    )
    oracle.attach(directory.oracle, space, budget, on_end)
    return oracle


def _epochs_to_grant(config: Config, space: Space) -> tuple[Config, Space]:
    """Remove `training.epochs` from the space, and make its largest value the limit up to which Hyperband trains."""
    epochs = space.examples("training.epochs")
    rest = without(space, "training.epochs")
    if not rest.entries:
        raise FieldError("space", "has only training.epochs, which Hyperband grants; expected another field to search")
    return (config_with(config, {"training.epochs": max(epochs)}) if epochs else config), rest


def _work(directory: SearchDirectory, search: Search, space: Space, runner: TrialRunner, cluster: Cluster) -> None:
    """Run the trials that the chief hands out."""
    if not directory.search.exists():
        raise FieldError(
            "run", f"{directory.path}: found no search, expected the directory of the chief at {cluster.address}"
        )
    check_search(directory, search, space, may_narrow=False)
    place = directory.path / "workers" / str(cluster.worker)
    with working_in(place):
        oracle = _new_oracle(directory, search, space, Budget(None, None))  # only forwards requests to the chief
        on_trial = _reporter(directory, search, space)
        TaggerTuner(oracle, space, runner, directory.path, on_trial, cluster).search()


def _check(request: TuneRequest, config: Config) -> None:
    for name, value, known in (
        ("algorithm", request.algorithm, ALGORITHMS),
        ("objective", request.objective, tuple(OBJECTIVES)),
    ):
        if value not in known:
            raise FieldError(name, f"found {value!r}, expected one of {', '.join(known)}")
    # A start that does not fit would fail every trial.
    check_start(build_tagger(config, num_tags=1), config, request.start)


def _finish(directory: SearchDirectory, search: Search, space: Space, request: TuneRequest) -> TuningResult:
    outcomes = read_outcomes(directory.trials)
    table, best = _write_results(directory, outcomes, space, search)
    if best is None:
        reason = next((f", for example: {outcome.reason}" for outcome in outcomes if outcome.reason), "")
        raise UserError(f"{directory.table}: none of {len(outcomes)} trials was completed in this space{reason}")
    with storage_errors(directory.path):
        plot_search(directory.report, table, space.searched, request.objective)
    training = None
    if request.train_best:
        config, run = load_config(path=directory.best), directory.best_run(best.trial)
        training = train_run(TrainRequest(request.data, config, run, request.start))
    return TuningResult(directory, request.objective, table, best, training, request.start)


def _write_results(
    directory: SearchDirectory, outcomes: Sequence[Outcome], space: Space, search: Search
) -> tuple[pd.DataFrame, Outcome | None]:
    """Write and return the table of trials and the winner so far."""
    table = trials_table(outcomes, space, search.record.protocol)
    best = winner(outcomes, space, search.objective)
    with storage_errors(directory.path):
        with replacing(directory.table) as unfinished:
            table.to_csv(unfinished, index=False)
        if best:
            write_text(directory.best, RunDirectory(directory.trials / best.trial).config.read_text(encoding="utf-8"))
    return table, best


def _reporter(directory: SearchDirectory, search: Search, space: Space) -> Callable[[Outcome], None]:
    """Return a function that logs the outcome of a trial and writes it for TensorBoard."""
    protocol = search.record.protocol

    def report(outcome: Outcome) -> None:
        write_hparams(directory.trials, outcome, space, protocol)
        if outcome.reason:
            _logger.info("trial %s failed: %s", outcome.trial, outcome.reason)
        else:
            figure = outcome.scores[search.objective]
            named = f", protocol {protocol}" if protocol else ""
            _logger.info(
                "trial %s: %s %.4f (%.0f s%s)", outcome.trial, search.objective, figure, outcome.seconds, named
            )

    return report
