"""Progress of long steps: the library reports it, and the caller decides whether and how it is shown.

Nothing is shown by default. `shown_by` installs a display, as the command line does with its progress bars.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar

# Called with the number of finished items (or bytes) and the total.
Update = Callable[[int, int], None]
# Called with a title and whether bytes are counted; the context yields an Update.
Display = Callable[[str, bool], AbstractContextManager[Update]]


def _ignore(done: int, total: int) -> None:
    pass


def _no_display(title: str, in_bytes: bool) -> AbstractContextManager[Update]:
    return nullcontext(_ignore)


_display: ContextVar[Display] = ContextVar("display", default=_no_display)


@contextmanager
def shown_by(display: Display) -> Iterator[None]:
    """Show the progress of every step inside the `with` block.

    Args:
        display: called with the title of a step and whether it counts bytes. Returns a context manager that yields a
            function of the number done and the total.
    """
    token = _display.set(display)
    try:
        yield
    finally:
        _display.reset(token)


def progress(title: str, *, in_bytes: bool = False) -> AbstractContextManager[Update]:
    """Report the progress of one step.

    Args:
        title: what is done, for example `preparing clips`.
        in_bytes: whether bytes are counted instead of items.

    Returns:
        A context manager that yields a function of the number done and the total.
    """
    return _display.get()(title, in_bytes)
