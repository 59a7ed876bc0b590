"""One PNG of what each condition costs."""

from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from genre_tagger.evaluation.plots import AREAS
from genre_tagger.figures import draw_intervals
from genre_tagger.files import replacing

DPI, WIDTH, MARGIN, INCHES_PER_ROW = 100, 12.0, 1.5, 0.3
LOST, KEPT = "tab:red", "tab:blue"


def plot_robustness(path: Path, table: pd.DataFrame, protocol: str | None = None) -> None:
    """Each condition's differences from the clips as they are, with paired intervals, red where these lie below 0.

    Args:
        path: the PNG.
        table: as `robustness_table` makes it.
        protocol: of the data, where it has one.
    """
    clean, conditions = table.iloc[0], table.iloc[:0:-1]
    figure = Figure(figsize=(WIDTH, MARGIN + INCHES_PER_ROW * len(conditions)), dpi=DPI, layout="constrained")
    note = f", protocol {protocol}" if protocol else ""
    title = f"Perturbed test clips: differences from clean with paired 95 % intervals over groups{note}"
    figure.suptitle(f"{title}\nred: the interval lies below 0")
    for axes, (area, name) in zip(figure.subplots(1, 2, sharey=True), AREAS.items(), strict=True):
        low, high = conditions[f"{area}_difference_low"], conditions[f"{area}_difference_high"]
        colors = [LOST if end < 0 else KEPT for end in high]
        draw_intervals(axes, conditions["condition"], conditions[f"{area}_difference"], low, high, colors)
        axes.axvline(0, color="black", linewidth=0.8)
        axes.set(title=f"{name}, clean {clean[area]:.4f}", xlabel=f"difference of {name}")
    with replacing(path) as beside:
        figure.savefig(beside, format="png")
