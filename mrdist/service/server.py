"""The process that serves: sockets, signals, and an end that keeps everything."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable
from threading import Event
from types import FrameType
from typing import Any

import uvicorn

from mrdist.errors import MrdistError
from mrdist.service.app import create_app
from mrdist.service.catalog import Catalog
from mrdist.service.settings import Settings

_END_SECONDS = 10
_CONNECTIONS = 500


class _Server(uvicorn.Server):
    """Tells the application at once that the end has come, so that streams end before connections are waited for."""

    def __init__(self, config: uvicorn.Config, stopping: Event) -> None:
        super().__init__(config)
        self._stopping = stopping

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin the end."""
        self._stopping.set()
        super().handle_exit(sig, frame)


def run(catalog_url: str, settings: Settings, announce: Callable[[str, str], Any]) -> None:
    """Serve a catalogue until SIGINT or SIGTERM.

    Parameters
    ----------
    catalog_url
        Folder or bucket; a folder is made.
    settings
        How to serve it.
    announce
        Called with the service's URL and the catalogue once both are ready.

    Raises
    ------
    MrdistError
        If the catalogue cannot be used, or the address not listened on.
    """
    catalog = Catalog.open(catalog_url)
    app = create_app(catalog, settings)
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=_CONNECTIONS,
        timeout_graceful_shutdown=_END_SECONDS,
        ws="none",
    )
    for name in ("uvicorn", "uvicorn.error"):
        logging.getLogger(name).setLevel(logging.WARNING)
    with _listen(settings) as listener:
        host, port = listener.getsockname()[:2]
        announce(f"http://{f'[{host}]' if ':' in host else host}:{port}", str(catalog))
        _Server(config, app.state.stopping).run(sockets=[listener])


def _listen(settings: Settings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((settings.host, settings.port))
        listener.listen(1024)
    except OSError as error:
        listener.close()
        raise MrdistError(
            f"{settings.host} port {settings.port} cannot be listened on ({error.strerror or error}); choose another "
            "--port or --host."
        ) from error
    return listener
