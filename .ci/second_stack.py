"""Print the requirements of the installed package and its test extra for Python 3.13, on any version of Python."""

from importlib.metadata import requires

from packaging.requirements import Requirement

SECOND_STACK = {"python_version": "3.13", "extra": "test"}

for requirement in map(Requirement, requires("genre-tagger")):
    if requirement.marker is None or requirement.marker.evaluate(SECOND_STACK):
        requirement.marker = None
        print(requirement)
