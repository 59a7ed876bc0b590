"""Pairs of models with the same draws for both, compared with a loop of scikit-learn over copied clips."""

from dataclasses import replace

import numpy as np
import pytest
from facts import expect_error

from genre_tagger.evaluation.metrics import compute_metrics
from genre_tagger.evaluation.paired import check_same_clips, figures, pair_table, replicate, verdict

REPLICATES = 15


def with_noise(predictions, seed, noise):
    """Return the predictions of another model for the same clips."""
    scores = predictions.scores + noise * np.random.default_rng(seed).standard_normal(predictions.scores.shape)
    return replace(predictions, scores=np.clip(scores, 0, 1).astype(np.float32))


@pytest.fixture
def runs(predictions):
    """Two models with two runs each; the first model has less noise."""
    return {
        name: {seed: with_noise(predictions, seed + 10 * noise, noise) for seed in (0, 1)}
        for name, noise in (("good", 1), ("bad", 2))
    }


def areas(predictions, times):
    """Return ROC-AUC and PR-AUC [2] of clips that are copied `times` times."""
    labels, scores = (np.repeat(array, times, axis=0) for array in (predictions.labels, predictions.scores))
    metrics = compute_metrics(labels, scores, predictions.tags)
    return np.array([metrics.roc_auc, metrics.pr_auc])


def by_hand(runs, predictions):
    """Return the areas [2] of the clips and [replicates, 2] of drawn groups, averaged over the runs of a model."""
    names = np.unique(predictions.groups)
    draws = np.random.default_rng(5).multinomial(names.size, np.full(names.size, 1 / names.size), size=REPLICATES)
    times = [draw[np.searchsorted(names, predictions.groups)] for draw in draws]
    once = np.ones(len(predictions.clip_ids), int)
    value = np.mean([areas(run, once) for run in runs.values()], axis=0)
    return value, np.array([np.mean([areas(run, time) for run in runs.values()], axis=0) for time in times])


def quantiles(value, replicates):
    return np.quantile(replicates - replicates.mean(axis=0) + value, [0.025, 0.975], axis=0)


def test_pairs_equal_explicit_resampling(runs, predictions):
    models = {name: replicate(own, replicates=REPLICATES, seed=5) for name, own in runs.items()}
    (good, good_drawn), (bad, bad_drawn) = (by_hand(own, predictions) for own in runs.values())
    low, high = quantiles(good - bad, good_drawn - bad_drawn)
    table = pair_table(models)
    assert table["area"].tolist() == ["roc_auc", "pr_auc"]
    assert table["difference"].to_numpy() == pytest.approx(good - bad, abs=1e-12)
    assert table["low"].to_numpy() == pytest.approx(low, abs=1e-12)
    assert table["high"].to_numpy() == pytest.approx(high, abs=1e-12)
    assert table["smallest"].to_numpy() == pytest.approx((high - low) / 2, abs=1e-12)
    once = np.ones(len(predictions.clip_ids), int)
    single = [areas(runs["good"][seed], once) - areas(runs["bad"][seed], once) for seed in (0, 1)]
    assert table["least_seed"].to_numpy() == pytest.approx(np.min(single, axis=0), abs=1e-12)
    assert table["most_seed"].to_numpy() == pytest.approx(np.max(single, axis=0), abs=1e-12)


def test_figures_are_averages_over_runs_with_intervals(runs, predictions):
    row = figures(replicate(runs["good"], replicates=REPLICATES, seed=5))
    value, drawn = by_hand(runs["good"], predictions)
    low, high = quantiles(value, drawn)
    assert [row["roc_auc"], row["pr_auc"]] == pytest.approx(value, abs=1e-12)
    assert [row["roc_auc_low"], row["pr_auc_high"]] == pytest.approx([low[0], high[1]], abs=1e-12)


def test_a_paired_interval_is_narrower_and_uses_the_common_seeds(predictions):
    first = {seed: with_noise(predictions, seed, 0.02) for seed in (0, 1)}
    second = {seed: with_noise(predictions, seed + 9, 0.02) for seed in (1, 2)}
    models = {"first": replicate(first), "second": replicate(second), "alone": replicate({7: first[0]})}
    table = pair_table(models)
    assert table["seeds"].tolist() == [1, 1]
    row = figures(models["first"])
    assert 2 * table["smallest"][0] < (row["roc_auc_high"] - row["roc_auc_low"]) / 2
    assert table["difference"][0] == pytest.approx(models["first"].values[1][0] - models["second"].values[1][0])


def test_the_order_of_clips_does_not_matter_but_other_clips_raise_an_error(predictions):
    rows = np.random.default_rng(0).permutation(len(predictions.clip_ids))
    shuffled = replace(
        predictions,
        clip_ids=[predictions.clip_ids[row] for row in rows],
        **{name: getattr(predictions, name)[rows] for name in ("groups", "splits", "labels", "scores")},
    )
    check_same_clips(shuffled, predictions, "shuffled")
    table = pair_table({"one": replicate({0: predictions}), "two": replicate({0: shuffled})})
    assert np.abs(table[["difference", "low", "high"]].to_numpy()).max() < 1e-12
    with expect_error("runs/two", "200 clips", "4 tags"):
        check_same_clips(replace(predictions, tags=("other", *predictions.tags[1:])), predictions, "runs/two")


@pytest.mark.parametrize(
    ("low", "high", "by_seed", "expected"),
    [
        (0.01, 0.02, [0.001, 0.02], "confirmed"),
        (-0.02, -0.01, [-0.03, -0.01], "refuted"),
        (-0.01, 0.02, [0.01, 0.02], "inconclusive"),
        (0, 0.1, [0.1, 0.1], "inconclusive"),
        (0.01, 0.02, [-0.001, 0.03], "inconclusive"),  # one seed contradicts the interval
        (-0.02, -0.01, [-0.03, 0.001], "inconclusive"),
        (0.5, 0.5, [0.5], "inconclusive"),  # with two groups, all defined draws can be the same
        (np.nan, np.nan, [0.1], "inconclusive"),
    ],
)
def test_verdicts(low, high, by_seed, expected):
    assert verdict(low, high, by_seed) == expected
