"""Folders of stores: list them, see whether a store has changed, and remove one."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from mrdist.storage.access.places import list_names
from mrdist.storage.access.retries import patiently
from mrdist.storage.access.urls import StorageOptions, filesystem_of, is_local, normalize_url, store_errors

_ROOT = "zarr.json"


def list_stores(folder_url: str, storage_options: StorageOptions = None) -> list[str]:
    """Return the names of the folders directly below a folder, in order; none if there is no such folder.

    Raises
    ------
    StoreError
        If it cannot be listed.
    """
    return list_names(folder_url, storage_options, "directory")


def stamp_of(url: str, storage_options: StorageOptions = None, *, root: str = _ROOT) -> str | None:
    """Return a short text that changes when a store is completed, extended or replaced; None if there is no store.

    Each of these ends by writing the root, so only the root is looked at.
    """
    filesystem, path = filesystem_of(f"{url}/{root}", storage_options)
    with store_errors(url):
        filesystem.invalidate_cache()
        try:
            return str(patiently(lambda: filesystem.ukey(path)))[:16]
        except FileNotFoundError:
            return None


def modified_at(url: str, storage_options: StorageOptions = None) -> datetime:
    """Return when a store was completed, or changed last."""
    filesystem, path = filesystem_of(f"{url}/{_ROOT}", storage_options)
    with store_errors(url):
        modified: datetime = patiently(lambda: filesystem.modified(path))
    return modified if modified.tzinfo else modified.replace(tzinfo=UTC)


def exists(url: str, storage_options: StorageOptions = None) -> bool:
    """Whether there is a file or folder."""
    filesystem, path = filesystem_of(url, storage_options)
    with store_errors(url):
        filesystem.invalidate_cache()
        return bool(patiently(lambda: filesystem.exists(path)))


def is_link(url: str) -> bool:
    """Whether a local path is a symbolic link, wherever that leads."""
    return is_local(url) and Path(normalize_url(url)).is_symlink()


def remove_store(url: str, storage_options: StorageOptions = None, *, root: str = _ROOT) -> None:
    """Remove a store, its root first: if this is interrupted, the rest is not a store.

    Of a symbolic link, only the link is removed: what it leads to belongs to somebody else.

    Raises
    ------
    StoreError
        If it cannot be removed.
    """
    filesystem, path = filesystem_of(url, storage_options)
    with store_errors(url):
        if is_link(url):
            Path(normalize_url(url)).unlink(missing_ok=True)
            return
        with suppress(FileNotFoundError):
            patiently(lambda: filesystem.rm_file(f"{path}/{root}"))
        if patiently(lambda: filesystem.exists(path)):
            patiently(lambda: filesystem.rm(path, recursive=True))
