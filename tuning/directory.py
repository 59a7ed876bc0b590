"""The directory of a search: the paths of its files, and what identifies the search."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from genre_tagger.config import Config, flat, parse_config
from genre_tagger.config.migration import migrate
from genre_tagger.errors import FieldError, UserError
from genre_tagger.files import storage_errors, write_text
from genre_tagger.runs.record import RunRecord, StartRecord
from genre_tagger.tuning.space import Space
from genre_tagger.tuning.space_file import parse_space

NARROWABLE = ("random", "bayesian")  # the other algorithms plan their trials over the whole space


@dataclass(frozen=True)
class SearchDirectory:
    """The paths of everything in the directory of a search."""

    path: Path

    @property
    def search(self) -> Path:
        """The definition of the search: base configuration, space, algorithm, objective and data (YAML)."""
        return self.path / "search.yaml"

    @property
    def oracle(self) -> Path:
        """The state of KerasTuner's oracle (JSON)."""
        return self.path / "oracle" / "state.json"

    @property
    def trials(self) -> Path:
        """The folder of run directories, one per trial."""
        return self.path / "trials"

    @property
    def table(self) -> Path:
        """The table of all trials (CSV)."""
        return self.path / "trials.csv"

    @property
    def best(self) -> Path:
        """The configuration of the winner (YAML)."""
        return self.path / "best.yaml"

    def best_run(self, trial: str) -> Path:
        """Return the run directory in which the winner is trained and evaluated at the end."""
        return self.path / f"best-{trial}"

    @property
    def report(self) -> Path:
        """The folder of plots."""
        return self.path / "report"


@dataclass(frozen=True)
class Search:
    """What identifies a search, apart from its space, which may become narrower.

    Attributes:
        algorithm: name of the search algorithm.
        objective: name of the score that is maximised.
        executions: number of runs per trial.
        config: configuration of everything that is not searched.
        record: the data that trials are trained on.
        start: the run that every trial starts from; None for random weights.
    """

    algorithm: str
    objective: str
    executions: int
    config: Config
    record: RunRecord
    start: StartRecord | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain values with dotted keys. Two searches are the same if these are equal."""
        named = {"algorithm": self.algorithm, "objective": self.objective, "executions_per_trial": self.executions}
        data = {"hash": self.record.hash, "stream": self.record.stream}
        start = {"digest": self.start.digest, "frozen": list(self.start.frozen)} if self.start else {}
        return {**named, **flat({"data": data, "config": _identity_of(self.config), "start": start})}


def create_search(directory: SearchDirectory, search: Search, space: Space) -> None:
    """Create the directory of a search, or open that of the same search, whose space may have been wider.

    The present space is written into `search.yaml`.

    Args:
        directory: directory of the search.
        search: what identifies the search.
        space: the present space.

    Raises:
        UserError: the directory holds another search (the message names what differs), or cannot be written.
    """
    if directory.search.exists():
        check_search(directory, search, space)
    with storage_errors(directory.path):
        directory.trials.mkdir(parents=True, exist_ok=True)
        text = yaml.safe_dump({**search.to_dict(), "space": space.to_dict()}, sort_keys=False)
        write_text(directory.search, text)


def check_search(directory: SearchDirectory, search: Search, space: Space, *, may_narrow: bool = True) -> None:
    """Check that a directory holds the given search.

    Args:
        directory: directory of a search.
        search: the expected search.
        space: the present space.
        may_narrow: whether the present space may be narrower than the one in the directory. False for workers.

    Raises:
        UserError: the directory holds another search, or one of another space.
    """
    found = _read(directory)
    found_space = parse_space(found.pop("space", None), str(directory.search))
    expected = search.to_dict()
    for key in sorted(expected.keys() | found.keys()):
        if found.get(key) != expected.get(key):
            raise FieldError(
                "run",
                f"{directory.path}: holds another search ({key} is {found.get(key)!r} there, {expected.get(key)!r} "
                "here); expected the same search to resume, or another directory",
            )
    if space == found_space:
        return
    where = f"found another space than the one in {directory.search}"
    if not may_narrow:
        raise FieldError("space", f"{where}, which the chief searches; expected the same space")
    if search.algorithm not in NARROWABLE:
        raise FieldError(
            "space",
            f"{where}; expected the same space, because {search.algorithm} search plans its trials over all of it "
            f"(only {' and '.join(NARROWABLE)} search can resume with a narrower space)",
        )
    if not space.lies_in(found_space):
        raise FieldError(
            "space",
            f"{where}; expected the same space or a narrower one over the same fields, or another directory",
        )


def _identity_of(config: Config) -> dict[str, Any]:
    """Return the plain values of a configuration that scores depend on."""
    values: dict[str, Any] = json.loads(config.model_dump_json())
    del values["inference"]["batch_size"]  # limits memory and changes no score
    return values


def _read(directory: SearchDirectory) -> dict[str, Any]:
    try:
        return _migrated(dict(yaml.safe_load(directory.search.read_text(encoding="utf-8"))))
    except (OSError, ValueError, TypeError, AttributeError, yaml.YAMLError, UserError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{directory.search}: cannot be read ({reason}); search into another directory") from error


def _migrated(search: dict[str, Any]) -> dict[str, Any]:
    """Return a search with its configuration in the current schema.

    Version 0.1.0 had the run to start from in the configuration. That run stays part of the identity of the search.
    """
    prefix = "config."
    values = _nested({key.removeprefix(prefix): value for key, value in search.items() if key.startswith(prefix)})
    others = {key: value for key, value in search.items() if not key.startswith(prefix)}
    training = values.get("training", {})
    start = {f"start.{key}": training[key] for key in ("init", "freeze") if training.get(key)}
    return {**others, **start, **flat({"config": _identity_of(parse_config(migrate(values, saved_by_run=True)))})}


def _nested(values: dict[str, Any]) -> dict[str, Any]:
    """Return the sections of a flat dict with dotted keys: the inverse of `flat`."""
    nested: dict[str, Any] = {}
    for key, value in values.items():
        *sections, last = key.split(".")
        section = nested
        for name in sections:
            section = section.setdefault(name, {})
        section[last] = value
    return nested
