"""Printing on standard output and standard error: lines, tables, notes and progress bars."""

import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Table

from genre_tagger.errors import UserError

stdout = Console(highlight=False, soft_wrap=True, emoji=False)
stderr = Console(stderr=True)


class _NotePrinter(logging.Handler):
    """A handler that prints information on standard output and warnings on standard error."""

    def __init__(self, level: int):
        super().__init__(level)
        self.all_on_stderr = False

    def emit(self, record: logging.LogRecord) -> None:
        """Print one note. Unlike other handlers, raise an error if standard output cannot be written."""
        if self.all_on_stderr or record.levelno >= logging.WARNING:
            stderr.print(record.getMessage(), markup=False, highlight=False, emoji=False, soft_wrap=True)
        else:
            say(record.getMessage())


@contextmanager
def notes_shown(level: int = logging.INFO) -> Iterator[None]:
    """Print what the library logs at this level or above inside the `with` block."""
    logger, printer = logging.getLogger("genre_tagger"), _NotePrinter(level)
    before = logger.level
    logger.addHandler(printer)
    logger.setLevel(level)
    try:
        yield
    finally:
        logger.removeHandler(printer)
        logger.setLevel(before)


@contextmanager
def notes_on_stderr() -> Iterator[None]:
    """Print all notes on standard error inside the `with` block, so that standard output has only the result."""
    printers = [one for one in logging.getLogger("genre_tagger").handlers if isinstance(one, _NotePrinter)]
    for printer in printers:
        printer.all_on_stderr = True
    try:
        yield
    finally:
        for printer in printers:
            printer.all_on_stderr = False


def say(line: str) -> None:
    """Print a line.

    Raises:
        UserError: as for `show`.
    """
    show(line, markup=False)


def show(what: Table | str, *, markup: bool = True) -> None:
    """Print to standard output and flush. Everything that a command prints there goes through this function.

    Args:
        what: a table or a text.
        markup: whether square brackets in a text mark styles.

    Raises:
        UserError: standard output cannot be written, or its encoding lacks a character.
    """
    try:
        stdout.print(what, markup=markup)
    except UnicodeEncodeError as error:
        raise UserError(
            f"standard output: {error.object[error.start]!a} cannot be written in {error.encoding}; set "
            "PYTHONIOENCODING=utf-8:surrogateescape"
        ) from error
    except OSError as error:
        # The rest of the buffer would raise the error again when the program ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise UserError(f"standard output: cannot be written ({error.strerror})") from error


def titled_table(title: str, first_column: str) -> Table:
    """Return a table with a title and one column, without rows."""
    table = Table(title=escape(title), title_justify="left", title_style="bold")
    table.add_column(first_column)
    return table


@contextmanager
def progress_bar(title: str, in_bytes: bool = False) -> Iterator[Callable[[int, int], None]]:
    """Show a progress bar on standard error. If standard error is not a terminal, only the final state is printed.

    Args:
        title: text before the bar.
        in_bytes: whether bytes are counted instead of items. The rate is then shown too.

    Returns:
        A context manager that yields a function. Call the function with the number of finished items or bytes and the
        total. The bar appears at the first call.
    """
    counts = (DownloadColumn(), TransferSpeedColumn()) if in_bytes else (MofNCompleteColumn(),)
    columns = (TextColumn("{task.description}"), BarColumn(), *counts, TimeElapsedColumn(), TimeRemainingColumn())
    bar = Progress(*columns, console=stderr)

    def update(done: int, total: int) -> None:
        if not bar.task_ids:
            bar.add_task(title)
            bar.start()
        bar.update(bar.task_ids[0], completed=done, total=total)

    try:
        yield update
    finally:
        if bar.task_ids:
            bar.stop()


@contextmanager
def without_library_notes() -> Iterator[None]:
    """Hide what C libraries print on standard error, but not what Python prints there.

    libmpg123 prints notes about harmless irregularities of MP3 files. They would interrupt progress bars and tables.
    """
    stream, kept = sys.stderr, os.dup(2)
    if sys.__stderr__ is not None and stream is sys.__stderr__:
        sys.stderr = open(os.dup(2), "w", 1, stream.encoding, stream.errors)  # noqa: PTH123, SIM115
    with open(os.devnull, "w") as nowhere:  # noqa: PTH123
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        if sys.stderr is not stream:
            sys.stderr.close()
            sys.stderr = stream


def protocol_text(name: str | None) -> str:
    """Return text for the end of a title that names the protocol of the data; an empty string without a protocol."""
    return f", protocol {name}" if name else ""


def tags_text(count: int) -> str:
    """Return a number of tags with its unit."""
    return f"{count} tag" if count == 1 else f"{count} tags"
