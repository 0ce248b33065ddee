"""Chunks straight into place: each is fetched, checked and decoded once, by the thread that asks for its pixels.

zarr-python hands every chunk through its event loop, other threads and several copies. For the codecs of our own
stores and the common ones, none of this is needed: the bytes are read into a buffer that is kept, decoded into another
one, or into the result where the chunk lies in it as a whole, and copied from there.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from functools import cached_property
from io import FileIO
from itertools import product
from math import prod
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import zarr
from numcodecs import blosc, gzip, zstd  # type: ignore[import-untyped]
from zarr.codecs import BloscCodec, BytesCodec, Crc32cCodec, GzipCodec, ZstdCodec
from zarr.core.buffer import Buffer, default_buffer_prototype
from zarr.core.metadata import ArrayV3Metadata

from mrdist.storage.access.chunks import CHECKSUM_BYTES, CheckedStore, is_sound
from mrdist.storage.access.foreseen import request_loop

HELD = 16
"""Chunks of object stores that a reader fetches before their turn and holds as they came."""
Bytes = npt.NDArray[np.uint8]
_NOT_THERE = FileNotFoundError, IsADirectoryError, NotADirectoryError
_FRAME, _SIZE_BYTES = 0xFD2FB528, (1, 2, 4, 8)  # of zstd: RFC 8878, 3.1.1


class Coming:
    """Chunks on their way from an object store: as many as `HELD`, in the order in which they are expected.

    For one thread at a time.
    """

    def __init__(self, store: CheckedStore) -> None:
        self._store = store
        self._expected: deque[str] = deque()
        self._coming: OrderedDict[str, Future[Buffer | None]] = OrderedDict()

    def expect(self, keys: Iterable[str]) -> None:
        """Say that chunks will be asked for after those that are expected already."""
        known = {*self._coming, *self._expected}
        self._expected.extend(key for key in keys if key not in known)
        self._fetch()

    def take(self, key: str) -> Buffer | None:
        """Wait for a chunk."""
        future = self._coming.pop(key, None)
        if future is None:
            with contextlib.suppress(ValueError):
                self._expected.remove(key)
            future = self._asked(key)
        try:
            return future.result()
        finally:
            self._fetch()

    def _fetch(self) -> None:
        while self._expected and len(self._coming) < HELD:
            key = self._expected.popleft()
            self._coming[key] = self._asked(key)

    def _asked(self, key: str) -> Future[Buffer | None]:
        return asyncio.run_coroutine_threadsafe(self._store.get(key, default_buffer_prototype()), self._loop)

    @cached_property
    def _loop(self) -> asyncio.AbstractEventLoop:
        return request_loop()


class StraightArray:
    """An array whose chunks are read straight into place.

    Parameters
    ----------
    array
        Of a `CheckedStore`; one for which `of` returns an instance.
    store
        Its store.
    coming
        What fetches chunks of a remote store.
    """

    def __init__(self, array: zarr.Array[Any], store: CheckedStore, coming: Coming) -> None:
        self._array, self._store, self._coming = array, store, coming
        metadata: Any = array.metadata
        _, *codecs = metadata.codecs
        self._is_checked = bool(codecs) and isinstance(codecs[-1], Crc32cCodec)
        self._codecs = codecs[:-1] if self._is_checked else codecs
        self._key_of = metadata.chunk_key_encoding.encode_chunk_key
        self._chunks: tuple[int, ...] = array.chunks
        self._dtype = np.dtype(array.dtype)
        self._n_bytes = prod(self._chunks) * self._dtype.itemsize
        self._buffers = threading.local()

    @classmethod
    def of(cls, array: zarr.Array[Any], coming: Coming | None = None) -> Self | None:
        """Return how to read an array straight, None where zarr has to: for other codecs, layouts and stores."""
        store, metadata = array.store, array.metadata
        if not isinstance(store, CheckedStore) or not isinstance(metadata, ArrayV3Metadata):
            return None
        dtype, (first, *others) = np.dtype(array.dtype), metadata.codecs
        is_plain = (
            metadata.chunk_grid.to_dict()["name"] == "regular"
            and isinstance(first, BytesCodec)
            and dtype.kind in "buif"
            and (dtype.itemsize == 1 or (dtype.isnative and getattr(first.endian, "value", "") == sys.byteorder))
            and not any(isinstance(codec, Crc32cCodec) for codec in others[:-1])
            and store.compares(array.path) == isinstance(metadata.codecs[-1], Crc32cCodec)
            and all(isinstance(codec, Crc32cCodec | ZstdCodec | BloscCodec | GzipCodec) for codec in others)
        )
        return cls(array, store, coming or Coming(store)) if is_plain else None

    def expect(self, place: Sequence[slice]) -> None:
        """Have the chunks of a rectangle fetched: from a disk by the operating system, else by requests of ours."""
        keys = map(self._key, self._touched(place))
        if self._store.folder is None:
            self._coming.expect(keys)
        elif hasattr(os, "posix_fadvise"):
            for key in keys:
                with contextlib.suppress(OSError), self._path(key).open("rb", buffering=0) as file:
                    if not _is_in_memory(file.fileno()):
                        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_WILLNEED)

    def read_into(self, out: npt.NDArray[Any], place: Sequence[slice]) -> None:
        """Fill an array with a rectangle, whose slices have a start and an end and lie inside the array.

        Raises
        ------
        MissingChunkError, DamagedChunkError
            If a chunk is not there, or does not match its checksum.
        RuntimeError, ValueError
            If one cannot be decoded.
        """
        if self._store.folder is None:
            self._coming.expect(map(self._key, self._touched(place)))
        for at in self._touched(place):
            corner = [index * length for index, length in zip(at, self._chunks, strict=True)]
            inside, part = [], []
            for first, length, wanted in zip(corner, self._chunks, place, strict=True):
                begin, end = max(first, wanted.start), min(first + length, wanted.stop)
                inside.append(slice(begin - first, end - first))
                part.append(slice(begin - wanted.start, end - wanted.start))
            target = out[tuple(part)]
            whole = target.shape == self._chunks and target.flags.c_contiguous and target.dtype == self._dtype
            chunk = self._decoded(self._key(at), target if whole else None)
            if chunk is None:
                target[...] = self._array.fill_value
            elif chunk is not target:
                target[...] = chunk[tuple(inside)]

    def _touched(self, place: Sequence[slice]) -> Iterator[tuple[int, ...]]:
        """Yield the indices of the chunks that a rectangle touches."""
        if any(part.start >= part.stop for part in place):
            return iter(())
        spans = zip(place, self._chunks, strict=True)
        return product(*(range(part.start // length, -(-part.stop // length)) for part, length in spans))

    def _key(self, at: tuple[int, ...]) -> str:
        return f"{self._array.path}/{self._key_of(at)}".lstrip("/")

    def _decoded(self, key: str, target: npt.NDArray[Any] | None) -> npt.NDArray[Any] | None:
        """Return a chunk, in ``target`` if that is given and the codec can, None if it is not there."""
        content = self._here(key) if self._store.folder is not None else self._fetched(key)
        if content is None:
            return None
        for codec in reversed(self._codecs[1:]):
            content = _decode(codec, content)
        if not self._codecs:
            return self._shaped(content)
        codec = self._codecs[0]
        if isinstance(codec, ZstdCodec) and _size_told(content) == self._n_bytes:
            decoded = self._scratch if target is None else target
            zstd.decompress(content, decoded)
            return decoded
        return self._shaped(_decode(codec, content))

    def _shaped(self, content: Bytes) -> npt.NDArray[Any]:
        if len(content) != self._n_bytes:
            raise ValueError(f"a chunk of {len(content)} bytes where {self._n_bytes} are expected")
        return content.view(self._dtype).reshape(self._chunks)

    @property
    def _scratch(self) -> npt.NDArray[Any]:
        if not hasattr(self._buffers, "decoded"):
            self._buffers.decoded = np.empty(self._chunks, dtype=self._dtype)
        decoded: npt.NDArray[Any] = self._buffers.decoded
        return decoded

    def _fetched(self, key: str) -> Bytes | None:
        """Return the content of a chunk of a remote store, whose `CheckedStore.get` compares it with its checksum."""
        value = self._coming.take(key)
        if value is None:
            return None
        stored: Bytes = value.as_numpy_array().view(np.uint8)
        return stored[:-CHECKSUM_BYTES] if self._is_checked else stored

    def _here(self, key: str) -> Bytes | None:
        """Return the content of a chunk that is a file, compared with its checksum."""

        def read() -> Bytes | None:
            try:
                with self._path(key).open("rb", buffering=0) as file:
                    return self._whole(file)
            except _NOT_THERE:
                return None

        stored = self._store.tried(key, read, is_sound if self._is_checked else None)
        return stored[:-CHECKSUM_BYTES] if stored is not None and self._is_checked else stored

    def _path(self, key: str) -> Path:
        assert self._store.folder is not None
        return self._store.folder / key

    def _whole(self, file: FileIO) -> Bytes:
        """Return what is in a file, in the buffer that is kept."""
        size = os.fstat(file.fileno()).st_size
        if len(getattr(self._buffers, "stored", ())) < size:
            self._buffers.stored = np.empty(size + size // 8, dtype=np.uint8)
        stored: Bytes = self._buffers.stored[:size]
        done = 0
        while done < size and (count := file.readinto(stored[done:].data)):
            done += count
        return stored[:done]


def _is_in_memory(file: int) -> bool:
    """Whether the end of a file lies in the system's memory: to ask for the whole file then costs more than to look."""
    if not hasattr(os, "RWF_NOWAIT"):
        return False
    try:
        return os.preadv(file, [bytearray(1)], os.fstat(file).st_size - 1, os.RWF_NOWAIT) == 1
    except OSError:  # it would wait, or the filesystem cannot say
        return False


def read_place(array: zarr.Array[Any], place: Sequence[slice]) -> npt.NDArray[Any]:
    """Return a rectangle of an array, straight where that is possible; for slices and errors see `StraightArray`."""
    straight = StraightArray.of(array)
    if straight is None:
        return np.asarray(array[tuple(place)])
    out = np.empty([part.stop - part.start for part in place], dtype=array.dtype)
    straight.read_into(out, place)
    return out


def _decode(codec: Any, content: Bytes) -> Bytes:
    decode: Callable[[Any], Any]
    if isinstance(codec, ZstdCodec):
        decode = zstd.decompress
    else:
        decode = blosc.decompress if isinstance(codec, BloscCodec) else gzip.GZip().decode
    return np.frombuffer(decode(content), dtype=np.uint8)


def _size_told(content: Bytes) -> int | None:
    """Return the decoded size that a zstd frame tells, None if it does not.

    numcodecs decodes a frame that is shorter than its destination without a word.
    """
    head = content[:14].tobytes()
    if len(head) < 14 or int.from_bytes(head[:4], "little") != _FRAME:
        return None
    descriptor = head[4]
    flag, single = descriptor >> 6, bool(descriptor & 0x20)
    if flag == 0 and not single:
        return None
    begin = 5 + (not single) + (0, 1, 2, 4)[descriptor & 3]
    size = int.from_bytes(head[begin : begin + _SIZE_BYTES[flag]], "little")
    return size + 256 if flag == 1 else size
