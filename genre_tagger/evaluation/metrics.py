"""Exact ROC-AUC and PR-AUC per tag on the known labels, and their macro averages."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any

import numpy as np
from sklearn.metrics import average_precision_score, roc_auc_score

from genre_tagger.sources.clips import UNKNOWN


@dataclass(frozen=True)
class TagScores:
    """ROC-AUC and PR-AUC of one tag, and the numbers of its positive and negative labels.

    The areas are NaN if there are no positives or no negatives.
    """

    roc_auc: float
    pr_auc: float
    positives: int
    negatives: int

    @property
    def defined(self) -> bool:
        """Whether the tag has at least one positive and one negative label."""
        return self.positives > 0 and self.negatives > 0


@dataclass(frozen=True)
class Metrics:
    """The scores of each tag, in the order of the model, and their macro averages over the defined tags."""

    tags: dict[str, TagScores]

    @property
    def roc_auc(self) -> float:
        """Macro ROC-AUC; NaN if no tag is defined."""
        return _mean([scores.roc_auc for scores in self.tags.values() if scores.defined])

    @property
    def pr_auc(self) -> float:
        """Macro PR-AUC (average precision); NaN if no tag is defined."""
        return _mean([scores.pr_auc for scores in self.tags.values() if scores.defined])

    @property
    def left_out(self) -> tuple[str, ...]:
        """The tags without positives or without negatives, which are left out of the averages."""
        return tuple(tag for tag, scores in self.tags.items() if not scores.defined)

    def to_dict(self) -> dict[str, Any]:
        """Return plain numbers for JSON; undefined values are None."""
        return {
            "roc_auc": number_or_none(self.roc_auc),
            "pr_auc": number_or_none(self.pr_auc),
            "tags": {tag: _tag_dict(scores) for tag, scores in self.tags.items()},
            "left_out": list(self.left_out),
        }


def compute_metrics(labels: np.ndarray, scores: np.ndarray, tags: Sequence[str]) -> Metrics:
    """Score every tag on its known labels with scikit-learn's `roc_auc_score` and `average_precision_score`.

    Args:
        labels: int8 [clips, tags], 1, 0 or -1 for unknown.
        scores: float [clips, tags], finite.
        tags: names of the tags, in the order of the columns.
    """
    return Metrics({tag: _score_tag(labels[:, index], scores[:, index]) for index, tag in enumerate(tags)})


def number_or_none(value: float) -> float | None:
    """Return a plain float, or None for NaN, which JSON does not support."""
    return None if math.isnan(value) else float(value)


def _score_tag(labels: np.ndarray, scores: np.ndarray) -> TagScores:
    truth, score = _known(labels, scores)
    positives = int(truth.sum())
    negatives = truth.size - positives
    if not positives or not negatives:
        return TagScores(math.nan, math.nan, positives, negatives)
    roc_auc, pr_auc = roc_auc_score(truth, score), average_precision_score(truth, score)
    return TagScores(float(roc_auc), float(pr_auc), positives, negatives)


def _known(labels: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    known = labels != UNKNOWN
    return labels[known], scores[known]


def _tag_dict(scores: TagScores) -> dict[str, Any]:
    return asdict(scores) | {"roc_auc": number_or_none(scores.roc_auc), "pr_auc": number_or_none(scores.pr_auc)}


def _mean(values: list[float]) -> float:
    return fmean(values) if values else math.nan
