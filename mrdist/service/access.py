"""The access log: a line of JSON about every request."""

from __future__ import annotations

import json
import logging
import os
import time
from datetime import UTC, datetime

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mrdist.errors import ParameterError
from mrdist.service.security import user_in

logger = logging.getLogger("mrdist.service")

_LONGEST_PATH = 1000


class LogFile:
    """A file to which lines are added, readable by its owner alone; if it is moved away, it is begun anew.

    Parameters
    ----------
    path
        The file.

    Raises
    ------
    ParameterError
        If it cannot be written.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        try:
            self._write(b"")
        except OSError as error:
            raise ParameterError(
                f"the access log cannot be written to {path} ({error.strerror}); choose another --access-log."
            ) from error

    def add(self, line: str) -> None:
        """Add a line; if that fails, only the service's log says so."""
        try:
            self._write(f"{line}\n".encode())
        except OSError as error:
            logger.warning("a line of the access log is lost (%s): %s", error.strerror, line)

    def _write(self, content: bytes) -> None:
        file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(file, content)
        finally:
            os.close(file)


class AccessLog:
    """Writes who has asked for what, and how it ended; no tokens, cookies or queries.

    Parameters
    ----------
    app
        The application.
    file
        Takes the lines.
    """

    def __init__(self, app: ASGIApp, file: LogFile) -> None:
        self._app = app
        self._file = file

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
            line = {
                "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
                "client": (scope.get("client") or (None,))[0],
                "user": user and user.name,
                "role": user and user.role,
                "method": scope["method"],
                "path": scope["path"][:_LONGEST_PATH],
                "status": status,
                "bytes": sent,
                "seconds": round(time.monotonic() - began, 4),
            }
            self._file.add(json.dumps(line))
