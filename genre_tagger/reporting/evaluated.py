"""What an evaluation has left in a run, for the sections that show how good it is."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from genre_tagger.errors import UserError
from genre_tagger.evaluation.metrics import Metrics, compute_metrics
from genre_tagger.evaluation.predictions import Predictions, read_predictions
from genre_tagger.export.thresholds import Thresholds, choose_thresholds, fixed_thresholds
from genre_tagger.run import RunDirectory, check_evaluated, read_json

AREAS = {"roc_auc": "ROC-AUC", "pr_auc": "PR-AUC"}


@dataclass(frozen=True)
class Evaluated:
    """What an evaluation has left in the run.

    Attributes:
        metrics: content of `metrics.json`.
        predictions: of the clips of its split.
        thresholds: chosen on the validation clips, where they have positives and negatives.
        floor: areas of the logistic-regression floor on the same clips, where it was fitted.
        seed: of the run, for the intervals.
    """

    metrics: Mapping[str, Any]
    predictions: Predictions
    thresholds: Thresholds
    floor: Metrics | None
    seed: int

    @classmethod
    def open(cls, run: RunDirectory, seed: int) -> "Evaluated":
        """Reads it; raises UserError where the run was not evaluated since its training."""
        check_evaluated(run)
        metrics = read_json(run.metrics)
        predictions = read_predictions(run.predictions)
        floor = read_predictions(run.floor).of_split(metrics["split"]) if run.floor.exists() else None
        return cls(
            metrics,
            predictions.of_split(metrics["split"]),
            _thresholds(predictions),
            floor and compute_metrics(floor.labels, floor.scores, floor.tags),
            seed,
        )

    @property
    def limits(self) -> np.ndarray:
        """The thresholds [tags], in the order of the predictions."""
        return np.array([self.thresholds.tags[tag] for tag in self.predictions.tags], np.float32)


def _thresholds(predictions: Predictions) -> Thresholds:
    try:
        return choose_thresholds(predictions)
    except UserError:  # no validation clips with positives and negatives; the page says so
        return fixed_thresholds(predictions.tags)
