"""The server process: sockets, signals, and a clean shutdown."""

from __future__ import annotations

import asyncio
import logging
import math
import socket
from collections.abc import Callable
from http import HTTPStatus
from threading import Event
from types import FrameType
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from mrdist.errors import MrdistError
from mrdist.service.app import create_app
from mrdist.service.catalog import Catalog
from mrdist.service.problems import problem
from mrdist.service.security import HEADERS
from mrdist.service.settings import Settings

_END_SECONDS = 10
_CONNECTIONS = 500
_PATIENCE_SECONDS = 10.0
_BODY_SECONDS = 120.0


class _Impatient(H11Protocol):
    """Bounds the size of headers, as h11 does, and the time that clients may take to send a request.

    That is done here, below the application: whether a request is read, refused before that, or answered already, its
    connection stays open for the rest of its body.
    """

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the regular check."""
        super().connection_made(transport)
        self._was_idle, self._last = False, self.cycle
        self._receiving, self._since = self.cycle, 0.0
        self._look = self.loop.call_later(_PATIENCE_SECONDS, self._look_again)

    def _look_again(self) -> None:
        idle = self.conn.their_state is h11.IDLE and self.cycle is self._last  # no request since the last check
        self._last = self.cycle
        if idle and self._was_idle:
            self.transport.close()
        elif self._is_late():
            self._refuse(408, f"the body of the request did not arrive within {_BODY_SECONDS:g} s; send it faster.")
            self.cycle.disconnected = True  # for an application that still reads, or works on its answer
            self.cycle.message_event.set()
        elif not self.transport.is_closing():
            self._was_idle = idle
            self._look = self.loop.call_later(_PATIENCE_SECONDS, self._look_again)

    def _is_late(self) -> bool:
        """Whether the rest of a body is still awaited, after all of its time."""
        if self.conn.their_state is not h11.SEND_BODY:
            return False
        if self._receiving is not self.cycle:
            self._receiving, self._since = self.cycle, self.loop.time()
        return self.loop.time() - self._since >= _BODY_SECONDS

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002
        """Answer invalid HTTP with a problem document, like every refusal."""
        self._refuse(400, "the request is not valid HTTP/1.1, or its headers are too large.")

    def _refuse(self, status: int, detail: str) -> None:
        """Answer for the application, if nothing has been answered yet, and close the connection."""
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            answer = problem(status, detail, HEADERS)
            headers = [*answer.raw_headers, (b"connection", b"close")]
            for event in (
                h11.Response(status_code=status, headers=headers, reason=HTTPStatus(status).phrase.encode()),
                h11.Data(data=bytes(answer.body)),
                h11.EndOfMessage(),
            ):
                self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the check."""
        self._look.cancel()
        super().connection_lost(exc)


def _is_news(record: logging.LogRecord) -> bool:
    """Whether uvicorn says something that is not in the log already: an answer that breaks off has a line there."""
    return "without completing response" not in record.getMessage()


class _Server(uvicorn.Server):
    """Tells the application at once of the shutdown, so that streams end before the wait for connections."""

    def __init__(self, config: uvicorn.Config, stopping: Event) -> None:
        super().__init__(config)
        self._stopping = stopping

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Start the shutdown."""
        self._stopping.set()
        super().handle_exit(sig, frame)


def run(catalog_url: str, settings: Settings, announce: Callable[[str, str], Any]) -> None:
    """Serve a catalogue until SIGINT or SIGTERM.

    Parameters
    ----------
    catalog_url
        Folder or bucket; a folder is made if needed.
    settings
        How to serve it.
    announce
        Called with the service's URL and the catalogue once both are ready.

    Raises
    ------
    MrdistError
        If the catalogue cannot be used, or the address is not available.
    """
    catalog = Catalog.open(catalog_url)
    app = create_app(catalog, settings)
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=list(settings.trusted_proxies),
        limit_concurrency=_CONNECTIONS,
        timeout_keep_alive=math.ceil(2 * _PATIENCE_SECONDS),  # httpx uses one again for 5 s
        timeout_graceful_shutdown=_END_SECONDS,
        ws="none",
        http=_Impatient,
    )
    for name in ("uvicorn", "uvicorn.error"):
        logging.getLogger(name).setLevel(logging.WARNING)
        logging.getLogger(name).addFilter(_is_news)
    with _listen(settings) as listener:
        host, port = listener.getsockname()[:2]
        announce(f"http://{f'[{host}]' if ':' in host else host}:{port}", str(catalog))
        _Server(config, app.state.stopping).run(sockets=[listener])


def _listen(settings: Settings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    # with its protocol: asyncio sends small answers at once (TCP_NODELAY) only where it is told that this is TCP
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((settings.host, settings.port))
        listener.listen(1024)
    except OSError as error:
        listener.close()
        raise MrdistError(
            f"the service cannot listen on {settings.host} port {settings.port} ({error.strerror or error}); choose "
            "another --port or --host."
        ) from error
    return listener
