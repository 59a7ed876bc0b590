"""Thresholds per tag, chosen on the predictions for the validation clips."""

import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from sklearn.metrics import precision_recall_curve, roc_curve

from genre_tagger.errors import FieldError, UserError
from genre_tagger.evaluation.predictions import Predictions
from genre_tagger.sources.clips import UNKNOWN

SPLIT = "valid"
# Of positives and of negatives. With fewer, a separate threshold would overfit; the tag gets the threshold of all tags.
MIN_POSITIVES = 5
FIXED, FIXED_THRESHOLD = "fixed", 0.5  # used if no thresholds can be chosen

Choose = Callable[[np.ndarray, np.ndarray], float]


@dataclass(frozen=True)
class Thresholds:
    """Decision thresholds: a tag is predicted if its score is at least its threshold.

    Attributes:
        objective: objective for which the thresholds were chosen.
        all_tags: the best single threshold for all tags together.
        tags: threshold of each tag.
        positives: number of positive labels of each tag in the validation clips.
        from_all_tags: tags with too few positives or negatives, which use the threshold of all tags.
        split: split on which the thresholds were chosen.
        min_positives: number of positives and of negatives that a tag needs for its own threshold.
    """

    objective: str
    all_tags: float
    tags: dict[str, float]
    positives: dict[str, int]
    from_all_tags: list[str]
    split: str = SPLIT
    min_positives: int = MIN_POSITIVES

    @property
    def are_chosen(self) -> bool:
        """Whether the thresholds were chosen on scored clips. If not, all tags have a fixed threshold."""
        return self.objective != FIXED

    def to_dict(self) -> dict[str, Any]:
        """Return the content of `thresholds.json`."""
        return asdict(self)


def fixed_thresholds(tags: tuple[str, ...]) -> Thresholds:
    """Return the same fixed threshold for all tags, for a model without scored validation clips."""
    return Thresholds(FIXED, FIXED_THRESHOLD, dict.fromkeys(tags, FIXED_THRESHOLD), dict.fromkeys(tags, 0), list(tags))


def choose_thresholds(predictions: Predictions, objective: str = "f1") -> Thresholds:
    """Choose the thresholds on the validation clips. Unknown labels are ignored.

    Args:
        predictions: predictions for the validation clips; clips of other splits are ignored.
        objective: one of the following.

            - `f1`: highest F1 score. It depends on how common a tag is.
            - `youden`: largest true positive rate minus false positive rate (Youden's J). Use it if tags will be more
              or less common than in the validation clips.
            - `precision:P`: highest recall with a precision of at least P. Use it if a wrong tag is worse than a
              missing tag. If no threshold reaches P, the threshold with the highest precision is chosen.

    Raises:
        FieldError: the objective is unknown.
        UserError: the validation clips have no positive or no negative labels.
    """
    choose = _objective(objective)
    valid = predictions.of_split(SPLIT)
    known = valid.labels != UNKNOWN
    if not ((valid.labels == 1).any() and (valid.labels == 0).any()):
        raise UserError(f"thresholds: found no positive or no negative labels in the {SPLIT} clips, expected both")
    all_tags = choose(valid.labels[known], valid.scores[known])
    positives = dict(zip(valid.tags, (valid.labels == 1).sum(axis=0).tolist(), strict=True))
    negatives = (valid.labels == 0).sum(axis=0)
    thresholds, shared = {}, []
    for column, tag in enumerate(valid.tags):
        if min(positives[tag], negatives[column]) < MIN_POSITIVES:
            thresholds[tag] = all_tags
            shared.append(tag)
        else:
            rows = known[:, column]
            thresholds[tag] = choose(valid.labels[rows, column], valid.scores[rows, column])
    return Thresholds(objective, all_tags, thresholds, positives, shared)


def check_objective(name: str) -> None:
    """Raise FieldError if `choose_thresholds` does not know the objective."""
    _objective(name)


def _objective(name: str) -> Choose:
    if name == "f1":
        return _best_f1
    if name == "youden":
        return _best_youden
    match = re.fullmatch(r"precision:(0?\.\d+|1(\.0*)?)", name)
    if not match or float(match[1]) == 0:
        raise FieldError("objective", f"found {name!r}, expected f1, youden or precision:P with 0 < P <= 1")
    return lambda truth, scores: _most_recall(truth, scores, float(match[1]))


def _best_f1(truth: np.ndarray, scores: np.ndarray) -> float:
    precision, recall, thresholds = precision_recall_curve(truth, scores)
    f1 = 2 * precision * recall / np.maximum(precision + recall, np.finfo(float).tiny)
    return float(thresholds[np.argmax(f1[:-1])])  # the last point of the curve has no threshold


def _most_recall(truth: np.ndarray, scores: np.ndarray, level: float) -> float:
    precision, recall, thresholds = precision_recall_curve(truth, scores)
    merit = np.where(precision >= level, 1 + recall, precision)
    return float(thresholds[np.argmax(merit[:-1])])


def _best_youden(truth: np.ndarray, scores: np.ndarray) -> float:
    false_positives, true_positives, thresholds = roc_curve(truth, scores)
    merit = (true_positives - false_positives)[1:]  # the threshold of the first point is infinite
    return float(thresholds[1:][np.argmax(merit)])
