"""Missing or damaged chunks: detected, read again where that may help, and reported by name."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Self, TypeVar

import google_crc32c
import numpy as np
import numpy.typing as npt
import zarr
from zarr.abc.store import ByteRequest, Store
from zarr.codecs import Crc32cCodec, ZstdCodec
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import LocalStore, WrapperStore

from mrdist.errors import DamagedChunkError, MissingChunkError
from mrdist.storage.access.remote import redact
from mrdist.storage.access.retries import codes_of

COMPRESSORS = (ZstdCodec(level=1), Crc32cCodec())
"""Level 1 decodes as fast as any; the checksum is of the bytes as they lie in the store."""
UNCOMPRESSED = (Crc32cCodec(),)
"""For what is soon removed again."""
_TRIES = 5  # damage in transit is rare and passes, damage in the store stays
CHECKSUM_BYTES = 4
_METADATA = "zarr.json"
_CHUNKS_LEFT_OUT = "fill_value"
_CHUNK = re.compile("(.+)/c[/.]")
Content = TypeVar("Content")


class CheckedStore(WrapperStore[Store]):
    """A store that verifies its chunks.

    If the metadata of an array say that its chunks end with a checksum, each chunk is compared with it. A chunk that
    does not match is read again: it may have been damaged in transit.

    Parameters
    ----------
    store, url
        The wrapped store, and its address for messages.
    whole
        Whether a missing chunk is an error instead of the fill value. It is not an error in a store whose attribute
        ``mrdist`` says ``"missing_chunks": "fill_value"``: its writer leaves out chunks of nothing but the fill value,
        as xarray does.
    """

    def __init__(self, store: Store, url: str = "", *, whole: bool = False) -> None:
        super().__init__(store)
        self._url = url
        self._whole = whole
        self._checked: dict[str, bool] = {}

    def __str__(self) -> str:
        return redact(self._url)

    def __repr__(self) -> str:
        return f"<store {self}>"

    def _with_store(self, store: Store) -> Self:
        return type(self)(store, self._url, whole=self._whole)

    async def get(self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None) -> Buffer | None:
        """Return what is at a key, see the class."""
        chunk = _CHUNK.match(key)
        if chunk is None:
            value = await super().get(key, prototype, byte_range)
            if value is not None and key.endswith(_METADATA):
                self._note(key, value)
            return value
        for _ in range(_TRIES):
            try:
                value = await super().get(key, prototype, byte_range)
            except Exception as error:
                if "FlexibleChecksumError" not in codes_of(error):  # the object store's own checksum
                    raise
                continue
            if value is None:
                self._check_may_miss(key)
                return None
            if byte_range is not None or not self._checked.get(chunk[1]) or is_sound(value.as_numpy_array()):
                return value
        raise self._damaged(key)

    @property
    def folder(self) -> Path | None:
        """Where its files lie, None if it is not on a disk of this machine."""
        return self._store.root if isinstance(self._store, LocalStore) else None

    def compares(self, path: str) -> bool:
        """Whether `get` compares the chunks of an array with their checksums."""
        return self._checked.get(path, False)

    def tried(
        self, key: str, read: Callable[[], Content | None], is_sound: Callable[[Content], bool] | None
    ) -> Content | None:
        """Return the content of a chunk that is a file, read again while it is not sound; see the class.

        Parameters
        ----------
        key
            Of the chunk.
        read
            What reads it, None if it is not there.
        is_sound
            Whether it matches its checksum, None for a chunk without one.
        """
        for _ in range(_TRIES):
            content = read()
            if content is None:
                self._check_may_miss(key)
                return None
            if is_sound is None or is_sound(content):
                return content
        raise self._damaged(key)

    def _check_may_miss(self, key: str) -> None:
        """Raise MissingChunkError if a chunk that is not there should be."""
        if self._whole:
            raise MissingChunkError(
                f"chunk {key} is missing from {redact(self._url)}; restore it from a copy or write the store again, "
                "with write_empty_chunks=True if zarr or xarray writes it."
            )

    def _damaged(self, key: str) -> DamagedChunkError:
        return DamagedChunkError(
            f"chunk {key} of {redact(self._url)} is damaged (its checksum does not match, read {_TRIES} times); "
            "restore it from a copy or write the store again."
        )

    async def set(self, key: str, value: Buffer) -> None:
        """Write, and remember which arrays have checksums."""
        if key.endswith(_METADATA):
            self._note(key, value)
        await super().set(key, value)

    def _note(self, key: str, metadata: Buffer) -> None:
        try:
            document: dict[str, Any] = json.loads(metadata.to_bytes())
        except ValueError:  # the reader that asked for it reports this
            return
        place = key.removesuffix(_METADATA).rstrip("/")
        if not place and leaves_chunks_out(parsed((document.get("attributes") or {}).get("mrdist")) or {}):
            self._whole = False
        self._checked[place] = _has_checksum(document)
        gathered = (document.get("consolidated_metadata") or {}).get("metadata", {})
        for name, each in gathered.items():
            self._checked[f"{place}/{name}".lstrip("/")] = _has_checksum(each)


def chunk_keys(array: zarr.Array[Any]) -> Iterator[str]:
    """Yield the keys of all chunks of an array."""
    metadata: Any = array.metadata
    grid = [-(-length // chunk) for length, chunk in zip(array.shape, array.shards or array.chunks, strict=True)]
    return (f"{array.path}/{metadata.encode_chunk_key(place)}".lstrip("/") for place in np.ndindex(*grid))


def parsed(attribute: Any) -> dict[str, Any] | None:
    """Return the attribute ``mrdist`` of a store, JSON text in a copy made by xarray, or None if it is unsound."""
    if isinstance(attribute, str):
        try:
            attribute = json.loads(attribute)
        except ValueError:
            return None
    return dict(attribute) if isinstance(attribute, dict) and isinstance(attribute.get("kind"), str) else None


def leaves_chunks_out(attribute: Mapping[str, Any]) -> bool:
    """Whether a store says that its writer leaves out chunks of nothing but the fill value."""
    return bool(attribute.get("missing_chunks") == _CHUNKS_LEFT_OUT)


def _has_checksum(metadata: dict[str, Any]) -> bool:
    codecs = metadata.get("codecs") or [{}]
    return bool(codecs[-1].get("name") == "crc32c")


def is_sound(content: npt.NDArray[Any]) -> bool:
    """Whether the bytes of a chunk match the checksum at their end."""
    end = content[-CHECKSUM_BYTES:].tobytes()
    return bool(end == np.uint32(google_crc32c.value(content[:-CHECKSUM_BYTES])).astype("<u4").tobytes())
