"""Per-tag thresholds, chosen on validation predictions."""

import re
from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np
from sklearn.metrics import precision_recall_curve, roc_curve

from genre_tagger.data.clips import UNKNOWN
from genre_tagger.errors import UserError
from genre_tagger.evaluation.predictions import Predictions

SPLIT = "valid"
MIN_POSITIVES = 5  # below, a tag's own threshold would follow a few clips; it gets that of all tags together
FIXED, FIXED_THRESHOLD = "fixed", 0.5  # chosen on nothing: more likely than not

Choose = Callable[[np.ndarray, np.ndarray], float]


@dataclass(frozen=True)
class Thresholds:
    """Decisions: a tag is given where its score reaches its threshold.

    Attributes:
        objective: what they were chosen for.
        all_tags: the one threshold that is best for all tags together.
        tags: the threshold of each.
        positives: known positives of each tag in the validation clips.
        from_all_tags: those with too few positives, which have the threshold of all tags.
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
        """False where no clips had been scored to choose them on."""
        return self.objective != FIXED

    def to_dict(self) -> dict:
        """The content of `thresholds.json`."""
        return asdict(self)


def fixed_thresholds(tags: tuple[str, ...]) -> Thresholds:
    """One and the same for all tags, where no validation clips have been scored."""
    return Thresholds(FIXED, FIXED_THRESHOLD, dict.fromkeys(tags, FIXED_THRESHOLD), dict.fromkeys(tags, 0), list(tags))


def choose_thresholds(predictions: Predictions, objective: str = "f1") -> Thresholds:
    """Chooses the thresholds on the validation clips; unknown labels count nowhere.

    Args:
        predictions: of the validation clips, others are left out.
        objective: `f1`; `youden` (true minus false positive rate, for where a tag will be more or less common than in
            the validation clips, which F1 depends on); or `precision:P` (the most recall at a precision of P or more,
            for where a wrong tag costs more than a missing one; without such a threshold, the most precise one).

    Raises:
        UserError: an unknown objective, or no validation clip with positives and negatives.
    """
    choose = _objective(objective)
    valid = predictions.of_split(SPLIT)
    known = valid.labels != UNKNOWN
    if not ((valid.labels == 1).any() and (valid.labels == 0).any()):
        raise UserError(f"thresholds: expected positives and negatives among the {SPLIT} clips' labels, found none")
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
    """Raises UserError for an objective that `choose_thresholds` does not know."""
    _objective(name)


def _objective(name: str) -> Choose:
    if name == "f1":
        return _best_f1
    if name == "youden":
        return _best_youden
    match = re.fullmatch(r"precision:(0?\.\d+|1(\.0*)?)", name)
    if not match or float(match[1]) == 0:
        raise UserError(f"--objective: found {name!r}, expected f1, youden or precision:P with P over 0, at most 1")
    return lambda truth, scores: _most_recall(truth, scores, float(match[1]))


def _best_f1(truth: np.ndarray, scores: np.ndarray) -> float:
    precision, recall, thresholds = precision_recall_curve(truth, scores)
    f1 = 2 * precision * recall / np.maximum(precision + recall, np.finfo(float).tiny)
    return float(thresholds[np.argmax(f1[:-1])])  # the last point of the curve belongs to no threshold


def _most_recall(truth: np.ndarray, scores: np.ndarray, level: float) -> float:
    precision, recall, thresholds = precision_recall_curve(truth, scores)
    merit = np.where(precision >= level, 1 + recall, precision)
    return float(thresholds[np.argmax(merit[:-1])])


def _best_youden(truth: np.ndarray, scores: np.ndarray) -> float:
    false_positives, true_positives, thresholds = roc_curve(truth, scores)
    merit = (true_positives - false_positives)[1:]  # the first point is an infinite threshold
    return float(thresholds[1:][np.argmax(merit)])
