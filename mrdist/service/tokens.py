"""Tokens of the service and of its clients."""

from __future__ import annotations

import os
from pathlib import Path

from mrdist.errors import ParameterError

_MIN_TOKEN = 16


def read_token(path: str | None) -> str | None:
    """Return the token in a file, or else in the environment variable ``MRDIST_TOKEN``; None if there is none.

    Raises
    ------
    ParameterError
        If the file cannot be read, or the token is too short.
    """
    if path is None:
        text, where = os.environ.get("MRDIST_TOKEN", ""), "MRDIST_TOKEN"
        if not text:
            return None
    else:
        where = path
        try:
            text = Path(path).read_text(encoding="ascii")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not plain text"
            raise ParameterError(f"the token cannot be read from {path} ({reason}); check the file.") from error
    token = text.strip()
    if len(token) < _MIN_TOKEN or not token.isascii() or not token.isprintable() or " " in token:
        raise ParameterError(
            f"the token in {where} must be one word of at least {_MIN_TOKEN} characters; make one with "
            "`python -c 'import secrets; print(secrets.token_urlsafe())'`."
        )
    return token
