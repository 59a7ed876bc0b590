"""The command line: parses, calls one function, prints. Everything heavy is imported inside the commands."""

import logging
import os
import sys
from typing import Annotated

import typer

from genre_tagger import __version__
from genre_tagger.cli import comparing, evaluating, importing, reporting, serving, tagging, training, tuning
from genre_tagger.cli.options import LOG_LEVEL, QUIET
from genre_tagger.errors import UserError

app = typer.Typer(
    name="genre-tagger",
    help="Tag music: train a WaveNet beside a CNN from raw audio, evaluate it, tag files with it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for command in (
    training.prepare,
    training.train,
    tuning.tune,
    comparing.compare,
    evaluating.evaluate,
    reporting.report,
    evaluating.probe,
    tagging.tag,
    serving.export,
    serving.serve,
):
    app.command()(command)
app.command("import")(importing.import_)  # a word that no function may have for a name


@app.callback(invoke_without_command=True)
def _version(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        typer.echo(__version__)
        raise typer.Exit


def main() -> None:
    """Entry point: mistakes of the user end in one line on standard error and exit code 2."""
    os.environ.setdefault(LOG_LEVEL, QUIET)  # TensorFlow else greets with a page of device notes
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    try:
        sys.exit(app(standalone_mode=False))
    except UserError as error:
        typer.echo(f"genre-tagger: {' '.join(str(error).split())}", err=True)
        sys.exit(2)
    except typer.TyperException as error:
        if message := error.format_message():  # empty where the help was printed for want of a command
            typer.echo(f"genre-tagger: {message.rstrip('.')}. See --help.", err=True)
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        typer.echo("genre-tagger: interrupted; the same command goes on from here", err=True)
        sys.exit(130)
