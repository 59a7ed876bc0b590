"""Errors that the user can correct."""

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """An error that the user can correct. The message is one line: what was found and what was expected."""


class FieldError(UserError):
    """An argument has a wrong value. The command line prints the flag of the same name in place of the field.

    Args:
        field: name of the argument.
        message: what was found and what was expected.
    """

    def __init__(self, field: str, message: str):
        super().__init__(f"{field}: {message}")
        self.field = field
        self.message = message

    def __reduce__(self) -> tuple[type["FieldError"], tuple[str, str]]:
        return type(self), (self.field, self.message)  # an error in a worker process reaches the main one by pickling


def first_line(error: Exception) -> str:
    """Return the first line of the message of an error, or the name of its class if it has no message."""
    return next(iter(str(error).splitlines()), type(error).__name__)


def suggest(name: str, known: Iterable[str]) -> str:
    """Return the end of a message about an unknown name: the closest known names, or an empty string."""
    near = difflib.get_close_matches(name, list(known), n=3, cutoff=0.5)
    return f"; did you mean {' or '.join(map(repr, near))}?" if near else ""
