"""Read a CSV or TSV as text cells with their line numbers, so that error messages name file, line and column."""

import csv
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from genre_tagger.errors import UserError

DELIMITERS = {".csv": ",", ".tsv": "\t"}


@dataclass(frozen=True)
class TextTable:
    """Text cells of a table file.

    Attributes:
        path: path of the file.
        columns: column names from the header line, without duplicates.
        cells: str objects [rows, columns], without surrounding whitespace.
        lines: int [rows], line number of each row, starting at 1.
    """

    path: Path
    columns: tuple[str, ...]
    cells: np.ndarray
    lines: np.ndarray

    def column(self, name: str) -> list[str]:
        """Return the cells of a column."""
        return [*self.cells[:, self.columns.index(name)]]

    def error(self, row: int, column: str, found: str, expected: str) -> UserError:
        """Return the error to raise for a cell. `found` and `expected` complete the message."""
        return UserError(f"{self.path}, line {self.lines[row]}, column {column!r}: found {found}, expected {expected}")


def is_one_line(name: str) -> bool:
    """Return whether a name is not empty and contains no line break, so that it fits on one line of a list."""
    return name.splitlines() == [name]


def read_table(path: Path, delimiter: str | None = None, strict: bool = True) -> TextTable:
    """Read a UTF-8 table with a header line. Empty lines are skipped.

    Args:
        path: path of the file.
        delimiter: separator of the cells; by default a comma in a `.csv` and a tab in a `.tsv`.
        strict: whether a stray quotation mark inside a quoted cell is an error. If not, it is part of the text.

    Returns:
        The cells below the header line.

    Raises:
        UserError: the file is missing, empty or not a table, a column is unnamed or duplicated, or a row has too
            many or too few cells.
    """
    rows, lines = read_rows(path, delimiter or _delimiter_of(path), strict)
    if len(rows) < 2:
        found = "the file is empty" if not rows else "found a header but no rows"
        raise UserError(f"{path}: {found}, expected a header line and one line per clip")
    columns = tuple(rows[0])
    _check_columns(columns, path)
    for row, line in zip(rows, lines, strict=True):
        if len(row) != len(columns):
            raise UserError(f"{path}, line {line}: found {len(row)} cells, expected {len(columns)} as in the header")
    return TextTable(path, columns, np.array(rows[1:], dtype=object), np.array(lines[1:]))


def _delimiter_of(path: Path) -> str:
    if path.suffix.lower() not in DELIMITERS:
        raise UserError(f"{path}: found the file extension {path.suffix!r}, expected .csv (commas) or .tsv (tabs)")
    return DELIMITERS[path.suffix.lower()]


def read_rows(path: Path, delimiter: str, strict: bool = True) -> tuple[list[list[str]], list[int]]:
    """Read the cells of all lines that are not empty, without surrounding whitespace.

    Args:
        path: path of the file.
        delimiter: separator of the cells.
        strict: whether a stray quotation mark inside a quoted cell is an error.

    Returns:
        The cells of each row, and the line number of each row.

    Raises:
        UserError: the file cannot be read, is not UTF-8 text or has invalid quoting.
    """
    reader = csv.reader(io.StringIO(_read_text(path), newline=""), delimiter=delimiter, strict=strict)
    rows, lines = [], []
    try:
        for row in reader:
            if row:
                rows.append([cell.strip() for cell in row])
                lines.append(reader.line_num)
    except csv.Error as error:
        raise UserError(f"{path}, line {reader.line_num}: {error}, expected valid {path.suffix} quoting") from error
    return rows, lines


def _read_text(path: Path) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}), expected a table of clips and tags") from error
    try:
        return content.replace(b"\0", b"\xff").decode("utf-8-sig")  # NUL is valid UTF-8, but not text
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        found = content[error.start]
        raise UserError(f"{path}, line {line}: found byte 0x{found:02x}, expected UTF-8 text") from error


def _check_columns(columns: tuple[str, ...], path: Path) -> None:
    for number, name in enumerate(columns, start=1):
        if not is_one_line(name):
            raise UserError(f"{path}, line 1: found the name {name!r} for column {number}, expected one line of text")
        if name in columns[: number - 1]:
            raise UserError(f"{path}, line 1: found column {name!r} twice, expected each name once")
