"""Serves the browser page, with a folder of uploads that is removed when the server ends."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from tempfile import TemporaryDirectory

import uvicorn

from genre_tagger.errors import FieldError
from genre_tagger.page.upload_limits import UploadLimits
from genre_tagger.page.uploads import UploadTagger
from genre_tagger.tagging.tagger import Tagger

UPLOADS = "GRADIO_TEMP_DIR"  # environment variable with the folder of uploads
GRACE_SECONDS = 1  # how long open pages, which never close their connection, may delay the end of the server


@dataclass(frozen=True)
class PageServer:
    """A server whose address already accepts connections.

    Attributes:
        address: URL of the page.
        tags: tags of its model.
    """

    address: str
    tags: tuple[str, ...]
    _server: uvicorn.Server
    _listening: socket.socket

    def run(self) -> None:
        """Serve until a signal or `stop`."""
        self._server.run(sockets=[self._listening])

    def stop(self) -> None:
        """End `run`. To be called from another thread."""
        self._server.should_exit = True


@contextmanager
def open_page(model: Path, host: IPv4Address | IPv6Address, port: int, limits: UploadLimits) -> Iterator[PageServer]:
    """Load a model and prepare its page. Uploads are kept in a temporary folder that is removed at the end.

    Args:
        model: a run directory or an exported version, as for `Tagger.load`.
        host: an address of this machine, or the unspecified address for all addresses.
        port: TCP port; 0 for any free one.
        limits: limits of an upload.

    Raises:
        UserError: there is no model, it cannot be loaded, or the server cannot listen on the address.
    """
    with _listening_at(host, port) as listening:
        tagger = Tagger.load(model)
        with TemporaryDirectory(prefix="genre-tagger-") as uploads:
            os.environ[UPLOADS] = uploads  # gradio creates a folder there when it is imported
            from genre_tagger.page.gradio_app import build_app

            upload_tagger = UploadTagger(tagger, Path(uploads), limits.minutes)
            app = build_app(upload_tagger, f"{model}, {len(tagger.tags)} tags", limits)
            config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=GRACE_SECONDS)
            yield PageServer(_address(listening), tagger.tags, uvicorn.Server(config), listening)


def _listening_at(host: IPv4Address | IPv6Address, port: int) -> socket.socket:
    family = socket.AF_INET if host.version == 4 else socket.AF_INET6
    try:
        return socket.create_server((str(host), port), family=family)
    except OSError as error:
        reason = os.strerror(error.errno or 0).lower()
        raise FieldError(
            "port",
            f"{host}:{port}: cannot listen there ({reason}), expected an address of this machine and a free port",
        ) from error


def _address(listening: socket.socket) -> str:
    """Return the URL of the page for a browser on this machine."""
    host, port = listening.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
