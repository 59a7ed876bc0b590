"""The figures of `metrics.json` as text."""

from collections.abc import Mapping


def number_text(value: float | None) -> str:
    """A figure with four decimals."""
    return "undefined" if value is None else f"{value:.4f}"


def area_text(area: Mapping[str, float | None]) -> str:
    """A figure with its interval, by the keys `value`, `low` and `high`."""
    text = number_text(area["value"])
    return text if area["value"] is None else f"{text} [{area['low']:.3f}, {area['high']:.3f}]"
