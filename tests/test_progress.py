"""Progress reaches the display that a caller has installed, and no other one."""

from contextlib import contextmanager

import pytest

from genre_tagger.progress import progress, shown_by


def recorder(calls: list):
    """Return a display that records its calls."""

    @contextmanager
    def display(title: str, in_bytes: bool):
        calls.append(("begin", title, in_bytes))
        try:
            yield lambda done, total: calls.append((done, total))
        finally:
            calls.append(("end", title))

    return display


def report(title: str, **options) -> None:
    with progress(title, **options) as update:
        update(1, 2)


def test_nothing_is_shown_by_default(capfd):
    report("rendering")
    assert capfd.readouterr() == ("", "")


def test_a_display_gets_titles_units_and_numbers():
    calls = []
    with shown_by(recorder(calls)):
        report("rendering")
        report("downloading", in_bytes=True)
    report("unseen")
    assert calls == [
        ("begin", "rendering", False),
        (1, 2),
        ("end", "rendering"),
        ("begin", "downloading", True),
        (1, 2),
        ("end", "downloading"),
    ]


def test_the_innermost_display_is_used():
    outer, inner = [], []
    with shown_by(recorder(outer)):
        with shown_by(recorder(inner)):
            report("a")
        report("b")
    assert [call[1] for call in inner] == ["a", 2, "a"]
    assert [call[1] for call in outer] == ["b", 2, "b"]


def test_an_error_ends_the_step_and_the_display():
    calls = []
    with pytest.raises(ZeroDivisionError), shown_by(recorder(calls)), progress("a"):
        raise ZeroDivisionError
    report("unseen")
    assert calls == [("begin", "a", False), ("end", "a")]
