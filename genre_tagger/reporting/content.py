"""The content of the HTML report as plain data: sections with lines, facts, tables, figures and clips.

The template arranges the content and escapes all text, because names of tags and files can contain HTML.
"""

import base64
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

UNDEFINED = "\u2013"  # an en dash


@dataclass(frozen=True)
class ValueRange:
    """A value from 0 to 1 with its interval, drawn as a small bar in a table cell.

    Attributes:
        value: the value.
        low, high: interval of the value.
        least: value at the left end of the drawing; the right end is 1.
        mark: value of the baseline, if any.
    """

    value: float
    low: float
    high: float
    least: float
    mark: float | None = None


@dataclass(frozen=True)
class Cell:
    """A table cell.

    Attributes:
        text: displayed text.
        value: sort key; None for an undefined value, which always comes last.
        detail: small text after `text`, for example an interval.
        range: small bar before `text`.
    """

    text: str
    value: float | str | None = None
    detail: str = ""
    range: ValueRange | None = None


@dataclass(frozen=True)
class ReportTable:
    """A table.

    Attributes:
        caption: title of the table.
        headings: one heading per column.
        rows: one sequence of cells per row.
        sorted_by: index of the column by which the rows are sorted, highest value first. If it is None, the reader
            cannot sort the table.
    """

    caption: str
    headings: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    sorted_by: int | None = None

    @property
    def kinds(self) -> list[str]:
        """`number` or `words` for each column. Numbers are aligned to the right."""
        columns = zip(*self.rows, strict=True)
        return ["words" if any(isinstance(cell.value, str) for cell in column) else "number" for column in columns]

    @property
    def scales(self) -> list[float | None]:
        """Left end of the bars in each column; None for a column without bars."""
        columns = zip(*self.rows, strict=True)
        return [next((cell.range.least for cell in column if cell.range), None) for column in columns]


@dataclass(frozen=True)
class ReportFigure:
    """A PNG with its alternative text."""

    png: bytes
    alt: str

    @property
    def uri(self) -> str:
        """The PNG as a data URI."""
        return data_uri("image/png", self.png)


@dataclass(frozen=True)
class ClipView:
    """A clip with a large error.

    Attributes:
        name: id of the clip.
        mistake: description of the largest error.
        true_tags: tags of the clip according to its labels.
        predicted_tags: tags predicted by the model, with their probabilities.
        sound: audio as MP3, or None if it is not available.
        note: which part of the clip the audio contains, or why there is none.
    """

    name: str
    mistake: str
    true_tags: Sequence[str]
    predicted_tags: Sequence[tuple[str, str]]
    sound: bytes | None
    note: str

    @property
    def uri(self) -> str:
        """The audio as a data URI, which is empty if there is no audio."""
        return data_uri("audio/mpeg", self.sound or b"")


@dataclass(frozen=True)
class ReportSection:
    """A section of the HTML report.

    Attributes:
        anchor: HTML id of the section.
        title: heading of the section.
        lines: paragraphs at the top.
        facts: pairs of term and description.
        figures: plots.
        tables: tables.
        clips: clips by the heading above them.
        folded: long texts by title, collapsed at first.
    """

    anchor: str
    title: str
    lines: Sequence[str] = ()
    facts: Mapping[str, str] = field(default_factory=dict)
    figures: Sequence[ReportFigure] = ()
    tables: Sequence[ReportTable] = ()
    clips: Mapping[str, Sequence[ClipView]] = field(default_factory=dict)
    folded: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Headline:
    """One of the numbers at the top of the report, with name, interval and a note such as the value of the baseline."""

    name: str
    value: str
    interval: str = ""
    note: str = ""


@dataclass(frozen=True)
class ReportPage:
    """All content of the HTML report."""

    title: str
    subtitle: str
    headlines: Sequence[Headline]
    sections: Sequence[ReportSection]


def data_uri(kind: str, content: bytes) -> str:
    """Return the content as a data URI of a media type, for example `image/png`."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def plot_of(path: Path, alt: str) -> list[ReportFigure]:
    """Return the plot in a PNG file as a list, which is empty if the file does not exist."""
    return [ReportFigure(path.read_bytes(), alt)] if path.is_file() else []


def number(value: float | None, digits: int = 3) -> Cell:
    """Return a cell for a number; None and NaN are undefined."""
    if value is None or math.isnan(value):
        return Cell(UNDEFINED)
    return Cell(decimals(value, digits), float(value))


def decimals(value: float, digits: int = 3) -> str:
    """Return the value with `digits` decimals, without a minus sign if it rounds to zero."""
    return f"{round(value, digits) + 0.0:.{digits}f}"


def count(value: int) -> Cell:
    """Return a cell for a whole number."""
    return Cell(f"{value:,}", value)


def name(text: str) -> Cell:
    """Return a cell for text."""
    return Cell(text, text)


def interval_text(low: float | None, high: float | None) -> str:
    """Return `[low, high]`, or an empty string if it is undefined."""
    if low is None or high is None or math.isnan(low) or math.isnan(high):
        return ""
    return f"[{decimals(low)}, {decimals(high)}]"
