"""The access log: a line of JSON about every request."""

from __future__ import annotations

import json
import logging
import time
from datetime import UTC, datetime
from logging.handlers import WatchedFileHandler
from pathlib import Path
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mrdist.errors import ParameterError
from mrdist.service.security import user_in

_LONGEST_PATH = 1000


class AccessLog:
    """Writes who has asked for what, and how it ended; no tokens, cookies or queries.

    Parameters
    ----------
    app
        The application.
    path
        File to which the lines are added, readable by its owner alone; one that is moved away is begun anew.

    Raises
    ------
    ParameterError
        If the file cannot be written.
    """

    def __init__(self, app: ASGIApp, path: str) -> None:
        self._app = app
        try:
            Path(path).touch(0o600)
            self._lines = WatchedFileHandler(path, encoding="ascii")
        except OSError as error:
            raise ParameterError(
                f"the access log cannot be written to {path} ({error.strerror}); choose another --access-log."
            ) from error

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope.setdefault("mrdist", {})  # who it was is found out further inside
        began, status, sent = time.monotonic(), None, 0

        async def note(message: Message) -> None:
            nonlocal status, sent
            status = message.get("status", status)
            sent += len(message.get("body", b""))
            await send(message)

        try:
            await self._app(scope, receive, note)
        finally:
            user = user_in(scope)
            self._write(
                time=datetime.now(UTC).isoformat(timespec="milliseconds"),
                client=(scope.get("client") or (None,))[0],
                user=user and user.name,
                role=user and user.role,
                method=scope["method"],
                path=scope["path"][:_LONGEST_PATH],
                status=status,
                bytes=sent,
                seconds=round(time.monotonic() - began, 4),
            )

    def _write(self, **fields: Any) -> None:
        self._lines.handle(logging.makeLogRecord({"msg": "%s", "args": (json.dumps(fields),)}))
