"""What stands on the page, as plain data that the template lays out: sections of lines, facts, tables, figures, clips.

All text is foreign: names of tags and files are whatever their user called them. The template escapes it.
"""

import base64
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

UNDEFINED = "\u2013"  # a dash


@dataclass(frozen=True)
class Range:
    """A value with its interval and something to compare it with, from 0 to 1, drawn in a cell.

    Attributes:
        least: where the drawing begins.
        mark: the floor's value.
    """

    value: float
    low: float
    high: float
    least: float
    mark: float | None = None


@dataclass(frozen=True)
class Cell:
    """What a table shows, and what it is sorted by: None where it is undefined, which always comes last.

    Attributes:
        text: shown.
        value: sorted by.
        detail: shown smaller behind the text, an interval say.
        range: drawn.
    """

    text: str
    value: float | str | None = None
    detail: str = ""
    range: Range | None = None


@dataclass(frozen=True)
class Table:
    """A table; where it can be sorted, `sorted_by` is the column that it is sorted by, the highest first."""

    caption: str
    headings: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    sorted_by: int | None = None

    @property
    def kinds(self) -> list[str]:
        """`number` or `words` for each column: numbers stand on the right, one digit below the other."""
        columns = zip(*self.rows, strict=True)
        return ["words" if any(isinstance(cell.value, str) for cell in column) else "number" for column in columns]

    @property
    def scales(self) -> list[float | None]:
        """Where the drawings of each column begin; None for a column without any."""
        columns = zip(*self.rows, strict=True)
        return [next((cell.range.least for cell in column if cell.range), None) for column in columns]


@dataclass(frozen=True)
class Figure:
    """A PNG with the words for those who cannot see it."""

    png: bytes
    alt: str

    @property
    def uri(self) -> str:
        """The picture itself, as an address."""
        return data_uri("image/png", self.png)


@dataclass(frozen=True)
class ClipView:
    """A clip with a large error.

    Attributes:
        name: its id.
        mistake: the worst, in words.
        true_tags: that the labels give it.
        given_tags: that the model gives it, with their probabilities.
        sound: MP3, or None where there is none.
        note: how much of it the player has, or why there is none.
    """

    name: str
    mistake: str
    true_tags: Sequence[str]
    given_tags: Sequence[tuple[str, str]]
    sound: bytes | None
    note: str

    @property
    def uri(self) -> str:
        """The sound itself, as an address."""
        return data_uri("audio/mpeg", self.sound)


@dataclass(frozen=True)
class Section:
    """A part of the page, in the order of its fields; `clips` by their heading, `folded` texts by their title."""

    anchor: str
    title: str
    lines: Sequence[str] = ()
    facts: Mapping[str, str] = field(default_factory=dict)
    figures: Sequence[Figure] = ()
    tables: Sequence[Table] = ()
    clips: Mapping[str, Sequence[ClipView]] = field(default_factory=dict)
    folded: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Headline:
    """One of the figures at the top: a number, its interval, what it is compared with."""

    name: str
    value: str
    interval: str = ""
    note: str = ""


@dataclass(frozen=True)
class Page:
    """Everything."""

    title: str
    subtitle: str
    headlines: Sequence[Headline]
    sections: Sequence[Section]


def data_uri(kind: str, content: bytes) -> str:
    """The content as an address of its own."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def plot_of(path: Path, alt: str) -> list[Figure]:
    """The plot in a PNG file; none where there is no such file."""
    return [Figure(path.read_bytes(), alt)] if path.is_file() else []


def number(value: float | None, digits: int = 3) -> Cell:
    """A cell for a number; None and NaN are undefined."""
    if value is None or math.isnan(value):
        return Cell(UNDEFINED)
    return Cell(decimals(value, digits), float(value))


def decimals(value: float, digits: int = 3) -> str:
    """The value with so many decimals, without a sign where they are all zero."""
    return f"{round(value, digits) + 0.0:.{digits}f}"


def count(value: int) -> Cell:
    """A cell for a whole number."""
    return Cell(f"{value:,}", value)


def name(text: str) -> Cell:
    """A cell for words."""
    return Cell(text, text)


def interval_text(low: float | None, high: float | None) -> str:
    """`[low, high]`, nothing where it is undefined."""
    if low is None or high is None or math.isnan(low) or math.isnan(high):
        return ""
    return f"[{decimals(low)}, {decimals(high)}]"
