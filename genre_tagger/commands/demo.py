"""The command `demo`."""

import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from genre_tagger.commands.console import say, tags_text, without_library_notes
from genre_tagger.errors import UserError

if TYPE_CHECKING:
    from genre_tagger.page.server import PageServer

MUSICNN = Path("runs/musicnn")


def demo(
    model: Annotated[
        Path | None,
        typer.Argument(
            metavar="MODEL", help=f"A run directory or an exported version (DIR/NAME/1); {MUSICNN} by default."
        ),
    ] = None,
    host: Annotated[
        str, typer.Option(help="Address to listen on; 0.0.0.0 for all addresses of this machine.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="TCP port.")] = 7860,
    max_megabytes: Annotated[int, typer.Option(min=1, help="Size of the largest accepted file, in MB.")] = 50,
    max_minutes: Annotated[float, typer.Option(min=0.1, help="Length of the longest accepted song, in minutes.")] = 15,
) -> None:
    """Serve a browser page: drop a song on it to see its tags over time while it plays. Ctrl-C stops it.

    The page loads nothing from other servers and sends no usage data. Uploads are removed after they are tagged.
    """
    if model is None and not MUSICNN.is_dir():
        raise UserError(f"demo: found no MODEL and no {MUSICNN}; `genre-tagger import musicnn` creates that")
    from genre_tagger.page import check_gradio

    check_gradio()
    from genre_tagger.export.serving import address_of
    from genre_tagger.page import server
    from genre_tagger.page.upload_limits import UploadLimits

    model, address = model or MUSICNN, address_of(host)
    limits = UploadLimits(max_megabytes, max_minutes)
    with without_library_notes(), server.open_page(model, address, port, limits) as page:
        print_page(page, model, address.is_loopback)
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends like Ctrl-C, so that uploads are removed
        page.run()


def print_page(page: "PageServer", model: Path, only_here: bool) -> None:
    """Print the URL of the page and who can reach it.

    Args:
        page: the server of the page.
        model: path of the model.
        only_here: whether only this machine can reach the page.
    """
    say(f"{model} ({tags_text(len(page.tags))}) at {page.address}  (Ctrl-C ends it)")
    if not only_here:
        say("open to every machine that can reach this one")
