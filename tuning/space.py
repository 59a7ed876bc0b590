"""The search space: the fields of a configuration that vary, with their ranges and choices."""

import copy
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras_tuner

from genre_tagger.config import Config, parse_config

DIGITS = 6  # significant digits of drawn numbers, which keeps them readable


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, both included.

    Attributes:
        low: smallest number.
        high: largest number.
        step: distance between the numbers, or their ratio if the sampling is log; None for all numbers in between.
        sampling: `linear` or `log`.
        whole: whether the numbers are whole.
    """

    low: float
    high: float
    step: float | None
    sampling: str
    whole: bool

    @property
    def last_step(self) -> int:
        """The number of steps that fit into the range."""
        return 0 if self.step is None else math.floor(self._steps_to(self.high, self.step) + 1e-6)

    def draw_from(self, hyperparameters: keras_tuner.HyperParameters, name: str) -> None:
        """Add the range to KerasTuner's hyper-parameters.

        A range with a step is drawn as the number of steps, because multiples of numbers like 0.1 are not exact.
        """
        if self.step is not None:
            hyperparameters.Int(name, 0, self.last_step)
        elif self.whole:
            hyperparameters.Int(name, self.low, self.high, sampling=self.sampling)
        else:
            hyperparameters.Float(name, self.low, self.high, sampling=self.sampling)

    def decode(self, drawn: float) -> float:
        """Return the value of the field for a value that KerasTuner drew."""
        value = drawn if self.step is None else self._after(int(drawn), self.step)
        if self.whole:
            return round(value)
        return min(max(float(f"{value:.{DIGITS}g}"), self.low), self.high)

    def encode(self, value: float) -> float:
        """Return the value that KerasTuner draws for a value of the range: the inverse of `decode`."""
        return value if self.step is None else round(self._steps_to(value, self.step))

    def contains(self, value: Any) -> bool:
        """Return whether the value lies in the range and on one of its steps."""
        if isinstance(value, bool) or not isinstance(value, int | float) or not self.low <= value <= self.high:
            return False
        if self.whole and value != int(value):
            return False
        steps = 0 if self.step is None else self._steps_to(value, self.step)
        return math.isclose(steps, round(steps), abs_tol=1e-3)

    def examples(self) -> list[float]:
        """Return the ends of the range, and its second value if it has steps.

        If these values lie in another range, the whole range lies in it.
        """
        if self.step is None:
            return [self.low, self.high]
        return [self.decode(number) for number in (0, self.last_step, min(1, self.last_step))]

    def _steps_to(self, value: float, step: float) -> float:
        return math.log(value / self.low, step) if self.sampling == "log" else (value - self.low) / step

    def _after(self, steps: int, step: float) -> float:
        return self.low * step**steps if self.sampling == "log" else self.low + steps * step


@dataclass(frozen=True)
class Choice:
    """One of several values of any kind."""

    values: tuple[Any, ...]

    def draw_from(self, hyperparameters: keras_tuner.HyperParameters, name: str) -> None:
        """Add the choice to KerasTuner's hyper-parameters, as JSON, because their values cannot be lists or dicts."""
        if len(self.values) == 1:
            hyperparameters.Fixed(name, json.dumps(self.values[0]))
        else:
            hyperparameters.Choice(name, [json.dumps(value) for value in self.values])

    def decode(self, drawn: str) -> Any:
        """Return the value of the field for a value that KerasTuner drew."""
        return json.loads(drawn)

    def encode(self, value: Any) -> str:
        """Return the value that KerasTuner draws for one of the choices: the inverse of `decode`."""
        return json.dumps(self.values[self.values.index(value)])

    def contains(self, value: Any) -> bool:
        """Return whether the value is one of the choices."""
        return value in self.values

    def examples(self) -> list[Any]:
        """Return all values."""
        return list(self.values)


@dataclass(frozen=True)
class Space:
    """The fields that vary in a search.

    Attributes:
        entries: range or choice of each name. A name is the dotted key of a field, or several keys with commas.
    """

    entries: dict[str, Range | Choice]

    def hyperparameters(self) -> keras_tuner.HyperParameters:
        """Return the space as KerasTuner's hyper-parameters."""
        hyperparameters = keras_tuner.HyperParameters()
        for name, entry in self.entries.items():
            entry.draw_from(hyperparameters, name)
        return hyperparameters

    @property
    def searched(self) -> list[str]:
        """The names that have more than one value."""
        return [name for name, entry in self.entries.items() if not isinstance(entry, Choice) or len(entry.values) > 1]

    def examples(self, key: str) -> list[Any]:
        """Return values of a field, including the ends of its range; empty if the field is not in the space."""
        return [value for name, entry in self.entries.items() if key in keys_of(name) for value in entry.examples()]

    def decode(self, drawn: dict[str, Any]) -> dict[str, Any]:
        """Return the values of a trial by name, from the values that KerasTuner drew. Other names are ignored."""
        return {name: entry.decode(drawn[name]) for name, entry in self.entries.items()}

    def encode(self, values: dict[str, Any]) -> dict[str, Any]:
        """Return the values that KerasTuner draws for those of a trial: the inverse of `decode`."""
        return {name: entry.encode(values[name]) for name, entry in self.entries.items()}

    def contains(self, values: dict[str, Any]) -> bool:
        """Return whether the values of a trial lie in the space."""
        return values.keys() == self.entries.keys() and all(
            self.entries[name].contains(values[name]) for name in values
        )

    def lies_in(self, other: "Space") -> bool:
        """Return whether every trial of this space lies in the other space."""
        if self.entries.keys() != other.entries.keys():
            return False
        return all(_lies_in(entry, other.entries[name]) for name, entry in self.entries.items())

    def to_dict(self) -> dict[str, Any]:
        """Return plain values that `parse_space` can read."""
        return {name: _to_plain(entry) for name, entry in self.entries.items()}


def without(space: Space, key: str) -> Space:
    """Return a space without a field. Fields that shared the values of this field stay in the space."""
    rests = {name: [other for other in keys_of(name) if other != key] for name in space.entries}
    return Space({", ".join(rest): space.entries[name] for name, rest in rests.items() if rest})


def keys_of(name: str) -> list[str]:
    """Return the dotted keys in a name of a space."""
    return [key.strip() for key in name.split(",")]


def config_with(base: Config, values: dict[str, Any]) -> Config:
    """Return the configuration of a trial.

    If a trial leaves out a section (`model.wavenet.cascade: none`), the values for fields of that section are ignored.

    Args:
        base: configuration of everything that is not searched.
        values: searched values, by the names of the space.

    Raises:
        UserError: the values are not valid in combination.
    """
    plain = json.loads(base.model_dump_json())
    flat = {key: value for name, value in values.items() for key in keys_of(name)}
    for key in sorted(flat, key=lambda key: key.count(".")):  # a section before its fields
        _put(plain, key.split("."), copy.deepcopy(flat[key]))
    return parse_config(plain)


def _put(section: dict[str, Any], path: Sequence[str], value: Any) -> None:
    if len(path) == 1:
        section[path[0]] = value
    elif section.get(path[0]) not in (None, "none"):
        _put(section[path[0]], path[1:], value)


def _lies_in(entry: Range | Choice, other: Range | Choice) -> bool:
    is_finer = isinstance(entry, Range) and isinstance(other, Range) and entry.step is None and other.step is not None
    return not is_finer and all(other.contains(value) for value in entry.examples())


def _to_plain(entry: Range | Choice) -> dict[str, Any]:
    if isinstance(entry, Choice):
        return {"values": list(entry.values)}
    step = {} if entry.step is None else {"step": entry.step}
    return {"min": entry.low, "max": entry.high, **step, "sampling": entry.sampling}
