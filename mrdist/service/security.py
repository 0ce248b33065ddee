"""Access control: hosts, origins, who makes a request, and the headers of every answer."""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Iterator
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import HTTPConnection, cookie_parser
from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mrdist.service.problems import RefusedError, problem
from mrdist.service.refusals import unauthorized
from mrdist.service.roles import User
from mrdist.service.sessions import Sessions, cookie_name
from mrdist.service.settings import LOOPBACK, Settings
from mrdist.service.users import EVERYBODY

CSRF_HEADER = "x-csrf-token"
API = "/api/v1"

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
_PUBLIC = ("/healthz", "/readyz", "/openapi.json", "/login", "/favicon.ico")
_SESSION = f"{API}/session"  # begun and ended by everyone
_PUBLIC_BELOW = "/static/"


def cookie_of(headers: Headers) -> str:
    """Return the cookie of the page's session, an empty text if there is none."""
    name = cookie_name(headers.get("host", ""))
    return next((jar[name] for jar in _jars(headers) if name in jar), "")


def csrf_token(request: HTTPConnection) -> str:
    """Return the ``X-CSRF-Token`` for the page in the answer; empty if no token is needed."""
    sessions: Sessions = request.app.state.sessions
    return sessions.csrf_token(cookie_of(request.headers)) if sessions.users.needed else ""


def note_user(scope: Scope, user: User | None) -> None:
    """Keep who makes a request with it, for its route and for the log."""
    scope.setdefault("mrdist", {})["user"] = user


def user_in(scope: Scope) -> User | None:
    """Return who makes a request, None if nobody knows."""
    user: User | None = scope.get("mrdist", {}).get("user")
    return user


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
        is_public = path in _PUBLIC or path.startswith(_PUBLIC_BELOW)
        is_public = is_public or (path == _SESSION and scope["method"] not in _SAFE)
        user, cookie, refusal = self._identify(headers)
        note_user(scope, user)
        if is_public:
            return True
        if user is None:
            is_page = scope["method"] in _SAFE and not path.startswith("/api/") and path != "/metrics"
            if refusal is None and is_page and "text/html" in headers.get("accept", ""):
                return False
            raise refusal or unauthorized("a token is needed")
        if cookie and scope["method"] not in _SAFE:
            sent, wanted = headers.get(CSRF_HEADER, ""), self._sessions.csrf_token(cookie)
            if not hmac.compare_digest(sent.encode(), wanted.encode()):
                raise RefusedError(403, "a request with the page's cookie must send its X-CSRF-Token; reload the page.")
        return True

    def _identify(self, headers: Headers) -> tuple[User | None, str, RefusedError | None]:
        """Return who makes a request, their cookie if it is by that, and what is wrong with their token."""
        if not self._sessions.users.needed:
            return EVERYBODY, "", None
        bearer = headers.get("authorization")
        if bearer is not None:
            kind, _, token = bearer.partition(" ")
            user = self._sessions.users.of_token(token.strip()) if kind.lower() == "bearer" else None
            return user, "", None if user else unauthorized("the token is wrong")
        cookie = cookie_of(headers)
        return self._sessions.user_of(cookie), cookie, None


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
