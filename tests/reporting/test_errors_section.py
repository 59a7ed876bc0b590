import numpy as np
import pytest

from genre_tagger.evaluation.predictions import Predictions
from genre_tagger.reporting.errors_section import Mistake, largest_mistakes

THRESHOLDS = np.array([0.5, 0.2])


@pytest.fixture
def predictions():
    """Predictions for six clips of five groups with the tags a (threshold 0.5) and b (threshold 0.2)."""
    rows = [  # group, labels, scores
        ("x", (0, 0), (0.90, 0.10)),  # a is a false positive
        ("x", (0, 1), (0.95, 0.90)),  # the same with more confidence, in the same group
        ("y", (0, -1), (0.40, 0.99)),  # no mistake: a is below its threshold, b is unknown
        ("z", (1, 0), (0.30, 0.25)),  # a is a false negative, b a false positive by its own threshold
        ("v", (1, 1), (0.50, 0.05)),  # a is predicted at exactly its threshold, b is a false negative
        ("w", (1, 1), (0.10, 0.19)),  # both are false negatives, a with more confidence
    ]
    groups, labels, scores = zip(*rows, strict=True)
    ids = [str(number) for number in range(6)]
    split = np.full(6, "test")
    return Predictions(ids, np.array(groups), split, ("a", "b"), np.int8(labels), np.float32(scores))


def test_false_positives_are_ranked_by_confidence_with_one_clip_per_group(predictions):
    found = largest_mistakes(predictions, THRESHOLDS, label=0, count=5)
    assert found == [Mistake(1, 0, np.float32(0.95)), Mistake(3, 1, np.float32(0.25))]


def test_false_negatives_are_ranked_by_confidence(predictions):
    found = largest_mistakes(predictions, THRESHOLDS, label=1, count=5)
    assert [(mistake.row, mistake.tag) for mistake in found] == [(4, 1), (5, 0), (3, 0)]


def test_at_most_count_clips_are_returned(predictions):
    assert [mistake.row for mistake in largest_mistakes(predictions, THRESHOLDS, label=1, count=2)] == [4, 5]


def test_a_perfect_model_has_no_mistakes(predictions):
    thresholds = np.array([0.96, 0.995])
    assert largest_mistakes(predictions, thresholds, label=0, count=5) == []
