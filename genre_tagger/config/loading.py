"""Loading of configurations: a preset or a YAML file, then `key=value` overrides."""

from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

from genre_tagger.config.migration import MOVED_KEYS, migrate
from genre_tagger.config.schema import Config, Section
from genre_tagger.errors import FieldError, UserError, suggest

PRESETS = "genre_tagger.presets"


def preset_names() -> list[str]:
    """Return the names of the presets in the package."""
    folder = resources.files(PRESETS)
    return sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml"))


def load_config(preset: str | None = None, path: Path | str | None = None, overrides: Sequence[str] = ()) -> Config:
    """Load a configuration.

    Args:
        preset: name of a preset in the package.
        path: a YAML file, instead of a preset. With neither, the defaults are used, which have no branch.
        overrides: `key.path=value` strings, applied in this order.

    Returns:
        The validated configuration.

    Raises:
        UserError: both a preset and a file are given, a preset or key is unknown (the message suggests the closest
            names), the file cannot be read, an override is not `key=value`, or a value has the wrong type or is out of
            range.

    Examples:
        >>> config = load_config("small", overrides=["training.epochs=2"])
        >>> config.training.epochs
        2
    """
    if isinstance(preset, Path) or str(preset).endswith((".yaml", ".yml")):
        raise FieldError(
            "preset", f"found {str(preset)!r}, expected the name of a preset; a file is given as `path` (--config)"
        )
    if preset is not None and path is not None:
        raise FieldError("preset", "expected a preset or a configuration file, found both")
    values = _read_preset(preset) if preset is not None else _read_file(Path(path)) if path is not None else {}
    for override in overrides:
        _set(values, override)
    return parse_config(values)


def read_run_config(path: Path, overrides: Sequence[str] = ()) -> Config:
    """Read the configuration that a run or an exported version has saved.

    Args:
        path: the file.
        overrides: as in `load_config`.

    Raises:
        UserError: as `load_config`.
    """
    values = _read_file(path, saved_by_run=True)
    if not values:
        raise UserError(f"{path}: found an empty file, expected the configuration of a run; restore the file")
    for override in overrides:
        _set(values, override)
    return parse_config(values)


def parse_config(values: dict[str, Any]) -> Config:
    """Validate nested plain values of the current schema.

    Raises:
        UserError: a key is unknown or its value is invalid. The message names the first such key.
    """
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        raise UserError(_explain(error)) from error


def flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested sections as one dict with dotted keys."""
    leaves: dict[str, Any] = {}
    for key, value in values.items():
        leaves.update(flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value})
    return leaves


def unknown_preset(name: str) -> str:
    """Return the message for a preset that does not exist."""
    hint = suggest(name, preset_names()) or f"; expected one of {', '.join(preset_names())}"
    return f"unknown preset {name!r}{hint}"


def _read_preset(name: str) -> dict[str, Any]:
    if name not in preset_names():
        raise FieldError("preset", unknown_preset(name))
    return _with_parent((resources.files(PRESETS) / f"{name}.yaml").read_text(encoding="utf-8"), name)


def _read_file(path: Path, *, saved_by_run: bool = False) -> dict[str, Any]:
    try:
        return _with_parent(path.read_text(encoding="utf-8"), str(path), saved_by_run=saved_by_run)
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read as a configuration ({error})") from error


def _with_parent(text: str, where: str, *, saved_by_run: bool = False) -> dict[str, Any]:
    """Parse YAML and merge its values into those of the preset named by `extends`, if any."""
    try:
        values = yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        raise UserError(f"{where}: not valid YAML ({' '.join(str(error).split())})") from error
    if not isinstance(values, dict):
        raise UserError(f"{where}: expected a mapping of configuration keys, found {type(values).__name__}")
    name = values.pop("extends", None)
    if name is None:
        return migrate(values, saved_by_run=saved_by_run)
    if str(name) not in preset_names():
        raise UserError(f"{where}: extends: {unknown_preset(str(name))}")
    parent = _read_preset(str(name))
    return _merge(parent, migrate(values, parent, saved_by_run=saved_by_run))


def _merge(base: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in change.items():
        both = isinstance(value, dict) and isinstance(base.get(key), dict)
        merged[key] = _merge(base[key], value) if both else value
    return merged


def _set(values: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise FieldError("set", f"found {override!r}, expected KEY=VALUE, for example model.wavenet.blocks=4")
    *sections, last = key.split(".")
    for section in sections:
        if values.get(section) in (None, "none"):
            values[section] = {}
        if not isinstance(values[section], dict):
            raise FieldError("set", f"{key}: {section!r} is {values[section]!r} in the configuration, not a section")
        values = values[section]
    try:
        values[last] = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise FieldError("set", f"{key}: {text!r} is not a valid YAML value") from error


def _explain(error: ValidationError) -> str:
    first = error.errors()[0]
    location = [str(part) for part in first["loc"]]
    key = ".".join(location)
    if first["type"] == "extra_forbidden":
        return f"config key {key!r}: unknown{_hint(key, location)}"
    if first["type"] in ("model_type", "dict_type"):
        expected = "a section of keys"
    else:
        expected = first["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    return f"config key {key!r}: found {first['input']!r}, expected {expected}"


def _hint(key: str, location: list[str]) -> str:
    if key in MOVED_KEYS:
        new = MOVED_KEYS[key]
        return f"; it is now {new!r}" if new else f"; it is now the option --{location[-1]}"
    known = _fields_of(location[:-1])
    return suggest(location[-1], known) or f"; expected one of {', '.join(known)}"


def _fields_of(location: list[str]) -> list[str]:
    section: type[BaseModel] = Config
    for part in location:
        kind = section.model_fields[part].annotation  # a section, or a section or None
        section = next(one for one in (kind, *get_args(kind)) if isinstance(one, type) and issubclass(one, Section))
    return list(section.model_fields)
