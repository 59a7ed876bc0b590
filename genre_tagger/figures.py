"""What all plots share."""

from collections.abc import Sequence

from matplotlib.axis import Axis


def name_ticks(axis: Axis, names: Sequence[str], **style) -> None:
    """Puts names at 0, 1, 2 ... as they stand: dollar signs in a tag would else be taken for mathematics.

    Args:
        axis: `xaxis` or `yaxis` of the plot.
        names: in order.
        style: properties of matplotlib's `Text`.
    """
    axis.set_ticks(range(len(names)), names, parse_math=False, **style)
