import warnings

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from genre_tagger.evaluation.baseline import fit_regressions, log_mel_statistics


def test_statistics_equal_those_computed_by_hand():
    log_mel = np.array([[0.0, -10.0], [4.0, -10.0], [2.0, -40.0]])
    means, deviations, steps = log_mel_statistics(log_mel).reshape(3, 2)
    np.testing.assert_allclose(means, [2, -20])
    np.testing.assert_allclose(deviations, [np.sqrt(8 / 3), np.sqrt(200)], rtol=1e-6)
    np.testing.assert_allclose(steps, [(4 + 2) / 2, (0 + 30) / 2])
    assert log_mel_statistics(log_mel).dtype == np.float32


def test_a_single_frame_has_zero_deviation_and_step():
    np.testing.assert_array_equal(log_mel_statistics(np.array([[3.0, -5.0]])), [3, -5, 0, 0, 0, 0])


@pytest.fixture(scope="module")
def features() -> np.ndarray:
    """Features on very different scales with highly correlated neighbours, as in log-mel statistics."""
    rng = np.random.default_rng(0)
    base = rng.normal(size=(600, 6))
    return (np.repeat(base, 4, axis=1) + 0.01 * rng.normal(size=(600, 24))) * np.logspace(-2, 3, 24) - 40


def test_learns_a_separable_tag_but_not_a_random_one(features):
    separable = features[:, 0] > np.median(features[:, 0])
    random = np.random.default_rng(1).random(600) < 0.5
    labels = np.stack([separable, random], axis=1).astype(np.int8)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # for example a solver that does not converge
        scores = fit_regressions(features[:400], labels[:400], features[400:])
    assert scores.shape == (200, 2) and scores.dtype == np.float32
    assert scores.min() >= 0 and scores.max() <= 1
    assert roc_auc_score(separable[400:], scores[:, 0]) > 0.95
    assert roc_auc_score(random[400:], scores[:, 1]) == pytest.approx(0.5, abs=0.15)


def test_unknown_labels_are_ignored(features):
    labels = (features[:, :1] > np.median(features[:, 0])).astype(np.int8)
    masked = labels.copy()
    masked[200:400] = -1
    scores = fit_regressions(features[:400], masked[:400], features[400:])
    # The scaler also uses the clips with unknown labels, so both fits get the same features.
    misled = masked.copy()
    misled[200:400] = 1 - labels[200:400]
    assert roc_auc_score(labels[400:], scores) > 0.95
    assert roc_auc_score(labels[400:], fit_regressions(features[:400], misled[:400], features[400:])) < 0.9


def test_a_tag_with_equal_labels_gets_a_constant_score(features):
    labels = np.tile(np.int8([1, 0, -1]), (400, 1))
    labels[::2] = -1
    scores = fit_regressions(features[:400], labels, features[400:])
    np.testing.assert_array_equal(scores, np.tile(np.float32([1, 0, 0]), (200, 1)))
