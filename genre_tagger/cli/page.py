"""A model at work in a browser: demo."""

import signal
from pathlib import Path
from typing import Annotated

import typer

from genre_tagger.errors import UserError

MUSICNN = Path("runs/musicnn")


def demo(
    model: Annotated[
        Path | None,
        typer.Argument(help=f"A run directory or an exported version (DIR/NAME/1); {MUSICNN} by default."),
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for all.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="TCP port.")] = 7860,
    max_megabytes: Annotated[int, typer.Option(min=1, help="Size of the largest file that is taken.")] = 50,
    max_minutes: Annotated[float, typer.Option(min=0.1, help="Length of the longest song that is taken.")] = 15,
) -> None:
    """Serve a page in the browser: drop a song, see its tags over time while it plays. Ctrl-C ends it.

    Nothing is loaded from elsewhere or reported anywhere, and uploads are removed once they are tagged.
    """
    if model is None and not MUSICNN.is_dir():
        raise UserError(f"demo: found no MODEL and no {MUSICNN}; `genre-tagger import musicnn` makes that")
    from genre_tagger.page import check_gradio

    check_gradio()
    from genre_tagger import console
    from genre_tagger.export.serving import address_of
    from genre_tagger.page import server

    model, address = model or MUSICNN, address_of(host)
    limits = server.Limits(max_megabytes, max_minutes)
    with console.without_library_notes(), server.open_page(model, address, port, limits) as page:
        console.print_page(page, model, address.is_loopback)
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends like Ctrl-C, so that uploads go
        page.run()
