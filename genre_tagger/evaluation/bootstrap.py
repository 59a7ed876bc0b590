"""Bootstrap intervals over groups: the clips of one song are no independent evidence, so whole songs are redrawn.

A replicate is a weight for each clip, the number of times that its group was drawn. Each tag's scores are sorted once;
the areas of a block of replicates then follow from sums of weights along that order.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from genre_tagger.data.clips import UNKNOWN
from genre_tagger.evaluation.predictions import Predictions

AREAS = ("roc_auc", "pr_auc")
COVERAGE = 0.95
BLOCK_WEIGHTS = 2**18  # weights (clips x replicates) held at once, 2 MB: larger blocks fall out of the cache


class Interval(NamedTuple):
    """The central 95 % of the bootstrap replicates, NaN when none is defined."""

    low: float
    high: float


@dataclass(frozen=True)
class Ranking:
    """One tag's known clips from the highest score down, cut where a sum of weights is needed.

    Attributes:
        order: indices [ranked] into the clips.
        positive: bool [ranked].
        starts: indices [segments] into the ranking. Clips of equal score share a segment, as no threshold separates
            them; neighbours that are all negative share one too, as only their sum counts.
    """

    order: np.ndarray
    positive: np.ndarray
    starts: np.ndarray


def interval(predictions: Predictions, *, replicates: int = 1000, seed: int = 0) -> dict[str, Interval]:
    """95 % intervals of macro `roc_auc` and `pr_auc` over groups drawn with replacement.

    A tag that a replicate leaves without positives or without negatives is left out of that replicate's average. That
    and clips drawn twice lift PR-AUC where groups are few, as no new music would, so the replicates are moved as a
    whole to have the value itself for their mean; the interval is their central 95 %.
    """
    values, replicated = replicated_areas(predictions, replicates=replicates, seed=seed)
    return {area: central_around(*pair, least=0) for area, *pair in zip(AREAS, values, replicated, strict=True)}


def tag_intervals(predictions: Predictions, *, replicates: int = 1000, seed: int = 0) -> dict[str, dict[str, Interval]]:
    """The same of every tag on its own, by the same draws; NaN for a tag without positives or without negatives."""
    values, replicated = _tag_areas(predictions, replicates, seed)
    return {
        tag: {area: central_around(*pair, least=0) for area, *pair in zip(AREAS, *of_tag, strict=True)}
        for tag, *of_tag in zip(predictions.tags, values, replicated, strict=True)
    }


def replicated_areas(predictions: Predictions, *, replicates: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Macro ROC-AUC and PR-AUC [2] of the clips, and [2, replicates] of groups drawn with replacement.

    The draws depend on the clips' groups and the seed alone: models that answered for the same clips get the same
    ones, so that replicates of two of them may be subtracted one by one.
    """
    values, replicated = _tag_areas(predictions, replicates, seed)
    return _mean_of_defined(values), _mean_of_defined(replicated)


def rank(labels: np.ndarray, scores: np.ndarray) -> Ranking:
    """Sorts one tag's known clips: int8 [clips] labels (-1 unknown) and float [clips] scores."""
    known = np.flatnonzero(labels != UNKNOWN)
    order = known[np.argsort(-scores[known], kind="stable")]
    positive = labels[order] == 1
    tie_starts = np.flatnonzero(np.diff(scores[order], prepend=np.inf))
    if not tie_starts.size:
        return Ranking(order, positive, tie_starts)
    has_positive = np.logical_or.reduceat(positive, tie_starts)
    needed = has_positive | np.concatenate([[True], has_positive[:-1]])
    return Ranking(order, positive, tie_starts[needed])


def weighted_areas(ranking: Ranking, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """ROC-AUC and PR-AUC of one tag, equal to scikit-learn's with `sample_weight`.

    Args:
        ranking: the tag's clips by score.
        weights: whole numbers, float64 [clips, replicates].

    Returns:
        Two arrays [replicates], NaN where the drawn clips are all positive or all negative.
    """
    if not ranking.starts.size:
        return (np.full(weights.shape[1], np.nan),) * 2
    total, positive = _segment_weights(ranking, weights)
    positive_above, total_above = positive.cumsum(axis=0), total.cumsum(axis=0)  # including the segment itself
    positives, negatives = positive_above[-1], total_above[-1] - positive_above[-1]
    negative = total - positive
    outranked = negatives - (total_above - positive_above) + negative / 2  # a tie is half a win
    precision = positive_above / np.maximum(total_above, 1)  # whole weights: only an empty sum is below 1
    with np.errstate(invalid="ignore", divide="ignore"):
        roc_auc = (positive * outranked).sum(axis=0) / (positives * negatives)
        pr_auc = (positive * precision).sum(axis=0) / positives
    return roc_auc, np.where(negatives > 0, pr_auc, np.nan)


def _segment_weights(ranking: Ranking, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The drawn weight of each segment: of all its clips and of its positive ones, [segments, replicates] each."""
    ranked = weights[ranking.order]
    total = np.add.reduceat(ranked, ranking.starts, axis=0)
    ranked *= ranking.positive[:, None]
    return total, np.add.reduceat(ranked, ranking.starts, axis=0)


def _draw(groups: np.ndarray, replicates: int, generator: np.random.Generator) -> Iterator[np.ndarray]:
    """Yields the clips' weights [clips, block] of all replicates, block by block."""
    names, group_of_clip = np.unique(groups, return_inverse=True)
    chances = np.full(names.size, 1 / names.size)
    block = max(1, BLOCK_WEIGHTS // groups.size)
    for start in range(0, replicates, block):
        draws = generator.multinomial(names.size, chances, size=min(block, replicates - start))
        yield draws.T.astype(np.float64)[group_of_clip]


def _tag_areas(predictions: Predictions, replicates: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """ROC-AUC and PR-AUC of each tag [tags, 2], and of each in groups drawn with replacement [tags, 2, replicates]."""
    rankings = [rank(*columns) for columns in zip(predictions.labels.T, predictions.scores.T, strict=True)]
    values = _areas(rankings, np.ones((len(predictions.groups), 1)))
    draws = _draw(predictions.groups, replicates, np.random.default_rng(seed))
    return values[..., 0], np.concatenate([_areas(rankings, weights) for weights in draws], axis=2)


def _areas(rankings: Sequence[Ranking], weights: np.ndarray) -> np.ndarray:
    """ROC-AUC and PR-AUC [tags, 2, replicates] of clips with weights [clips, replicates]."""
    return np.array([weighted_areas(ranking, weights) for ranking in rankings])


def _mean_of_defined(areas: np.ndarray) -> np.ndarray:
    """Averages [tags, ...] over the tags that are not NaN; NaN where all are."""
    defined = ~np.isnan(areas)
    with np.errstate(invalid="ignore"):
        return np.where(defined, areas, 0).sum(axis=0) / defined.sum(axis=0)


def central_around(value: float, replicates: np.ndarray, *, least: float) -> Interval:
    """The central 95 % of replicates, moved as a whole to have the value for their mean, and cut to `least` to 1."""
    defined = replicates[~np.isnan(replicates)]
    if not defined.size:
        return Interval(np.nan, np.nan)
    tail = (1 - COVERAGE) / 2
    low, high = np.clip(np.quantile(defined, [tail, 1 - tail]) + value - defined.mean(), least, 1)
    return Interval(float(low), float(high))
