"""The section on calibration: of the labels that the model predicts with probability 0.7, are 70 % positive?

See Guo et al., "On Calibration of Modern Neural Networks", arXiv 1706.04599.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib import figure
from matplotlib.ticker import NullFormatter
from scipy.stats import binomtest

from genre_tagger.evaluation.plots import BAR, DPI, MARK, TRAINING
from genre_tagger.reporting.content import (
    Cell,
    ReportFigure,
    ReportSection,
    ReportTable,
    count,
    interval_text,
    name,
    number,
)
from genre_tagger.reporting.evaluated_run import Evaluated
from genre_tagger.sources.clips import UNKNOWN

BINS = 10
WIDTH, HEIGHT = 6.5, 6.5  # inches
LEAST_SHOWN = 0.5  # labels; below 1, so that the bar of a single label is visible


@dataclass(frozen=True)
class Bin:
    """The known labels whose predicted probability is in one bin.

    Attributes:
        edges: lower and upper edge of the bin; a probability on an edge belongs to the lower bin.
        labels: number of labels.
        predicted: mean of the predicted probabilities.
        observed: share of the labels that are positive.
        low, high: 95 % Wilson interval of the share, which treats the labels as independent.
    """

    edges: tuple[float, float]
    labels: int
    predicted: float
    observed: float
    low: float
    high: float


def calibration_section(evaluated: Evaluated) -> ReportSection:
    """Return the section with the reliability diagram of all tags together, and its numbers."""
    predictions = evaluated.predictions
    bins = reliability(predictions.labels, predictions.scores)
    known = predictions.labels != UNKNOWN
    predicted, observed = predictions.scores[known].mean(), predictions.labels[known].mean()
    lines = [
        f"Over all tags and {evaluated.metrics['split']} clips, the mean predicted probability is {predicted:.3f}, and "
        f"the share of positive labels is {observed:.3f}. The calibration error is the mean absolute difference "
        f"between the two over {BINS} bins, weighted by the number of labels in each bin. It is overestimated if there "
        "are few clips.",
        "The intervals are Wilson intervals, which assume that labels are independent. The labels of one song are not "
        "independent, so the true intervals are wider.",
    ]
    figure = ReportFigure(
        plot_reliability(bins),
        "Share of positive labels by predicted probability, and number of labels in each bin",
    )
    return ReportSection("calibration", "Calibration", lines, figures=[figure], tables=[_bin_table(bins)])


def reliability(labels: np.ndarray, scores: np.ndarray, bins: int = BINS) -> list[Bin]:
    """Sort the known labels into bins of equal width.

    Args:
        labels: int8 of any shape, 1, 0 or -1 for unknown.
        scores: float of the same shape, from 0 to 1.
        bins: number of bins from 0 to 1.

    Returns:
        The bins that are not empty, lowest first.
    """
    known = labels != UNKNOWN
    truth, probabilities = labels[known], scores[known].astype(np.float64)
    edges = np.linspace(0, 1, bins + 1)
    members = np.searchsorted(edges[1:-1], probabilities)
    return [
        _bin((edges[number], edges[number + 1]), truth[members == number], probabilities[members == number])
        for number in np.unique(members)
    ]


def calibration_error(bins: Sequence[Bin]) -> float:
    """Return the expected calibration error.

    It is the mean absolute difference between predicted and observed, weighted by the number of labels in each bin. It
    is NaN if there are no labels.
    """
    labels = sum(one.labels for one in bins)
    return sum(one.labels * abs(one.predicted - one.observed) for one in bins) / labels if labels else np.nan


def plot_reliability(bins: Sequence[Bin]) -> bytes:
    """Return a PNG of the observed share by predicted probability, with the number of labels in each bin below it."""
    drawing = figure.Figure(figsize=(WIDTH, HEIGHT), dpi=DPI, layout="constrained")
    top, below = drawing.subplots(2, 1, sharex=True, height_ratios=(4, 1))
    observed = np.array([one.observed for one in bins])
    outside = [observed - [one.low for one in bins], [one.high for one in bins] - observed]
    top.plot([0, 1], [0, 1], ":", color=MARK, label="perfectly calibrated")
    top.errorbar(
        [one.predicted for one in bins],
        observed,
        np.maximum(outside, 0),
        fmt="o-",
        color=TRAINING,
        capsize=3,
        label="model, 95 % Wilson interval",
    )
    top.set(title="Reliability", ylabel="share of positive labels", xlim=(0, 1), ylim=(-0.02, 1.02))
    top.legend(loc="upper left")
    edges = np.array([one.edges for one in bins]).reshape(-1, 2)
    below.bar(edges[:, 0], [one.labels for one in bins], np.diff(edges)[:, 0], align="edge", color=BAR, edgecolor="w")
    below.set(xlabel="predicted probability", ylabel="labels", yscale="log")
    below.set_ylim(bottom=LEAST_SHOWN)
    below.yaxis.set_minor_formatter(NullFormatter())
    for axes in (top, below):
        axes.grid(alpha=0.3)
        axes.set_axisbelow(True)
    buffer = io.BytesIO()
    drawing.savefig(buffer, format="png")
    return buffer.getvalue()


def _bin_table(bins: Sequence[Bin]) -> ReportTable:
    rows = [
        [
            name(f"{one.edges[0]:.1f} to {one.edges[1]:.1f}"),
            count(one.labels),
            number(one.predicted),
            Cell(number(one.observed).text, one.observed, interval_text(one.low, one.high)),
        ]
        for one in bins
    ]
    return ReportTable("Labels by predicted probability", ("probability", "labels", "predicted", "observed"), rows)


def _bin(edges: tuple[float, float], truth: np.ndarray, probabilities: np.ndarray) -> Bin:
    bounds = binomtest(int(truth.sum()), truth.size).proportion_ci(method="wilson")
    return Bin(edges, truth.size, probabilities.mean(), truth.mean(), bounds.low, bounds.high)
