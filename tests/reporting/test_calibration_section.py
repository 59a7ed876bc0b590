import io
import math

import numpy as np
import pandas as pd
import pytest
from matplotlib.image import imread
from sklearn.calibration import calibration_curve

from genre_tagger.reporting.calibration_section import calibration_error, plot_reliability, reliability


@pytest.fixture
def labels_and_scores():
    """Labels, int8 [clips, tags], some unknown, and overconfident scores, some on the edges of bins."""
    rng = np.random.default_rng(0)
    scores = rng.random((300, 4)).round(2)
    labels = (rng.random(scores.shape) < scores**2).astype(np.int8)
    labels[rng.random(scores.shape) < 0.2] = -1
    return labels, scores


def test_the_bins_equal_those_of_scikit_learn(labels_and_scores):
    labels, scores = labels_and_scores
    known = labels >= 0
    observed, predicted = calibration_curve(labels[known], scores[known], n_bins=10)
    bins = reliability(labels, scores)
    np.testing.assert_allclose([one.observed for one in bins], observed)
    np.testing.assert_allclose([one.predicted for one in bins], predicted)
    assert sum(one.labels for one in bins) == known.sum()
    assert all(low <= one.predicted <= high for one in bins for low, high in [one.edges])


def test_intervals_are_wilson_intervals():
    (one,) = reliability(np.int8([1, 1, 1, 0, -1]), np.full(5, 0.75))
    z, share, labels = 1.959964, 3 / 4, 4
    middle = (share + z**2 / (2 * labels)) / (1 + z**2 / labels)
    half = z / (1 + z**2 / labels) * math.sqrt(share * (1 - share) / labels + z**2 / (4 * labels**2))
    assert (one.low, one.high) == pytest.approx((middle - half, middle + half), abs=1e-6)


def test_the_error_is_weighted_by_the_number_of_labels():
    labels = np.int8([0, 0, 0, 1, 1, 0, -1])
    scores = np.array([0.05, 0.05, 0.05, 0.05, 0.95, 0.95, 0.95])
    bins = reliability(labels, scores)  # 4 labels: 0.05 predicted, 0.25 observed; 2 labels: 0.95 and 0.5
    assert calibration_error(bins) == pytest.approx((4 * 0.20 + 2 * 0.45) / 6)


def test_overconfident_scores_have_a_larger_error_than_calibrated_ones(labels_and_scores):
    _, scores = labels_and_scores
    calibrated = (np.random.default_rng(1).random(scores.shape) < scores).astype(np.int8)
    squared = (np.random.default_rng(1).random(scores.shape) < scores**2).astype(np.int8)
    assert calibration_error(reliability(calibrated, scores)) < 0.04
    # expected: the integral of x - x^2 from 0 to 1
    assert calibration_error(reliability(squared, scores)) == pytest.approx(1 / 6, abs=0.03)


def test_without_known_labels_there_are_no_bins():
    bins = reliability(np.full(3, -1, np.int8), np.array([0.1, 0.2, 0.3]))
    assert bins == [] and math.isnan(calibration_error(bins))
    assert plot_reliability(bins).startswith(b"\x89PNG")


def test_the_diagram_shows_bins_with_intervals_and_numbers_of_labels(labels_and_scores, drawn):
    labels, scores = labels_and_scores
    known = labels >= 0
    bins = reliability(labels, scores)
    pixels = imread(io.BytesIO(plot_reliability(bins)))
    assert pixels.shape[:2] == (650, 650)
    (figure,) = drawn
    top, below = figure.axes
    points, _, (intervals,) = top.containers[0].lines
    observed, predicted = calibration_curve(labels[known], scores[known], n_bins=10)
    np.testing.assert_allclose(points.get_xydata(), np.stack([predicted, observed], axis=1))
    ends = [segment[:, 1] for segment in intervals.get_segments()]
    np.testing.assert_allclose(ends, [(one.low, one.high) for one in bins])
    counts = pd.cut(scores[known], np.linspace(0, 1, 11), include_lowest=True).value_counts()
    assert [bar.get_height() for bar in below.patches] == counts.tolist()
    assert [bar.get_x() for bar in below.patches] == pytest.approx(np.arange(10) / 10)
