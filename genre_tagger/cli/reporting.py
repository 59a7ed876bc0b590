"""A run on one page: report."""

from pathlib import Path
from typing import Annotated

import typer


def report(
    run: Annotated[Path, typer.Argument(help="A run directory.")],
    output: Annotated[Path | None, typer.Option(help="The HTML file; RUN/report.html by default.")] = None,
) -> None:
    """Write one self-contained HTML page: data, model, training, every tag, calibration, largest errors to hear."""
    from genre_tagger import console
    from genre_tagger.reporting.page import write_page

    with console.without_library_notes():
        page = write_page(run, output)
    console.say(f"page: {page}  ({page.stat().st_size / 1e6:.1f} MB, nothing on it comes from outside)")
