"""The command `tune`: a search in its directory, from options to a table, a winner and plots."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import pandas as pd
import tensorflow as tf

from genre_tagger.config import Config, load_config
from genre_tagger.data.sources import SourceOptions
from genre_tagger.errors import UserError
from genre_tagger.files import replacing, storage_errors
from genre_tagger.models.tagger import build_tagger
from genre_tagger.run import RunDirectory, write_text
from genre_tagger.training.transfer import check_start
from genre_tagger.tuning.cluster import Cluster, join, serve
from genre_tagger.tuning.directory import Search, SearchDirectory, check_search, create_search, working_in
from genre_tagger.tuning.hparams import write_hparams
from genre_tagger.tuning.oracle import ALGORITHMS, Budget, SearchOracle, make_oracle
from genre_tagger.tuning.plots import plot_search
from genre_tagger.tuning.space import Space, config_with, without
from genre_tagger.tuning.table import trials_table, winner
from genre_tagger.tuning.trial import (
    FAILED,
    OBJECTIVES,
    OUTCOME_NAME,
    Limits,
    Outcome,
    TrialRunner,
    read_outcomes,
    write_outcome,
)
from genre_tagger.tuning.tuner import TaggerTuner
from genre_tagger.workflow import OpenedData, ProgressBar, Say, TrainingResult, open_data, train


@dataclass(frozen=True)
class TuningOptions:
    """How a search is led.

    Attributes:
        algorithm: one of ALGORITHMS.
        objective: one of OBJECTIVES.
        max_trials: of the whole search, those of earlier calls counted in; None for as many as the algorithm has.
        minutes: from now.
        limits: of a model.
        executions: runs a trial, of seeds s, s + 1, ...
        train_best: train the winner at the end, and evaluate it.
    """

    algorithm: str = "random"
    objective: str = "val_auc"
    max_trials: int | None = None
    minutes: float | None = None
    limits: Limits = field(default_factory=Limits)
    executions: int = 1
    train_best: bool = False


@dataclass(frozen=True)
class DataOptions:
    """What a search trains on; as the arguments of `train`."""

    source: SourceOptions
    data: Path
    stream: bool
    workers: int


@dataclass(frozen=True)
class TuningResult:
    """What a search has to show."""

    directory: SearchDirectory
    objective: str
    table: pd.DataFrame
    best: Outcome
    training: TrainingResult | None


def tune(
    options: TuningOptions,
    space: Space,
    config: Config,
    sources: DataOptions,
    path: Path,
    *,
    say: Say,
    progress: ProgressBar,
    cluster: Cluster | None = None,
) -> TuningResult | None:
    """Searches until the budget is spent; goes on from wherever an earlier call was stopped.

    Args:
        options: how.
        space: what varies.
        config: of everything else.
        sources: what is trained on.
        path: directory of the search, made if missing.
        say: prints a line.
        progress: makes a progress bar.
        cluster: where this process is the chief or a worker of several; a worker has no result.

    Raises:
        UserError: whatever the user can mend; nothing that was finished is lost.
    """
    budget = Budget(options.max_trials, options.minutes)
    if options.algorithm == "hyperband":
        config, space = _epochs_to_grant(config, space)
    _check(options, config)
    tf.get_logger().setLevel(logging.ERROR)  # it takes one new model a trial for a mistake
    if cluster and cluster.worker:
        join(cluster)
    opener = data_opener(sources, say, progress)
    search = Search(options.algorithm, options.objective, options.executions, config, opener(config).record)
    directory = SearchDirectory(path)
    runner = TrialRunner(config, opener, options.executions, options.limits, lambda line: say(f"  {line}"))
    if cluster and cluster.worker:
        _work(directory, search, space, runner, cluster, say)
        return None
    with working_in(path):
        create_search(directory, search, space)
        oracle = open_oracle(directory, search, space, budget, is_chief=cluster is not None)
        if cluster:
            serve(oracle, cluster, say)
        else:
            TaggerTuner(oracle, space, runner, path, _reporter(directory, search, space, say), say).search()
        return _finish(directory, search, options, space, sources, say, progress)


def open_oracle(
    directory: SearchDirectory, search: Search, space: Space, budget: Budget, *, is_chief: bool = False
) -> SearchOracle:
    """The oracle of a search, where it was left."""
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


def _new_oracle(directory: SearchDirectory, search: Search, space: Space, budget: Budget) -> SearchOracle:
    """After each trial it writes the results so far."""

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
    """Takes the epochs out of what is searched: Hyperband grants them, the most that the space has at most."""
    epochs = space.examples("training.epochs")
    rest = without(space, "training.epochs")
    if not rest.entries:
        raise UserError("--space: has training.epochs only, which Hyperband grants; expected something to search")
    return (config_with(config, {"training.epochs": max(epochs)}) if epochs else config), rest


def _work(
    directory: SearchDirectory, search: Search, space: Space, runner: TrialRunner, cluster: Cluster, say: Say
) -> None:
    """Runs the trials that the chief hands out."""
    if not directory.search.exists():
        raise UserError(
            f"{directory.path}: no search there; expected the directory that the chief at {cluster.address} has"
        )
    check_search(directory, search, space, may_narrow=False)
    place = directory.path / "workers" / cluster.worker
    with working_in(place):
        oracle = _new_oracle(directory, search, space, Budget(None, None))  # only to ask the chief's by
        on_trial = _reporter(directory, search, space, say)
        TaggerTuner(oracle, space, runner, directory.path, on_trial, say, cluster).search()


def _check(options: TuningOptions, config: Config) -> None:
    for flag, name, known in (
        ("--algorithm", options.algorithm, ALGORITHMS),
        ("--objective", options.objective, tuple(OBJECTIVES)),
    ):
        if name not in known:
            raise UserError(f"{flag}: found {name!r}, expected one of {', '.join(known)}")
    check_start(build_tagger(config, num_tags=1), config)  # what does not fit together would fail every trial


def data_opener(sources: DataOptions, say: Say, progress: ProgressBar) -> Callable[[Config], OpenedData]:
    """Opens data for a configuration, once for each sample rate and window."""

    @cache
    def opened(sample_rate: int, seconds: float) -> OpenedData:
        config = load_config(overrides=[f"frontend.sample_rate={sample_rate}", f"window.seconds={seconds}"])
        return open_data(
            sources.source,
            config,
            sources.data,
            stream=sources.stream,
            workers=sources.workers,
            say=say,
            progress=progress,
        )

    return lambda config: opened(config.frontend.sample_rate, config.window.seconds)


def _finish(
    directory: SearchDirectory,
    search: Search,
    options: TuningOptions,
    space: Space,
    sources: DataOptions,
    say: Say,
    progress: ProgressBar,
) -> TuningResult:
    outcomes = read_outcomes(directory.trials)
    table, best = _write_results(directory, outcomes, space, search)
    if best is None:
        reason = next((f", for example: {outcome.reason}" for outcome in outcomes if outcome.reason), "")
        raise UserError(
            f"{directory.path}: none of {len(outcomes)} trials was completed in this space (see trials.csv){reason}"
        )
    with storage_errors(directory.path):
        plot_search(directory.report, table, space.searched, options.objective)
    training = None
    if options.train_best:
        training = train(
            sources.source,
            load_config(path=directory.best),
            directory.best_run(best.trial),
            sources.data,
            stream=sources.stream,
            workers=sources.workers,
            say=say,
            progress=progress,
        )
    return TuningResult(directory, options.objective, table, best, training)


def _write_results(
    directory: SearchDirectory, outcomes: Sequence[Outcome], space: Space, search: Search
) -> tuple[pd.DataFrame, Outcome | None]:
    """Writes and returns the table, and the winner so far."""
    table = trials_table(outcomes, space, search.data.get("protocol"))
    best = winner(outcomes, space, search.objective)
    with storage_errors(directory.path):
        with replacing(directory.table) as unfinished:
            table.to_csv(unfinished, index=False)
        if best:
            write_text(directory.best, RunDirectory(directory.trials / best.trial).config.read_text(encoding="utf-8"))
    return table, best


def _reporter(directory: SearchDirectory, search: Search, space: Space, say: Say) -> Callable[[Outcome], None]:
    protocol = search.data.get("protocol")

    def report(outcome: Outcome) -> None:
        write_hparams(directory.trials, outcome, space, protocol)
        if outcome.reason:
            say(f"trial {outcome.trial} failed: {outcome.reason}")
        else:
            figure = outcome.scores[search.objective]
            named = f", protocol {protocol}" if protocol else ""
            say(f"trial {outcome.trial}: {search.objective} {figure:.4f} ({outcome.seconds:.0f} s{named})")

    return report
