"""PNG plots of a comparison: scores, paired differences, learning curves, training against validation."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from genre_tagger.comparison.table import BASELINE, PresetRuns
from genre_tagger.evaluation.paired import CONFIRMED, INCONCLUSIVE, REFUTED
from genre_tagger.evaluation.plots import AREAS
from genre_tagger.files import replacing
from genre_tagger.plotting import draw_intervals

DPI, WIDTH, HEIGHT = 100, 12.0, 6.0
INCHES_PER_ROW = 0.3
POINT, BASELINE_COLOR = "tab:blue", "0.4"
VERDICT_COLORS = {CONFIRMED: "tab:green", REFUTED: "tab:red", INCONCLUSIVE: "0.5"}


def plot_comparison(
    directory: Path,
    presets: Mapping[str, PresetRuns],
    table: pd.DataFrame,
    pairs: pd.DataFrame,
    reach: float | None,
    headline: str,
) -> None:
    """Write all plots of a comparison.

    Args:
        directory: folder of the plots, created if missing.
        presets: the runs of each preset.
        table: return value of `comparison_table`.
        pairs: return value of `pair_table`.
        reach: validation ROC-AUC to mark; None for no mark.
        headline: description of the test data, shown above the scores and the pairs.
    """
    directory.mkdir(parents=True, exist_ok=True)
    plot_scores(directory / "scores.png", table, headline)
    plot_pairs(directory / "pairs.png", pairs, headline)
    plot_learning(directory / "learning.png", presets, reach)
    plot_gap(directory / "train_and_validation.png", presets)


def plot_scores(path: Path, table: pd.DataFrame, headline: str) -> None:
    """Plot the test scores of each preset with their intervals, first preset on top, and the baseline as a line."""
    done = table[table["roc_auc"].notna() & (table["preset"] != BASELINE)][::-1]
    baseline = table[table["preset"] == BASELINE].iloc[0]
    figure = _figure(f"Test scores, averaged over seeds, with 95 % intervals over groups\n{headline}", len(done))
    for axes, (area, name) in zip(figure.subplots(1, 2, sharey=True), AREAS.items(), strict=True):
        values, lows, highs = (done[column].tolist() for column in (area, f"{area}_low", f"{area}_high"))
        draw_intervals(axes, done["preset"].tolist(), values, lows, highs, [POINT] * len(done))
        axes.axvline(baseline[area], color=BASELINE_COLOR, linestyle="--", label=BASELINE)
        axes.set(title=name, xlabel=f"{name} (1 is perfect)")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center")
    _save(figure, path)


def plot_pairs(path: Path, pairs: pd.DataFrame, headline: str) -> None:
    """Plot the difference of each pair with its paired interval, coloured by the verdict."""
    figure = _figure(f"Differences with paired 95 % intervals over groups\n{headline}", len(pairs) // len(AREAS))
    for axes, (area, name) in zip(figure.subplots(1, 2, sharey=True), AREAS.items(), strict=True):
        rows = pairs[pairs["area"] == area][::-1]
        names = (rows["preset"] + " - " + rows["against"]).tolist()
        colors = rows["verdict"].map(VERDICT_COLORS).tolist()
        values, lows, highs = (rows[column].tolist() for column in ("difference", "low", "high"))
        draw_intervals(axes, names, values, lows, highs, colors)
        axes.axvline(0, color="black", linewidth=0.8)
        axes.set(title=name, xlabel=f"difference of {name}")
    for verdict, color in VERDICT_COLORS.items():
        axes.plot([], [], "o", color=color, label=verdict)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    _save(figure, path)


def plot_learning(path: Path, presets: Mapping[str, PresetRuns], reach: float | None) -> None:
    """Plot the validation ROC-AUC of every run against its training time in seconds."""
    figure = _figure("Validation ROC-AUC by training time, one line per seed")
    axes = figure.subplots()
    for color, (name, runs) in zip(_colors(presets), presets.items(), strict=True):
        for number, history in enumerate(runs.histories.values()):
            label = name if number == 0 else None
            axes.plot(history["seconds"], history["val_roc_auc"], ".-", color=color, linewidth=1, label=label)
    if reach is not None:
        axes.axhline(reach, color=BASELINE_COLOR, linestyle="--", label=f"{reach:g}")
    _label(figure, axes, "seconds of training", "validation ROC-AUC")
    _save(figure, path)


def plot_gap(path: Path, presets: Mapping[str, PresetRuns]) -> None:
    """Plot training and validation ROC-AUC by epoch, averaged over the seeds that reached the epoch."""
    figure = _figure("ROC-AUC by epoch: validation (solid) and training (dotted, running average)")
    axes = figure.subplots()
    for color, (name, runs) in zip(_colors(presets), presets.items(), strict=True):
        if runs.histories:
            mean = pd.concat(runs.histories.values()).groupby("epoch")[["roc_auc", "val_roc_auc"]].mean()
            axes.plot(mean.index, mean["val_roc_auc"], ".-", color=color, label=name)
            axes.plot(mean.index, mean["roc_auc"], ".:", color=color)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    _label(figure, axes, "epoch", "ROC-AUC")
    _save(figure, path)


def _colors(presets: Mapping[str, PresetRuns]) -> list[tuple[float, float, float, float]]:
    return [colormaps["tab20"](number % 20) for number in range(len(presets))]


def _label(figure: Figure, axes: Axes, x: str, y: str) -> None:
    axes.set(xlabel=x, ylabel=y)
    axes.grid(alpha=0.3)
    figure.legend(loc="outside right upper")


def _figure(title: str, rows: int = 0) -> Figure:
    figure = Figure(figsize=(WIDTH, max(HEIGHT, 2 + INCHES_PER_ROW * rows)), dpi=DPI, layout="constrained")
    figure.suptitle(title)
    return figure


def _save(figure: Figure, path: Path) -> None:
    with replacing(path) as unfinished:
        figure.savefig(unfinished, format="png")
