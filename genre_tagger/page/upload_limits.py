"""Limits of uploads: the size of a request is bounded, and abandoned uploads are removed."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass

from fastapi import FastAPI
from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from genre_tagger.page.uploads import UploadTagger

ENVELOPE_BYTES = 64 * 1024  # size that a request may have in addition to the file
SWEEP_SECONDS = 60  # time between two searches for abandoned uploads
KEPT_SECONDS = 600  # age at which an upload counts as abandoned


@dataclass(frozen=True)
class UploadLimits:
    """Limits of one upload.

    Attributes:
        megabytes: size of the largest file.
        minutes: length of the longest song.
    """

    megabytes: int
    minutes: float


class BodyLimit:
    """ASGI middleware that refuses requests with a large body, or one of unknown size, before reading any of it.

    Gradio's own limit holds for each file, and a request may have a thousand files.

    Args:
        app: the app.
        max_bytes: size of the largest file.
    """

    def __init__(self, app: ASGIApp, max_bytes: int):
        self._app, self._max_bytes = app, max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        respond = (self._refusal(scope) if scope["type"] == "http" else None) or self._app
        await respond(scope, receive, send)

    def _refusal(self, scope: Scope) -> ASGIApp | None:
        headers = Headers(scope=scope)
        if "transfer-encoding" in headers:
            return PlainTextResponse("expected a Content-Length", 411)
        if int(headers.get("content-length", 0)) > self._max_bytes + ENVELOPE_BYTES:
            return PlainTextResponse(f"expected at most {self._max_bytes} bytes", 413)
        return None


def sweeping(uploads: UploadTagger) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    """Return a lifespan of an app that removes abandoned uploads, complete or not, while the app runs."""

    async def sweep() -> None:
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            uploads.remove_older(KEPT_SECONDS)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        task = asyncio.create_task(sweep())
        yield
        task.cancel()

    return lifespan
