"""Tokens of the service and of its clients, and the file that says whose they are.

A token is 256 random bits, so nobody can guess it from its hash: one round of SHA-256 is enough, where passwords, which
people choose, would need a slow one.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import stat
from pathlib import Path

from mrdist.errors import ParameterError
from mrdist.service.roles import ROLES, Role, User

_MIN_TOKEN = 16
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,62}")
_HASH = re.compile(r"sha256:[0-9a-f]{64}")


def digest_of(token: str) -> bytes:
    """Return the SHA-256 of a token."""
    return hashlib.sha256(token.encode()).digest()


def make_token(name: str, role: Role) -> tuple[str, str]:
    """Draw a token.

    Parameters
    ----------
    name, role
        Whose it is, and what they may do.

    Returns
    -------
    str
        The token, which is kept nowhere.
    str
        The line for the file of tokens.

    Raises
    ------
    ParameterError
        If the name is not valid.

    Examples
    --------
    >>> token, line = make_token("ann", "train")
    >>> len(token), line[:11], token in line
    (43, 'ann sha256:', False)
    """
    if not _NAME.fullmatch(name):
        raise ParameterError(
            f"{name[:80]!r} cannot name a user: use up to 63 letters, digits, dots, dashes, underscores and @, first a "
            "letter or digit."
        )
    token = secrets.token_urlsafe(32)
    return token, f"{name} sha256:{digest_of(token).hex()} {role}"


def add_line(path: str, line: str) -> None:
    """Add a line to a file of tokens, which is made if needed, readable by its owner alone.

    Raises
    ------
    ParameterError
        If the file cannot be read or written, or has the name already.
    """
    name = line.partition(" ")[0]
    known = [] if not Path(path).exists() else read_users(path)
    if any(user.name == name for user in known):
        raise ParameterError(f"{path} has a token of {name} already; remove that line first, which ends the old token.")
    try:
        with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600), "r+", encoding="utf-8") as file:
            text = file.read()
            file.write(f"{'' if not text or text.endswith(chr(10)) else chr(10)}{line}\n")
    except OSError as error:
        raise ParameterError(f"{path} cannot be written ({error.strerror}); choose another --tokens.") from error


def read_users(path: str) -> list[User]:
    """Return the users of a file of tokens: in every line a name, the hash of a token, and a role.

    Empty lines and those that begin with ``#`` do not count.

    Raises
    ------
    ParameterError
        If the file cannot be read or is open to others, or a line is not valid.
    """
    users: dict[str, User] = {}
    for number, line in enumerate(_private_text(path, "tokens").splitlines(), 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        role = next((role for role in ROLES if role == words[-1]), None)
        if len(words) != 3 or role is None or not _NAME.fullmatch(words[0]) or not _HASH.fullmatch(words[1]):
            raise ParameterError(
                f"line {number} of {path} is not a name, a hash and a role ({', '.join(ROLES)}); make one with "
                "`mrdist token NAME --role ROLE`."
            )
        if words[0] in users:
            raise ParameterError(f"line {number} of {path} is a second one of {words[0]}; remove one of the two.")
        users[words[0]] = User(words[0], role, bytes.fromhex(words[1].partition(":")[2]))
    if not users:
        raise ParameterError(f"{path} has no tokens; make one with `mrdist token NAME --role admin --tokens {path}`.")
    return list(users.values())


def read_token(path: str | None) -> str | None:
    """Return the token in a file, or else in the environment variable ``MRDIST_TOKEN``; None if there is none.

    Raises
    ------
    ParameterError
        If the file cannot be read or is open to others, or the token is too short.
    """
    if path is None:
        text, where = os.environ.get("MRDIST_TOKEN", ""), "MRDIST_TOKEN"
        if not text:
            return None
    else:
        text, where = _private_text(path, "token"), path
    token = text.strip()
    if len(token) < _MIN_TOKEN or not token.isascii() or not token.isprintable() or " " in token:
        raise ParameterError(
            f"the token in {where} must be one word of at least {_MIN_TOKEN} characters; make one with "
            "`python -c 'import secrets; print(secrets.token_urlsafe())'`."
        )
    return token


def _private_text(path: str, what: str) -> str:
    """Return the text of a file that, if it is ours, nobody else may read; files of root in a container are root's."""
    try:
        with Path(path).open(encoding="ascii") as file:
            found = os.fstat(file.fileno())
            open_to = stat.S_IMODE(found.st_mode) & 0o077
            if found.st_uid == os.getuid() and open_to and stat.S_ISREG(found.st_mode):
                raise ParameterError(
                    f"others may read or change {path} (mode {stat.S_IMODE(found.st_mode):04o}), which holds the "
                    f"{what}; keep it to yourself with `chmod 600 {path}`."
                )
            return file.read()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not plain text"
        raise ParameterError(f"the {what} cannot be read from {path} ({reason}); check the file.") from error
