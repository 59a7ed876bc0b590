from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from genre_tagger.evaluation import bootstrap
from genre_tagger.evaluation.bootstrap import interval, rank, tag_intervals, weighted_areas
from genre_tagger.evaluation.metrics import compute_metrics
from genre_tagger.evaluation.predictions import Predictions


def width(interval: tuple[float, float]) -> float:
    return interval[1] - interval[0]


@pytest.mark.parametrize("levels", [3, 20, 10_000])  # nearly all scores equal, some equal, hardly any equal
@pytest.mark.parametrize("share", [0.05, 0.5, 0.95])
def test_weighted_areas_equal_scikit_learn(levels, share):
    rng = np.random.default_rng(levels)
    labels = np.where(rng.random(300) < 0.1, -1, rng.random(300) < share).astype(np.int8)
    scores = (rng.integers(0, levels, 300) / levels).astype(np.float32)
    weights = rng.integers(0, 4, (300, 7)).astype(float)
    roc_auc, pr_auc = weighted_areas(rank(labels, scores), weights)
    known = labels >= 0
    for replicate in range(7):
        arguments = {"y_true": labels[known], "y_score": scores[known], "sample_weight": weights[known, replicate]}
        assert roc_auc[replicate] == pytest.approx(roc_auc_score(**arguments), abs=1e-12)
        assert pr_auc[replicate] == pytest.approx(average_precision_score(**arguments), abs=1e-12)


def test_replicates_without_positives_or_negatives_are_undefined():
    ranking = rank(np.int8([1, 1, 0]), np.float32([0.9, 0.2, 0.4]))
    weights = np.array([[0, 1, 1, 0], [0, 1, 0, 0], [2, 0, 1, 0]], float)  # no positive, no negative, both, no clip
    roc_auc, pr_auc = weighted_areas(ranking, weights)
    np.testing.assert_array_equal(roc_auc, [np.nan, np.nan, 1, np.nan])
    np.testing.assert_array_equal(pr_auc, [np.nan, np.nan, 1, np.nan])
    unknown = weighted_areas(rank(np.int8([-1, -1, -1]), np.float32([0.9, 0.2, 0.4])), weights)
    assert np.isnan(unknown).all() and np.shape(unknown) == (2, 4)


def test_interval_equals_explicit_resampling(predictions, monkeypatch):
    """The reference draws the same groups, copies their clips, and calls scikit-learn once per replicate."""
    monkeypatch.setattr(bootstrap, "BLOCK_WEIGHTS", 7 * len(predictions.clip_ids))  # blocks of 7, 7 and 6 replicates
    names = np.unique(predictions.groups)
    draws = np.random.default_rng(5).multinomial(names.size, np.full(names.size, 1 / names.size), size=20)
    values = []
    for draw in draws:
        times = draw[np.searchsorted(names, predictions.groups)]
        labels, scores = (np.repeat(array, times, axis=0) for array in (predictions.labels, predictions.scores))
        metrics = compute_metrics(labels, scores, predictions.tags)
        values.append((metrics.roc_auc, metrics.pr_auc))
    metrics = compute_metrics(predictions.labels, predictions.scores, predictions.tags)
    shifted = values - np.mean(values, axis=0) + np.array([metrics.roc_auc, metrics.pr_auc])
    expected = np.quantile(shifted, [0.025, 0.975], axis=0)
    answer = interval(predictions, replicates=20, seed=5)
    assert answer["roc_auc"] == pytest.approx(expected[:, 0], abs=1e-12)
    assert answer["pr_auc"] == pytest.approx(expected[:, 1], abs=1e-12)


def test_a_tag_missing_from_a_replicate_is_left_out_of_its_average_only(predictions):
    """A tag has a single positive, which is missing from a third of the replicates. These average the other tags."""
    labels = predictions.labels.copy()
    labels[:, 0] = 0
    labels[0, 0] = 1
    answer = interval(replace(predictions, labels=labels), replicates=50)
    assert np.isfinite([answer["roc_auc"], answer["pr_auc"]]).all()
    alone = Predictions(
        predictions.clip_ids, predictions.groups, predictions.splits, ("piano",), labels[:, :1] * 0, labels[:, :1] * 0.5
    )
    assert np.isnan(interval(alone, replicates=5)["roc_auc"]).all()


def test_the_interval_contains_the_value_and_depends_only_on_the_seed(predictions):
    metrics = compute_metrics(predictions.labels, predictions.scores, predictions.tags)
    answer = interval(predictions, replicates=200, seed=1)
    assert answer["roc_auc"].low < metrics.roc_auc < answer["roc_auc"].high
    assert answer["pr_auc"].low < metrics.pr_auc < answer["pr_auc"].high
    assert interval(predictions, replicates=200, seed=1) == answer
    assert interval(predictions, replicates=200, seed=2) != answer


def test_the_interval_contains_the_value_with_few_groups_and_rare_tags(predictions_of):
    predictions = predictions_of(clips=12, groups=3)
    metrics = compute_metrics(predictions.labels, predictions.scores, predictions.tags)
    answer = interval(predictions)
    for area in ("roc_auc", "pr_auc"):
        assert answer[area].low <= getattr(metrics, area) <= answer[area].high


def test_perfect_scores_have_no_spread(predictions):
    perfect = replace(predictions, scores=np.maximum(predictions.labels, 0).astype(np.float32))
    assert interval(perfect, replicates=50) == {"roc_auc": (1.0, 1.0), "pr_auc": (1.0, 1.0)}


def test_more_groups_narrow_the_interval(predictions_of):
    few, many = (interval(predictions_of(clips=clips, groups=clips // 4), replicates=200) for clips in (120, 1920))
    # 16 times the groups: about a quarter of the width; 200 replicates leave some sampling error
    assert 2.5 < width(few["roc_auc"]) / width(many["roc_auc"]) < 6
    assert width(many["pr_auc"]) < width(few["pr_auc"])


def test_groups_of_equal_clips_widen_the_interval(predictions_of):
    """Eight copies of a clip are no more evidence than one clip. An interval over single clips would be too narrow."""
    songs = predictions_of(clips=60, groups=10**6)
    copies = np.repeat(np.arange(60), 8)
    by_song = Predictions(
        clip_ids=[str(number) for number in range(copies.size)],
        groups=songs.groups[copies],
        splits=songs.splits[copies],
        tags=songs.tags,
        labels=songs.labels[copies],
        scores=songs.scores[copies],
    )
    by_clip = replace(by_song, groups=np.array(by_song.clip_ids))
    clustered, naive = (width(interval(p, replicates=300)["roc_auc"]) for p in (by_song, by_clip))
    assert 2 < clustered / naive < 4  # expected: the square root of 8


def test_the_interval_of_a_tag_equals_that_of_the_tag_alone(predictions):
    labels = predictions.labels.copy()
    labels[:, 1] = 0
    some = replace(predictions, labels=labels)
    answer = tag_intervals(some, replicates=30, seed=2)
    assert list(answer) == list(some.tags)
    for column, tag in enumerate(some.tags):
        alone = replace(some, tags=(tag,), labels=labels[:, [column]], scores=some.scores[:, [column]])
        expected = interval(alone, replicates=30, seed=2)
        for area in expected:
            assert answer[tag][area] == pytest.approx(expected[area], nan_ok=True)
    assert np.isnan(answer[some.tags[1]]["roc_auc"]).all()
