"""Errors for the user: the field of an argument, and suggestions for unknown names."""

import pickle

import pytest
from facts import check_facts

from genre_tagger.errors import FieldError, UserError, suggest


def test_field_error_has_field_and_message():
    error = FieldError("workers", "found 0, expected 1 or more")
    assert isinstance(error, UserError)
    assert (error.field, error.message) == ("workers", "found 0, expected 1 or more")
    check_facts(error, "workers", "found 0, expected 1 or more")


def test_field_error_can_be_sent_between_processes():
    error = pickle.loads(pickle.dumps(FieldError("workers", "found 0, expected 1 or more")))
    assert (error.field, error.message) == ("workers", "found 0, expected 1 or more")


@pytest.mark.parametrize(
    "name, closest",
    [("drms", ["'drums'"]), ("drum", ["'drums'"]), ("bass1", ["'bass'", "'bass2'"]), ("DRUMS!", [])],
)
def test_suggests_the_closest_names(name, closest):
    known = ("drums", "bass", "bass2", "violin")
    hint = suggest(name, known)
    check_facts(hint, *closest)
    assert [one for one in map(repr, known) if one in hint] == closest


@pytest.mark.parametrize("known", [(), ("violin", "flute"), iter(["violin"])])
def test_suggests_nothing_without_a_close_name(known):
    assert suggest("drums", known) == ""


def test_suggests_at_most_three_names():
    assert suggest("tag", [f"tag{number}" for number in range(9)]).count("'tag") == 3
