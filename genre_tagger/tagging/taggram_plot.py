"""Plots the tags of a song over time as a PNG."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MultipleLocator

from genre_tagger.errors import FieldError
from genre_tagger.files import replacing, storage_errors
from genre_tagger.plotting import name_ticks
from genre_tagger.tagging.song import ranked
from genre_tagger.tagging.tagger import Taggram

DPI = 100
WIDTH, MARGIN = 12.0, 1.6  # inches; the margin is the height of the title and the time axis
INCHES_PER_TAG = 0.3
TICK_SECONDS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600)
MAX_TICKS = 14


def plot_taggram(path: Path, taggram: Taggram, tags: Sequence[str], top: int, title: str) -> None:
    """Plot the probabilities of the `top` highest tags of a song over time, with the highest tag on top.

    The colour of a window begins where the window begins and ends where the next window begins.

    Args:
        path: the PNG file.
        taggram: taggram of the song.
        tags: ordered tag names.
        top: number of tags.
        title: title of the plot.

    Raises:
        UserError: the song has a flag, so it has no windows; or the file cannot be written.
    """
    if taggram.flag:
        raise FieldError("taggram", f"found {title}, which is {taggram.flag}, expected a song that can be tagged")
    names = list(ranked(taggram.scores, tags))[:top]
    shown = taggram.probabilities[:, [tags.index(name) for name in names]].T
    figure = Figure(figsize=(WIDTH, MARGIN + INCHES_PER_TAG * len(names)), dpi=DPI, layout="constrained")
    axes = figure.subplots()
    drawn = axes.pcolormesh(_edges(taggram), np.arange(len(names) + 1) - 0.5, shown, vmin=0, vmax=1)
    figure.colorbar(drawn, ax=axes, label="probability")
    name_ticks(axes.yaxis, names)
    axes.invert_yaxis()
    _mark_minutes(axes, taggram.seconds)
    axes.set_title(title, parse_math=False)
    with storage_errors(path.parent), replacing(path) as unfinished:
        figure.savefig(unfinished, format="png")


def _edges(taggram: Taggram) -> np.ndarray:
    """Return the edges of the windows in seconds [windows + 1]. The window of a short song ends with the song."""
    end = min(float(taggram.times[-1]) + taggram.window_seconds, taggram.seconds)
    return np.append(taggram.times, end)


def _mark_minutes(axes: Axes, seconds: float) -> None:
    step = next((step for step in TICK_SECONDS if seconds / step <= MAX_TICKS), TICK_SECONDS[-1])
    axes.xaxis.set_major_locator(MultipleLocator(step))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda second, _: f"{int(second) // 60:02d}:{int(second) % 60:02d}"))
    axes.set_xlabel("minutes:seconds")
