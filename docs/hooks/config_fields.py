"""A Markdown table for each section of the configuration, written from its schema."""

import ast
import inspect
import io
import json
import tokenize
from typing import Any

from genre_tagger.config import Config, schema

LIMITS = {"minimum": "≥ {}", "exclusiveMinimum": "> {}", "maximum": "≤ {}", "exclusiveMaximum": "< {}"}
HEADER = "| key | default | values | meaning |\n|---|---|---|---|\n"


def field_tables() -> str:
    """Return a heading, the docstring and a table of the fields for each section, the top level first."""
    whole = Config.model_json_schema()
    return "\n".join(_section("", "Config", whole, whole["$defs"], _comments()))


def _section(prefix: str, name: str, section: dict, definitions: dict, comments: dict) -> list[str]:
    rows, below = [], []
    for field, found in section["properties"].items():
        key, inner = f"{prefix}{field}", _inner(found)
        if inner is None:
            meaning = found.get("description") or comments.get((name, field), "")
            rows.append(f"| `{key}` | {_value(found.get('default'))} | {_allowed(found)} | {_cell(meaning)} |")
        else:
            below += _section(f"{key}.", inner, definitions[inner], definitions, comments)
    heading = f"## {prefix.rstrip('.') or 'Top level'}\n\n{section.get('description', '')}\n"
    return [heading, *([HEADER + "\n".join(rows) + "\n"] if rows else []), *below]


def _inner(found: dict) -> str | None:
    """Return the name of the section that a field holds; None for another field."""
    parts = [found, *found.get("anyOf", []), *found.get("allOf", [])]
    return next((part["$ref"].rpartition("/")[2] for part in parts if "$ref" in part), None)


def _allowed(found: dict) -> str:
    """Return the choices of a field, or its type with its limits."""
    return " or ".join(filter(None, (_kind(part) for part in found.get("anyOf", [found]))))


def _kind(part: dict) -> str:
    if choices := part.get("enum", [part["const"]] if "const" in part else None):
        return ", ".join(_value(choice) for choice in choices)
    if part.get("type") == "null":
        return "`none`"
    if part.get("type") == "array":
        item = part.get("items") or (part.get("prefixItems") or [{}])[0]
        return f"list of {_kind(item)}"
    limits = [text.format(part[limit]) for limit, text in LIMITS.items() if limit in part]
    return " ".join([part.get("type", ""), ", ".join(limits)]).strip()


def _value(value: Any) -> str:
    if value is None:
        return "`none`"
    return f"`{value}`" if isinstance(value, str) else f"`{json.dumps(value)}`"


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


def _comments() -> dict[tuple[str, str], str]:
    """Return the comment at the end of each field's line, by class and field."""
    source = inspect.getsource(schema)
    by_line = {
        token.start[0]: token.string.lstrip("# ")
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT
    }
    return {
        (section.name, field.target.id): by_line[field.end_lineno]
        for section in ast.parse(source).body
        if isinstance(section, ast.ClassDef)
        for field in section.body
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and field.end_lineno in by_line
    }
