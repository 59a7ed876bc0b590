"""Read a search space from a YAML file.

An entry is `FIELD: VALUES`. FIELD is a dotted key of the configuration, or several keys with commas, which then always
share the same value. VALUES is one of:

- `{min: A, max: B}`, optionally with `step: S` and `sampling: log` (the step is then a factor),
- `{values: [...]}`, a list of values of the field, which may be lists and sections,
- one value, which fixes the field.
"""

import math
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from genre_tagger.config import Config
from genre_tagger.config.migration import MOVED_KEYS
from genre_tagger.errors import FieldError, UserError, suggest
from genre_tagger.tuning.space import Choice, Range, Space, keys_of

RANGE_KEYS = ("min", "max", "step", "sampling")
SAMPLINGS = ("linear", "log")


def space_names() -> list[str]:
    """Return the names of the spaces in the package."""
    folder = resources.files("genre_tagger.tuning") / "spaces"
    return sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml"))


def load_space(name: str) -> Space:
    """Load a search space.

    Args:
        name: name of a space in the package, or path of a YAML file.

    Raises:
        UserError: there is no such space, or it has an unknown field, an empty range or a value of the wrong type.
    """
    packaged = resources.files("genre_tagger.tuning") / "spaces" / f"{name}.yaml"
    if name not in space_names() and not Path(name).is_file():
        raise FieldError("space", f"{name}: no such file; expected a file or one of {', '.join(space_names())}")
    try:
        text = (packaged if name in space_names() else Path(name)).read_text(encoding="utf-8")
        return parse_space(yaml.safe_load(text), name)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise FieldError("space", f"{name}: cannot be read as YAML ({error})") from error


def parse_space(lines: Any, where: str) -> Space:
    """Check plain values against the fields of the configuration and return the space.

    Args:
        lines: values of each name, as read from YAML.
        where: origin of the values, for error messages.

    Raises:
        UserError: an unknown field, an empty range or a value of the wrong type.
    """
    if not isinstance(lines, dict) or not lines:
        raise UserError(f"{where}: found {lines!r}, expected entries of FIELD: VALUES")
    entries: dict[str, Range | Choice] = {}
    seen: set[str] = set()
    for name, line in lines.items():
        for key in keys_of(str(name)):
            if key in seen:
                raise UserError(f"{where}: found {key!r} twice, expected each field once")
            seen.add(key)
            entry = _parse_line(line, _field(key, where), f"{where}: {key!r}")
            if entries.setdefault(str(name), entry) != entry:
                raise UserError(f"{where}: {name!r}: found fields of different types, expected fields of the same type")
    return Space(entries)


def _parse_line(line: Any, field: FieldInfo, where: str) -> Range | Choice:
    if isinstance(line, dict) and {"min", "max"} & line.keys():
        entry: Range | Choice = _parse_range(line, field, where)
    elif isinstance(line, dict) and line.keys() == {"values"}:
        if not isinstance(line["values"], list) or not line["values"]:
            raise UserError(f"{where}: values are {line['values']!r}, expected a list that is not empty")
        for number, value in enumerate(line["values"]):
            if value in line["values"][:number]:
                raise UserError(f"{where}: found {value!r} twice among the values, expected each value once")
        entry = Choice(tuple(line["values"]))
    else:
        entry = Choice((line,))
    for value in (line["min"], line["max"]) if isinstance(entry, Range) else entry.values:
        _check_value(value, field, where)
    return Choice((entry.low,)) if isinstance(entry, Range) and len(set(entry.examples())) == 1 else entry


def _parse_range(line: dict[str, Any], field: FieldInfo, where: str) -> Range:
    kinds = {int, float} & set(_kinds(field.annotation))
    if not kinds:
        raise UserError(f"{where}: found a range for a field that is not a number, expected values: [...]")
    if unknown := line.keys() - set(RANGE_KEYS):
        raise UserError(f"{where}: unknown {sorted(unknown)[0]!r}{_hint(sorted(unknown)[0], RANGE_KEYS)}")
    low: Any
    high: Any
    step: Any
    low, high, step = (line.get(key) for key in ("min", "max", "step"))
    for key, number in (("min", low), ("max", high), *([("step", step)] if "step" in line else [])):
        if isinstance(number, bool) or not isinstance(number, int | float) or not math.isfinite(number):
            raise UserError(f"{where}: {key} is {number!r}, expected a number")
    sampling = line.get("sampling", "linear")
    if sampling not in SAMPLINGS:
        raise UserError(f"{where}: sampling is {sampling!r}, expected linear or log")
    whole = float not in kinds
    if low > high:
        raise UserError(f"{where}: min is {low}, expected at most max, which is {high}")
    if sampling == "log" and low <= 0:
        raise UserError(f"{where}: min is {low}, expected more than 0 for sampling: log")
    least = 1 if sampling == "log" else 0
    if step is not None and (step <= least or (whole and step != int(step))):
        raise UserError(f"{where}: step is {step}, expected a {'whole ' if whole else ''}number above {least}")
    return Range(low, high, step, sampling, whole)


def _check_value(value: Any, field: FieldInfo, where: str) -> None:
    kind: Any = Annotated[(field.annotation, *field.metadata)] if field.metadata else field.annotation
    adapter: TypeAdapter[Any] = TypeAdapter(kind)
    try:
        adapter.validate_python(value)
    except ValidationError as error:
        expected = error.errors()[0]["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
        raise UserError(f"{where}: found {value!r}, expected {expected}") from error


def _field(key: str, where: str) -> FieldInfo:
    """Return the field of the configuration with a dotted key."""
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
    raise UserError(f"{where}: {key!r}: {part} is a field, expected a section")


def _check_name(part: str, known: Sequence[str], key: str, where: str) -> None:
    if part not in known:
        moved = _moved(key)
        raise UserError(f"{where}: unknown field {key!r}{f'; it is now {moved!r}' if moved else _hint(part, known)}")


def _moved(key: str) -> str | None:
    """Return where a key of an older schema version is now, if it or its section was moved."""
    for old, new in MOVED_KEYS.items():
        if new and f"{key}.".startswith(f"{old}."):
            return new + key.removeprefix(old)
    return None


def _hint(name: str, known: Sequence[str]) -> str:
    return suggest(name, known) or f"; expected one of {', '.join(known)}"


def _kinds(annotation: Any) -> tuple[Any, ...]:
    """Return the types that an annotation allows, without the wrappers of pydantic."""
    if get_origin(annotation) is Annotated:
        return _kinds(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return tuple(kind for part in get_args(annotation) for kind in _kinds(part))
    return (annotation,)
