"""What an object store tells of all chunks of an array without reading one: a listing, 1000 names a request."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from mrdist.errors import StoreError
from mrdist.storage.access.foreign import METADATA
from mrdist.storage.access.remote import StorageOptions, is_local, open_filesystem, redact
from mrdist.storage.access.retries import patiently
from mrdist.storage.access.urls import store_errors

# What filesystems of fsspec call the state of a file, and when it was written; states come first.
_TIMES = ("LastModified", "last_modified", "updated", "mtime", "modified", "created")
_STATES = ("ETag", "md5Hash", "etag", "generation", *_TIMES)
_NO_LISTINGS = ("http://", "https://")  # their pages name files, if anything, and tell nothing of them
_TRUSTED_SECONDS = 60.0
_TRUSTED_TIMES = 30  # as long as a listing took: of a store of many chunks, it must not be most of the work
_trusted: dict[tuple[str, str], float] = {}


@dataclass(frozen=True)
class Listing:
    """The state of all chunks of an array at some time.

    Attributes
    ----------
    digest
        A hash of the names of all chunks, their sizes, and their ETags, or times where there are none.
    newest
        When the youngest was written, by the clock of the store; empty where it does not tell.
    youngest
        Name of that chunk.
    """

    digest: str
    newest: str
    youngest: str


def list_chunks(address: str, options: StorageOptions) -> Listing | None:
    """List the chunks of an array in object storage; None where the store lets nobody list, or tells nothing of them.

    Raises
    ------
    StoreError
        If the store does not answer.
    """
    if is_local(address) or address.startswith(_NO_LISTINGS):
        return None
    filesystem, path = open_filesystem(address, options)
    with store_errors(address):
        try:
            files: Mapping[str, Mapping[str, Any]] = patiently(lambda: filesystem.find(path, detail=True))
        except (PermissionError, NotImplementedError):
            return None
    digest = hashlib.sha256()
    newest = youngest = ""
    for name in sorted(files):
        chunk, told = name.removeprefix(path).lstrip("/"), files[name]
        if chunk.rpartition("/")[2] in METADATA:
            continue
        state = next((told[key] for key in _STATES if told.get(key) is not None), None)
        if state is None:
            return None
        digest.update(f"{chunk} {told.get('size')} {_text(state)}\n".encode())
        written = _text(next((told[key] for key in _TIMES if told.get(key) is not None), ""))
        if written > newest:
            newest, youngest = written, chunk
    return Listing(digest.hexdigest(), newest, youngest)


def _text(state: Any) -> str:
    return state.isoformat() if isinstance(state, datetime) else str(state)


def check_chunks(address: str, options: StorageOptions, digest: str, newest: str, *, again: bool = False) -> None:
    """Make sure that an array in object storage has the chunks that it had when it was linked.

    A process that has seen so believes it for a minute, or for 30 times as long as the listing took.

    Parameters
    ----------
    address, options
        Of the array.
    digest, newest
        Of its listing when it was linked.
    again
        Whether to ask whatever the process has seen.

    Raises
    ------
    StoreError
        If a chunk was written or removed.
    """
    began = time.monotonic()
    if not again and _trusted.get((address, digest), -1.0) > began:
        return
    now = list_chunks(address, options)
    if now is None:
        raise StoreError(
            f"the chunks of {redact(address)} cannot be listed, as they could when it was linked; ask for the "
            "permission to list them, or link it again."
        )
    if now.digest != digest:
        what = f"chunk {now.youngest} of {redact(address)} was written" if now.newest > newest else (
            f"chunks of {redact(address)} were written or removed"
        )  # fmt: skip
        raise StoreError(
            f"{what} after the array was linked; link it again, so that what is trained from it is told apart."
        )
    seconds = time.monotonic() - began
    _trusted[address, digest] = began + seconds + max(_TRUSTED_SECONDS, _TRUSTED_TIMES * seconds)
