"""PNG plots of a search: progress, costs, searched values and their importance."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestRegressor
from sklearn.inspection import permutation_importance

from genre_tagger.files import replacing
from genre_tagger.plotting import name_ticks
from genre_tagger.tuning.space import keys_of
from genre_tagger.tuning.trial import COMPLETED

DPI, WIDTH, HEIGHT = 100, 12.0, 6.0
POINT, FRONT, BEST = "tab:blue", "tab:orange", "black"
LEAST_TRIALS = 5  # completed trials that the plot of importance needs
COSTS = {"parameters": "parameters", "inference_ms": "milliseconds per window (batch of 16)"}


def plot_search(report: Path, table: pd.DataFrame, names: Sequence[str], objective: str) -> None:
    """Write all plots of a search.

    Args:
        report: folder of the plots, created if missing.
        table: return value of `trials_table`.
        names: searched names of the space, which are columns of the table.
        objective: column of the score that was maximised.
    """
    report.mkdir(parents=True, exist_ok=True)
    done = table[table["status"] == COMPLETED].reset_index(drop=True)
    has_epochs = any("training.epochs" in keys_of(name) for name in names)
    varied = [name for name in (*names, *([] if has_epochs else ["epochs"])) if done[name].nunique() > 1]
    plot_progress(report / "progress.png", done, objective)
    plot_costs(report / "costs.png", done, objective)
    plot_parallel(report / "parallel.png", done, varied, objective)
    plot_importance(report / "importance.png", done, varied, objective)


def plot_progress(path: Path, done: pd.DataFrame, objective: str) -> None:
    """Plot the objective of the completed trials in their order, and the best value so far."""
    figure, axes = _figure(f"{objective} of {len(done)} trials")
    numbers = np.arange(1, len(done) + 1)
    axes.plot(numbers, done[objective], ".", color=POINT, label="trial")
    axes.step(numbers, done[objective].cummax(), where="post", color=FRONT, label="best so far")
    axes.set(xlabel="completed trial", ylabel=objective)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.legend()
    _save(figure, path)


def plot_costs(path: Path, done: pd.DataFrame, objective: str) -> None:
    """Plot the objective against parameters and inference time, each with its Pareto front."""
    figure = Figure(figsize=(WIDTH, HEIGHT), dpi=DPI, layout="constrained")
    figure.suptitle(f"{objective} against the cost of the model, with the Pareto front")
    for axes, (column, label) in zip(figure.subplots(1, 2, sharey=True), COSTS.items(), strict=True):
        costs, values = done[column].to_numpy(float), done[objective].to_numpy(float)
        front = pareto_front(costs, values)
        axes.plot(costs, values, ".", color=POINT)
        axes.step(costs[front], values[front], ".-", where="post", color=FRONT)
        for row in front:
            axes.annotate(str(done["trial"][row]), (costs[row], values[row]), xytext=(4, 4), textcoords="offset points")
        axes.set(xlabel=label, ylabel=objective, xscale="log")
        axes.grid(alpha=0.3)
    _save(figure, path)


def plot_parallel(path: Path, done: pd.DataFrame, varied: Sequence[str], objective: str) -> None:
    """Plot one line per trial through all searched values, coloured by the objective. The best trial is bold."""
    figure, axes = _figure(f"{len(done)} trials, the best bold")
    norm = Normalize(done[objective].min(), done[objective].max())
    heights = np.array([_heights(done[name]) for name in varied]).reshape(len(varied), len(done))
    for row in done[objective].sort_values().index:
        is_best = row == done[objective].idxmax()
        color = BEST if is_best else colormaps["viridis"](norm(done[objective][row]))
        axes.plot(heights[:, row], color=color, linewidth=2.5 if is_best else 1.0)
    for number, name in enumerate(varied):
        _mark_values(axes, number, done[name])
    name_ticks(axes.xaxis, [name.replace(", ", ",\n") for name in varied], rotation=25, ha="right", fontsize=8)
    axes.set_yticks([])
    figure.colorbar(ScalarMappable(norm, "viridis"), ax=axes, label=objective)
    _save(figure, path)


def plot_importance(path: Path, done: pd.DataFrame, varied: Sequence[str], objective: str) -> None:
    """Plot the importance of each hyper-parameter for the objective among the trials of this search."""
    figure, axes = _figure("permutation importance in a random forest")
    if len(done) < LEAST_TRIALS or not varied:
        axes.text(0.5, 0.5, f"fewer than {LEAST_TRIALS} trials", transform=axes.transAxes, ha="center")
    else:
        importances = importance(done, varied, objective)
        axes.barh(importances.index, importances, color=POINT)
        axes.set(xlabel=f"share of the variance of {objective}")
    _save(figure, path)


def pareto_front(costs: NDArray[np.float64], values: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the Pareto front of costs and values.

    Args:
        costs: float [rows], lower is better.
        values: float [rows], higher is better.

    Returns:
        int [rows of the front], indices by increasing cost. For a row of the front, no other row has a better value
        without a higher cost.
    """
    front, best = [], -np.inf
    for row in np.lexsort((-values, costs)):
        if values[row] > best:
            front.append(row)
            best = values[row]
    return np.array(front, np.int64)


def importance(done: pd.DataFrame, varied: Sequence[str], objective: str) -> pd.Series:
    """Fit a random forest to the trials and return the permutation importance of each column.

    Args:
        done: table of the completed trials.
        varied: names of the columns.
        objective: column of the score.

    Returns:
        float [columns] by name, lowest first: the decrease of R2 if the values of the column are shuffled.
    """
    features = np.column_stack([_heights(done[name]) for name in varied])
    forest = RandomForestRegressor(n_estimators=200, random_state=0).fit(features, done[objective])
    found = permutation_importance(forest, features, done[objective], n_repeats=20, random_state=0)
    return pd.Series(found.importances_mean, index=list(varied)).sort_values()


def _heights(values: pd.Series) -> NDArray[np.float64]:
    """Return a height between 0 and 1 for each value: numbers by their rank, words in alphabetical order."""
    comparable = values.map(str) if values.dtype == object else values  # a mix such as null and 80 has no order
    ranks = np.unique(comparable.to_numpy(), return_inverse=True)[1]
    return np.asarray(ranks / max(ranks.max(), 1))


def _mark_values(axes: Axes, number: int, values: pd.Series) -> None:
    axes.axvline(number, color="0.85", zorder=0)
    for height, value in dict(zip(_heights(values), values, strict=True)).items():
        if values.nunique() <= 8 or height in (0.0, 1.0):
            axes.annotate(f"{value:.3g}" if isinstance(value, float) else str(value), (number, height), fontsize=7)


def _figure(title: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(WIDTH, HEIGHT), dpi=DPI, layout="constrained")
    figure.suptitle(title)
    return figure, figure.subplots()


def _save(figure: Figure, path: Path) -> None:
    with replacing(path) as unfinished:
        figure.savefig(unfinished, format="png")
