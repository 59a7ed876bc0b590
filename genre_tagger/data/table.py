"""Reads a CSV or TSV as text cells that remember their lines, for messages that name file, line and column."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

import numpy as np

from genre_tagger.errors import UserError

DELIMITERS = {".csv": ",", ".tsv": "\t"}


@dataclass(frozen=True)
class Table:
    """Text cells of a file.

    Attributes:
        path: the file.
        columns: names of the header line, each once.
        cells: str objects [rows, columns], stripped of the space around them.
        lines: int [rows], line in the file, counted from 1.
    """

    path: Path
    columns: tuple[str, ...]
    cells: np.ndarray
    lines: np.ndarray

    def column(self, name: str) -> list[str]:
        """The cells below a header."""
        return self.cells[:, self.columns.index(name)].tolist()

    def error(self, row: int, column: str, found: str, expected: str) -> UserError:
        """The error to raise for a cell; `found` and `expected` complete the sentence."""
        return UserError(f"{self.path}, line {self.lines[row]}, column {column!r}: found {found}, expected {expected}")


def nearest(name: str, names: Sequence[str]) -> str:
    """A hint to end a message with: which of the names the user may have meant, if any is like it."""
    matches = get_close_matches(name, names, n=1)
    return f" (nearest: {matches[0]!r})" if matches else ""


def is_one_line(name: str) -> bool:
    """Whether a tag can stand in a list of one name a line: not blank, no break in it."""
    return name.splitlines() == [name]


def read_table(path: Path, delimiter: str | None = None, strict: bool = True) -> Table:
    """Reads a UTF-8 file with a header line; empty lines are skipped.

    Args:
        path: the file.
        delimiter: between cells; by default commas in a `.csv`, tabs in a `.tsv`.
        strict: refuse stray quotation marks inside quoted cells; else they are text.

    Raises:
        UserError: missing, empty, not such a file, an unnamed or doubled column, or a row of another length.
    """
    rows, lines = read_rows(path, delimiter or _delimiter_of(path), strict)
    if len(rows) < 2:
        found = "the file is empty" if not rows else "found a header but no rows"
        raise UserError(f"{path}: {found}, expected a header line and a line for each clip")
    columns = tuple(rows[0])
    _check_columns(columns, path)
    for row, line in zip(rows, lines, strict=True):
        if len(row) != len(columns):
            raise UserError(f"{path}, line {line}: found {len(row)} cells, expected {len(columns)} as in the header")
    return Table(path, columns, np.array(rows[1:], dtype=object), np.array(lines[1:]))


def _delimiter_of(path: Path) -> str:
    if path.suffix.lower() not in DELIMITERS:
        raise UserError(f"{path}: found a table called *{path.suffix}, expected .csv (commas) or .tsv (tabs)")
    return DELIMITERS[path.suffix.lower()]


def read_rows(path: Path, delimiter: str, strict: bool = True) -> tuple[list[list[str]], list[int]]:
    """The cells of each line that is not empty, stripped, and the lines' numbers.

    Raises:
        UserError: the file cannot be read, is no UTF-8 text or has broken quotes.
    """
    reader = csv.reader(io.StringIO(_read_text(path), newline=""), delimiter=delimiter, strict=strict)
    rows, lines = [], []
    try:
        for row in reader:
            if row:
                rows.append([cell.strip() for cell in row])
                lines.append(reader.line_num)
    except csv.Error as error:
        raise UserError(f"{path}, line {reader.line_num}: {error}, expected cells with {path.suffix} quoting") from None
    return rows, lines


def _read_text(path: Path) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}), expected a table of clips and tags") from None
    try:
        return content.replace(b"\0", b"\xff").decode("utf-8-sig")  # NUL is valid UTF-8, but no text either
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        found = content[error.start]
        raise UserError(f"{path}, line {line}: found byte 0x{found:02x}, expected text in UTF-8") from None


def _check_columns(columns: tuple[str, ...], path: Path) -> None:
    for number, name in enumerate(columns, start=1):
        if not is_one_line(name):
            raise UserError(f"{path}, line 1: column {number} is called {name!r}, expected a name of one line")
        if name in columns[: number - 1]:
            raise UserError(f"{path}, line 1: found column {name!r} twice, expected each once")
