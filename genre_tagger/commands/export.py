"""The command `export`."""

import math
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from genre_tagger.commands.console import say, show, titled_table
from genre_tagger.commands.options import Workers
from genre_tagger.errors import FieldError

if TYPE_CHECKING:
    from genre_tagger.evaluation.thresholds import Thresholds
    from genre_tagger.export.exporter import Exported
    from genre_tagger.export.version_drift import Comparison

FORMATS = ("savedmodel", "onnx")


def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run directory.")],
    directory: Annotated[
        Path,
        typer.Argument(metavar="DIR", help="Directory of exported models. The new version is DIR/NAME/VERSION."),
    ],
    name: Annotated[str | None, typer.Option(help="Name of the model; 'tagger' by default.")] = None,
    objective: Annotated[
        str,
        typer.Option(
            help="Objective of the thresholds: f1, youden or precision:P (highest recall at a precision of at least P)."
        ),
    ] = "f1",
    licence: Annotated[str | None, typer.Option(help="Licence of the training audio, for the model card.")] = None,
    against: Annotated[
        Path | None,
        typer.Option(help="An older version, DIR/NAME/VERSION, to compare with before the new version is written."),
    ] = None,
    limit: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            help="With --against: largest share of changed decisions, 0.05 by default. If more change, nothing is "
            "written and the exit code is 1.",
        ),
    ] = None,
    format_: Annotated[str, typer.Option("--format", help="savedmodel or onnx.")] = "savedmodel",
    workers: Workers = None,
) -> None:
    """Write the best model of a run as a new SavedModel version for TensorFlow Serving. Its input is raw audio."""
    if format_ not in FORMATS:
        raise FieldError("format", f"found {format_!r}, expected savedmodel or onnx")
    if against and format_ == "onnx":
        raise FieldError("against", "needs --format savedmodel; an ONNX export is always compared with TensorFlow")
    if limit is not None and not against:
        raise FieldError("limit", "needs --against VERSION")
    from genre_tagger.audio.processes import available_cores
    from genre_tagger.export import exporter
    from genre_tagger.export.contract import MODEL_NAME

    request = exporter.ExportRequest(
        run=run,
        directory=directory,
        name=name or MODEL_NAME,
        objective=objective,
        licence=licence,
        against=against,
        limit=0.05 if limit is None else limit,
        workers=workers or available_cores(),
    )
    try:
        export_run = exporter.export_onnx if format_ == "onnx" else exporter.export_savedmodel
        print_export(export_run(request), directory)
    except exporter.Drifted as drifted:
        print_drift(drifted.comparison)
        say(
            f"nothing was exported: found {drifted.comparison.flips:.1%} changed decisions, expected at most "
            f"{request.limit:.1%} (--limit {request.limit:g})"
        )
        raise typer.Exit(1) from drifted


def print_export(exported: "Exported", directory: Path) -> None:
    """Print the measurements, the tags that share a threshold, the path of the version and the next command."""
    thresholds = exported.thresholds
    if exported.comparison:
        print_drift(exported.comparison)
    say(f"{_how_chosen(thresholds)}; all tags: {thresholds.all_tags:.3f}")
    if thresholds.are_chosen and thresholds.from_all_tags:
        say(
            f"tags with fewer than {thresholds.min_positives} positives or negatives use the threshold of all tags: "
            f"{', '.join(thresholds.from_all_tags)}"
        )
    if exported.onnx_difference is not None:
        say(f"largest difference of a probability between ONNX Runtime and TensorFlow: {exported.onnx_difference:.1e}")
        say(f"exported {exported.path}  (model.onnx, tags, thresholds, difference.json, model_card.md)")
        return
    say(f"exported {exported.path}  (signatures, tags, thresholds, warm-up requests, model_card.md)")
    say(f"next: genre-tagger serve {shlex.quote(str(directory))}")


def print_drift(comparison: "Comparison") -> None:
    """Print the differences for each tag, sorted by the share of changed decisions."""
    table = titled_table(f"compared with {comparison.old} on {comparison.windows} windows of the test clips", "tag")
    for name in ("mean difference", "largest difference", "rank correlation", "changed decisions"):
        table.add_column(name, justify="right")
    for tag, drift in sorted(comparison.tags.items(), key=lambda entry: -entry[1].flips):
        correlation = "undefined" if math.isnan(drift.rank_correlation) else f"{drift.rank_correlation:.4f}"
        table.add_row(escape(tag), f"{drift.mean:.4f}", f"{drift.largest:.4f}", correlation, f"{drift.flips:.1%}")
    show(table)
    for kind, tags in (("new", comparison.added), ("removed", comparison.removed)):
        if tags:
            say(f"{kind} tags, not compared: {', '.join(tags)}")
    say(f"changed decisions: {comparison.flips:.1%}")


def _how_chosen(thresholds: "Thresholds") -> str:
    if thresholds.are_chosen:
        return f"thresholds chosen for {thresholds.objective} on the {thresholds.split} clips"
    return "default thresholds, because the run has not been evaluated (`genre-tagger evaluate RUN SOURCE`)"
