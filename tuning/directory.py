"""The directory of a search: the names of its files, and what makes two searches the same."""

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from genre_tagger.config import Config
from genre_tagger.errors import UserError
from genre_tagger.files import locked, storage_errors
from genre_tagger.run import flat, write_text
from genre_tagger.tuning.space import Space
from genre_tagger.tuning.space_file import parse_space

NARROWABLE = ("random", "bayesian")  # the others lay their plan over the whole space


@dataclass(frozen=True)
class SearchDirectory:
    """Paths of everything that a search leaves behind."""

    path: Path

    @property
    def search(self) -> Path:
        """What the search is: base configuration, space, algorithm, objective, data."""
        return self.path / "search.yaml"

    @property
    def oracle(self) -> Path:
        """KerasTuner's state."""
        return self.path / "oracle" / "state.json"

    @property
    def trials(self) -> Path:
        """Run directories, one a trial."""
        return self.path / "trials"

    @property
    def table(self) -> Path:
        """All trials in one table."""
        return self.path / "trials.csv"

    @property
    def best(self) -> Path:
        """The winner's configuration."""
        return self.path / "best.yaml"

    def best_run(self, trial: str) -> Path:
        """Where a winner is trained again."""
        return self.path / f"best-{trial}"

    @property
    def report(self) -> Path:
        """Plots."""
        return self.path / "report"


@dataclass(frozen=True)
class Search:
    """What makes a search the one it is, beside its space, which may become narrower."""

    algorithm: str
    objective: str
    executions: int
    config: Config
    data: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, flat, to be compared one by one."""
        config = json.loads(self.config.model_dump_json())
        data = {"hash": self.data["hash"], "stream": self.data["stream"]}
        named = {"algorithm": self.algorithm, "objective": self.objective, "executions_per_trial": self.executions}
        return {**named, **flat({"data": data, "config": config})}


@contextmanager
def working_in(path: Path) -> Iterator[None]:
    """Makes a directory where it is missing and keeps other processes out of it.

    Raises:
        UserError: it cannot be made or written, or another process works there.
    """
    with ExitStack() as stack:
        with storage_errors(path):
            path.mkdir(parents=True, exist_ok=True)
            stack.enter_context(locked(path))
        yield


def create_search(directory: SearchDirectory, search: Search, space: Space) -> None:
    """Makes the directory of a search, or opens the one of the same search, whose space may have been wider.

    Raises:
        UserError: it holds another search, with what differs, or cannot be written.
    """
    if directory.search.exists():
        check_search(directory, search, space)
    with storage_errors(directory.path):
        directory.trials.mkdir(parents=True, exist_ok=True)
        text = yaml.safe_dump({**search.to_dict(), "space": space.to_dict()}, sort_keys=False)
        write_text(directory.search, text)


def check_search(directory: SearchDirectory, search: Search, space: Space, *, may_narrow: bool = True) -> None:
    """Refuses a directory of another search, as `create_search` does; for a worker, of a wider space too."""
    there = _read(directory)
    space_there = parse_space(there.pop("space", None), str(directory.search))
    wanted = search.to_dict()
    for key in sorted(wanted.keys() | there.keys()):
        if there.get(key) != wanted.get(key):
            raise UserError(
                f"{directory.path}: holds another search ({key} is {there.get(key)!r} there, {wanted.get(key)!r} "
                "here); expected the same one to go on with, or another --run"
            )
    if space == space_there:
        return
    if not may_narrow:
        raise UserError(f"{directory.path}: the chief searches another space; expected the same --space as its")
    if search.algorithm not in NARROWABLE:
        raise UserError(
            f"{directory.path}: holds a search of another space; expected the same one, since --algorithm "
            f"{search.algorithm} plans the whole of it ({' and '.join(NARROWABLE)} go on with a narrower one)"
        )
    if not space.lies_in(space_there):
        raise UserError(
            f"{directory.path}: holds a search of another space; expected the same one or a narrower one over the "
            "same fields, or another --run"
        )


def _read(directory: SearchDirectory) -> dict[str, Any]:
    try:
        there = yaml.safe_load(directory.search.read_text(encoding="utf-8"))
        return dict(there)
    except (OSError, ValueError, TypeError, yaml.YAMLError) as error:
        raise UserError(f"{directory.search}: cannot be read ({error}); search into another --run") from None
