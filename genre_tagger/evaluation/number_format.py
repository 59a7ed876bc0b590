"""Text form of the numbers in `metrics.json`."""

from collections.abc import Mapping


def number_text(value: float | None) -> str:
    """Return the text of a number with four decimals, or `undefined` for None."""
    return "undefined" if value is None else f"{value:.4f}"


def area_text(area: Mapping[str, float | None]) -> str:
    """Return the text of a value and its interval, which have the keys `value`, `low` and `high`."""
    text = number_text(area["value"])
    return text if area["value"] is None else f"{text} [{area['low']:.3f}, {area['high']:.3f}]"
