"""Stores as zarr reads them, and what will be asked of them, asked for before they are opened.

A task opens what it reads and what it writes one after the other, and asks of each several small objects, one after the
other. At an object store each of these waits for an answer. Their keys are known before: all are asked for at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Self

import zarr.storage
from fsspec.implementations.asyn_wrapper import AsyncFileSystemWrapper
from zarr.abc.store import ByteRequest, Store
from zarr.core.buffer import Buffer, BufferPrototype, default_buffer_prototype
from zarr.core.sync import sync
from zarr.storage import WrapperStore

from mrdist.storage.access.remote import StorageOptions, is_local, normalize_url, open_filesystem
from mrdist.storage.access.retries import PatientStore

Foreseen = tuple[str, StorageOptions, Iterable[str]]
"""URL of a store, the options of its filesystem, and keys of objects in it."""
DESCRIPTION = ("zarr.json",)
"""What a store says of itself."""
_Asked = dict[str, "Future[Buffer | None]"]

_asked: ContextVar[Mapping[str, tuple[StorageOptions, _Asked]]] = ContextVar("asked")


def plain_store(url: str, options: StorageOptions = None, *, read_only: bool = True) -> Store:
    """Return the store at a URL as zarr reads it, with the retries of remote ones; its chunks are not checked."""
    if is_local(url):
        return zarr.storage.LocalStore(normalize_url(url), read_only=read_only)
    filesystem, path = open_filesystem(url, options, asynchronous=True)
    if not filesystem.async_impl:
        filesystem = AsyncFileSystemWrapper(filesystem, asynchronous=True)
    return PatientStore(zarr.storage.FsspecStore(filesystem, path=path, read_only=read_only))


@contextmanager
def foreseeing(stores: Iterable[Foreseen]) -> Iterator[None]:
    """Ask at once for objects that will be asked for inside the block; they need not be there.

    Each answer counts once: whoever asks for an object again gets it as it is then. Stores on a disk of this machine
    answer soon enough by themselves.
    """
    asked: dict[str, tuple[StorageOptions, _Asked]] = {}
    for url, options, keys in stores:
        if not is_local(url):
            store, loop, prototype = plain_store(url, options), request_loop(), default_buffer_prototype()
            asked[url] = (
                options,
                {key: asyncio.run_coroutine_threadsafe(store.get(key, prototype), loop) for key in keys},
            )
    before = _asked.set(asked)
    try:
        yield
    finally:
        _asked.reset(before)
        for _, coming in asked.values():
            for answer in coming.values():
                answer.cancel()


def foreseen(store: Store, url: str, options: StorageOptions) -> Store:
    """Return a store with the answers that are on their way to it, the store itself if there are none."""
    given, coming = _asked.get({}).get(url, (None, {}))
    return _ForeseenStore(store, coming) if coming and given == options else store


def request_loop() -> asyncio.AbstractEventLoop:
    """Return the loop of zarr's requests, to which the connections of filesystems belong."""

    async def running() -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()

    return sync(running())


class _ForeseenStore(WrapperStore[Store]):
    """A store some of whose objects are on their way; whoever takes one takes it away."""

    def __init__(self, store: Store, coming: _Asked) -> None:
        super().__init__(store)
        self._coming = coming

    def __str__(self) -> str:
        return str(self._store)

    def _with_store(self, store: Store) -> Self:
        return type(self)(store, self._coming)

    async def get(self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None) -> Buffer | None:
        answer = self._coming.pop(key, None) if byte_range is None else None
        if answer is None:
            return await super().get(key, prototype, byte_range)
        return await asyncio.wrap_future(answer)
