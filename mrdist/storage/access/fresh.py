"""Stores that are begun or completed at once: metadata wait in memory and are written together.

zarr asks, before it writes the metadata of an array or a group, what lies there and above it, and at an object store
every question is a turn. In a place that was just cleared the answers are known; those of a store that one run alone
may write are read at once.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Self

import zarr
from zarr.abc.store import ByteRequest, Store
from zarr.core.buffer import Buffer, BufferPrototype, default_buffer_prototype
from zarr.core.sync import sync
from zarr.storage import WrapperStore

_ROOT = "zarr.json"


class _HeldStore(WrapperStore[Store]):
    """A store whose metadata are in memory until `settle`; in an empty place, so is everything else.

    Parameters
    ----------
    store
        The store.
    known
        Its metadata; None in an empty place.
    left_out
        Names in it that count as not there.
    holds_new
        Whether the chunks of arrays that are created are in memory as well.
    """

    def __init__(
        self,
        store: Store,
        known: dict[str, Buffer] | None = None,
        left_out: frozenset[str] = frozenset(),
        *,
        holds_new: bool = False,
    ) -> None:
        super().__init__(store)
        self._is_fresh = known is None
        self._known: dict[str, Buffer] | None = known or {}
        self._written: dict[str, None] = {}
        self._created: set[str] = set()
        self._holds_new = holds_new
        self.left_out = left_out
        self.settled: tuple[str, ...] = ()  # keys of the metadata that were written

    def __str__(self) -> str:
        return str(self._store)

    def _with_store(self, store: Store) -> Self:
        other = type(self)(store, left_out=self.left_out, holds_new=self._holds_new)
        other._is_fresh, other._known = self._is_fresh, self._known
        other._written, other._created = self._written, self._created
        return other

    def _of(self, key: str) -> dict[str, Buffer] | None:
        """Return what is in memory if it has the answer for a key."""
        is_held = self._is_fresh or key.endswith(_ROOT) or key.partition("/c/")[0] in self._created
        return self._known if is_held else None

    async def get(self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None) -> Buffer | None:
        known = self._of(key)
        if known is None or byte_range is not None:
            return await super().get(key, prototype, byte_range)
        return known.get(key)

    async def exists(self, key: str) -> bool:
        known = self._of(key)
        return await super().exists(key) if known is None else key in known

    async def set(self, key: str, value: Buffer) -> None:
        known = self._of(key)
        if known is None:
            await super().set(key, value)
        else:
            if self._holds_new and key.endswith(_ROOT) and key not in known:
                self._created.add(key.removesuffix(f"/{_ROOT}"))
            self._written.pop(key, None)  # what is written last is the last one
            known[key], self._written[key] = value, None

    async def set_if_not_exists(self, key: str, value: Buffer) -> None:
        known = self._of(key)
        if known is None:
            await super().set_if_not_exists(key, value)
        elif key not in known:
            await self.set(key, value)

    async def delete_dir(self, prefix: str) -> None:
        if self._known is None:
            await super().delete_dir(prefix)
            return
        gone = [key for key in self._known if key.startswith(f"{prefix.rstrip('/')}/")]
        for key in gone:
            del self._known[key]
            self._written.pop(key, None)
        if gone and not self._is_fresh:
            await super().delete_dir(prefix)

    def list_dir(self, prefix: str) -> AsyncIterator[str]:
        return super().list_dir(prefix) if self._known is None else _listed(self._known, prefix)

    async def settle(self, *, root_first: bool) -> None:
        """Write what waits: the root first, which says what this is, and last what was written last; or the root last.

        From then on it is a store like any other.
        """
        known, self._known, self._is_fresh = self._known or {}, None, False
        self.settled = tuple(key for key in self._written if key.endswith(f"/{_ROOT}"))
        self._created.clear()
        others = [key for key in self._written if key != _ROOT]
        root = [key for key in self._written if key == _ROOT]
        turns = [root, others[:-1], others[-1:]] if root_first else [others, root]
        for turn in turns:
            await asyncio.gather(*(super(_HeldStore, self).set(key, known[key]) for key in turn))


async def _listed(keys: dict[str, Buffer], prefix: str) -> AsyncIterator[str]:
    above = f"{prefix.rstrip('/')}/".lstrip("/")
    for name in dict.fromkeys(key.removeprefix(above).split("/")[0] for key in keys if key.startswith(above)):
        yield name


async def _gathered(store: Store, keys: Iterable[str]) -> dict[str, Buffer]:
    """Return what is there of some objects, asked for at once."""
    keys = list(keys)
    values = await asyncio.gather(*(store.get(key, default_buffer_prototype()) for key in keys))
    return {key: value for key, value in zip(keys, values, strict=True) if value is not None}


async def _metadata(store: Store, path: str, names: Iterable[str], known: dict[str, Buffer]) -> dict[str, Buffer]:
    """Return the metadata of what lies in a group by these names, and of all that lies in that."""
    keys = [f"{path}/{name}/{_ROOT}".lstrip("/") for name in names]
    found = known | await _gathered(store, (key for key in keys if key not in known))
    there = {key: found[key] for key in keys if key in found}
    groups = [key for key, value in there.items() if json.loads(value.to_bytes()).get("node_type") == "group"]
    for below in await asyncio.gather(*(_all_below(store, key.removesuffix(f"/{_ROOT}"), known) for key in groups)):
        there |= below
    return there


async def _all_below(store: Store, path: str, known: dict[str, Buffer]) -> dict[str, Buffer]:
    return await _metadata(store, path, await _names(store, path), known)


async def _names(store: Store, path: str = "") -> list[str]:
    return [name async for name in store.list_dir(path) if name != _ROOT]


async def _held(store: Store, without: Sequence[str], *, holds_new: bool) -> _HeldStore:
    settled = store.settled if isinstance(store, _HeldStore) else ()  # will be there, so the listing is not waited for
    expected = [key for key in settled if key.partition("/")[0] not in without]
    known, names = await asyncio.gather(_gathered(store, [_ROOT, *expected]), _names(store))
    root = {key: known[key] for key in known if key == _ROOT}
    below = await _metadata(store, "", [name for name in names if name not in without], known)
    return _HeldStore(store, root | below, frozenset({*names} & {*without}), holds_new=holds_new)


def fresh(store: Store) -> Store:
    """Return a store that is made at once over one that is empty."""
    return _HeldStore(store)


def held(group: zarr.Group, *, without: Sequence[str] = (), holds_new: bool = False) -> zarr.Group:
    """Return the root group of a store with its metadata in memory, until `settle`; chunks are read and written.

    No one else may write metadata meanwhile.

    Parameters
    ----------
    group
        The root, open for writing.
    without
        Names in it that count as not there.
    holds_new
        Whether the chunks of arrays that are created in it are written by `settle`, too: small ones.
    """
    store = sync(_held(group.store, without, holds_new=holds_new))
    return zarr.open_group(store, mode="r+", zarr_format=3, use_consolidated=False)


def names_in(group: zarr.Group) -> set[str]:
    """Return the names of all that lies in the root group of a store, by one listing."""
    return set(sync(_names(group.store)))


def left_out(group: zarr.Group) -> frozenset[str]:
    """Return which of the names that `held` was to leave out lie in the root group of a store."""
    return group.store.left_out if isinstance(group.store, _HeldStore) else frozenset()


def settle(group: zarr.Group, *, root_first: bool = True) -> None:
    """Write the metadata that wait in memory, those of the root first or last; then it is a store like any other."""
    if isinstance(group.store, _HeldStore):
        sync(group.store.settle(root_first=root_first))
