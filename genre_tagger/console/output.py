"""Standard output and standard error: lines, tables, progress bars."""

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


def say(line: str) -> None:
    """Prints a line at once; raises UserError where standard output does not take it."""
    show(line, markup=False)


def show(what: Table | str, **options: bool) -> None:
    """All that goes to standard output goes through here, and is flushed."""
    try:
        stdout.print(what, **options)
    except UnicodeEncodeError as error:
        raise UserError(
            f"standard output: {error.object[error.start]!a} cannot be written in {error.encoding}; set "
            "PYTHONIOENCODING=utf-8:surrogateescape"
        ) from None
    except OSError as error:
        # What is still in its buffer would fail once more when the program ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise UserError(f"standard output: cannot be written ({error.strerror})") from None


def titled_table(title: str, first_column: str) -> Table:
    """A table without rows, whose other columns are to come."""
    table = Table(title=escape(title), title_justify="left", title_style="bold")
    table.add_column(first_column)
    return table


@contextmanager
def progress_bar(title: str, in_bytes: bool = False) -> Iterator[Callable[[int, int], None]]:
    """Yields a function to call with how many are done, and of how many; the bar appears with the first call.

    In bytes it shows their rate too. It goes to standard error; where that is no terminal, its end alone is printed.
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
    """Keeps off standard error what C libraries print there, not what Python does.

    libmpg123 comments on harmless oddities of MP3 files, through bars and tables.
    """
    stream, kept = sys.stderr, os.dup(2)
    if stream is sys.__stderr__:
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
    """What is added to a title, where the data has a protocol."""
    return f", protocol {name}" if name else ""


def tags_text(count: int) -> str:
    """How many tags, in words."""
    return f"{count} tag" if count == 1 else f"{count} tags"
