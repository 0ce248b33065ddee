"""How much of a piece of work is done while somebody is at it: code that iterates says so, and who waits hears it.

Nothing is said where nobody listens, and to a listener twice a second at most: it costs nothing worth measuring.

Examples
--------
>>> with heard_by(print, seconds=0):
...     for half in parts(["read", "solve"]):
...         for _ in parts("ab" if half == "read" else ""):
...             pass
0.25
0.5
1.0
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

Part = TypeVar("Part")

_SECONDS = 0.5


class _Work:
    """A piece of work: what is told now is about the part of it that lies between ``start`` and ``end``."""

    def __init__(self, hear: Callable[[float], None], seconds: float) -> None:
        self.start, self.end = 0.0, 1.0
        self._hear, self._seconds = hear, seconds
        self._heard, self._share = time.monotonic(), 0.0

    def tell(self, share: float) -> None:
        """Say how much of all of it is done."""
        if share <= self._share or time.monotonic() - self._heard < self._seconds:
            return
        self._heard, self._share = time.monotonic(), share
        self._hear(share)


_work: ContextVar[_Work | None] = ContextVar("work", default=None)


@contextmanager
def heard_by(hear: Callable[[float], None], *, seconds: float | None = None) -> Iterator[None]:
    """Call ``hear`` with the share that is done, 0 to 1, while the context lasts.

    Parameters
    ----------
    hear
        Called in the thread of the work.
    seconds
        That pass between two calls at least, half a second by default.
    """
    token = _work.set(_Work(hear, _SECONDS if seconds is None else seconds))
    try:
        yield
    finally:
        _work.reset(token)


def parts(items: Sequence[Part]) -> Iterator[Part]:
    """Yield items that are worked on one after the other, each an equal part of the work; parts may have parts."""
    work = _work.get()
    if work is None or not items:
        yield from items
        return
    start, end = work.start, work.end
    step = (end - start) / len(items)
    for number, item in enumerate(items):
        work.start, work.end = start + number * step, start + (number + 1) * step
        yield item
        work.tell(start + (number + 1) * step)
    work.start, work.end = start, end


@contextmanager
def portion(share: float) -> Iterator[None]:
    """Let what is told in the context be this share of the work, and what comes after it the rest."""
    work = _work.get()
    if work is None:
        yield
        return
    start, end = work.start, work.end
    work.end = start + share * (end - start)
    yield
    work.start, work.end = work.end, end
