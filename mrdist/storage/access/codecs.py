"""The codecs of a store's chunks, which its attribute ``codec`` names unless they are the default."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import zarr
from zarr.abc.codec import BytesBytesCodec
from zarr.codecs import BloscCodec, Crc32cCodec, ZstdCodec

from mrdist.codecs import DEFAULT_CODEC
from mrdist.storage.access.chunks import COMPRESSORS, UNCOMPRESSED, parsed


def compressors_named(codec: str) -> tuple[BytesBytesCodec, ...]:
    """Return the codecs of zarr that a name of `mrdist.codecs.CODECS` stands for; the checksum is the last.

    LZ4 comes in Blosc's container, which zarr's specification has. zarr-python's own ``numcodecs.lz4`` is not part of
    it, and other programs do not read it. Of numbers longer than a byte, Blosc groups the bytes of equal weight,
    without which LZ4 finds little to save.

    Examples
    --------
    >>> [type(each).__name__ for each in compressors_named("lz4")]
    ['BloscCodec', 'Crc32cCodec']
    >>> compressors_named("zstd:-5")[0].level
    -5
    """
    if codec == DEFAULT_CODEC:
        return COMPRESSORS
    if codec == "none":
        return UNCOMPRESSED
    if codec == "lz4":
        return BloscCodec(cname="lz4", clevel=5, shuffle="shuffle"), Crc32cCodec()
    return ZstdCodec(level=int(codec.removeprefix("zstd:"))), Crc32cCodec()


def codec_of(attributes: Mapping[str, Any]) -> str:
    """Return the name of the codec of a store with this attribute ``mrdist``."""
    return str(attributes.get("codec", DEFAULT_CODEC))


def compressors_of(group: zarr.Group) -> tuple[BytesBytesCodec, ...]:
    """Return the codecs of new arrays in a store, whose root this is; of another group the default ones."""
    return compressors_named(codec_of(parsed(group.attrs.get("mrdist")) or {}))
