"""Refused requests; in a module of its own, so that processes of jobs need not load the web framework."""

from __future__ import annotations

from collections.abc import Mapping

from mrdist.errors import MrdistError


class RefusedError(MrdistError):
    """A request that is refused.

    Attributes
    ----------
    status
        Status of the answer.
    headers
        Further headers of the answer.
    """

    def __init__(self, status: int, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.headers = dict(headers or {})


def unauthorized(reason: str) -> RefusedError:
    """Return the error for a request of somebody unknown."""
    return RefusedError(
        401,
        f"{reason}; send the service's token, or yours, as `Authorization: Bearer TOKEN`.",
        {"www-authenticate": 'Bearer realm="mrdist"'},
    )
