"""Bootstrap confidence intervals over groups.

Clips of the same song are not independent, so whole groups are drawn with replacement. A replicate is a weight for each
clip: the number of times that its group was drawn. The scores of each tag are sorted once. ROC-AUC and PR-AUC of a
block of replicates are then computed from sums of weights in that order.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from genre_tagger.evaluation.predictions import Predictions
from genre_tagger.sources.clips import UNKNOWN

AREAS = ("roc_auc", "pr_auc")
COVERAGE = 0.95
BLOCK_WEIGHTS = 2**18  # weights (clips x replicates) held at once, 2 MB: larger blocks do not fit into the CPU cache


class Interval(NamedTuple):
    """The central 95 % of the bootstrap replicates; NaN if no replicate is defined."""

    low: float
    high: float


@dataclass(frozen=True)
class Ranking:
    """The clips whose label of one tag is known, ranked by descending score and split into segments.

    Attributes:
        order: int [ranked], indices into the clips.
        positive: bool [ranked], whether the label is positive.
        starts: int [segments], the first position of each segment in the ranking. Clips with the same score share a
            segment, because no threshold separates them. Adjacent segments without positives are merged, because only
            the sum of their weights matters.
    """

    order: np.ndarray
    positive: np.ndarray
    starts: np.ndarray


def interval(predictions: Predictions, *, replicates: int = 1000, seed: int = 0) -> dict[str, Interval]:
    """Return the 95 % intervals of macro `roc_auc` and `pr_auc` over groups drawn with replacement.

    A tag without positives or without negatives in a replicate is left out of the average of that replicate. With few
    groups, this and clips that are drawn more than once raise PR-AUC above what new music would give. All replicates
    are therefore shifted so that their mean is the value measured on all clips.

    Args:
        predictions: labels, scores and groups of the clips.
        replicates: number of bootstrap replicates.
        seed: seed of the bootstrap.

    Returns:
        The interval of each area, by the names in `AREAS`.
    """
    values, replicated = replicated_areas(predictions, replicates=replicates, seed=seed)
    return {area: central_around(*pair, least=0) for area, *pair in zip(AREAS, values, replicated, strict=True)}


def tag_intervals(predictions: Predictions, *, replicates: int = 1000, seed: int = 0) -> dict[str, dict[str, Interval]]:
    """Return the intervals of each tag, with the same draws as `interval`.

    They are NaN for a tag without positives or without negatives.

    Args:
        predictions: labels, scores and groups of the clips.
        replicates: number of bootstrap replicates.
        seed: seed of the bootstrap.

    Returns:
        The intervals by tag, then by the names in `AREAS`.
    """
    values, replicated = _tag_areas(predictions, replicates, seed)
    return {
        tag: {area: central_around(*pair, least=0) for area, *pair in zip(AREAS, *of_tag, strict=True)}
        for tag, *of_tag in zip(predictions.tags, values, replicated, strict=True)
    }


def replicated_areas(predictions: Predictions, *, replicates: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return macro ROC-AUC and PR-AUC of the clips and of each bootstrap replicate.

    The draws depend only on the groups of the clips and on the seed. Models scored on the same clips therefore get the
    same draws, and their replicates can be subtracted one by one.

    Args:
        predictions: labels, scores and groups of the clips.
        replicates: number of bootstrap replicates.
        seed: seed of the bootstrap.

    Returns:
        Two arrays: [2] for the clips, and [2, replicates] for groups drawn with replacement.
    """
    values, replicated = _tag_areas(predictions, replicates, seed)
    return _mean_of_defined(values), _mean_of_defined(replicated)


def rank(labels: np.ndarray, scores: np.ndarray) -> Ranking:
    """Rank the clips whose label of one tag is known.

    Args:
        labels: int8 [clips], 1, 0 or -1 for unknown.
        scores: float [clips].
    """
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
    """Return ROC-AUC and PR-AUC of one tag, equal to those of scikit-learn with `sample_weight`.

    Args:
        ranking: clips of the tag, ranked by score.
        weights: float64 [clips, replicates], whole numbers.

    Returns:
        Two arrays [replicates]; NaN where the drawn clips are all positive or all negative.
    """
    if not ranking.starts.size:
        return (np.full(weights.shape[1], np.nan),) * 2
    total, positive = _segment_weights(ranking, weights)
    positive_above, total_above = positive.cumsum(axis=0), total.cumsum(axis=0)  # including the segment itself
    positives, negatives = positive_above[-1], total_above[-1] - positive_above[-1]
    negative = total - positive
    outranked = negatives - (total_above - positive_above) + negative / 2  # a tie counts as half a win
    precision = positive_above / np.maximum(total_above, 1)  # weights are whole: only an empty sum is below 1
    with np.errstate(invalid="ignore", divide="ignore"):
        roc_auc = (positive * outranked).sum(axis=0) / (positives * negatives)
        pr_auc = (positive * precision).sum(axis=0) / positives
    return roc_auc, np.where(negatives > 0, pr_auc, np.nan)


def _segment_weights(ranking: Ranking, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the weight of all clips and of the positive clips in each segment, both [segments, replicates]."""
    ranked = weights[ranking.order]
    total = np.add.reduceat(ranked, ranking.starts, axis=0)
    ranked *= ranking.positive[:, None]
    return total, np.add.reduceat(ranked, ranking.starts, axis=0)


def _draw(groups: np.ndarray, replicates: int, generator: np.random.Generator) -> Iterator[np.ndarray]:
    """Yield the weights of the clips [clips, block] for all replicates, block by block."""
    names, group_of_clip = np.unique(groups, return_inverse=True)
    chances = np.full(names.size, 1 / names.size)
    block = max(1, BLOCK_WEIGHTS // groups.size)
    for start in range(0, replicates, block):
        draws = generator.multinomial(names.size, chances, size=min(block, replicates - start))
        yield draws.T.astype(np.float64)[group_of_clip]


def _tag_areas(predictions: Predictions, replicates: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return ROC-AUC and PR-AUC of each tag [tags, 2], and of each bootstrap replicate [tags, 2, replicates]."""
    rankings = [rank(*columns) for columns in zip(predictions.labels.T, predictions.scores.T, strict=True)]
    values = _areas(rankings, np.ones((len(predictions.groups), 1)))
    draws = _draw(predictions.groups, replicates, np.random.default_rng(seed))
    return values[..., 0], np.concatenate([_areas(rankings, weights) for weights in draws], axis=2)


def _areas(rankings: Sequence[Ranking], weights: np.ndarray) -> np.ndarray:
    """Return ROC-AUC and PR-AUC [tags, 2, replicates] of clips with weights [clips, replicates]."""
    return np.array([weighted_areas(ranking, weights) for ranking in rankings])


def _mean_of_defined(areas: np.ndarray) -> np.ndarray:
    """Average areas [tags, ...] over the tags whose area is not NaN. The result is NaN if all of them are NaN."""
    defined = ~np.isnan(areas)
    with np.errstate(invalid="ignore"):
        means: np.ndarray = np.where(defined, areas, 0).sum(axis=0) / defined.sum(axis=0)
    return means


def central_around(value: float, replicates: np.ndarray, *, least: float) -> Interval:
    """Return the central 95 % of the replicates, shifted so that their mean is `value`.

    Args:
        value: the area measured on all clips.
        replicates: float [replicates], NaN where undefined.
        least: lower limit to which the interval is clipped; the upper limit is 1.
    """
    defined = replicates[~np.isnan(replicates)]
    if not defined.size:
        return Interval(np.nan, np.nan)
    tail = (1 - COVERAGE) / 2
    low, high = np.clip(np.quantile(defined, [tail, 1 - tail]) + value - defined.mean(), least, 1)
    return Interval(float(low), float(high))
