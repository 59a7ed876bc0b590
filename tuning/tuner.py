"""The KerasTuner tuner of a tagger: it runs a trial as `train` runs a configuration."""

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

keras_tuner_config.DEBUG = False  # it prints a traceback for each failed trial; the table has the reasons

IDLE_SECONDS = 0.5  # between questions to a chief that has no trial at the moment


class TaggerTuner(keras_tuner.Tuner):
    """Searches a space by an oracle; each trial is a run directory below `trials`.

    Hyperband's trials get the epochs that it grants them, each from its first epoch: its own way, to go on from a
    shorter trial's weights, would leave figures that no configuration gives again, and a schedule of the learning rate
    that ended early would have been spent.

    Args:
        oracle: says what to try.
        space: what its values mean.
        runner: trains.
        directory: of the search.
        on_trial: called with each outcome.
        say: prints a line.
        cluster: of which this process is a worker; None where it searches alone.
    """

    def __init__(
        self,
        oracle: SearchOracle,
        space: Space,
        runner: TrialRunner,
        directory: Path,
        on_trial: Callable[[Outcome], None],
        say: Callable[[str], None],
        cluster: Cluster | None = None,
    ):
        super().__init__(oracle, directory=str(directory), project_name=oracle.file.parent.name)
        self._space, self._runner, self._trials = space, runner, directory / "trials"
        self._on_trial, self._say, self._cluster = on_trial, say, cluster

    def run_trial(self, trial: Trial) -> dict[str, float]:
        """Runs a trial and returns its scores by objective.

        Raises:
            FailedTrialError: it failed by itself; KerasTuner records that and goes on.
        """
        values = self._values(trial)
        self._say(f"trial {trial.trial_id}: {', '.join(f'{name}={values[name]}' for name in self._space.searched)}")
        with signs_of_life(lambda: self.oracle.get_trial(trial.trial_id), self._cluster):
            outcome = self._runner.run(self._trials / trial.trial_id, values)
        self._on_trial(outcome)
        if outcome.status == FAILED:
            raise FailedTrialError(outcome.reason)
        return outcome.scores

    def search(self) -> None:
        """Runs trials until the oracle has no more; what ends it early is raised as it was."""
        try:
            super().search()
        except (FatalError, grpc.RpcError) as error:
            cause = error.__cause__ or error
            raise (chief_fault(self._cluster, cause) if isinstance(cause, grpc.RpcError) else cause) from None

    def pre_create_trial(self) -> None:
        """Keeps a worker from asking without a pause."""
        if self._cluster:
            time.sleep(IDLE_SECONDS)

    def save(self) -> None:
        """Nothing: the oracle saves itself, and the tuner has no state."""

    def _run_and_update_trial(self, trial: Trial) -> None:
        """Ends the search with any error but a failed trial's, which stays open; KerasTuner by itself would go on."""
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
