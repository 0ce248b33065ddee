"""Answers that are sent piece by piece, and what is left of them when they cannot be finished."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from threading import Event

import anyio
from fastapi.responses import StreamingResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mrdist.errors import MrdistError

logger = logging.getLogger("mrdist.service")


class Stream(StreamingResponse):
    """An answer in pieces; if one cannot be made, the connection breaks off, so that nobody takes a part for all.

    Attributes
    ----------
    at_end
        Called when the answer has ended, however that was.
    """

    at_end: Callable[[], None] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the answer."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            if self.at_end is not None:
                self.at_end()

    async def stream_response(self, send: Send) -> None:
        """Send the pieces."""
        try:
            await super().stream_response(send)
        except MrdistError as error:  # too late for another answer; the server closes what has no end
            logger.warning("an answer was broken off: %s", error)


def sealed(pieces: Iterator[bytes], check: Callable[[], None]) -> Iterator[bytes]:
    """Yield pieces, the last one only if ``check`` does not raise: an archive without its end can be opened by nobody.

    Examples
    --------
    >>> list(sealed(iter([b"a", b"b"]), lambda: None))
    [b'a', b'b']
    """
    last = next(pieces, b"")
    for piece in pieces:
        yield last
        last = piece
    check()
    yield last


class Heads:
    """Answers HEAD as GET, without the content; what would make that stops at once.

    Parameters
    ----------
    app
        The application.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return
        answered = anyio.Event()

        async def send_head(message: Message) -> None:
            if message["type"] == "http.response.start":
                await send(message)
                await send({"type": "http.response.body", "body": b""})
                answered.set()

        async def receive_until_answered() -> Message:
            await answered.wait()  # a HEAD has no content of its own
            return {"type": "http.disconnect"}

        await self._app({**scope, "method": "GET"}, receive_until_answered, send_head)


class Endings:
    """Ends the requests that are cut off by the end of the service without a traceback in its log.

    Parameters
    ----------
    app
        The application.
    stopping
        Set when the service ends.
    """

    def __init__(self, app: ASGIApp, stopping: Event) -> None:
        self._app = app
        self._stopping = stopping

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        try:
            await self._app(scope, receive, send)
        except anyio.get_cancelled_exc_class():
            if not self._stopping.is_set():
                raise
