"""KerasTuner's oracles (random, Bayesian, Hyperband, grid), made robust for long searches.

The search algorithms are those of KerasTuner. The classes here add:

- The state is one file, which is renamed into place. KerasTuner writes `oracle.json` and one `trial.json` per trial in
  place, one after another. If the process is killed in between, a trial is lost, or a file cannot be read.
- A budget of trials and of time ends the search. A later call may raise it.
- Failed trials never end the search. KerasTuner ends it after three in a row.
- A trial ends only once, even if two workers train it, and keeps its original values.
- An error in the oracle is kept in `fault`, so that the chief can end. KerasTuner never releases its lock after an
  error, so all processes wait forever.
- Workers that send no heartbeat are dropped (`give_up`), and their trials go to other workers.
- Grid search resumes after the last combination. KerasTuner's grid search ends when it is resumed.
"""

import json
import threading
import time
import warnings
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import keras_tuner
from keras_tuner.engine.trial import Trial
from keras_tuner.oracles import BayesianOptimizationOracle, GridSearchOracle, HyperbandOracle, RandomSearchOracle
from keras_tuner.src.engine.oracle import LOCKS, THREADS
from sklearn.exceptions import ConvergenceWarning

from genre_tagger.errors import UserError
from genre_tagger.files import storage_errors, write_text
from genre_tagger.tuning.space import Space
from genre_tagger.tuning.space_file import parse_space

RUNNING, IDLE, STOPPED, FAILED = "RUNNING", "IDLE", "STOPPED", "FAILED"
CHIEF = "chief"  # tuner id of the chief; the name of a worker may not contain it
LEAST_RANDOM_TRIALS = 3
ALGORITHMS = ("random", "bayesian", "hyperband", "grid")


class Budget:
    """The limits after which a search starts no more trials.

    Args:
        max_trials: number of trials of the whole search, including those of earlier calls; None for no limit.
        minutes: time limit from now; None for no limit. No trial is started that would exceed the limit if
            it took as long as the longest trial so far.
    """

    def __init__(self, max_trials: int | None, minutes: float | None) -> None:
        self.max_trials = max_trials
        self._end = None if minutes is None else time.monotonic() + 60 * minutes
        self._longest = 0.0

    @property
    def is_limited(self) -> bool:
        """Whether there is any limit."""
        return self.max_trials is not None or self._end is not None

    def note(self, seconds: float) -> None:
        """Record the duration of a trial."""
        self._longest = max(self._longest, seconds)

    @property
    def is_out_of_time(self) -> bool:
        """Whether another trial would exceed the time limit."""
        return self._end is not None and time.monotonic() + self._longest > self._end


def one_at_a_time(method: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate a method of an oracle so that only one thread at a time runs such methods.

    This is KerasTuner's `synchronized`, except that an error is kept in `oracle.fault` and the lock is released.
    """

    @wraps(method)
    def locked_method(oracle: "SearchOracle", *arguments: Any, **named: Any) -> Any:
        thread = threading.current_thread().name
        if THREADS[oracle] == thread:
            return method(oracle, *arguments, **named)
        with LOCKS[oracle]:
            THREADS[oracle] = thread
            try:
                return method(oracle, *arguments, **named)
            except Exception as error:
                oracle.fault = error
                raise
            finally:
                THREADS[oracle] = None

    return locked_method


class SearchOracle(keras_tuner.Oracle):
    """Base class of all oracles: everything but the search algorithm.

    The classes below inherit from this one first and from an oracle of KerasTuner second.
    """

    file: Path
    space: Space
    budget: Budget
    on_end: Callable[[], None]
    # Attributes of KerasTuner's oracle that are set here.
    hyperparameters: keras_tuner.HyperParameters
    trials: dict[str, Trial]
    ongoing_trials: dict[str, Trial]
    tuner_ids: set[str]
    _retry_queue: list[str]

    def attach(self, file: Path, space: Space, budget: Budget, on_end: Callable[[], None]) -> None:
        """Set the attributes that KerasTuner's constructor does not take.

        Args:
            file: the state file.
            space: the search space.
            budget: the limits of the search.
            on_end: called after each ended trial.
        """
        self.file, self.space, self.budget, self.on_end = file, space, budget, on_end
        self.seen: dict[str, float] = {}  # time of the last heartbeat, by tuner id
        # Values of unfinished trials that lie outside the present space, by trial.
        self.left_out: dict[str, dict[str, Any]] = {}
        self.is_over = False
        self.is_chief = False
        self.fault: Exception | None = None
        self.verbose = 0

    # Saving and resuming

    def _save_trial(self, trial: Trial) -> None:
        """Do nothing: the state file of `save` contains the trials."""

    def save(self) -> None:
        """Write the complete state into one file."""
        trials = [trial.get_state() for trial in self.trials.values()]
        with storage_errors(self.file):
            self.file.parent.mkdir(parents=True, exist_ok=True)
            state = {"space": self.space.to_dict(), "oracle": self.get_state(), "trials": trials}
            write_text(self.file, json.dumps(state))

    def reload(self) -> None:
        """Restore the state from the file, but with the present space and budget.

        Trials that were running are queued. If this process is a chief, they stay with their workers instead, which may
        still be running. Trials outside the present space are marked as failed, so that no algorithm learns from them.

        Raises:
            UserError: the file is damaged.
        """
        searched = self.hyperparameters
        try:
            state = json.loads(self.file.read_text(encoding="utf-8"))
            self.trials = {trial["trial_id"]: Trial.from_state(trial) for trial in state["trials"]}
            self.set_state(state["oracle"])
            before = parse_space(state["space"], str(self.file))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(f"{self.file}: cannot be read ({error!r}); search into another directory") from error
        self.hyperparameters = searched
        if self.space != before:
            self._bring_over(before)
        running = {tuner: trial for tuner, trial in self.ongoing_trials.items() if trial.status == RUNNING}
        self.ongoing_trials = running if self.is_chief else {}
        self._retry_queue += [] if self.is_chief else [trial.trial_id for trial in running.values()]
        self._retry_queue = [name for name in self._retry_queue if self.trials[name].status == RUNNING]
        self.tuner_ids = set(self.ongoing_trials)
        self.seen = dict.fromkeys(self.ongoing_trials, time.monotonic())

    def _bring_over(self, before: Space) -> None:
        """Encode the values of all trials for the present space, or mark trials outside it as failed."""
        self._tried_so_far.clear()
        self._id_to_hash.clear()
        for trial in self.trials.values():
            if trial.status == FAILED:  # its values may belong to a space older than `before`
                continue
            values = before.decode(trial.hyperparameters.values)
            if self.space.contains(values):
                trial.hyperparameters.values |= self.space.encode(values)
                self._record_values(trial)
                continue
            if trial.status == RUNNING:
                self.left_out[trial.trial_id] = values
                self.end_order.append(trial.trial_id)
            trial.status = FAILED

    # Creating and ending trials

    @one_at_a_time
    def create_trial(self, tuner_id: str) -> Trial:
        """Return a trial for a worker. If its status is IDLE, the worker asks again later; if STOPPED, it ends."""
        self.seen[tuner_id] = time.monotonic()
        trial = super().create_trial(tuner_id)
        self.is_over = self.is_over or trial.status == STOPPED
        return trial

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """Return values for a new trial, or STOPPED once the budget is spent or the space is exhausted.

        While trials are running, the answer is IDLE instead of STOPPED, because a trial may lose its worker and must
        then go to another one.
        """
        used_up = self.budget.max_trials is not None and len(self.trials) >= self.budget.max_trials
        is_spent = used_up or self.budget.is_out_of_time
        answer = {"status": STOPPED} if is_spent else super().populate_space(trial_id)
        return {"status": IDLE} if answer["status"] == STOPPED and self.ongoing_trials else answer

    @one_at_a_time
    def update_trial(self, trial_id: str, metrics: dict[str, float], step: int = 0) -> Trial:
        """Record the scores of a trial and save them, because the chief may be killed before the trial is ended."""
        trial = super().update_trial(trial_id, metrics, step)
        self.save()
        return trial

    @one_at_a_time
    def end_trial(self, trial: Trial) -> None:
        """End a trial. Only the first call for a trial has an effect."""
        if trial.trial_id in self.end_order:
            return
        trial.hyperparameters = self.trials[trial.trial_id].hyperparameters
        if trial.trial_id in self._retry_queue:  # its worker was dropped but was still running
            self._retry_queue.remove(trial.trial_id)
        super().end_trial(trial)
        self.save()  # again, because the trial is no longer among the ongoing ones
        self.on_end()

    @one_at_a_time
    def look_ahead(self) -> None:
        """Set `is_over` if there are no more trials. Otherwise queue the next trial for the first worker."""
        trial = self.create_trial(CHIEF)
        if trial.status == RUNNING:
            self._retry_queue.append(self.ongoing_trials.pop(CHIEF).trial_id)
        self.tuner_ids.discard(CHIEF)
        self.save()

    # Heartbeats

    def get_trial(self, trial_id: str) -> Trial:
        """Return a trial. A worker's request for its own trial is its heartbeat."""
        for tuner_id, trial in list(self.ongoing_trials.items()):
            if trial.trial_id == trial_id:
                self.seen[tuner_id] = time.monotonic()
        return super().get_trial(trial_id)

    @one_at_a_time
    def give_up(self, seconds: float) -> list[str]:
        """Drop workers without a heartbeat, queue their trials, and return the names of the workers.

        Args:
            seconds: time without a heartbeat after which a worker is dropped.
        """
        silent = [name for name in self.tuner_ids if time.monotonic() - self.seen[name] > seconds]
        for name in silent:
            self.tuner_ids.remove(name)
            if trial := self.ongoing_trials.pop(name, None):
                self._retry_queue.append(trial.trial_id)
        if silent:
            self.save()
        return silent


class RandomOracle(SearchOracle, RandomSearchOracle):
    """Random search."""


class BayesianOracle(SearchOracle, BayesianOptimizationOracle):
    """Bayesian search: a Gaussian process with an upper confidence bound."""

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """Return values for a new trial, without scikit-learn's warnings about fits of a few points."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            return super().populate_space(trial_id)


class SuccessiveHalvingOracle(SearchOracle, HyperbandOracle):
    """Hyperband (arXiv 1603.06560): many trials of few epochs, of which the best are trained again for more epochs."""

    def set_state(self, state: dict[str, Any]) -> None:
        """Restore the state, but with the present number of sweeps. A sweep that has begun is always finished."""
        sweeps = max(self.hyperband_iterations, state["current_iteration"] + 1)
        super().set_state(state | {"hyperband_iterations": sweeps})


class GridOracle(SearchOracle, GridSearchOracle):
    """Grid search: every combination in turn. A range without a step gets its minimum and ten more values."""

    def reload(self) -> None:
        """Restore the state and continue after the last combination. The combinations of a space have a fixed order."""
        super().reload()
        for trial_id in self.start_order:
            self._ordered_ids.insert(trial_id)
        self._populate_next = self.start_order[-1:]


def make_oracle(
    algorithm: str, objective: str, space: Space, budget: Budget, *, seed: int, max_epochs: int
) -> SearchOracle:
    """Return the oracle of an algorithm. Its state file is set later, by `attach`.

    Args:
        algorithm: one of ALGORITHMS.
        objective: name of the score to maximise.
        space: the search space.
        budget: limits of the search. Bayesian search starts with random trials: a third of `max_trials`, but at least
            three, and at most three per searched name (which is also their number without `max_trials`). Hyperband
            starts new sweeps until the budget is spent; without any limit, it runs one sweep.
        seed: seed of the random draws.
        max_epochs: epochs of Hyperband's longest trials.
    """
    common = {
        "objective": keras_tuner.Objective(objective, "max"),
        "hyperparameters": space.hyperparameters(),
        "seed": seed + 1,  # KerasTuner treats 0 as no seed
        "allow_new_entries": False,
        "max_consecutive_failed_trials": None,
    }
    if algorithm == "hyperband":
        sweeps = None if budget.is_limited else 1  # None: without end
        return SuccessiveHalvingOracle(max_epochs=max_epochs, hyperband_iterations=sweeps, **common)
    if algorithm == "bayesian":
        most = 3 * len(space.searched)
        first = most if budget.max_trials is None else min(most, max(LEAST_RANDOM_TRIALS, budget.max_trials // 3))
        return BayesianOracle(max_trials=None, num_initial_points=first, **common)
    return {"random": RandomOracle, "grid": GridOracle}[algorithm](max_trials=None, **common)
