"""Format versions of stores, and the attribute by which a store says what it is."""

from __future__ import annotations

from typing import Any

import zarr

from mrdist.errors import StoreFormatError
from mrdist.storage.access.chunks import parsed
from mrdist.storage.access.remote import redact
from mrdist.storage.access.strangers import foreign_group

FORMAT_VERSIONS = {"weights": 2, "statistics": 2}
"""Newest format by kind of store; those of other kinds are of version 1.

Version 2 has arrays over the pixels in chunks of `mrdist.storage.access.arrays.LEAST_CHUNK` bytes and more, and tables
in attributes (`mrdist.storage.access.tables`). Stores of version 1 are read, and finished and added to as they are.
"""


def version_of(root: zarr.Group) -> int:
    """Return the format version of a store of ours with this root; another group has the first."""
    return int((parsed(root.attrs.get("mrdist")) or {}).get("format_version", 1))


def check_format(group: zarr.Group, url: str) -> dict[str, Any]:
    """Return the attribute ``mrdist`` of a group of a format that this version reads."""
    attributes = group.attrs.asdict()
    attribute = parsed(attributes.get("mrdist"))
    if attribute is None:
        raise foreign_group(url, attributes)
    version, newest = attribute.get("format_version", 1), FORMAT_VERSIONS.get(attribute["kind"], 1)
    if not isinstance(version, int) or version > newest:
        raise StoreFormatError(
            f"{redact(url)} has format version {version}, but this mrdist reads up to {newest}; upgrade mrdist."
        )
    return {"format_version": 1, "complete": True} | attribute
