"""A display of progress for tests."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

from genre_tagger.progress import shown_by


def progress_to(update: Callable[[int, int], None]) -> AbstractContextManager[None]:
    """Call a function with the numbers done and in total at every step of progress inside the `with` block."""
    return shown_by(lambda title, in_bytes: nullcontext(update))
