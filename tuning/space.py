"""The search space: a YAML file that says which fields of a configuration vary, and over what.

A line is `FIELD: VALUES`, FIELD being a dotted key of the configuration, or several with commas that always get one
value between them. VALUES is `{min: A, max: B}`, with `step: S` or `sampling: log` or both (a step then multiplies),
`{values: [...]}` of whatever the field takes, lists and sections among them, or one value, which fixes the field.
"""

import copy
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import keras_tuner
import yaml
from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from genre_tagger.config import Config, nearest, parse_config
from genre_tagger.errors import UserError

DIGITS = 6  # kept of a drawn number, so that it can be read
RANGE_KEYS = ("min", "max", "step", "sampling")
SAMPLINGS = ("linear", "log")


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


def space_names() -> list[str]:
    """Names of the spaces that come with the package."""
    folder = resources.files("genre_tagger.tuning") / "spaces"
    return sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml"))


def load_space(name: str) -> Space:
    """Reads a space by the name of one of the package's, or by its path.

    Raises:
        UserError: no such space, unknown field, empty range, a value of the wrong kind.
    """
    packaged = resources.files("genre_tagger.tuning") / "spaces" / f"{name}.yaml"
    if name not in space_names() and not Path(name).is_file():
        raise UserError(f"--space {name}: no such file, and none of the package's: {', '.join(space_names())}")
    try:
        text = (packaged if name in space_names() else Path(name)).read_text(encoding="utf-8")
        return parse_space(yaml.safe_load(text), f"--space {name}")
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"--space {name}: cannot be read as YAML ({error})") from None


def parse_space(lines: Any, where: str) -> Space:
    """Checks plain values, line by line, against the fields of the configuration; raises UserError behind `where`."""
    if not isinstance(lines, dict) or not lines:
        raise UserError(f"{where}: expected lines of FIELD: VALUES, found {lines!r}")
    entries, owner = {}, {}
    for name, line in lines.items():
        for key in keys_of(str(name)):
            if key in owner:
                raise UserError(f"{where}: {key!r} stands in it twice")
            owner[key] = name
            entry = _parse_line(line, _field(key, where), f"{where}: {key!r}")
            if entries.setdefault(str(name), entry) != entry:
                raise UserError(
                    f"{where}: {name!r}: fields of whole numbers and of others; expected fields of one kind"
                )
    return Space(entries)


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


def _parse_line(line: Any, field: FieldInfo, where: str) -> Range | Choice:
    if isinstance(line, dict) and {"min", "max"} & line.keys():
        entry: Range | Choice = _parse_range(line, field, where)
    elif isinstance(line, dict) and line.keys() == {"values"}:
        if not isinstance(line["values"], list) or not line["values"]:
            raise UserError(f"{where}: an empty range: values are {line['values']!r}, expected a list of some")
        for number, value in enumerate(line["values"]):
            if value in line["values"][:number]:
                raise UserError(f"{where}: {value!r} is twice among the values")
        entry = Choice(tuple(line["values"]))
    else:
        entry = Choice((line,))
    for value in (line["min"], line["max"]) if isinstance(entry, Range) else entry.values:
        _check_value(value, field, where)
    is_single = isinstance(entry, Range) and len(set(entry.examples())) == 1
    return Choice((entry.low,)) if is_single else entry


def _parse_range(line: dict[str, Any], field: FieldInfo, where: str) -> Range:
    kinds = {int, float} & set(_kinds(field.annotation))
    if not kinds:
        raise UserError(f"{where}: has no range, since it is no number; expected values: [...]")
    if unknown := line.keys() - set(RANGE_KEYS):
        raise UserError(f"{where}: unknown {sorted(unknown)[0]!r}{nearest(sorted(unknown)[0], RANGE_KEYS)}")
    low, high, step = line.get("min"), line.get("max"), line.get("step")
    for key, number in (("min", low), ("max", high), *([("step", step)] if "step" in line else [])):
        if isinstance(number, bool) or not isinstance(number, int | float) or not math.isfinite(number):
            raise UserError(f"{where}: {key} is {number!r}, expected a number")
    sampling = line.get("sampling", "linear")
    if sampling not in SAMPLINGS:
        raise UserError(f"{where}: sampling is {sampling!r}, expected linear or log")
    whole = float not in kinds
    if low > high:
        raise UserError(f"{where}: an empty range: min {low} is above max {high}")
    if sampling == "log" and low <= 0:
        raise UserError(f"{where}: min is {low}, expected more than 0 for sampling: log")
    least = 1 if sampling == "log" else 0
    if step is not None and (step <= least or (whole and step != int(step))):
        raise UserError(f"{where}: step is {step}, expected {'a whole number' if whole else 'one'} above {least}")
    return Range(low, high, step, sampling, whole)


def _check_value(value: Any, field: FieldInfo, where: str) -> None:
    adapter = TypeAdapter(Annotated[(field.annotation, *field.metadata)] if field.metadata else field.annotation)
    try:
        adapter.validate_python(value)
    except ValidationError as error:
        expected = error.errors()[0]["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
        raise UserError(f"{where}: found {value!r}, expected {expected}") from None


def _field(key: str, where: str) -> FieldInfo:
    """The field of the configuration with a dotted key."""
    fields = Config.model_fields
    *sections, last = key.split(".")
    for part in sections:
        fields = _section_fields(fields, part, key, where)
    _check_name(last, list(fields), key, where)
    return fields[last]


def _section_fields(fields: dict[str, FieldInfo], part: str, key: str, where: str) -> dict[str, FieldInfo]:
    _check_name(part, list(fields), key, where)
    for kind in _kinds(fields[part].annotation):
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            return kind.model_fields
    raise UserError(f"{where}: {key!r}: {part} is a field, and has none of its own")


def _check_name(part: str, known: Sequence[str], key: str, where: str) -> None:
    if part not in known:
        raise UserError(f"{where}: unknown field {key!r}{nearest(part, known)}")


def _kinds(annotation: Any) -> tuple[Any, ...]:
    """The types that an annotation allows, without the wrappers of pydantic."""
    if get_origin(annotation) is Annotated:
        return _kinds(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return tuple(kind for part in get_args(annotation) for kind in _kinds(part))
    return (annotation,)


def _lies_in(entry: Range | Choice, other: Range | Choice) -> bool:
    is_finer = isinstance(entry, Range) and isinstance(other, Range) and entry.step is None and other.step is not None
    return not is_finer and all(other.contains(value) for value in entry.examples())


def _to_plain(entry: Range | Choice) -> dict[str, Any]:
    if isinstance(entry, Choice):
        return {"values": list(entry.values)}
    step = {} if entry.step is None else {"step": entry.step}
    return {"min": entry.low, "max": entry.high, **step, "sampling": entry.sampling}
