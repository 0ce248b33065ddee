"""Sessions of the page: a token is entered once, then a cookie stands for it.

::

    sessions/HASH.json   a session, by the hash of its cookie; it is over when this is removed

The catalogue alone lets nobody in: it holds no cookie. Sessions outlive the service, and end with their user's token.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from typing import Any
from urllib.parse import urlsplit

from mrdist.service.catalog import Catalog
from mrdist.service.roles import User
from mrdist.service.users import Users
from mrdist.storage.access.records import list_records, read_record, remove_record, write_record

SESSION_SECONDS = 12 * 3600
_COOKIE = "mrdist_session"
_RECORD = ".json"


class Sessions:
    """The sessions of a service.

    Parameters
    ----------
    users
        Who may begin one.
    catalog
        Where they are kept.

    Examples
    --------
    >>> from mrdist.service.settings import Settings
    >>> users = Users(Settings(token="a token of the service"))
    >>> sessions = Sessions(users, Catalog("memory://example"))
    >>> cookie = sessions.begin(users.named(None))
    >>> sessions.user_of(cookie).role, sessions.user_of(cookie + "0")
    ('admin', None)
    >>> sessions.end(cookie)
    >>> sessions.user_of(cookie)
    """

    def __init__(self, users: Users, catalog: Catalog) -> None:
        self.users = users
        self._folder, self._options = f"{catalog.url}/sessions", catalog.storage_options
        self._known: dict[str, dict[str, Any]] = {}
        if users.needed:
            for name in list_records(self._folder, self._options):
                record = read_record(f"{self._folder}/{name}", self._options)
                if record is not None:
                    self._known[name.removesuffix(_RECORD)] = record
            self._forget_expired()

    def begin(self, user: User) -> str:
        """Return the cookie of a new session."""
        self._forget_expired()
        cookie = secrets.token_urlsafe(32)
        record = {
            "user": user.name,
            "expires": int(time.time()) + SESSION_SECONDS,
            "proof": _proof(cookie, user),
        }
        write_record(self._place(_hash(cookie)), record, self._options)
        self._known[_hash(cookie)] = record
        return cookie

    def user_of(self, cookie: str) -> User | None:
        """Return whose session this is; None if it was never begun, is over, or its user has another token now."""
        record = self._known.get(_hash(cookie))
        if record is None or time.time() >= record["expires"]:
            return None
        user = self.users.named(record["user"])
        return user if user is not None and hmac.compare_digest(record["proof"], _proof(cookie, user)) else None

    def end(self, cookie: str) -> None:
        """End a session at once, also for services that start later."""
        if _hash(cookie) in self._known:
            self._remove(_hash(cookie))

    def csrf_token(self, cookie: str) -> str:
        """Return the token that the page must send with the cookie in every request that changes something."""
        return hmac.new(cookie.encode(), b"csrf", hashlib.sha256).hexdigest() if self.user_of(cookie) else ""

    def _forget_expired(self) -> None:
        for session in [session for session, record in self._known.items() if time.time() >= record["expires"]]:
            self._remove(session)

    def _remove(self, session: str) -> None:
        remove_record(self._place(session), self._options)
        self._known.pop(session, None)

    def _place(self, session: str) -> str:
        return f"{self._folder}/{session}{_RECORD}"


def cookie_name(host: str) -> str:
    """Return the name of a service's cookie: browsers send cookies to every port of a host.

    Parameters
    ----------
    host
        The request's Host header, which has the port that the browser sees.

    Examples
    --------
    >>> cookie_name("127.0.0.1:8899"), cookie_name("faces.example")
    ('mrdist_session_8899', 'mrdist_session')
    """
    port = urlsplit(f"//{host}").port
    return _COOKIE if port is None else f"{_COOKIE}_{port}"


def _hash(cookie: str) -> str:
    return hashlib.sha256(cookie.encode()).hexdigest()


def _proof(cookie: str, user: User) -> str:
    """Return what only somebody can make who has both the cookie and the hash of the user's token."""
    return hmac.new(cookie.encode(), b"session " + user.digest, hashlib.sha256).hexdigest()
