"""What clients have already."""

from __future__ import annotations

from starlette.requests import Request


def has_already(request: Request, etag: str) -> bool:
    """Whether a client has an answer with this ETag, by whatever its If-None-Match says (RFC 9110, 13.1.2)."""
    known = [one.strip().removeprefix("W/") for one in request.headers.get("if-none-match", "").split(",")]
    return etag in known or known == ["*"]
