"""A song's tags over time as a PNG."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MultipleLocator

from genre_tagger.errors import UserError
from genre_tagger.figures import name_ticks
from genre_tagger.files import replacing, storage_errors
from genre_tagger.tagging.results import ranked
from genre_tagger.tagging.tagger import Taggram

DPI = 100
WIDTH, MARGIN = 12.0, 1.6  # inches; the margin is what title and time axis take of the height
INCHES_PER_TAG = 0.3
TICK_SECONDS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600)
MAX_TICKS = 14


def plot_taggram(path: Path, taggram: Taggram, tags: Sequence[str], top: int, title: str) -> None:
    """Probabilities of the song's `top` highest tags, the highest on top, by minutes and seconds.

    A window's colour begins where the window does and ends where the next one begins.

    Raises:
        UserError: the song is flagged, so there are no windows; the file cannot be written.
    """
    if taggram.flag:
        raise UserError(f"--taggram: {title} is {taggram.flag}, expected a song that can be judged")
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
    with storage_errors(path.parent), replacing(path) as beside:
        figure.savefig(beside, format="png")


def _edges(taggram: Taggram) -> np.ndarray:
    """Seconds [windows + 1]; a window may reach beyond the end of a short song."""
    end = min(float(taggram.times[-1]) + taggram.window_seconds, taggram.seconds)
    return np.append(taggram.times, end)


def _mark_minutes(axes, seconds: float) -> None:
    step = next((step for step in TICK_SECONDS if seconds / step <= MAX_TICKS), TICK_SECONDS[-1])
    axes.xaxis.set_major_locator(MultipleLocator(step))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda second, _: f"{int(second) // 60:02d}:{int(second) % 60:02d}"))
    axes.set_xlabel("minutes:seconds")
