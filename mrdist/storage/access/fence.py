"""The right to write: a run that has lost its output writes nothing more.

While a fence is up, every store that is opened for writing asks it before it writes or deletes. It asks the lease of
the run, see `mrdist.storage.making.lease`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol

from zarr.abc.store import Store
from zarr.core.buffer import Buffer
from zarr.storage import WrapperStore


class Right(Protocol):
    """The right to write."""

    @property
    def is_fresh(self) -> bool:
        """Whether it was confirmed so recently that it need not be looked up."""

    def check(self) -> None:
        """Raise if it is lost."""


_fence: ContextVar[Right | None] = ContextVar("fence", default=None)


@contextmanager
def fenced_by(right: Right) -> Iterator[None]:
    """Have a right to write looked up before every write."""
    before = _fence.set(right)
    try:
        yield
    finally:
        _fence.reset(before)


def check_fence() -> None:
    """Raise if a fence is up and the right to write is lost; what was seen a moment ago is not looked up again."""
    right = _fence.get()
    if right is not None and not right.is_fresh:
        right.check()


def fenced(store: Store) -> Store:
    """Return a store behind the fence that is up, or the store itself."""
    return store if _fence.get() is None else _FencedStore(store)


class _FencedStore(WrapperStore[Store]):
    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self._right = _fence.get()
        self._asking = asyncio.Lock()

    def __str__(self) -> str:
        return str(self._store)

    async def set(self, key: str, value: Buffer) -> None:
        await self._ask()
        await super().set(key, value)

    async def set_if_not_exists(self, key: str, value: Buffer) -> None:
        await self._ask()
        await super().set_if_not_exists(key, value)

    async def delete(self, key: str) -> None:
        await self._ask()
        await super().delete(key)

    async def delete_dir(self, prefix: str) -> None:
        await self._ask()
        await super().delete_dir(prefix)

    async def _ask(self) -> None:
        if self._right is None or self._right.is_fresh:
            return
        async with self._asking:  # one of the many writes that are under way asks for all of them
            if not self._right.is_fresh:
                await asyncio.to_thread(self._right.check)  # which may wait for an answer
