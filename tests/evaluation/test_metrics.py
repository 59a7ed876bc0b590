import json
import math

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from genre_tagger.evaluation.metrics import compute_metrics

TAGS = ("mixed", "unknown row", "never", "always", "unknown")
LABELS = np.int8([[1, 1, 0, 1, -1], [0, -1, 0, 1, -1], [1, 0, 0, -1, -1], [0, 0, -1, 1, -1]])
# mixed: positives 0.8 and 0.5 win 3.5 of 4 comparisons with negatives 0.5 and 0.1; unknown row: its 0.99 must not count
SCORES = np.float32(
    [[0.8, 0.4, 0.1, 0.1, 0.3], [0.5, 0.99, 0.2, 0.2, 0.2], [0.5, 0.6, 0.3, 0.3, 0.1], [0.1, 0.2, 0, 0, 0]]
)


def test_areas_equal_those_computed_by_hand():
    tags = compute_metrics(LABELS, SCORES, TAGS).tags
    assert tags["mixed"].roc_auc == pytest.approx(3.5 / 4)
    assert tags["mixed"].pr_auc == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
    assert tags["unknown row"].roc_auc == pytest.approx(1 / 2)
    assert tags["unknown row"].pr_auc == pytest.approx(1 / 2)
    assert (tags["unknown row"].positives, tags["unknown row"].negatives) == (1, 2)


def test_undefined_tags_are_listed_and_left_out_of_the_averages():
    metrics = compute_metrics(LABELS, SCORES, TAGS)
    assert metrics.left_out == ("never", "always", "unknown")
    assert [(s.positives, s.negatives) for s in metrics.tags.values()][2:] == [(0, 3), (3, 0), (0, 0)]
    assert all(math.isnan(metrics.tags[tag].roc_auc) and math.isnan(metrics.tags[tag].pr_auc) for tag in TAGS[2:])
    assert metrics.roc_auc == pytest.approx((3.5 / 4 + 1 / 2) / 2)
    assert metrics.pr_auc == pytest.approx((5 / 6 + 1 / 2) / 2)


def test_metrics_equal_scikit_learn_if_all_labels_are_known(predictions):
    labels = np.abs(predictions.labels)
    metrics = compute_metrics(labels, predictions.scores, predictions.tags)
    assert metrics.roc_auc == pytest.approx(roc_auc_score(labels, predictions.scores, average="macro"))
    assert metrics.pr_auc == pytest.approx(average_precision_score(labels, predictions.scores, average="macro"))


def test_averages_are_nan_if_no_tag_is_defined():
    metrics = compute_metrics(LABELS[:, 2:], SCORES[:, 2:], TAGS[2:])
    assert math.isnan(metrics.roc_auc) and math.isnan(metrics.pr_auc)


def test_to_dict_is_valid_json_with_null_for_undefined_values():
    metrics = compute_metrics(LABELS, SCORES, TAGS)
    answer = json.loads(json.dumps(metrics.to_dict(), allow_nan=False))
    assert answer["tags"]["never"] == {"roc_auc": None, "pr_auc": None, "positives": 0, "negatives": 3}
    assert answer["tags"]["mixed"]["roc_auc"] == pytest.approx(3.5 / 4)
    assert answer["left_out"] == ["never", "always", "unknown"]
    assert answer["roc_auc"] == pytest.approx(metrics.roc_auc)
    empty = compute_metrics(LABELS[:, 2:], SCORES[:, 2:], TAGS[2:]).to_dict()
    assert (empty["roc_auc"], empty["pr_auc"]) == (None, None)
