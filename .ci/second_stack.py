"""Prints what the installed package requires on Python 3.13 with its test extra, whichever Python runs this."""

from importlib.metadata import requires

from packaging.requirements import Requirement

SECOND_STACK = {"python_version": "3.13", "extra": "test"}

for requirement in map(Requirement, requires("genre-tagger")):
    if requirement.marker is None or requirement.marker.evaluate(SECOND_STACK):
        requirement.marker = None
        print(requirement)
