"""Calibration: of the labels that a model calls 70 % likely, are 70 % true? (Guo et al., arXiv 1706.04599)"""

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib import figure
from matplotlib.ticker import NullFormatter
from scipy.stats import binomtest

from genre_tagger.data.clips import UNKNOWN
from genre_tagger.evaluation.plots import BAR, DPI, MARK, TRAINING
from genre_tagger.reporting.evaluated import Evaluated
from genre_tagger.reporting.view import Cell, Figure, Section, Table, count, interval_text, name, number

BINS = 10
WIDTH, HEIGHT = 6.5, 6.5  # inches
LEAST_SHOWN = 0.5  # labels, so that the bar of a single one has a height


@dataclass(frozen=True)
class Bin:
    """The known labels whose predicted probability lies in `edges`.

    Attributes:
        edges: of the bin; a probability on an edge belongs to the bin below.
        labels: how many.
        predicted: mean of their probabilities.
        observed: the share of them that are true.
        low, high: 95 % interval of that share by counts alone (Wilson).
    """

    edges: tuple[float, float]
    labels: int
    predicted: float
    observed: float
    low: float
    high: float


def calibration_section(evaluated: Evaluated) -> Section:
    """The reliability diagram of all tags together, with its numbers."""
    predictions = evaluated.predictions
    bins = reliability(predictions.labels, predictions.scores)
    known = predictions.labels != UNKNOWN
    predicted, observed = predictions.scores[known].mean(), predictions.labels[known].mean()
    lines = [
        f"Over all tags and {evaluated.metrics['split']} clips the mean predicted probability is {predicted:.3f}, and "
        f"{observed:.3f} of the labels are true. The calibration error is the mean distance between the two over the "
        f"{BINS} bins, weighted by their labels; few clips raise it.",
        "The intervals are by counts, as if labels were independent. Those of one song are not, so the true intervals "
        "are wider.",
    ]
    figure = Figure(plot_reliability(bins), "Share of true labels by predicted probability, and the labels in each bin")
    return Section("calibration", "Calibration", lines, figures=[figure], tables=[_bin_table(bins)])


def reliability(labels: np.ndarray, scores: np.ndarray, bins: int = BINS) -> list[Bin]:
    """Bins of equal width that hold any known label, the lowest first.

    Args:
        labels: int8, 1, 0 or -1 for unknown, of any shape.
        scores: float, of the same shape, from 0 to 1.
        bins: of equal width from 0 to 1.
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
    """Expected calibration error: the mean distance of predicted from observed, by labels; NaN without any."""
    labels = sum(one.labels for one in bins)
    return sum(one.labels * abs(one.predicted - one.observed) for one in bins) / labels if labels else np.nan


def plot_reliability(bins: Sequence[Bin]) -> bytes:
    """A PNG of the observed share by predicted probability, and below it how many labels each bin has."""
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
        label="model, 95 % by counts",
    )
    top.set(title="Reliability", ylabel="share of labels that are true", xlim=(0, 1), ylim=(-0.02, 1.02))
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


def _bin_table(bins: Sequence[Bin]) -> Table:
    rows = [
        [
            name(f"{one.edges[0]:.1f} to {one.edges[1]:.1f}"),
            count(one.labels),
            number(one.predicted),
            Cell(number(one.observed).text, one.observed, interval_text(one.low, one.high)),
        ]
        for one in bins
    ]
    return Table("Labels by predicted probability", ("probability", "labels", "predicted", "observed"), rows)


def _bin(edges: tuple[float, float], truth: np.ndarray, probabilities: np.ndarray) -> Bin:
    bounds = binomtest(int(truth.sum()), truth.size).proportion_ci(method="wilson")
    return Bin(edges, truth.size, probabilities.mean(), truth.mean(), bounds.low, bounds.high)
