"""The command `report`."""

from pathlib import Path
from typing import Annotated

import typer

from genre_tagger.commands.console import say, without_library_notes


def report(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run directory.")],
    output: Annotated[Path | None, typer.Option(help="The HTML file; RUN/report.html by default.")] = None,
) -> None:
    """Write a self-contained HTML report: data, model, training, all tags, calibration, largest errors with audio."""
    from genre_tagger.reporting.html_report import write_html_report

    with without_library_notes():
        path = write_html_report(run, output)
    say(f"report: {path}  ({path.stat().st_size / 1e6:.1f} MB, it loads nothing from other hosts)")
