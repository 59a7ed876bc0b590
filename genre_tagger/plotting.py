"""Helpers shared by all plots."""

from collections.abc import Iterable, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.axis import Axis

LONGEST_NAME = 60


def name_ticks(axis: Axis, names: Sequence[str], **style: Any) -> None:
    """Label the ticks 0, 1, 2, ... of an axis with names.

    The names are drawn literally: matplotlib would otherwise read dollar signs in a tag as mathematics. Names of more
    than `LONGEST_NAME` characters are shortened so that they leave room for the plot.

    Args:
        axis: `xaxis` or `yaxis` of the plot.
        names: labels in order.
        style: properties of matplotlib's `Text`.
    """
    shown = [name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 4]} ..." for name in names]
    axis.set_ticks(range(len(names)), shown, parse_math=False, **style)


def draw_intervals(
    axes: Axes,
    names: Iterable[str],
    values: Iterable[float],
    low: Iterable[float],
    high: Iterable[float],
    colors: Iterable[str],
) -> None:
    """Draw values with their intervals, one named row per value, from the bottom up.

    Args:
        axes: axes to draw into.
        names: names of the rows.
        values: value of each row.
        low: lower end of each interval.
        high: upper end of each interval.
        colors: matplotlib colour of each row.
    """
    for height, (value, *ends, color) in enumerate(zip(values, low, high, colors, strict=True)):
        axes.plot(ends, [height, height], color=color)
        axes.plot(value, height, "o", color=color)
    name_ticks(axes.yaxis, list(names))
    axes.margins(y=0.02)
    axes.grid(axis="x", alpha=0.3)
