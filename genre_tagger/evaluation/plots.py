"""PNG plots of a run. Figures are made without pyplot, whose global state does not suit a library."""

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sklearn.metrics import precision_recall_curve, roc_curve

from genre_tagger.data.clips import UNKNOWN
from genre_tagger.evaluation.atomic import written_beside
from genre_tagger.evaluation.metrics import Metrics, TagScores, compute_metrics
from genre_tagger.evaluation.predictions import Predictions

DPI = 100
WIDTH, HEIGHT = 12.0, 8.0  # inches: 1200 x 800 pixels
INCHES_PER_TAG = 0.24  # keeps the names of 50 tags apart
TRAINING, VALIDATION, FLOOR, THIN = "tab:blue", "tab:orange", "black", "0.75"
AREAS = {"roc_auc": "ROC-AUC", "pr_auc": "PR-AUC"}
GRID = np.linspace(0, 1, 201)


def plot_tags(path: Path, metrics: Metrics, floor_metrics: Metrics | None = None) -> None:
    """Bars of each defined tag's ROC-AUC and PR-AUC, best ROC-AUC first, with the floor's as markers.

    Bars start at chance: 0.5 for ROC-AUC and the share of positives for PR-AUC.
    """
    defined = {tag: scores for tag, scores in metrics.tags.items() if scores.defined}
    tags = sorted(defined, key=lambda tag: defined[tag].roc_auc)
    figure = Figure(figsize=(WIDTH, max(HEIGHT, 1.6 + INCHES_PER_TAG * len(tags))), dpi=DPI, layout="constrained")
    figure.suptitle(f"Scores of {len(tags)} tags" + _left_out_note(metrics))
    for axes, area in zip(figure.subplots(1, 2, sharey=True), AREAS, strict=True):
        chance = np.array([_chance(defined[tag], area) for tag in tags])
        values = np.array([getattr(defined[tag], area) for tag in tags])
        axes.barh(tags, values - chance, left=chance, color=TRAINING, height=0.7, label="model, from chance")
        if floor_metrics:
            floor_values = [getattr(floor_metrics.tags[tag], area) for tag in tags]
            axes.plot(floor_values, tags, "d", color=FLOOR, markersize=5, label="logistic-regression floor")
        _finish_bars(axes, AREAS[area], getattr(metrics, area))
    _save(figure, path)


def plot_curves(path: Path, predictions: Predictions) -> None:
    """ROC and precision-recall curves of the defined tags, thin, and their average, bold."""
    metrics = compute_metrics(predictions.labels, predictions.scores, predictions.tags)
    curves = [_tag_curves(predictions, index) for index, tag in enumerate(metrics.tags) if metrics.tags[tag].defined]
    figure = Figure(figsize=(WIDTH, HEIGHT * 0.8), dpi=DPI, layout="constrained")
    figure.suptitle(f"Curves of {len(curves)} tags" + _left_out_note(metrics))
    roc, precision_recall = figure.subplots(1, 2)
    _draw_curves(roc, [curve for curve, _ in curves], f"average, ROC-AUC {metrics.roc_auc:.4f}")
    _draw_curves(precision_recall, [curve for _, curve in curves], f"average, PR-AUC {metrics.pr_auc:.4f}")
    roc.plot([0, 1], [0, 1], ":", color=FLOOR, label="chance")
    roc.set(title="ROC", xlabel="false positive rate", ylabel="true positive rate")
    precision_recall.set(title="Precision and recall", xlabel="recall", ylabel="precision")
    roc.legend(loc="lower right")
    precision_recall.legend(loc="upper right")
    _save(figure, path)


def plot_history(path: Path, history: pd.DataFrame) -> None:
    """Loss, ROC-AUC, PR-AUC and learning rate by epoch.

    Args:
        path: the PNG.
        history: a row an epoch with the column `epoch` and any of `loss`, `roc_auc`, `pr_auc`, the same of
            validation behind `val_`, and `learning_rate`.
    """
    figure = Figure(figsize=(WIDTH, HEIGHT), dpi=DPI, layout="constrained")
    figure.suptitle("Training history")
    panels = {"loss": "loss"} | AREAS | {"learning_rate": "learning rate"}
    for axes, (column, title) in zip(figure.subplots(2, 2).flat, panels.items(), strict=True):
        _draw_history(axes, history, column)
        axes.set(title=title, xlabel="epoch", ylabel=title)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
        if column == "learning_rate" and column in history:
            axes.set_yscale("log")
    _save(figure, path)


def _draw_history(axes: Axes, history: pd.DataFrame, column: str) -> None:
    lines = {column: ("training", TRAINING), f"val_{column}": ("validation", VALIDATION)}
    recorded = [name for name in lines if name in history]
    for name in recorded:
        label, color = lines[name]
        axes.plot(history["epoch"], history[name], ".-", label=label, color=color)
    if not recorded:
        axes.text(0.5, 0.5, "not recorded", transform=axes.transAxes, ha="center", va="center")
    if f"val_{column}" in recorded:
        axes.legend()


def _tag_curves(predictions: Predictions, index: int) -> tuple[np.ndarray, np.ndarray]:
    """The true positive rate and the precision of one tag at each false positive rate and each recall of `GRID`."""
    labels = predictions.labels[:, index]
    known = labels != UNKNOWN
    truth, scores = labels[known], predictions.scores[known, index]
    false_positive_rate, true_positive_rate, _ = roc_curve(truth, scores)
    precision, recall, _ = precision_recall_curve(truth, scores)
    # From the highest threshold down, without the point that scikit-learn adds at recall 0. Precision is a step:
    # average precision sums it that way too.
    precision, recall = precision[-2::-1], recall[-2::-1]
    return np.interp(GRID, false_positive_rate, true_positive_rate), precision[np.searchsorted(recall, GRID)]


def _draw_curves(axes: Axes, curves: list[np.ndarray], label: str) -> None:
    for curve in curves:
        axes.plot(GRID, curve, color=THIN, linewidth=0.7)
    if curves:
        axes.plot(GRID, np.mean(curves, axis=0), color=TRAINING, linewidth=2.5, label=label)
    axes.set(xlim=(0, 1), ylim=(0, 1.01), aspect="equal")
    axes.grid(alpha=0.3)


def _finish_bars(axes: Axes, name: str, average: float) -> None:
    axes.axvline(average, color=VALIDATION, linestyle="--", label=f"average {average:.4f}")
    axes.set(title=name, xlabel=f"{name} (1 is perfect)")
    axes.set_xlim(right=1)
    axes.margins(y=0.01)
    axes.grid(axis="x", alpha=0.3)
    axes.set_axisbelow(True)
    axes.legend(loc="lower right")


def _chance(scores: TagScores, area: str) -> float:
    return 0.5 if area == "roc_auc" else scores.positives / (scores.positives + scores.negatives)


def _left_out_note(metrics: Metrics) -> str:
    count = len(metrics.left_out)
    return f" ({count} left out: no positives or no negatives)" if count else ""


def _save(figure: Figure, path: Path) -> None:
    with written_beside(path) as beside:
        figure.savefig(beside, format="png")
