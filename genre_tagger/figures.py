"""What all plots share."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.axis import Axis

LONGEST_NAME = 60


def name_ticks(axis: Axis, names: Sequence[str], **style) -> None:
    """Puts names at 0, 1, 2 ... as they stand: dollar signs in a tag would else be taken for mathematics.

    Only what is so long that it would leave the plot no room is cut.

    Args:
        axis: `xaxis` or `yaxis` of the plot.
        names: in order.
        style: properties of matplotlib's `Text`.
    """
    shown = [name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 4]} ..." for name in names]
    axis.set_ticks(range(len(names)), shown, parse_math=False, **style)


def draw_intervals(
    axes: Axes,
    names: Sequence[str],
    values: Sequence[float],
    low: Sequence[float],
    high: Sequence[float],
    colors: Sequence[str],
) -> None:
    """A named row each, from the bottom up: a value with its interval, in its colour."""
    for height, (value, *ends, color) in enumerate(zip(values, low, high, colors, strict=True)):
        axes.plot(ends, [height, height], color=color)
        axes.plot(value, height, "o", color=color)
    name_ticks(axes.yaxis, list(names))
    axes.margins(y=0.02)
    axes.grid(axis="x", alpha=0.3)
