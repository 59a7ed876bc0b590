import numpy as np
import pytest

from genre_tagger.evaluation.predictions import Predictions
from genre_tagger.reporting.errors import Mistake, largest_mistakes

THRESHOLDS = np.array([0.5, 0.2])


@pytest.fixture
def predictions():
    """Of six clips of five groups with the tags a (threshold 0.5) and b (0.2)."""
    rows = [  # group, labels, scores
        ("x", (0, 0), (0.90, 0.10)),  # a is given and not true
        ("x", (0, 1), (0.95, 0.90)),  # the same, more confidently, of the same group
        ("y", (0, -1), (0.40, 0.99)),  # nothing is wrong: a is not given, b is unknown
        ("z", (1, 0), (0.30, 0.25)),  # a is missed; b is given and not true, by its own threshold
        ("v", (1, 1), (0.50, 0.05)),  # a is given at its threshold, b is missed
        ("w", (1, 1), (0.10, 0.19)),  # both are missed, a by more
    ]
    groups, labels, scores = zip(*rows, strict=True)
    ids = [str(number) for number in range(6)]
    split = np.full(6, "test")
    return Predictions(ids, np.array(groups), split, ("a", "b"), np.int8(labels), np.float32(scores))


def test_false_tags_are_ranked_by_confidence_one_clip_a_group(predictions):
    found = largest_mistakes(predictions, THRESHOLDS, label=0, count=5)
    assert found == [Mistake(1, 0, np.float32(0.95)), Mistake(3, 1, np.float32(0.25))]


def test_missed_tags_are_ranked_by_confidence(predictions):
    found = largest_mistakes(predictions, THRESHOLDS, label=1, count=5)
    assert [(mistake.row, mistake.tag) for mistake in found] == [(4, 1), (5, 0), (3, 0)]


def test_no_more_than_asked_for(predictions):
    assert [mistake.row for mistake in largest_mistakes(predictions, THRESHOLDS, label=1, count=2)] == [4, 5]


def test_a_perfect_model_has_none(predictions):
    thresholds = np.array([0.96, 0.995])
    assert largest_mistakes(predictions, thresholds, label=0, count=5) == []
