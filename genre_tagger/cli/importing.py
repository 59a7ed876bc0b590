"""Published weights as a run: import."""

from pathlib import Path
from typing import Annotated

import typer

from genre_tagger.errors import UserError


def import_(
    model: Annotated[str, typer.Argument(help="What to import: musicnn.")],
    wheel: Annotated[Path | None, typer.Option(help="The wheel of musicnn 0.1.0; pip downloads it by default.")] = None,
    run: Annotated[Path | None, typer.Option(help="The run directory, a new one; runs/musicnn by default.")] = None,
) -> None:
    """Make a run directory from published weights: a tagger of real music without training."""
    if model != "musicnn":
        raise UserError(f"import: found {model!r}, expected musicnn")
    from genre_tagger import console, importing

    console.print_import(importing.import_musicnn(run or Path("runs/musicnn"), wheel, console.say))
