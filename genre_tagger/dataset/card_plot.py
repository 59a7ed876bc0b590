"""The plots of a dataset card."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from genre_tagger.plotting import name_ticks

DPI = 100
WIDTH, INCHES_PER_TAG, LEAST_HEIGHT = 18.0, 0.4, 9.0
COLOURS = {"train": "tab:blue", "valid": "tab:orange", "test": "tab:green"}
WIDTH_RATIOS = (1, 1, 1.8)
SHOWN_TAGS = 200  # image viewers fail on the height that more tags would need
SMALL = 7  # font size in points, for 50 names next to each other


def plot_card(path: Path, card: Mapping[str, Any], seconds: np.ndarray) -> None:
    """Plot tag counts, shares of positives, co-occurrence, clip lengths, file formats and reasons for rejection.

    Args:
        path: PNG file to write.
        card: content of `dataset.json`.
        seconds: length of each clip, [clips].
    """
    tags, together = _most_frequent(card)
    height = max(LEAST_HEIGHT, INCHES_PER_TAG * len(tags))
    figure = Figure(figsize=(WIDTH, height), dpi=DPI, layout="constrained")
    protocol = f", protocol {card['protocol']}" if card["protocol"] else ""
    splits = ", ".join(f"{split['clips']:,} {name}" for name, split in card["splits"].items())
    shown = f", the {len(tags)} most frequent of {len(card['tags']):,} tags" if len(tags) < len(card["tags"]) else ""
    figure.suptitle(f"{card['source']}{protocol}: {splits} clips{shown}")
    (counts, balance, co_occurrence), (lengths, kinds, rejected) = figure.subplots(
        2, 3, height_ratios=(3, 1), width_ratios=WIDTH_RATIOS
    )
    _draw_counts(counts, tags)
    _draw_balance(balance, tags)
    _draw_co_occurrence(co_occurrence, list(tags), together)
    lengths.hist(seconds, bins=50, color=COLOURS["train"])
    lengths.set(title="lengths", xlabel="seconds", ylabel="clips")
    _draw_bars(kinds, f"formats of {card['files']['looked_at']:,} files", card["files"]["kinds"])
    _draw_bars(rejected, f"rejected: {sum(card['rejected'].values()):,}", card["rejected"])
    figure.savefig(path, format="png")


def _most_frequent(card: Mapping[str, Any]) -> tuple[dict[str, Any], np.ndarray]:
    """Return the SHOWN_TAGS most frequent tags in their original order, and their co-occurrence."""
    together = np.array(card["co_occurrence"])
    rows = np.sort(np.argsort(-together.diagonal(), kind="stable")[:SHOWN_TAGS])
    names = list(card["tags"])
    return {names[row]: card["tags"][names[row]] for row in rows}, together[np.ix_(rows, rows)]


def _draw_counts(axes: Axes, tags: Mapping[str, Any]) -> None:
    left = np.zeros(len(tags))
    for split, colour in COLOURS.items():
        positives = np.array([counts[split]["positives"] for counts in tags.values()])
        axes.barh(range(len(tags)), positives, left=left, color=colour, label=split)
        left += positives
    name_ticks(axes.yaxis, list(tags))
    axes.margins(y=0.005)
    axes.invert_yaxis()
    axes.legend()
    axes.set(title="clips with the tag", xlabel="clips")


def _draw_balance(axes: Axes, tags: Mapping[str, Any]) -> None:
    for split, colour in COLOURS.items():
        shares = [np.nan if (share := counts[split]["share"]) is None else 100 * share for counts in tags.values()]
        axes.plot(shares, range(len(tags)), "o", color=colour, label=split)
    name_ticks(axes.yaxis, list(tags))
    axes.margins(y=0.01)
    axes.invert_yaxis()
    axes.grid(axis="y", alpha=0.3)
    axes.legend()
    axes.set(title="share of positives in each split", xlabel="% of clips with a known label")


def _draw_co_occurrence(axes: Axes, tags: list[str], counts: np.ndarray) -> None:
    shares = counts / np.maximum(counts.diagonal()[:, None], 1)
    axes.imshow(shares, vmin=0, vmax=1, cmap="Blues", aspect="auto")
    name_ticks(axes.xaxis, tags, rotation=90, fontsize=SMALL)
    name_ticks(axes.yaxis, tags)
    axes.set(title="share of the row's clips that also have the column's tag")


def _draw_bars(axes: Axes, title: str, counts: Mapping[str, int]) -> None:
    if not counts:
        axes.text(0.5, 0.5, "none", transform=axes.transAxes, ha="center", va="center")
        axes.set(title=title, xticks=[], yticks=[])
        return
    axes.barh(range(len(counts)), list(counts.values()), height=0.5, color=COLOURS["train"])
    name_ticks(axes.yaxis, list(counts))
    axes.set(title=title, xlabel="files", ylim=(len(counts) - 0.5, -0.5))
