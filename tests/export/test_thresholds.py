"""Thresholds against an exhaustive search, on known labels of validation clips alone."""

import numpy as np
import pytest
from sklearn.metrics import f1_score, precision_score, recall_score

from genre_tagger.errors import UserError
from genre_tagger.evaluation.predictions import read_predictions
from genre_tagger.export.thresholds import MIN_POSITIVES, choose_thresholds


@pytest.fixture(scope="module")
def predictions(run):
    return read_predictions(run.predictions)


def known(predictions, tag):
    """Labels and scores of the validation clips whose label is known."""
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
def test_an_unknown_objective_is_refused(predictions, objective):
    with pytest.raises(UserError, match="--objective: found"):
        choose_thresholds(predictions, objective)


def test_no_validation_clips_are_refused(predictions):
    with pytest.raises(UserError, match="valid clips"):
        choose_thresholds(predictions.of_split("test"))
