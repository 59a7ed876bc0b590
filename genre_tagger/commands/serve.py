"""The command `serve`."""

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from genre_tagger.commands.console import say
from genre_tagger.commands.options import LOG_LEVEL, QUIET

if TYPE_CHECKING:
    from genre_tagger.export.serving import Launch


def serve(
    directory: Annotated[
        Path, typer.Argument(metavar="DIR", help="Directory of exported models, written by `export RUN DIR`.")
    ],
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for all addresses.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="TCP port for gRPC.")] = 8500,
    rest_port: Annotated[int, typer.Option(min=1, max=65535, help="TCP port for REST and metrics.")] = 8501,
) -> None:
    """Serve exported models: start tensorflow_model_server, or print the Docker command if it is not installed."""
    from genre_tagger.audio.processes import available_cores
    from genre_tagger.export import serving

    launch = serving.prepare_server(directory, serving.Listening.at(host, port, rest_port), available_cores())
    print_launch(launch, directory)
    if launch.installed:
        if os.environ.get(LOG_LEVEL) == QUIET:
            del os.environ[LOG_LEVEL]  # set by this program to silence TensorFlow; the server should log
        serving.start_server(launch)


def print_launch(launch: "Launch", directory: Path) -> None:
    """Print which files were written, how the server is started, and how to send requests to it."""
    say(f"written into {directory}: {', '.join(launch.files)}")
    say("starting:" if launch.installed else "tensorflow_model_server is not installed; to use Docker, run")
    say(f"  {shlex.join(launch.command)}")
    if not launch.installed:
        say(f"or: docker compose -f {shlex.quote(str(directory / 'compose.yaml'))} up")
    say(launch.note)
    say("then tag files with:")
    for model in launch.models:
        for server in launch.servers:
            say(f"  genre-tagger tag --server {shlex.quote(server)} --model {shlex.quote(model)} FILE...")
