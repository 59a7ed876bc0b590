"""A model at work on files: tag."""

from pathlib import Path
from typing import Annotated

import typer

from genre_tagger.errors import UserError


def tag(
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="[RUN] FILE...", help="A run directory, unless there is --server; audio files: MP3, FLAC, Ogg, WAV."
        ),
    ],
    server: Annotated[
        str | None, typer.Option(help="Ask a model server: HOST:PORT or unix:PATH for gRPC, http://HOST:PORT for REST.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="The model's name on the server; 'tagger' by default.")] = None,
    timeout: Annotated[
        float | None, typer.Option(min=0.001, max=86_400, help="Seconds that the server may take for a request (60).")
    ] = None,
    top: Annotated[int, typer.Option(min=1, help="Tags to show; a server names 5 at most.")] = 5,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON object a file, one a line.")] = False,
) -> None:
    """Print the top tags of audio files. Files without usable audio are named at the end, and the exit code is 1."""
    run, files = (paths[0], paths[1:]) if server is None else (None, paths)
    if not files:
        raise UserError(
            f"tag: found {run} alone, expected a run directory and audio files, or --server and audio files"
        )
    if missing := [file for file in files if not file.is_file()]:
        raise UserError(f"{missing[0]}: no such file, expected an audio file")
    if server is None and model:
        raise UserError("--model: goes with --server; a run has one model")
    if server is None and timeout:
        raise UserError("--timeout: goes with --server")
    from genre_tagger import console
    from genre_tagger.data.decode import Undecodable

    broken = []
    for file, outcome in _tagger(run, server, model, timeout, top).tag_files(files):
        if isinstance(outcome, Undecodable):
            broken.append(f"{file}: {outcome}")
        else:
            console.print_tags(file, outcome, top, as_json)
    for line in broken:
        typer.echo(line, err=True)
    raise typer.Exit(1 if broken else 0)


def _tagger(run: Path | None, server: str | None, model: str | None, timeout: float | None, top: int):
    from genre_tagger.export.contract import MODEL_NAME, TOP_TAGS

    if server is None:
        from genre_tagger.tagging.tagger import Tagger

        return Tagger.of_model(run)
    if top > TOP_TAGS:
        raise UserError(f"--top: found {top}, expected {TOP_TAGS} at most: a server names no more")
    from genre_tagger.export.client import Client

    return Client(server, model or MODEL_NAME, timeout_seconds=timeout or 60)
