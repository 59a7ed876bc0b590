"""Markdown pages of the commands, generated from the command line."""

import typer
from typer.cli import get_docs_for_click

from genre_tagger.commands.app import app

PROGRAM = "genre-tagger"


def command_pages() -> dict[str, str]:
    """Return the Markdown page of each command, by the name of the command."""
    program = typer.main.get_command(app)
    context = typer.Context(program, info_name=PROGRAM)
    return {name: _page(program.get_command(context, name), context) for name in program.list_commands(context)}


def _page(command: typer.core.TyperCommand, parent: typer.Context) -> str:
    context = typer.Context(command, info_name=command.name, parent=parent)
    return get_docs_for_click(obj=command, ctx=context, call_prefix=PROGRAM)
