"""The results of an evaluation, read from the run directory for the sections of the HTML report."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from genre_tagger.errors import UserError
from genre_tagger.evaluation.metrics import Metrics, compute_metrics
from genre_tagger.evaluation.predictions import Predictions, read_predictions
from genre_tagger.evaluation.thresholds import Thresholds, choose_thresholds, fixed_thresholds
from genre_tagger.runs.directory import RunDirectory, check_evaluated
from genre_tagger.runs.record import read_metrics

AREAS = {"roc_auc": "ROC-AUC", "pr_auc": "PR-AUC"}


@dataclass(frozen=True)
class Evaluated:
    """The results of an evaluation of a run.

    Attributes:
        metrics: content of `metrics.json`.
        predictions: predictions for the clips of the evaluated split.
        thresholds: thresholds chosen on the validation clips, or fixed ones if these have no positives or no negatives.
        baseline: scores of the logistic-regression baseline on the same clips, if it was fitted.
        seed: seed of the run, used for the bootstrap intervals.
    """

    metrics: Mapping[str, Any]
    predictions: Predictions
    thresholds: Thresholds
    baseline: Metrics | None
    seed: int

    @classmethod
    def open(cls, run: RunDirectory, seed: int) -> "Evaluated":
        """Read the results.

        Args:
            run: evaluated run.
            seed: seed of the run.

        Raises:
            UserError: the run was not evaluated after its last training.
        """
        check_evaluated(run)
        metrics = read_metrics(run.metrics)
        predictions = read_predictions(run.predictions)
        baseline = read_predictions(run.baseline).of_split(metrics["split"]) if run.baseline.exists() else None
        return cls(
            metrics,
            predictions.of_split(metrics["split"]),
            _thresholds(predictions),
            compute_metrics(baseline.labels, baseline.scores, baseline.tags) if baseline else None,
            seed,
        )

    @property
    def limits(self) -> np.ndarray:
        """The thresholds, float32 [tags], in the order of the predictions."""
        return np.array([self.thresholds.tags[tag] for tag in self.predictions.tags], np.float32)


def _thresholds(predictions: Predictions) -> Thresholds:
    try:
        return choose_thresholds(predictions)
    except UserError:  # no positives or no negatives in the validation clips; the section on tags notes it
        return fixed_thresholds(predictions.tags)
