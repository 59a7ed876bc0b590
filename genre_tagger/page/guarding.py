"""What keeps uploads few: requests of a bounded size, and a broom for what is left of visitors who went away."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass

from fastapi import FastAPI
from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from genre_tagger.page.listening import Listener

ENVELOPE_BYTES = 64 * 1024  # of a request, around the file in it
SWEEP_SECONDS = 60
KEPT_SECONDS = 600


@dataclass(frozen=True)
class Limits:
    """Of an upload: its size and the song's length."""

    megabytes: int
    minutes: float


class BodyLimit:
    """Refuses requests whose body is larger than a file may be, or of unknown size, before any of it is read.

    Gradio's own limit is one of each file, and a request may have a thousand.
    """

    def __init__(self, app: ASGIApp, max_bytes: int):
        self._app, self._max_bytes = app, max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One connection, as ASGI has it."""
        answer = (self._refusal(scope) if scope["type"] == "http" else None) or self._app
        await answer(scope, receive, send)

    def _refusal(self, scope: Scope) -> ASGIApp | None:
        headers = Headers(scope=scope)
        if "transfer-encoding" in headers:
            return PlainTextResponse("expected a Content-Length", 411)
        if int(headers.get("content-length", 0)) > self._max_bytes + ENVELOPE_BYTES:
            return PlainTextResponse(f"expected {self._max_bytes} bytes at most", 413)
        return None


def sweeping(listener: Listener) -> Callable[[FastAPI], AbstractAsyncContextManager]:
    """For the lifespan of an app: removes uploads, whole or broken off, that nobody has asked about for ten minutes."""

    async def sweep() -> None:
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            listener.forget(KEPT_SECONDS)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        task = asyncio.create_task(sweep())
        yield
        task.cancel()

    return lifespan
