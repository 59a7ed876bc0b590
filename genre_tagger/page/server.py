"""Serves the page, with a folder for uploads that goes when it ends."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from tempfile import TemporaryDirectory

import uvicorn

from genre_tagger.errors import UserError
from genre_tagger.page.guarding import Limits
from genre_tagger.page.listening import Listener
from genre_tagger.tagging.tagger import Tagger

UPLOADS = "GRADIO_TEMP_DIR"  # the variable that gradio has for it
GRACE_SECONDS = 1  # that an open page, which never hangs up by itself, may keep the server from ending


@dataclass(frozen=True)
class PageServer:
    """A page that is ready: its address takes connections already.

    Attributes:
        address: of the page.
        tags: that its model knows.
    """

    address: str
    tags: tuple[str, ...]
    _server: uvicorn.Server
    _listening: socket.socket

    def run(self) -> None:
        """Serves until a signal or `stop`."""
        self._server.run(sockets=[self._listening])

    def stop(self) -> None:
        """Ends `run`, for another thread to call."""
        self._server.should_exit = True


@contextmanager
def open_page(model: Path, host: IPv4Address | IPv6Address, port: int, limits: Limits) -> Iterator[PageServer]:
    """Loads a model and makes the page ready; uploads lie in a temporary folder that is removed at the end.

    Args:
        model: a run directory or an exported version, as `Tagger.of_model` takes it.
        host: an address of this machine, or the unspecified one for all.
        port: the port; 0 for any that is free.
        limits: of uploads.

    Raises:
        UserError: no model there, or the address cannot be listened on.
    """
    with _listening_at(host, port) as listening:
        tagger = Tagger.of_model(model)
        with TemporaryDirectory(prefix="genre-tagger-") as uploads:
            os.environ[UPLOADS] = uploads
            from genre_tagger.page.blocks import build_app  # gradio makes a folder where the variable said at import

            listener = Listener(tagger, Path(uploads), limits.minutes)
            app = build_app(listener, f"{model}, {len(tagger.tags)} tags", limits)
            config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=GRACE_SECONDS)
            yield PageServer(_address(listening), tagger.tags, uvicorn.Server(config), listening)


def _listening_at(host: IPv4Address | IPv6Address, port: int) -> socket.socket:
    family = socket.AF_INET if host.version == 4 else socket.AF_INET6
    try:
        return socket.create_server((str(host), port), family=family)
    except OSError as error:
        reason = os.strerror(error.errno).lower()
        raise UserError(
            f"--host {host} --port {port}: cannot listen there ({reason}), expected a free port of an address of this "
            "machine"
        ) from None


def _address(listening: socket.socket) -> str:
    """Of the page, for a browser on this machine."""
    host, port = listening.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
