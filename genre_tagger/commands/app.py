"""The program `genre-tagger`: its commands, its global options, and its errors."""

import itertools
import logging
import os
import sys
import traceback
from collections.abc import Sequence
from typing import Annotated

import typer

from genre_tagger import __version__, progress
from genre_tagger.commands import console
from genre_tagger.commands.compare import compare
from genre_tagger.commands.demo import demo
from genre_tagger.commands.evaluate import evaluate
from genre_tagger.commands.export import export
from genre_tagger.commands.import_ import import_
from genre_tagger.commands.options import LOG_LEVEL, QUIET
from genre_tagger.commands.prepare import prepare
from genre_tagger.commands.probe import probe
from genre_tagger.commands.report import report
from genre_tagger.commands.serve import serve
from genre_tagger.commands.tag import tag
from genre_tagger.commands.train import train
from genre_tagger.commands.tune import tune
from genre_tagger.errors import FieldError, UserError

DEBUG = "GENRE_TAGGER_DEBUG"
TRUE_WORDS = ("1", "true", "t", "yes", "y", "on")  # values of an environment variable that Typer reads as true
INTERRUPTED = 130

app = typer.Typer(
    name="genre-tagger",
    help="Train a music tagger on raw audio (a WaveNet in parallel with a CNN), evaluate it, and tag files with it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for command in (prepare, train, tune, compare, evaluate, report, probe, tag, demo, export, serve):
    app.command()(command)
app.command("import")(import_)  # `import` cannot be the name of a function


@app.callback(invoke_without_command=True)
def global_options(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
    debug: Annotated[
        bool, typer.Option("--debug", envvar=DEBUG, help="Show tracebacks of errors and log messages of libraries.")
    ] = False,
) -> None:
    """Apply the global options and show notes and progress until the command ends."""
    if version:
        typer.echo(__version__)
        raise typer.Exit
    context.with_resource(console.notes_shown(logging.DEBUG if debug else logging.INFO))
    context.with_resource(progress.shown_by(console.progress_bar))


def main() -> None:
    """Run the program. An error that the user can correct ends in one line on standard error and exit code 2."""
    debug = _wants_debugging(sys.argv[1:])
    if not debug:
        os.environ.setdefault(LOG_LEVEL, QUIET)  # otherwise TensorFlow first prints a page of notes about devices
        logging.getLogger("tensorflow").setLevel(logging.ERROR)
    try:
        code = app(standalone_mode=False)
    except UserError as error:
        if debug:
            traceback.print_exception(error)
        typer.echo(f"genre-tagger: {' '.join(_message(error).split())}", err=True)
        sys.exit(2)
    except typer.TyperException as error:
        if message := error.format_message():  # empty if no command was given, because the help was printed
            typer.echo(f"genre-tagger: {message.rstrip('.')}. See --help.", err=True)
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    if code == INTERRUPTED:  # Typer catches a KeyboardInterrupt inside a command and returns this code
        typer.echo("genre-tagger: interrupted; rerun the command to resume", err=True)
    sys.exit(code)


def _wants_debugging(words: Sequence[str]) -> bool:
    """Return whether debugging is on. Typer is not used here, because the log level is set before the commands run."""
    options = itertools.takewhile(lambda word: word.startswith("-"), words)
    return "--debug" in options or os.environ.get(DEBUG, "").lower() in TRUE_WORDS


def _message(error: UserError) -> str:
    """Return the message, with the flag in place of the name of an argument."""
    return f"{_flag(error.field)}: {error.message}" if isinstance(error, FieldError) else str(error)


def _flag(field: str) -> str:
    """Return the flag of an argument of the command that was run, or its name if the command has no such flag."""
    commands = typer.main.get_group(app).commands
    name = next((word for word in sys.argv[1:] if not word.startswith("-")), "")
    for parameter in commands[name].params if name in commands else ():
        if parameter.name.rstrip("_") == field:
            is_option = parameter.param_type_name == "option"
            return str(max(parameter.opts, key=len) if is_option else parameter.metavar or field.upper())
    return field
