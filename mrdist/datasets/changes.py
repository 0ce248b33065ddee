"""What reading photographs changes that nobody has asked for, collected to be told at the end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType

from mrdist.storage.files import File

#: What reading a photograph may change that nobody has asked for -> how it is told.
CHANGES: Mapping[str, str] = MappingProxyType(
    {
        "depth": "have more than 8 bits a channel, of which 8 are kept",
        "gray": "have colours, of which the luminance is kept",
        "alpha": "are transparent in part and are laid on white",
        "cmyk": "are in CMYK and become RGB",
        "orientation": "are turned upright, as their EXIF says",
        "page": "have several pages, of which the first is read",
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
    """Tell whoever collects changes about one."""
    changes = _noted.get()
    if changes is not None:
        changes.setdefault(change, set()).add(str(file))
