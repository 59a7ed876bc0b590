"""Imports against the floors that docs/architecture.md draws."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
AT_THE_TOP = ("tuning", "export")  # folders that are installed as parts of genre_tagger


def named(path: str) -> str:
    """The module of a file or folder: `tuning/` -> genre_tagger.tuning."""
    parts = path.rstrip("/").removesuffix(".py").removesuffix("/__init__").split("/")
    return ".".join(["genre_tagger", *parts] if parts[0] in AT_THE_TOP else parts)


def floors() -> tuple[list[str], set[tuple[str, str]]]:
    """Modules from the top down, and pairs of which the first says that it asks the second."""
    section = (ROOT / "docs/architecture.md").read_text(encoding="utf-8").split("## Floors")[1].split("\n## ")[0]
    lines = re.findall(r"^ {4,}(\S+) +(.+)$", section, re.MULTILINE)
    asking = {(named(path), f"genre_tagger.{m[1]}") for path, text in lines if (m := re.search(r"asks (\w+)", text))}
    return [named(path) for path, _ in lines], asking


def imports() -> set[tuple[str, str]]:
    """(module, name that it imports), of all of ours."""
    files = [file for top in ("genre_tagger", *AT_THE_TOP) for file in (ROOT / top).rglob("*.py")]
    return {
        (named(file.relative_to(ROOT).as_posix()), f"{node.module}.{imported.name}")
        for file in files
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "genre_tagger"
        for imported in node.names
    }


def test_imports_go_down():
    names, asking = floors()

    def floor(module: str) -> str | None:
        return next((name for name in names if f"{module}.".startswith(f"{name}.")), None)

    pairs = {(floor(user), floor(used)) for user, used in imports()}
    known = {pair for pair in pairs if None not in pair}
    assert len(known) > 50
    assert {(user, used) for user, used in known if names.index(used) < names.index(user)} <= asking
