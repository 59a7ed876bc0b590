"""KerasTuner's oracles (random, Bayesian, Hyperband, grid), made to survive what a long search meets.

How they search is KerasTuner's alone. What is added around it:

- The state is one file, renamed into place. KerasTuner writes `oracle.json` and a `trial.json` for each trial in place
  and one after the other: killed in between, it leaves a trial that nobody runs again, or a file that nobody can read.
- A budget of trials and of time ends the search, and leaves a number of trials that a later call may raise.
- Failed trials never end it (KerasTuner's own limit is three in a row).
- A trial ends once, whoever else still works on it, and keeps the values it was given.
- An error in the oracle reaches whoever watches it (KerasTuner leaves its lock locked, and everybody waits for ever).
- Workers that give no sign of life are given up (`give_up`), and another gets their trial.
- Grid search goes on where it was (KerasTuner's forgets its place and ends).
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
from genre_tagger.files import storage_errors
from genre_tagger.run import write_text
from genre_tagger.tuning.space import Space
from genre_tagger.tuning.space_file import parse_space

RUNNING, IDLE, STOPPED, FAILED = "RUNNING", "IDLE", "STOPPED", "FAILED"
CHIEF = "chief"  # among the names of workers, of which none may be called so
LEAST_RANDOM_TRIALS = 3
ALGORITHMS = ("random", "bayesian", "hyperband", "grid")


class Budget:
    """When a search begins no more trials.

    Args:
        max_trials: of the whole search, those of earlier calls counted in; None for no limit.
        minutes: from now; no trial is begun that, lasting as long as the longest so far, would not end by then.
    """

    def __init__(self, max_trials: int | None, minutes: float | None):
        self.max_trials = max_trials
        self._end = None if minutes is None else time.monotonic() + 60 * minutes
        self._longest = 0.0

    @property
    def is_limited(self) -> bool:
        """Whether it will ever be spent."""
        return self.max_trials is not None or self._end is not None

    def note(self, seconds: float) -> None:
        """Takes notice of how long a trial took."""
        self._longest = max(self._longest, seconds)

    @property
    def is_out_of_time(self) -> bool:
        """Whether another trial would end too late."""
        return self._end is not None and time.monotonic() + self._longest > self._end


def one_at_a_time(method: Callable) -> Callable:
    """KerasTuner's `synchronized`, but that an error is noted as the oracle's fault, and lets go of the lock."""

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
    """What all our oracles have beside their algorithm: base classes below come in pairs, this one first."""

    file: Path
    space: Space
    budget: Budget
    on_end: Callable[[], None]

    def attach(self, file: Path, space: Space, budget: Budget, on_end: Callable[[], None]) -> None:
        """Gives the oracle its state file, its space and its budget; `on_end` is called after each ended trial."""
        self.file, self.space, self.budget, self.on_end = file, space, budget, on_end
        self.seen: dict[str, float] = {}  # by tuner, the time of its last sign of life
        self.left_out: dict[str, dict[str, Any]] = {}  # values of open trials that the space has no more, by trial
        self.is_over = False
        self.is_chief = False
        self.fault: Exception | None = None
        self.verbose = 0

    # Saving and going on

    def _save_trial(self, trial: Trial) -> None:
        """Nothing: the trials are in the one file of `save`."""

    def save(self) -> None:
        """Writes everything there is to know, at once."""
        trials = [trial.get_state() for trial in self.trials.values()]
        with storage_errors(self.file):
            self.file.parent.mkdir(parents=True, exist_ok=True)
            state = {"space": self.space.to_dict(), "oracle": self.get_state(), "trials": trials}
            write_text(self.file, json.dumps(state))

    def reload(self) -> None:
        """Goes on from the file; the space and the budget are those of now.

        Trials that were running go into the queue; a chief leaves them with their workers, who may be alive.
        Trials that the space could not have drawn any more stay as failed ones, which no algorithm learns from.

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
            raise UserError(f"{self.file}: cannot be read ({error!r}); search into another --run") from None
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
        """Says the values of all trials as the present space says them, where it can."""
        self._tried_so_far.clear()
        self._id_to_hash.clear()
        for trial in self.trials.values():
            if trial.status == FAILED:  # perhaps by a space before the last
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

    # A trial's life

    @one_at_a_time
    def create_trial(self, tuner_id: str) -> Trial:
        """A trial for a worker, or the word that it shall wait or leave."""
        self.seen[tuner_id] = time.monotonic()
        trial = super().create_trial(tuner_id)
        self.is_over = self.is_over or trial.status == STOPPED
        return trial

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """Values for a new trial; none once there is no more, but idle hands may be needed by a trial in danger."""
        used_up = self.budget.max_trials is not None and len(self.trials) >= self.budget.max_trials
        is_spent = used_up or self.budget.is_out_of_time
        answer = {"status": STOPPED} if is_spent else super().populate_space(trial_id)
        return {"status": IDLE} if answer["status"] == STOPPED and self.ongoing_trials else answer

    @one_at_a_time
    def update_trial(self, trial_id: str, metrics: dict[str, float], step: int = 0) -> Trial:
        """Takes notice of a trial's figures, and keeps them: a chief that is killed now has to know them then."""
        trial = super().update_trial(trial_id, metrics, step)
        self.save()
        return trial

    @one_at_a_time
    def end_trial(self, trial: Trial) -> None:
        """Ends a trial, the first time that somebody says so."""
        if trial.trial_id in self.end_order:
            return
        trial.hyperparameters = self.trials[trial.trial_id].hyperparameters
        if trial.trial_id in self._retry_queue:  # given up, but its worker lived
            self._retry_queue.remove(trial.trial_id)
        super().end_trial(trial)
        self.save()  # without the trial among the ongoing ones
        self.on_end()

    @one_at_a_time
    def look_ahead(self) -> None:
        """Finds out whether any trial is left; the next one then waits in the queue for whoever asks first."""
        trial = self.create_trial(CHIEF)
        if trial.status == RUNNING:
            self._retry_queue.append(self.ongoing_trials.pop(CHIEF).trial_id)
        self.tuner_ids.discard(CHIEF)
        self.save()

    # Signs of life

    def get_trial(self, trial_id: str) -> Trial:
        """A trial; workers ask for theirs now and then, to be known to live."""
        for tuner_id, trial in list(self.ongoing_trials.items()):
            if trial.trial_id == trial_id:
                self.seen[tuner_id] = time.monotonic()
        return super().get_trial(trial_id)

    @one_at_a_time
    def give_up(self, seconds: float) -> list[str]:
        """Forgets workers that were silent for so long, puts their trials into the queue and returns their names."""
        silent = [name for name in self.tuner_ids if time.monotonic() - self.seen[name] > seconds]
        for name in silent:
            self.tuner_ids.remove(name)
            if trial := self.ongoing_trials.pop(name, None):
                self._retry_queue.append(trial.trial_id)
        if silent:
            self.save()
        return silent


class RandomOracle(SearchOracle, RandomSearchOracle):
    """Values drawn at random."""


class BayesianOracle(SearchOracle, BayesianOptimizationOracle):
    """A Gaussian process with an upper confidence bound."""

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """Values for a new trial, without scikit-learn's remarks on the fit of a few points."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            return super().populate_space(trial_id)


class SuccessiveHalvingOracle(SearchOracle, HyperbandOracle):
    """Hyperband (arXiv 1603.06560): many trials of few epochs, the best of them again with more."""

    def set_state(self, state: dict[str, Any]) -> None:
        """Goes on with as many sweeps as are asked for now; the one that has begun is always ended."""
        sweeps = max(self.hyperband_iterations, state["current_iteration"] + 1)
        super().set_state(state | {"hyperband_iterations": sweeps})


class GridOracle(SearchOracle, GridSearchOracle):
    """Every combination in turn; of a range without a step, its least and ten more values."""

    def reload(self) -> None:
        """Goes on behind the last combination: with a space that does not grow, they come in order."""
        super().reload()
        for trial_id in self.start_order:
            self._ordered_ids.insert(trial_id)
        self._populate_next = self.start_order[-1:]


def make_oracle(
    algorithm: str, objective: str, space: Space, budget: Budget, *, seed: int, max_epochs: int
) -> SearchOracle:
    """The oracle of an algorithm, without its state file yet.

    Args:
        algorithm: one of ALGORITHMS.
        objective: to be maximised.
        space: to search.
        budget: by its trials, the Bayesian oracle draws the first third at random, three a dimension at most; with
            any, Hyperband begins its sweep anew until it is spent.
        seed: of what is drawn.
        max_epochs: of Hyperband's longest trials.
    """
    common = {
        "objective": keras_tuner.Objective(objective, "max"),
        "hyperparameters": space.hyperparameters(),
        "seed": seed + 1,  # KerasTuner takes 0 for none
        "allow_new_entries": False,
        "max_consecutive_failed_trials": None,
    }
    if algorithm == "hyperband":
        sweeps = None if budget.is_limited else 1  # None is for ever
        return SuccessiveHalvingOracle(max_epochs=max_epochs, hyperband_iterations=sweeps, **common)
    if algorithm == "bayesian":
        most = 3 * len(space.searched)
        first = most if budget.max_trials is None else min(most, max(LEAST_RANDOM_TRIALS, budget.max_trials // 3))
        return BayesianOracle(max_trials=None, num_initial_points=first, **common)
    return {"random": RandomOracle, "grid": GridOracle}[algorithm](max_trials=None, **common)
