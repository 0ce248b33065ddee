"""Access control: hosts, origins, tokens, sessions of the page, and the headers of every answer."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import secrets
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import HTTPConnection, cookie_parser
from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mrdist.service.problems import RefusedError, problem
from mrdist.service.settings import LOOPBACK, Settings

COOKIE = "mrdist_session"
CSRF_HEADER = "x-csrf-token"
API = "/api/v1"
SESSION_SECONDS = 12 * 3600

HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
        "font-src 'self'; manifest-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "referrer-policy": "same-origin",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}
_SAFE = ("GET", "HEAD", "OPTIONS")
_PUBLIC = ("/healthz", "/readyz", "/openapi.json", "/login", f"{API}/session", "/favicon.ico")
_PUBLIC_BELOW = "/static/"


class Sessions:
    """Cookies of the page, signed with the token: they survive a restart and end with the token.

    Parameters
    ----------
    token
        The service's; without one there are no sessions and none are needed.

    Examples
    --------
    >>> sessions = Sessions("a token of the service")
    >>> cookie = sessions.begin()
    >>> sessions.is_valid(cookie), sessions.is_valid(cookie + "0"), Sessions("another token").is_valid(cookie)
    (True, False, False)
    """

    def __init__(self, token: str | None) -> None:
        self._token = None if token is None else token.encode()
        self._key = b"" if token is None else hmac.digest(token.encode(), b"mrdist session", hashlib.sha256)

    @property
    def needed(self) -> bool:
        """Whether clients must show the token."""
        return self._token is not None

    def knows(self, token: str) -> bool:
        """Whether this is the service's token, in constant time."""
        if self._token is None:
            return False
        ours, theirs = (hashlib.sha256(each).digest() for each in (self._token, token.encode()))
        return hmac.compare_digest(ours, theirs)

    def begin(self) -> str:
        """Return the cookie of a new session."""
        session = f"{int(time.time()) + SESSION_SECONDS}.{secrets.token_urlsafe(16)}"
        return f"{session}.{self._sign(session)}"

    def is_valid(self, cookie: str) -> bool:
        """Whether this service has issued the cookie and it has not expired."""
        session, _, signature = cookie.rpartition(".")
        expires = session.partition(".")[0]
        good = hmac.compare_digest(self._sign(session).encode(), signature.encode())
        return self.needed and good and expires.isdigit() and time.time() < int(expires)

    def csrf_token(self, cookie: str) -> str:
        """Return the token that the page must send with the cookie in every request that changes something."""
        return self._sign(f"csrf {cookie}") if self.needed and cookie else ""

    def _sign(self, text: str) -> str:
        return hmac.new(self._key, text.encode(), hashlib.sha256).hexdigest()


def csrf_token(request: HTTPConnection) -> str:
    """Return the ``X-CSRF-Token`` for the page in the answer; empty if no token is needed."""
    sessions: Sessions = request.app.state.sessions
    return sessions.csrf_token(request.cookies.get(COOKIE, ""))


class Guard:
    """Lets allowed requests through, and puts the security headers on every answer.

    Parameters
    ----------
    app
        The application to guard.
    settings
        The service's.
    sessions
        Sessions of the page.
    """

    def __init__(self, app: ASGIApp, settings: Settings, sessions: Sessions) -> None:
        self._app = app
        self._settings = settings
        self._sessions = sessions
        self._hosts = {name.lower() for name in (*LOOPBACK, settings.host, *settings.allowed_hosts)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] == "websocket":  # the service has none
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                if scope["path"].startswith("/api/"):
                    headers.setdefault("cache-control", "no-store")
            await send(message)

        headers = Headers(scope=scope)
        try:
            self._check_host(headers)
            self._check_origin(scope, headers)
            allowed = self._is_allowed(scope, headers)
        except RefusedError as refusal:
            answer = problem(refusal.status, str(refusal), refusal.headers)
            await answer(scope, receive, send_with_headers)
            return
        if allowed:
            await self._app(scope, receive, send_with_headers)
        else:  # a page without a session
            await RedirectResponse("/login", 303)(scope, receive, send_with_headers)

    def _check_host(self, headers: Headers) -> None:
        """Refuse names that are not the service's: another site may let its name point here (DNS rebinding)."""
        names = headers.getlist("host")
        name = _hostname(names[0]) if len(names) == 1 else None
        if name is None:
            raise RefusedError(400, "a request must have one Host header that names one host.")
        if name in self._hosts or (self._settings.anywhere and _is_address(name)):
            return
        raise RefusedError(421, f"host {name[:80]!r} is not allowed; start the service with --allow-host to add it.")

    def _check_origin(self, scope: Scope, headers: Headers) -> None:
        """Refuse requests of pages of other origins."""
        origin = headers.get("origin")
        if origin is not None and _netloc(origin) != headers["host"].lower():
            raise RefusedError(403, f"pages of the origin {origin[:80]!r} may not use the service.")
        is_api = scope["path"].startswith("/api/")
        if is_api and headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
            raise RefusedError(403, "pages of other sites may not use the service.")

    def _is_allowed(self, scope: Scope, headers: Headers) -> bool:
        """Whether to go on; False leads to the login.

        Raises
        ------
        RefusedError
            If the token is missing or wrong, or the page does not prove that it is the service's own.
        """
        path: str = scope["path"]
        if not self._sessions.needed or path in _PUBLIC or path.startswith(_PUBLIC_BELOW):
            return True
        bearer = headers.get("authorization")
        if bearer is not None:
            kind, _, token = bearer.partition(" ")
            if kind.lower() == "bearer" and self._sessions.knows(token.strip()):
                return True
            raise _unauthorized("the token is wrong")
        cookie = _cookie(headers)
        if self._sessions.is_valid(cookie):
            sent, wanted = headers.get(CSRF_HEADER, ""), self._sessions.csrf_token(cookie)
            if scope["method"] in _SAFE or hmac.compare_digest(sent.encode(), wanted.encode()):
                return True
            raise RefusedError(403, "a request with the page's cookie must send its X-CSRF-Token; reload the page.")
        is_page = scope["method"] in _SAFE and not path.startswith("/api/") and path != "/metrics"
        if is_page and "text/html" in headers.get("accept", ""):
            return False
        raise _unauthorized("a token is needed")


def _unauthorized(reason: str) -> RefusedError:
    return RefusedError(
        401,
        f"{reason}; send the service's token as `Authorization: Bearer TOKEN`.",
        {"www-authenticate": 'Bearer realm="mrdist"'},
    )


def _cookie(headers: Headers) -> str:
    return next((jar[COOKIE] for jar in _jars(headers) if COOKIE in jar), "")


def _jars(headers: Headers) -> Iterator[dict[str, str]]:
    return (cookie_parser(value) for value in headers.getlist("cookie"))


def _hostname(host: str) -> str | None:
    """Return the name in a Host header, without its port.

    Examples
    --------
    >>> _hostname("LOCALHOST:8899"), _hostname("[::1]:8899"), _hostname("a b"), _hostname("user@localhost")
    ('localhost', '::1', None, None)
    """
    if not host or any(sign in host for sign in "/?#@\\ \t,"):
        return None
    try:
        parts = urlsplit(f"//{host}")
        _ = parts.port  # raises if it is not a number
    except ValueError:
        return None
    return parts.hostname


def _netloc(origin: str) -> str | None:
    try:
        parts = urlsplit(origin)
    except ValueError:
        return None
    return parts.netloc.lower() if parts.scheme in ("http", "https") else None


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
