"""Who may use a service: everybody, all who share its token, or the users of a file."""

from __future__ import annotations

import hmac
import logging
from collections.abc import Sequence
from pathlib import Path

from mrdist.errors import ParameterError
from mrdist.service.roles import User
from mrdist.service.settings import Settings
from mrdist.service.tokens import digest_of, read_users

logger = logging.getLogger("mrdist.service")

EVERYBODY = User(None, "admin")


class Users:
    """The users of a service; a file of them is read again when it changes, so that a line that is removed ends access.

    Parameters
    ----------
    settings
        Of the service.

    Raises
    ------
    ParameterError
        If the file cannot be used.

    Examples
    --------
    >>> users = Users(Settings(token="a token of the service"))
    >>> users.needed, users.of_token("a token of the service").role, users.of_token("another") is None
    (True, 'admin', True)
    """

    def __init__(self, settings: Settings) -> None:
        self._path = settings.tokens
        self._seen: object = None
        self._users: Sequence[User] = ()
        if settings.token is not None:
            self._users = (User(None, "admin", digest_of(settings.token)),)
        elif self._path is not None:
            self._seen = self._look()
            self._users = read_users(self._path)

    @property
    def needed(self) -> bool:
        """Whether clients must show a token."""
        return bool(self._users)

    def of_token(self, token: str) -> User | None:
        """Return whose token this is, None if nobody's; that takes the same time whoever's it is."""
        digest, owner = digest_of(token), None
        for user in self._now():
            if hmac.compare_digest(user.digest, digest):
                owner = user
        return owner

    def named(self, name: str | None) -> User | None:
        """Return the user of a name."""
        return next((user for user in self._now() if user.name == name), None)

    def _now(self) -> Sequence[User]:
        if self._path is not None and (seen := self._look()) != self._seen:
            self._seen = seen
            try:
                self._users = read_users(self._path)
            except ParameterError as error:  # as when an editor writes it: those known before stay
                logger.warning("the users stay as they were: %s", error)
        return self._users

    def _look(self) -> object:
        assert self._path is not None
        try:
            found = Path(self._path).stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino
