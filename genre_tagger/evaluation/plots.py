"""PNG plots of a run.

Figures are created without pyplot, because a library should not change the global state of pyplot.
"""

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from sklearn.metrics import precision_recall_curve, roc_curve

from genre_tagger.evaluation.metrics import Metrics, TagScores, compute_metrics
from genre_tagger.evaluation.predictions import Predictions
from genre_tagger.files import replacing
from genre_tagger.plotting import name_ticks
from genre_tagger.sources.clips import UNKNOWN

DPI = 100
WIDTH, HEIGHT = 12.0, 8.0  # inches: 1200 x 800 pixels
INCHES_PER_TAG = 0.25  # enough for the names of 50 tags not to overlap
TRAINING, VALIDATION, BAR, MARK, THIN = "tab:blue", "tab:orange", "#7fb1d8", "black", "0.75"
AREAS = {"roc_auc": "ROC-AUC", "pr_auc": "PR-AUC"}
LEFT_EDGES = {"roc_auc": 0.5, "pr_auc": 0.0}
GRID = np.linspace(0, 1, 501)


def plot_tags(
    path: Path, metrics: Metrics, baseline_metrics: Metrics | None = None, protocol: str | None = None
) -> None:
    """Plot ROC-AUC and PR-AUC of each defined tag as bars, highest ROC-AUC first, and the baseline as markers.

    Bars start at chance level: 0.5 for ROC-AUC, and the share of positives for PR-AUC.

    Args:
        path: PNG file to write.
        metrics: scores of the model.
        baseline_metrics: scores of the logistic-regression baseline.
        protocol: protocol of the data, named in the title.
    """
    defined = {tag: scores for tag, scores in metrics.tags.items() if scores.defined}
    tags = sorted(defined, key=lambda tag: defined[tag].roc_auc)
    figure = Figure(figsize=(WIDTH, max(HEIGHT, 2 + INCHES_PER_TAG * len(tags))), dpi=DPI, layout="constrained")
    figure.suptitle(f"Scores of {len(tags)} tags" + _protocol_note(protocol) + _left_out_note(metrics))
    for axes, area in zip(figure.subplots(1, 2, sharey=True), AREAS, strict=True):
        _draw_bars(axes, metrics, tags, area)
        if baseline_metrics:
            baseline_values = [getattr(baseline_metrics.tags[tag], area) for tag in tags]
            axes.plot(
                baseline_values, range(len(tags)), "d", color=MARK, markersize=5, label="logistic-regression baseline"
            )
        axes.set_xlim(max(0, min(LEFT_EDGES[area], axes.get_xlim()[0])), 1)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    _save(figure, path)


def plot_curves(path: Path, predictions: Predictions) -> None:
    """Plot the ROC and precision-recall curves of the defined tags as thin lines and their average as a bold line.

    Args:
        path: PNG file to write.
        predictions: predictions for the clips; unknown labels are ignored.
    """
    metrics = compute_metrics(predictions.labels, predictions.scores, predictions.tags)
    curves = [_tag_curves(predictions, index) for index, tag in enumerate(metrics.tags) if metrics.tags[tag].defined]
    figure = Figure(figsize=(WIDTH, HEIGHT * 0.8), dpi=DPI, layout="constrained")
    title = f"Curves of {len(curves)} tags, average in bold"
    figure.suptitle(title + _protocol_note(predictions.protocol) + _left_out_note(metrics))
    roc, precision_recall = figure.subplots(1, 2)
    _draw_curves(roc, [curve for curve, _ in curves])
    _draw_curves(precision_recall, [curve for _, curve in curves])
    roc.plot([0, 1], [0, 1], ":", color=MARK, label="chance")
    roc.legend(loc="lower right")
    roc.set(title=f"ROC-AUC, average {metrics.roc_auc:.4f}", xlabel="false positive rate", ylabel="true positive rate")
    precision_recall.set(title=f"PR-AUC, average {metrics.pr_auc:.4f}", xlabel="recall", ylabel="precision")
    _save(figure, path)


def plot_history(path: Path, history: pd.DataFrame, protocol: str | None = None) -> None:
    """Plot loss, ROC-AUC, PR-AUC and learning rate by epoch.

    Args:
        path: PNG file to write.
        history: one row per epoch with the column `epoch` and any of `loss`, `roc_auc`, `pr_auc`, the same columns of
            the validation clips with the prefix `val_`, and `learning_rate`.
        protocol: protocol of the data, named in the title.
    """
    figure = Figure(figsize=(WIDTH, HEIGHT), dpi=DPI, layout="constrained")
    figure.suptitle("Training history" + _protocol_note(protocol))
    panels = {"loss": "loss"} | AREAS | {"learning_rate": "learning rate"}
    for axes, (column, title) in zip(figure.subplots(2, 2).flat, panels.items(), strict=True):
        axes.set(title=title, xlabel="epoch", ylabel=title)
        _draw_history(axes, history, column)
    _save(figure, path)


def _draw_history(axes: Axes, history: pd.DataFrame, column: str) -> None:
    lines = {column: ("training", TRAINING), f"val_{column}": ("validation", VALIDATION)}
    recorded = [name for name in lines if name in history]
    if not recorded:
        axes.text(0.5, 0.5, "not recorded", transform=axes.transAxes, ha="center", va="center")
        axes.set(xticks=[], yticks=[])
        return
    for name in recorded:
        label, color = lines[name]
        shown = history[name].where(history[name] > 0) if column == "learning_rate" else history[name]
        axes.plot(history["epoch"], shown, ".-", label=label, color=color)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.grid(alpha=0.3)
    if column != "learning_rate":
        axes.legend()
    elif (history[column] > 0).any():
        axes.set_yscale("log")


def _tag_curves(predictions: Predictions, index: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the true positive rate and the precision of a tag at the false positive rates and recalls in `GRID`."""
    labels = predictions.labels[:, index]
    known = labels != UNKNOWN
    truth, scores = labels[known], predictions.scores[known, index]
    false_positive_rate, true_positive_rate, _ = roc_curve(truth, scores)
    precision, recall, _ = precision_recall_curve(truth, scores)
    # Sort by descending threshold, starting at the first positive. Between two positives the precision is that at the
    # second one, as in the definition of average precision.
    precision, recall = precision[recall > 0][::-1], recall[recall > 0][::-1]
    return np.interp(GRID, false_positive_rate, true_positive_rate), precision[np.searchsorted(recall, GRID)]


def _draw_curves(axes: Axes, curves: list[np.ndarray]) -> None:
    for curve in curves:
        axes.plot(GRID, curve, color=THIN, linewidth=0.7)
    if curves:
        axes.plot(GRID, np.mean(curves, axis=0), color=TRAINING, linewidth=2.5)
    axes.set(xlim=(0, 1), ylim=(0, 1.01), aspect="equal")
    axes.grid(alpha=0.3)


def _draw_bars(axes: Axes, metrics: Metrics, tags: list[str], area: str) -> None:
    chance = np.array([_chance(metrics.tags[tag], area) for tag in tags])
    values = np.array([getattr(metrics.tags[tag], area) for tag in tags])
    axes.barh(range(len(tags)), values - chance, left=chance, color=BAR, height=0.7, label="model, from chance")
    name_ticks(axes.yaxis, tags)
    name, average = AREAS[area], getattr(metrics, area)
    axes.axvline(average, color=VALIDATION, linestyle="--", label="average over the tags")
    axes.set(title=f"{name}, average {average:.4f}", xlabel=f"{name} (1 is perfect)")
    axes.margins(y=0.01)
    axes.grid(axis="x", alpha=0.3)
    axes.set_axisbelow(True)


def _chance(scores: TagScores, area: str) -> float:
    return 0.5 if area == "roc_auc" else scores.positives / (scores.positives + scores.negatives)


def _protocol_note(protocol: str | None) -> str:
    return f", protocol {protocol}" if protocol else ""


def _left_out_note(metrics: Metrics) -> str:
    count = len(metrics.left_out)
    return f" ({count} left out: no positives or no negatives)" if count else ""


def _save(figure: Figure, path: Path) -> None:
    with replacing(path) as unfinished:
        figure.savefig(unfinished, format="png")
