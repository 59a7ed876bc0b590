"""The search space: which fields of a configuration vary, and over what; drawn from by KerasTuner."""

import copy
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras_tuner

from genre_tagger.config import Config, parse_config

DIGITS = 6  # kept of a drawn number, so that it can be read


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, both included; a step adds, or multiplies where the sampling is log."""

    low: float
    high: float
    step: float | None
    sampling: str
    whole: bool  # whole numbers only

    @property
    def last_step(self) -> int:
        """How many steps fit into the range."""
        return math.floor(self._steps_to(self.high) + 1e-6)

    def draw_from(self, hyperparameters: keras_tuner.HyperParameters, name: str) -> None:
        """Declares the range to KerasTuner; steps by their number, which no arithmetic of numbers like 0.1 blurs."""
        if self.step is not None:
            hyperparameters.Int(name, 0, self.last_step)
        elif self.whole:
            hyperparameters.Int(name, self.low, self.high, sampling=self.sampling)
        else:
            hyperparameters.Float(name, self.low, self.high, sampling=self.sampling)

    def decode(self, drawn: float) -> float:
        """The field's value for what KerasTuner drew."""
        value = drawn if self.step is None else self._after(int(drawn))
        if self.whole:
            return round(value)
        return min(max(float(f"{value:.{DIGITS}g}"), self.low), self.high)

    def encode(self, value: float) -> float:
        """What KerasTuner would have drawn for a value of the range."""
        return value if self.step is None else round(self._steps_to(value))

    def contains(self, value: Any) -> bool:
        """Whether the range could have drawn the value."""
        if isinstance(value, bool) or not isinstance(value, int | float) or not self.low <= value <= self.high:
            return False
        if self.whole and value != int(value):
            return False
        steps = 0 if self.step is None else self._steps_to(value)
        return math.isclose(steps, round(steps), abs_tol=1e-3)

    def examples(self) -> list[float]:
        """The ends of the range, and its second value if it has steps: where they lie in a range, all of it does."""
        if self.step is None:
            return [self.low, self.high]
        return [self.decode(number) for number in (0, self.last_step, min(1, self.last_step))]

    def _steps_to(self, value: float) -> float:
        return math.log(value / self.low, self.step) if self.sampling == "log" else (value - self.low) / self.step

    def _after(self, steps: int) -> float:
        return self.low * self.step**steps if self.sampling == "log" else self.low + steps * self.step


@dataclass(frozen=True)
class Choice:
    """One of several values of any kind."""

    values: tuple[Any, ...]

    def draw_from(self, hyperparameters: keras_tuner.HyperParameters, name: str) -> None:
        """Declares the choice to KerasTuner, as JSON: it knows no lists."""
        if len(self.values) == 1:
            hyperparameters.Fixed(name, json.dumps(self.values[0]))
        else:
            hyperparameters.Choice(name, [json.dumps(value) for value in self.values])

    def decode(self, drawn: str) -> Any:
        """The field's value for what KerasTuner drew."""
        return json.loads(drawn)

    def encode(self, value: Any) -> str:
        """What KerasTuner would have drawn for one of the values."""
        return json.dumps(self.values[self.values.index(value)])

    def contains(self, value: Any) -> bool:
        """Whether the value is one of the choices."""
        return value in self.values

    def examples(self) -> list[Any]:
        """Every value."""
        return list(self.values)


@dataclass(frozen=True)
class Space:
    """What varies in a search, by name: the dotted key of a field, or several with commas."""

    entries: dict[str, Range | Choice]

    def hyperparameters(self) -> keras_tuner.HyperParameters:
        """The space as KerasTuner searches it."""
        hyperparameters = keras_tuner.HyperParameters()
        for name, entry in self.entries.items():
            entry.draw_from(hyperparameters, name)
        return hyperparameters

    @property
    def searched(self) -> list[str]:
        """The names that are not fixed to one value."""
        return [name for name, entry in self.entries.items() if not isinstance(entry, Choice) or len(entry.values) > 1]

    def examples(self, key: str) -> list[Any]:
        """Values of a field, the ends of its range among them; none where the space leaves it as it is."""
        return [value for name, entry in self.entries.items() if key in keys_of(name) for value in entry.examples()]

    def decode(self, drawn: dict[str, Any]) -> dict[str, Any]:
        """The values of a trial by name, from what KerasTuner drew (which may hold more than the space's names)."""
        return {name: entry.decode(drawn[name]) for name, entry in self.entries.items()}

    def encode(self, values: dict[str, Any]) -> dict[str, Any]:
        """What KerasTuner would have drawn for a trial's values."""
        return {name: entry.encode(values[name]) for name, entry in self.entries.items()}

    def contains(self, values: dict[str, Any]) -> bool:
        """Whether the space could have drawn a trial's values."""
        return values.keys() == self.entries.keys() and all(
            self.entries[name].contains(values[name]) for name in values
        )

    def lies_in(self, other: "Space") -> bool:
        """Whether the other space could have drawn whatever this one draws."""
        if self.entries.keys() != other.entries.keys():
            return False
        return all(_lies_in(entry, other.entries[name]) for name, entry in self.entries.items())

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as `parse_space` reads them."""
        return {name: _to_plain(entry) for name, entry in self.entries.items()}


def without(space: Space, key: str) -> Space:
    """A space that leaves a field as it is, also where it shares its values with others."""
    rests = {name: [other for other in keys_of(name) if other != key] for name in space.entries}
    return Space({", ".join(rest): space.entries[name] for name, rest in rests.items() if rest})


def keys_of(name: str) -> list[str]:
    """The fields that a name of a space stands for."""
    return [key.strip() for key in name.split(",")]


def config_with(base: Config, values: dict[str, Any]) -> Config:
    """The configuration of a trial: the base with a trial's values, which go by the names of a space.

    What lies in a section that the trial leaves out (`model.cascade: none`) is left out with it.

    Raises:
        UserError: the values do not go together.
    """
    plain = json.loads(base.model_dump_json())
    flat = {key: value for name, value in values.items() for key in keys_of(name)}
    for key in sorted(flat, key=lambda key: key.count(".")):  # sections before what is in them
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
