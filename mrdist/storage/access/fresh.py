"""A store that is made at once: its metadata wait in memory, where nothing else can be, and are written together.

zarr asks, before it writes the metadata of an array or a group, what lies there and above it. In a place that was just
cleared the answers are known, and at an object store every question is a turn.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Self

import zarr
from zarr.abc.store import ByteRequest, Store
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.core.sync import sync
from zarr.storage import WrapperStore

_ROOT = "zarr.json"


class _FreshStore(WrapperStore[Store]):
    """A store over an empty place; until `settle`, everything that is written is kept in memory."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self._kept: dict[str, Buffer] | None = {}

    def __str__(self) -> str:
        return str(self._store)

    def _with_store(self, store: Store) -> Self:
        other = type(self)(store)
        other._kept = self._kept
        return other

    async def get(self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None) -> Buffer | None:
        if self._kept is None or byte_range is not None:
            return await super().get(key, prototype, byte_range)
        return self._kept.get(key)

    async def exists(self, key: str) -> bool:
        return await super().exists(key) if self._kept is None else key in self._kept

    async def set(self, key: str, value: Buffer) -> None:
        if self._kept is None:
            await super().set(key, value)
        else:
            self._kept.pop(key, None)  # what is written last is the last one
            self._kept[key] = value

    async def set_if_not_exists(self, key: str, value: Buffer) -> None:
        if self._kept is None:
            await super().set_if_not_exists(key, value)
        else:
            self._kept.setdefault(key, value)

    async def delete_dir(self, prefix: str) -> None:
        if self._kept is None:
            await super().delete_dir(prefix)
        else:
            for key in [key for key in self._kept if key.startswith(f"{prefix.rstrip('/')}/")]:
                del self._kept[key]

    def list_dir(self, prefix: str) -> AsyncIterator[str]:
        return super().list_dir(prefix) if self._kept is None else _listed(self._kept, prefix)

    async def settle(self) -> None:
        """Write what is kept: the root first, which says what this is, and last what was written last."""
        kept, self._kept = self._kept, None
        if not kept:
            return
        root, *others = sorted(kept, key=lambda key: key != _ROOT)
        await super().set(root, kept[root])
        await asyncio.gather(*(super(_FreshStore, self).set(key, kept[key]) for key in others[:-1]))
        for key in others[-1:]:
            await super().set(key, kept[key])


async def _listed(keys: dict[str, Buffer], prefix: str) -> AsyncIterator[str]:
    above = f"{prefix.rstrip('/')}/".lstrip("/")
    for name in dict.fromkeys(key.removeprefix(above).split("/")[0] for key in keys if key.startswith(above)):
        yield name


def fresh(store: Store) -> Store:
    """Return a store that is made at once over one that is empty."""
    return _FreshStore(store)


def settle(group: zarr.Group) -> None:
    """Write the metadata of a store that is made at once; from then on it is a store like any other."""
    if isinstance(group.store, _FreshStore):
        sync(group.store.settle())
