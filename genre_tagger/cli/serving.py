"""From a run to a server: export, serve."""

import os
from pathlib import Path
from typing import Annotated

import typer

from genre_tagger.cli.options import LOG_LEVEL, QUIET, Workers, cores
from genre_tagger.errors import UserError


def export(
    run: Annotated[Path, typer.Argument(help="A run directory.")],
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="For NAME/VERSION; what `serve DIR` serves.")],
    name: Annotated[str | None, typer.Option(help="Of the model; 'tagger' by default.")] = None,
    objective: Annotated[
        str, typer.Option(help="Of the thresholds: f1, youden, or precision:P (most recall at that precision).")
    ] = "f1",
    licence: Annotated[str | None, typer.Option(help="Of the training audio, for the model card.")] = None,
    against: Annotated[
        Path | None, typer.Option(help="An older version, DIR/NAME/VERSION, to compare with before publishing.")
    ] = None,
    limit: Annotated[
        float | None, typer.Option(min=0, max=1, help="Share of decisions that may flip (0.05): beyond, exit code 1.")
    ] = None,
    format_: Annotated[str, typer.Option("--format", help="savedmodel or onnx.")] = "savedmodel",
    workers: Workers = None,
) -> None:
    """Write a run's best model as the next version of a SavedModel that takes raw audio, for TensorFlow Serving."""
    if format_ not in ("savedmodel", "onnx"):
        raise UserError(f"--format: found {format_!r}, expected savedmodel or onnx")
    if against and format_ == "onnx":
        raise UserError("--against: goes with --format savedmodel; an ONNX export prints its own difference")
    if limit is not None and not against:
        raise UserError("--limit: goes with --against")
    from genre_tagger import console, exporting
    from genre_tagger.export.contract import MODEL_NAME

    common = {"name": name or MODEL_NAME, "objective": objective, "licence": licence}
    common |= {"workers": workers or cores(), "progress": console.progress_bar}
    try:
        if format_ == "onnx":
            exported = exporting.export_onnx(run, directory, **common)
        else:
            limit = 0.05 if limit is None else limit
            exported = exporting.export_savedmodel(run, directory, **common, against=against, limit=limit)
    except exporting.Drifted as drifted:
        console.print_comparison(drifted.comparison)
        console.say(f"nothing was exported: {drifted.comparison.flips:.1%} of decisions flip, over --limit {limit:g}")
        raise typer.Exit(1) from None
    console.print_export(exported, directory)


def serve(
    directory: Annotated[
        Path, typer.Argument(metavar="DIR", help="Exported models: NAME/VERSION, by `export RUN DIR`.")
    ],
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for all.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="TCP port for gRPC.")] = 8500,
    rest_port: Annotated[int, typer.Option(min=1, max=65535, help="TCP port for REST and metrics.")] = 8501,
) -> None:
    """Serve exported models: start tensorflow_model_server, or print the Docker command where it is not installed."""
    from genre_tagger import console
    from genre_tagger.export import serving

    launch = serving.prepare_server(directory, serving.Listening.at(host, port, rest_port), cores())
    console.print_launch(launch, directory)
    if launch.installed:
        if os.environ.get(LOG_LEVEL) == QUIET:
            del os.environ[LOG_LEVEL]  # set for this command: the server's log is its operator's
        serving.start_server(launch)
