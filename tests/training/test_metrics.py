"""The running AUCs compared with scikit-learn."""

import keras
import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from genre_tagger.training.metrics import running_aucs

CLIPS, TAGS = 600, 6


@pytest.fixture
def case():
    """Labels and scores: most scores are near 0, one tag has no positives, and some labels are unknown."""
    rng = np.random.default_rng(3)
    labels = (rng.random((CLIPS, TAGS)) < 0.1).astype(np.float32)
    labels[:, 4] = 0
    scores = 1 / (1 + np.exp(-(rng.normal(-6, 1.5, (CLIPS, TAGS)) + 1.5 * labels)))
    labels[rng.random((CLIPS, TAGS)) < 0.2] = -1
    return labels, scores.astype(np.float32)


def expected_roc_auc(labels, scores) -> float:
    areas = [
        roc_auc_score(labels[known, tag], scores[known, tag])
        for tag in (0, 1, 2, 3, 5)
        for known in [labels[:, tag] >= 0]
    ]
    return float(np.mean(areas))


def test_equal_scikit_learn_on_crowded_scores_with_unknown_labels(case):
    labels, scores = case
    metric, _ = running_aucs([True, True, True, True, False, True])
    for start in range(0, CLIPS, 100):
        metric.update_state(labels[start : start + 100], scores[start : start + 100])
    assert float(metric.result()) == pytest.approx(expected_roc_auc(labels, scores), abs=2e-3)


def test_perfect_ranking_gives_one_for_both_curves():
    labels = np.eye(4, dtype=np.float32)
    for metric in running_aucs([True] * 4):
        metric.update_state(labels, 0.1 + 0.8 * labels)
        assert float(metric.result()) == pytest.approx(1.0, abs=1e-3)


def test_serialisation_keeps_curve_weights_and_thresholds(case):
    labels, scores = case
    for metric in running_aucs([True, True, True, True, False, True]):
        copy = keras.metrics.deserialize(keras.metrics.serialize(metric))
        results = []
        for one in (metric, copy):
            one.update_state(labels, scores)
            results.append(float(one.result()))
        assert results[0] == pytest.approx(results[1], abs=1e-6)
