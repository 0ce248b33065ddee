"""Changes that reading photographs makes unasked, collected for the report at the end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType

from mrdist.storage.access.files import File

#: Change that reading a photograph may make unasked -> how it is reported.
CHANGES: Mapping[str, str] = MappingProxyType(
    {
        "depth": "have more than 8 bits per channel and are reduced to 8",
        "gray": "have colours and are converted to gray",
        "alpha": "are partly transparent and are put on white",
        "cmyk": "are in CMYK and are converted to RGB",
        "orientation": "are rotated upright, as their EXIF orientation says",
        "page": "have several pages, only the first of which is read",
        "shape": "are stretched",
    }
)
_noted: ContextVar[dict[str, set[str]] | None] = ContextVar("noted", default=None)


@contextmanager
def noting() -> Iterator[dict[str, set[str]]]:
    """Collect what is changed by reading photographs: one of `CHANGES` -> files."""
    changes: dict[str, set[str]] = {}
    before = _noted.set(changes)
    try:
        yield changes
    finally:
        _noted.reset(before)


def note(change: str, file: File) -> None:
    """Record a change, if changes are being collected."""
    changes = _noted.get()
    if changes is not None:
        changes.setdefault(change, set()).add(str(file))
