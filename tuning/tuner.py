"""KerasTuner's tuner for taggers. A trial is trained in the same way as by `train`."""

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import keras_tuner
from keras_tuner.engine.trial import Trial
from keras_tuner.errors import FailedTrialError, FatalError
from keras_tuner.src import config as keras_tuner_config

from genre_tagger.tuning.cluster import Cluster, chief_fault, signs_of_life
from genre_tagger.tuning.oracle import SearchOracle
from genre_tagger.tuning.space import Space
from genre_tagger.tuning.trial import FAILED, Outcome, TrialRunner

keras_tuner_config.DEBUG = False  # it would print a traceback for each failed trial; the table has the reasons

_logger = logging.getLogger(__name__)

IDLE_SECONDS = 0.5  # between requests to a chief that has no trial at the moment


class TaggerTuner(keras_tuner.Tuner):
    """Tuner that searches a space with an oracle. Each trial is a run directory below `trials`.

    Hyperband decides the number of epochs of its trials. Every trial is trained from its first epoch. KerasTuner
    instead continues from the weights of a shorter trial. Then no configuration could reproduce the score, and a
    learning-rate schedule that ended with the shorter trial would stay at its last value.

    Args:
        oracle: chooses the values of the trials.
        space: the search space, which translates these values.
        runner: trains the trials.
        directory: directory of the search.
        on_trial: called with each outcome.
        cluster: set if this process is one of several workers.
    """

    def __init__(
        self,
        oracle: SearchOracle,
        space: Space,
        runner: TrialRunner,
        directory: Path,
        on_trial: Callable[[Outcome], None],
        cluster: Cluster | None = None,
    ):
        super().__init__(oracle, directory=str(directory), project_name=oracle.file.parent.name)
        self._space, self._runner, self._trials = space, runner, directory / "trials"
        self._on_trial, self._cluster = on_trial, cluster

    def run_trial(self, trial: Trial) -> dict[str, float]:
        """Run a trial and return its scores by objective.

        Args:
            trial: trial of KerasTuner, with the values that the oracle chose.

        Raises:
            FailedTrialError: the trial failed. KerasTuner records that and continues with the next one.
        """
        values = self._values(trial)
        searched = ", ".join(f"{name}={values[name]}" for name in self._space.searched)
        _logger.info("trial %s: %s", trial.trial_id, searched)
        with signs_of_life(lambda: self.oracle.get_trial(trial.trial_id), self._cluster):
            outcome = self._runner.run(self._trials / trial.trial_id, values)
        self._on_trial(outcome)
        if outcome.status == FAILED:
            raise FailedTrialError(outcome.reason)
        return outcome.scores

    def search(self) -> None:
        """Run trials until the oracle has no more. An error that ends the search early is raised unchanged."""
        try:
            super().search()
        except (FatalError, grpc.RpcError) as error:
            cause = error.__cause__ or error
            if self._cluster is not None and isinstance(cause, grpc.RpcError):
                raise chief_fault(self._cluster, cause) from error
            raise cause from error

    def pre_create_trial(self) -> None:
        """Pause before a worker asks for a trial, so that it does not send requests continuously."""
        if self._cluster:
            time.sleep(IDLE_SECONDS)

    def save(self) -> None:
        """Do nothing: the oracle saves itself, and the tuner has no state."""

    def _run_and_update_trial(self, trial: Trial) -> None:
        """Run a trial. Any error other than a failed trial ends the search, whereas KerasTuner would continue.

        After such an error, the trial stays unfinished, so that it can be resumed.
        """
        try:
            super()._run_and_update_trial(trial)
        except FailedTrialError:
            raise
        except Exception as error:
            raise FatalError(f"trial {trial.trial_id}") from error

    def _values(self, trial: Trial) -> dict[str, Any]:
        drawn = trial.hyperparameters.values
        values = self._space.decode(drawn)
        if "tuner/epochs" in drawn:
            values["training.epochs"] = drawn["tuner/epochs"]
        return values
