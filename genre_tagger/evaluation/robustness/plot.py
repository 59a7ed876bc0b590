"""PNG plot of the score changes under each condition."""

from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from genre_tagger.evaluation.plots import AREAS
from genre_tagger.files import replacing
from genre_tagger.plotting import draw_intervals

DPI, WIDTH, MARGIN, INCHES_PER_ROW = 100, 12.0, 1.5, 0.3
LOST, KEPT = "tab:red", "tab:blue"


def plot_robustness(path: Path, table: pd.DataFrame, protocol: str | None = None) -> None:
    """Plot the difference of each condition from the clean clips with its paired interval, red if that is below 0.

    Args:
        path: PNG file to write.
        table: return value of `robustness_table`.
        protocol: protocol of the data, named in the title.
    """
    clean, conditions = table.iloc[0], table.iloc[:0:-1]
    figure = Figure(figsize=(WIDTH, MARGIN + INCHES_PER_ROW * len(conditions)), dpi=DPI, layout="constrained")
    note = f", protocol {protocol}" if protocol else ""
    title = f"Perturbed test clips: differences from the clean clips, with paired 95 % intervals over groups{note}"
    figure.suptitle(f"{title}\nred: the interval is below 0")
    for axes, (area, name) in zip(figure.subplots(1, 2, sharey=True), AREAS.items(), strict=True):
        columns = (f"{area}_difference", f"{area}_difference_low", f"{area}_difference_high")
        value, low, high = (conditions[column].tolist() for column in columns)
        colors = [LOST if end < 0 else KEPT for end in high]
        draw_intervals(axes, conditions["condition"].tolist(), value, low, high, colors)
        axes.axvline(0, color="black", linewidth=0.8)
        axes.set(title=f"{name}, clean {clean[area]:.4f}", xlabel=f"difference of {name}")
    with replacing(path) as unfinished:
        figure.savefig(unfinished, format="png")
