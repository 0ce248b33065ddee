"""Limits of a client: requests per second and bytes per request."""

from __future__ import annotations

import time
from collections import OrderedDict

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mrdist.service.problems import RefusedError, problem
from mrdist.service.settings import Settings

_CLIENTS = 10_000
_UPLOADS = ("/api/v1/synthesis", "/api/v1/synthesis/pictures", "/photographs")
_STREAMS = "/events"


class Buckets:
    """One token bucket per client, which holds the requests of a second; the latest clients are kept.

    Parameters
    ----------
    rate
        Requests per second.
    """

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._size = max(rate, 1.0)
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait(self, client: str, now: float) -> float:
        """Count a request; return 0, or the seconds until it is allowed.

        Examples
        --------
        >>> buckets = Buckets(2)
        >>> [buckets.wait("ann", 0.0) for _ in range(3)], buckets.wait("ben", 0.0), buckets.wait("ann", 0.5)
        ([0.0, 0.0, 0.5], 0.0, 0.0)
        """
        left, since = self._buckets.pop(client, (self._size, now))
        left = min(self._size, left + (now - since) * self._rate)
        lacking = max(0.0, 1.0 - left)
        self._buckets[client] = (left if lacking else left - 1.0, now)
        if len(self._buckets) > _CLIENTS:
            self._buckets.popitem(last=False)
        return lacking / self._rate


class Limits:
    """Refuses clients that ask too often, and bodies that are too large, before they are read.

    Parameters
    ----------
    app
        The application to protect.
    settings
        The service's.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._settings = settings
        self._buckets = Buckets(settings.requests_per_second)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path: str = scope["path"]
        limit = self._settings.max_upload_bytes if path.endswith(_UPLOADS) else self._settings.max_body_bytes
        left, answering = limit, False

        async def send_unless_too_large(message: Message) -> None:
            nonlocal answering
            if left >= 0 or answering:
                answering = True
                await send(message)

        async def receive_up_to_limit() -> Message:
            nonlocal left
            message = await receive()
            left -= len(message.get("body", b""))
            if left < 0:
                raise _too_large(limit)
            return message

        try:
            if not path.endswith(_STREAMS):
                self._check_rate(scope)
            _check_body(Headers(scope=scope), limit)
            await self._app(scope, receive_up_to_limit, send_unless_too_large)
            if left < 0 and not answering:  # the reader of the body replaced the error
                raise _too_large(limit)
        except RefusedError as refusal:
            if answering:
                raise
            await problem(refusal.status, str(refusal), refusal.headers)(scope, receive, send)

    def _check_rate(self, scope: Scope) -> None:
        client = scope.get("client") or ("", 0)
        wait = self._buckets.wait(client[0], time.monotonic())
        if wait:
            raise RefusedError(
                429,
                f"a client may send {self._settings.requests_per_second:g} requests per second; try again in "
                f"{wait:.2g} s.",
                {"retry-after": str(int(wait) + 1)},
            )


def _check_body(headers: Headers, limit: int) -> None:
    length = headers.get("content-length")
    if length is not None and (not length.isdigit() or int(length[:20]) > limit):
        raise _too_large(limit)
    if length not in (None, "0") or "transfer-encoding" in headers:
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind not in ("application/json", "multipart/form-data"):
            raise RefusedError(
                415, f"a body must be application/json, or multipart/form-data with photographs, not {kind[:80]!r}."
            )


def _too_large(limit: int) -> RefusedError:
    detail = f"the body of the request is larger than the limit of {limit} bytes; send less."
    return RefusedError(413, detail, {"connection": "close"})
