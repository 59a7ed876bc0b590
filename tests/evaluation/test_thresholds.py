"""Thresholds, compared with an exhaustive search over the known labels of the validation clips."""

import numpy as np
import pytest
from facts import expect_error
from sklearn.metrics import f1_score, precision_score, recall_score

from genre_tagger.errors import FieldError
from genre_tagger.evaluation.predictions import Predictions
from genre_tagger.evaluation.thresholds import MIN_POSITIVES, choose_thresholds

TAGS = ("rock", "piano", "slow", "no drums")


@pytest.fixture(scope="module")
def predictions():
    """40 validation clips and 30 test clips with some unknown labels; the last tag has 2 positives in each split."""
    rng = np.random.default_rng(0)
    splits = np.repeat(["valid", "test"], [40, 30])
    labels = rng.integers(0, 2, (len(splits), len(TAGS))).astype(np.int8)
    labels[rng.random(labels.shape) < 0.1] = -1
    labels[:, -1] = 0
    labels[[0, 1, -2, -1], -1] = 1
    scores = np.clip(rng.normal(0.4, 0.2, labels.shape) + 0.2 * (labels == 1), 0.001, 0.999).astype(np.float32)
    names = [f"clip{number}" for number in range(len(splits))]
    return Predictions(names, np.array(names), splits, TAGS, labels, scores)


def known(predictions, tag):
    """Return labels and scores of the validation clips whose label of the tag is known."""
    column = predictions.tags.index(tag)
    rows = (predictions.splits == "valid") & (predictions.labels[:, column] >= 0)
    return predictions.labels[rows, column], predictions.scores[rows, column]


def youden(truth, given):
    return recall_score(truth, given) - (given & (truth == 0)).sum() / (truth == 0).sum()


def recall_at_80(truth, given):
    precise = precision_score(truth, given, zero_division=0)
    return 1 + recall_score(truth, given) if precise >= 0.8 else precise


@pytest.mark.parametrize(
    ("objective", "merit"), [("f1", f1_score), ("youden", youden), ("precision:0.8", recall_at_80)]
)
def test_no_other_threshold_is_better(predictions, objective, merit):
    thresholds = choose_thresholds(predictions, objective)
    for tag in predictions.tags[:-1]:
        truth, scores = known(predictions, tag)
        best = max(merit(truth, scores >= candidate) for candidate in scores)
        assert merit(truth, scores >= np.float32(thresholds.tags[tag])) == pytest.approx(best)


def test_a_rare_tag_gets_the_threshold_of_all_tags(predictions):
    thresholds = choose_thresholds(predictions)
    assert thresholds.positives["no drums"] == 2 < MIN_POSITIVES
    assert thresholds.from_all_tags == ["no drums"]
    assert thresholds.tags["no drums"] == thresholds.all_tags
    truth, scores = map(np.concatenate, zip(*(known(predictions, tag) for tag in predictions.tags), strict=True))
    best = max(f1_score(truth, scores >= candidate) for candidate in scores)
    assert f1_score(truth, scores >= np.float32(thresholds.all_tags)) == pytest.approx(best)


@pytest.mark.parametrize("objective", ["f2", "precision", "precision:2", "precision:0", "precision:.0", ""])
def test_an_unknown_objective_raises_an_error(predictions, objective):
    with expect_error("objective", repr(objective), "f1", "youden", "precision:P", kind=FieldError) as error:
        choose_thresholds(predictions, objective)
    assert error.value.field == "objective"


def test_predictions_without_validation_clips_raise_an_error(predictions):
    with expect_error("thresholds", "valid clips"):
        choose_thresholds(predictions.of_split("test"))
