"""Checks of messages by the facts in them, so that a test does not fail when a sentence is reworded."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from genre_tagger.errors import UserError


def check_facts(message: object, *facts: object) -> None:
    """Assert that a message contains every fact: a path, a line number, a flag, a field, the value found.

    Facts follow from the input of the test. The words around them may change.
    """
    missing = [str(fact) for fact in facts if str(fact) not in str(message)]
    assert not missing, f"{missing} not in {str(message)!r}"


@contextmanager
def expect_error(*facts: object, kind: type[Exception] = UserError) -> Iterator[pytest.ExceptionInfo]:
    """Expect an error whose message contains every fact, as `pytest.raises` expects an error."""
    with pytest.raises(kind) as caught:
        yield caught
    check_facts(caught.value, *facts)
