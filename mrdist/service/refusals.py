"""What a service refuses; apart, so that the processes of jobs need not load what answers requests."""

from __future__ import annotations

from collections.abc import Mapping

from mrdist.errors import MrdistError


class RefusedError(MrdistError):
    """A request that is refused.

    Attributes
    ----------
    status
        Of the answer.
    headers
        That it has besides.
    """

    def __init__(self, status: int, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.headers = dict(headers or {})
