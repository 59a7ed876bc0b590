"""Reads a search space: a YAML file that says which fields of a configuration vary, and over what.

A line is `FIELD: VALUES`, FIELD being a dotted key of the configuration, or several with commas that always get one
value between them. VALUES is `{min: A, max: B}`, with `step: S` or `sampling: log` or both (a step then multiplies),
`{values: [...]}` of whatever the field takes, lists and sections among them, or one value, which fixes the field.
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

from genre_tagger.config import Config, nearest
from genre_tagger.errors import UserError
from genre_tagger.tuning.space import Choice, Range, Space, keys_of

RANGE_KEYS = ("min", "max", "step", "sampling")
SAMPLINGS = ("linear", "log")


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
