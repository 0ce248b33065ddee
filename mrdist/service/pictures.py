"""How answers that are files stand in the description, so that clients made from it get their bytes."""

from __future__ import annotations

from typing import Any

BINARY: dict[str, Any] = {"type": "string", "format": "binary"}
TEXT: dict[str, Any] = {"type": "string"}

PICTURE: dict[int | str, dict[str, Any]] = {
    200: {"content": {"image/png": {"schema": BINARY}}},
}
CACHED_PICTURE: dict[int | str, dict[str, Any]] = {**PICTURE, 304: {"description": "Not Modified"}}
