"""Zarr arrays that other programs wrote, of format 2 or 3: opened where they lie, described, read chunk by chunk."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import struct
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, Self

import numpy as np
import zarr
import zarr.errors
from zarr.abc.store import ByteRequest, RangeByteRequest, Store, SuffixByteRequest
from zarr.codecs import ShardingCodec
from zarr.core.buffer import Buffer, BufferPrototype

from mrdist.errors import MissingChunkError, ParameterError, StoreError, StoreFormatError, StoreNotFoundError
from mrdist.storage.access.chunks import leaves_chunks_out, parsed
from mrdist.storage.access.foreseen import plain_store
from mrdist.storage.access.remote import StorageOptions, asking_bucket, is_local, normalize_url, redact, shown
from mrdist.storage.access.urls import store_errors

METADATA = {"zarr.json", ".zarray", ".zattrs", ".zgroup", ".zmetadata"}
_EMPTY = np.uint64(2**64 - 1)  # of the index of a shard: a chunk that was left out
_INDEXES = 4096  # of shards, that a process remembers
_indexes: OrderedDict[tuple[Any, ...], Buffer] = OrderedDict()
_SHOWN = 6


@dataclass(frozen=True)
class ForeignArray:
    """An array as another program wrote it.

    Attributes
    ----------
    address
        Of the array; for an image of several resolutions, that of the level.
    array
        The array.
    names
        Of its dimensions, None if it does not tell.
    missing
        Values that stand for nothing, by its attributes; NaN is not among them, but always is one.
    chunks
        What is read at least: the inner chunks of shards.
    """

    address: str
    array: zarr.Array[Any]
    names: tuple[str, ...] | None
    missing: tuple[float, ...]
    chunks: tuple[int, ...]

    @property
    def attributes(self) -> Mapping[str, Any]:
        """What the array says of itself."""
        return self.array.attrs.asdict()

    @property
    def fingerprint(self) -> str:
        """A hash of its metadata."""
        document = json.dumps(self.array.metadata.to_dict(), sort_keys=True, default=str)
        return hashlib.sha256(document.encode()).hexdigest()


def open_foreign(
    address: str, options: StorageOptions = None, *, level: int = 0, fill: bool = False, since: int | None = None
) -> ForeignArray:
    """Open an array of another program.

    Parameters
    ----------
    address
        Path or fsspec URL of an array, or of an OME-Zarr image.
    options
        Of the fsspec filesystem.
    level
        Of an OME-Zarr image: 0 is the finest.
    fill
        A chunk that is not there holds the fill value. Without, it is an error, unless the fill value is one that
        stands for nothing, or the array says that empty chunks are left out.
    since
        Time in nanoseconds after which no chunk may have been written, where the store tells.

    Raises
    ------
    StoreNotFoundError
        If there is nothing.
    StoreFormatError
        If it is a group, not an array.
    """
    address = normalize_url(address)
    store = _ForeignStore(plain_store(address, options), address)
    with store_errors(address), asking_bucket(address, options):
        try:
            node = zarr.open(store, mode="r")
        except (FileNotFoundError, NotADirectoryError, zarr.errors.NodeNotFoundError) as error:
            raise StoreNotFoundError(
                f"there is no zarr array at {redact(address)}; check the address, which names an array inside a group, "
                "such as data.zarr/temperature."
            ) from shown(error, address)
        except (KeyError, TypeError, ValueError) as error:
            raise StoreFormatError(
                f"the zarr array at {redact(address)} cannot be opened ({' '.join(str(error).split())[:200]}); zarr "
                "does not know its data type, codec or format."
            ) from shown(error, address)
        if isinstance(node, zarr.Group):
            return open_foreign(_level_of(node, address, level), options, fill=fill, since=since)
        attributes = node.attrs.asdict()
        sharding = next((codec for codec in _codecs(node) if isinstance(codec, ShardingCodec)), None)
        missing = _missing(node, attributes)
        empty = node.fill_value
        nothing = empty is not None and (_is_nan(empty) or (missing and float(empty) in missing))
        told = leaves_chunks_out(parsed(attributes.get("mrdist")) or {})
        store.watch(node, sharding, fill=bool(fill or nothing or told), since=since)
        return ForeignArray(
            address, node, _names(node, attributes), missing, tuple(sharding.chunk_shape if sharding else node.chunks)
        )


def _level_of(group: zarr.Group, address: str, level: int) -> str:
    """Return the address of a level of an OME-Zarr image."""
    attributes: dict[str, Any] = group.attrs.asdict()
    images = (attributes.get("ome") or attributes).get("multiscales")
    if not images:
        arrays = sorted(name for name, _ in group.arrays())
        there = ", ".join(arrays[:_SHOWN]) + ", ..." * (len(arrays) > _SHOWN) if arrays else "none"
        raise StoreFormatError(
            f"{redact(address)} is a zarr group, but a label needs an array; give one of its arrays ({there}), such as "
            f"{redact(address)}/{arrays[0] if arrays else 'NAME'}."
        )
    levels = images[0]["datasets"]
    if not 0 <= level < len(levels):
        raise ParameterError(
            f"{redact(address)} has the levels 0 to {len(levels) - 1}, got level {level}; choose one of them."
        )
    return f"{address}/{levels[level]['path']}"


def _names(array: zarr.Array[Any], attributes: Mapping[str, Any]) -> tuple[str, ...] | None:
    names: Any = attributes.get("_ARRAY_DIMENSIONS") or array.metadata.to_dict().get("dimension_names")
    return tuple(map(str, names)) if names and None not in names else None


def axes_of_image(address: str, options: StorageOptions) -> tuple[str, ...] | None:
    """Return the names of the axes of the OME-Zarr image that an array is a level of, None if it is of none."""
    with store_errors(address):
        try:
            group = zarr.open_group(_ForeignStore(plain_store(address, options), address), mode="r")
        except (
            OSError,
            zarr.errors.NodeNotFoundError,
            zarr.errors.ContainsArrayError,
            zarr.errors.NodeTypeValidationError,
        ):
            return None
        attributes: dict[str, Any] = group.attrs.asdict()
    images = (attributes.get("ome") or attributes).get("multiscales") or [{}]
    axes = images[0].get("axes")
    return tuple(str(axis["name"] if isinstance(axis, dict) else axis) for axis in axes) if axes else None


def _codecs(array: zarr.Array[Any]) -> tuple[Any, ...]:
    return tuple(getattr(array.metadata, "codecs", ()))


def _missing(array: zarr.Array[Any], attributes: Mapping[str, Any]) -> tuple[float, ...]:
    """Return the values that stand for nothing by the conventions of CF; NaN is not told."""
    values: list[Any] = [attributes.get("_FillValue")]
    several = attributes.get("missing_value")
    values += several if isinstance(several, list) else [several]
    # xarray writes _FillValue of format 2 as the array's own; 0 is also what zarr writes if nobody chose
    if array.metadata.zarr_format == 2 and "_ARRAY_DIMENSIONS" in attributes and array.fill_value:
        values.append(array.fill_value)
    numbers = [_number(value, array.dtype) for value in values if value is not None]
    return tuple(dict.fromkeys(number for number in numbers if not math.isnan(number)))


def _number(value: Any, dtype: np.dtype[Any]) -> float:
    if isinstance(value, str):  # as xarray writes it in format 3
        try:
            content = base64.standard_b64decode(value)
            return float(struct.unpack("<d", content)[0]) if dtype.kind == "f" else float(value)
        except (ValueError, struct.error):
            return float(value) if value.lower() in ("nan", "infinity", "-infinity") else math.nan
    return float(value)


def _is_nan(value: Any) -> bool:
    return bool(np.asarray(value).dtype.kind == "f" and np.isnan(value))


class _ForeignStore(zarr.storage.WrapperStore[Store]):
    """A store that reads the index of a shard once, and fills nothing in silence."""

    def __init__(self, store: Store, address: str) -> None:
        super().__init__(store)
        self._address = address
        self._array: zarr.Array[Any] | None = None
        self._sharding: ShardingCodec | None = None
        self._fill = True
        self._since: int | None = None
        self._linked: object = object()  # indexes that were read before the array was linked are not taken

    def __str__(self) -> str:
        return redact(self._address)

    def _with_store(self, store: Store) -> Self:
        return type(self)(store, self._address)

    def watch(self, array: zarr.Array[Any], sharding: ShardingCodec | None, *, fill: bool, since: int | None) -> None:
        """Say of which array the chunks are that are read from now on."""
        self._array, self._sharding, self._fill = array, sharding, fill
        self._since = since if is_local(self._address) else None
        self._linked = self._linked if since is None else since

    async def get(self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None) -> Buffer | None:
        """Return what is at a key, see the class."""
        if self._array is None or key.rpartition("/")[2] in METADATA:
            return await super().get(key, prototype, byte_range)
        if self._since is not None:
            self._check_time(key, self._since)
        if self._sharding is None:
            value = await super().get(key, prototype, byte_range)
            return self._there(key, value)
        if byte_range is None:
            value = await super().get(key, prototype)
            if self._there(key, value) is not None and not self._fill:
                assert value is not None
                self._check_index(key, _index_in(value, self._sharding, self._n_inner))
            return value
        if not _asks_index(byte_range, self._sharding):
            return await super().get(key, prototype, byte_range)
        known = (self._address, self._linked, self._fill, key)
        value = _indexes.get(known)
        if value is None:
            value = self._there(key, await super().get(key, prototype, byte_range))
            if value is None:
                return None
            if not self._fill:
                self._check_index(key, value)
            _indexes[known] = value
            while len(_indexes) > _INDEXES:
                _indexes.popitem(last=False)
        return value

    @property
    def _n_inner(self) -> int:
        assert self._array is not None
        assert self._sharding is not None
        return prod(
            one // other for one, other in zip(self._array.shards or (), self._sharding.chunk_shape, strict=True)
        )

    def _there(self, key: str, value: Buffer | None) -> Buffer | None:
        if value is None and not self._fill:
            raise self._lost(f"chunk {key} is missing from")
        return value

    def _lost(self, what: str) -> MissingChunkError:
        return MissingChunkError(
            f"{what} {redact(self._address)}; restore it, or, if the program that wrote the array leaves out chunks of "
            "nothing but the fill value, link it with --missing-chunks fill (missing_chunks='fill')."
        )

    def _check_time(self, key: str, since: int) -> None:
        try:
            changed = (Path(self._address) / key).stat().st_mtime_ns > since
        except FileNotFoundError:
            return
        if changed:
            raise StoreError(
                f"chunk {key} of {redact(self._address)} was written after the array was linked; link it again, so "
                "that what is trained from it is told apart."
            )

    def _check_index(self, key: str, index: Buffer) -> None:
        """Make sure that a shard has every chunk that lies inside the array."""
        assert self._array is not None
        assert self._sharding is not None
        shards, inner = self._array.shards or (), self._sharding.chunk_shape
        counts = tuple(one // other for one, other in zip(shards, inner, strict=True))
        content = index.as_numpy_array()[: 16 * prod(counts)].tobytes()
        begins = np.frombuffer(content, dtype="<u8").reshape(*counts, 2)[..., 0]
        place = [int(part) for part in key.replace(".", "/").split("/") if part.isdigit()]
        inside = tuple(
            slice(0, -(-(size - at * shard) // chunk))
            for size, at, shard, chunk in zip(self._array.shape, place, shards, inner, strict=True)
        )
        lost = np.argwhere(begins[inside] == _EMPTY)
        if len(lost):
            first = ", ".join(str(number) for number in lost[0])
            raise self._lost(f"{len(lost)} chunks of the shard {key} (the first: {first}) are missing from")


def _asks_index(asked: ByteRequest, sharding: ShardingCodec) -> bool:
    if sharding.index_location.value == "start":
        return isinstance(asked, RangeByteRequest) and asked.start == 0
    return isinstance(asked, SuffixByteRequest)


def _index_in(shard: Buffer, sharding: ShardingCodec, n_inner: int) -> Buffer:
    length = sharding._shard_index_size((n_inner,))
    return shard[:length] if sharding.index_location.value == "start" else shard[len(shard) - length :]
