"""URLs, groups, and the errors of reading and writing them."""

from __future__ import annotations

import errno
import json
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any

import zarr
import zarr.errors
from zarr.abc.store import Store

from mrdist.codecs import DEFAULT_CODEC
from mrdist.errors import (
    ForeignStoreError,
    MrdistError,
    ParameterError,
    StoreError,
    StoreExistsError,
    StoreFormatError,
    StoreIncompleteError,
    StoreNotFoundError,
)
from mrdist.storage.access.at_once import at_once
from mrdist.storage.access.chunks import COMPRESSORS as COMPRESSORS
from mrdist.storage.access.chunks import CheckedStore
from mrdist.storage.access.codecs import codec_of
from mrdist.storage.access.fence import check_fence, fenced
from mrdist.storage.access.foreseen import foreseen, plain_store
from mrdist.storage.access.formats import FORMAT_VERSIONS
from mrdist.storage.access.formats import check_format as check_format
from mrdist.storage.access.fresh import fresh, held, settle
from mrdist.storage.access.remote import StorageOptions as StorageOptions
from mrdist.storage.access.remote import asking_bucket, refusal, shown, told
from mrdist.storage.access.remote import filesystem_of as filesystem_of
from mrdist.storage.access.remote import is_local as is_local
from mrdist.storage.access.remote import normalize_url as normalize_url
from mrdist.storage.access.remote import redact as redact
from mrdist.storage.access.retries import patiently
from mrdist.storage.access.strangers import stranger_at


@contextmanager
def store_errors(url: str) -> Iterator[None]:
    """Turn errors of the operating system or the object store into one sentence about ``url``."""
    try:
        yield
    except MrdistError:
        raise
    except Exception as error:
        sentence = None if is_local(url) else refusal(url, error)
        if sentence is not None:
            raise StoreError(sentence) from shown(error, url)
        if isinstance(error, OSError):
            advice = "check the address and the permissions"
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                advice = "free some space and run the same command again: what is finished is kept"
            raise StoreError(f"{redact(url)} cannot be read or written ({told(error)}); {advice}.") from shown(
                error, url
            )
        if isinstance(error, KeyError):
            raise StoreFormatError(
                f"{redact(url)} lacks an array that stores of its kind have; restore it from a copy or write it again."
            ) from error
        if isinstance(error, RuntimeError | ValueError):  # raised by codecs for damaged bytes
            raise StoreError(
                f"a chunk of {redact(url)} cannot be decoded; restore it from a copy or write the store again."
            ) from error
        raise


def _store(url: str, options: StorageOptions, *, read_only: bool) -> Store:
    plain = foreseen(plain_store(url, options, read_only=read_only), url, options)
    store: Store = CheckedStore(plain, url, whole=read_only)
    return store if read_only else fenced(store)


def open_group(url: str, options: StorageOptions = None, *, write: bool = False) -> zarr.Group:
    """Open the zarr group at ``url``.

    Raises
    ------
    StoreNotFoundError
        If there is no zarr group.
    StoreError
        If the address cannot be used at all.
    """
    if not is_local(url) and "?" in url:
        raise StoreNotFoundError(
            f"{redact(url)} has a query, which addresses a single file; give the address of a store, without a query."
        )
    with store_errors(url), _opening(url, options):
        store = _store(url, options, read_only=not write)
        if write:  # a writer must see arrays as they are, not as they were when the store was last complete
            return zarr.open_group(store, mode="r+", zarr_format=3, use_consolidated=False)
        return zarr.open_group(store, mode="r", zarr_format=3)


def array_of(group: zarr.Group, name: str) -> zarr.Array[Any]:
    """Return an array of a group."""
    array = group.get(name)
    if not isinstance(array, zarr.Array):
        raise StoreFormatError(f"{place_of(group)} lacks the array {name!r}; restore it or write the store again.")
    return array


def place_of(group: zarr.Group) -> str:
    """Return the address of a group, fit for messages."""
    return f"{group.store}/{group.path}".rstrip("/")


def open_as_is(url: str, options: StorageOptions = None) -> zarr.Group:
    """Open a store in the making to read what has been written; a chunk that is not there is an error."""
    with store_errors(url), _opening(url, options):
        return zarr.open_group(_store(url, options, read_only=True), mode="r", zarr_format=3, use_consolidated=False)


def as_whole(group: zarr.Group) -> zarr.Group:
    """Return a group that is open for writing as one to read from in which a chunk that is not there is an error."""
    store = CheckedStore(group.store, str(group.store), whole=True)
    return zarr.open_group(store, path=group.path, mode="r+", zarr_format=3, use_consolidated=False)


def create_group(
    url: str, options: StorageOptions, kind: str, *, codec: str | None = None, **attributes: Any
) -> zarr.Group:
    """Create the group of an unfinished store, without arrays; whatever is there must have been removed before.

    Arrays that are created in it will have the ``codec``.
    """
    with beginning(url, options, kind, codec=codec, **attributes) as group:
        return group


@contextmanager
def beginning(
    url: str, options: StorageOptions, kind: str, *, codec: str | None = None, **attributes: Any
) -> Iterator[zarr.Group]:
    """Begin a store as `create_group` does; what is created in it is written at the end, in few turns.

    That waits in memory, as do the values of its arrays. Nothing is written if an exception leaves the block.
    """
    version = FORMAT_VERSIONS.get(kind, 1)
    described = {"kind": kind, "format_version": version, "complete": False, **attributes}
    if codec not in (None, DEFAULT_CODEC):
        described["codec"] = codec
    with store_errors(url), _opening(url, options):
        group = zarr.create_group(fresh(_store(url, options, read_only=False)), attributes={"mrdist": described})
        yield group
        settle(group)


@contextmanager
def _opening(url: str, options: StorageOptions) -> Iterator[None]:
    """Report errors of the first contact with a store: those that concern the whole store."""
    try:
        with asking_bucket(url, options):
            yield
    except (
        FileNotFoundError,
        NotADirectoryError,
        zarr.errors.GroupNotFoundError,
        zarr.errors.ContainsArrayError,
        json.JSONDecodeError,
    ) as error:
        raise stranger_at(url, options) from shown(error, url)


def is_free(url: str, options: StorageOptions) -> bool:
    """Whether there is nothing at all at the address of an output."""
    filesystem, root = filesystem_of(url, options)
    with store_errors(url), asking_bucket(url, options):
        filesystem.invalidate_cache()
        # who asks is going to write: whether it may is known by then
        exists, _ = at_once([lambda: patiently(lambda: filesystem.exists(root)), check_fence])
        return not exists


def find_store(url: str, options: StorageOptions) -> dict[str, Any] | None:
    """Return the attribute ``mrdist`` of what lies at the address of an output, None where there is nothing.

    Raises
    ------
    StoreExistsError
        If there is something that is not a store of mrdist.
    """
    try:
        return describe(url, options)
    except StoreNotFoundError:  # not even that may be: who clears the place for the output looks closer
        return None
    except ForeignStoreError as error:
        raise _in_the_way(url) from error


def _in_the_way(url: str) -> StoreExistsError:
    return StoreExistsError(
        f"{redact(url)} exists and is not a store of mrdist; remove it yourself or choose another address."
    )


def describe(url: str, options: StorageOptions = None) -> dict[str, Any]:
    """Return the attribute ``mrdist`` of a store.

    Raises
    ------
    StoreNotFoundError
        If there is no zarr group.
    StoreFormatError
        If it was not made by mrdist, or by a version with a newer format.
    """
    return check_format(open_group(url, options), url)


def open_kind(url: str, options: StorageOptions, kind: str, resume: str) -> zarr.Group:
    """Open a complete store of ``kind``; ``resume`` says how an incomplete one is finished."""
    group = open_group(url, options)
    attributes = check_format(group, url)
    if attributes["kind"] != kind:
        raise StoreFormatError(f"{redact(url)} is a store of {attributes['kind']}, not of {kind}; check the address.")
    if not attributes.get("complete"):
        raise StoreIncompleteError(f"{redact(url)} is not complete; {resume}.")
    return group


def check_output(url: str, options: StorageOptions, *, kind: str, overwrite: bool) -> bool:
    """Make sure that ``url`` is free, holds an unfinished store of ``kind``, or may be overwritten.

    Returns
    -------
    bool
        Whether there is anything to be removed.

    Raises
    ------
    StoreExistsError
        If something is there that may not be removed.
    """
    if is_free(url, options):
        return False
    filesystem, root = filesystem_of(url, options)
    with store_errors(url), asking_bucket(url, options):
        if patiently(lambda: filesystem.isdir(root) and not filesystem.ls(root)):
            return True
        try:
            existing = describe(url, options)
        except (StoreNotFoundError, ForeignStoreError) as error:
            raise _in_the_way(url) from error
        except StoreFormatError as error:
            raise StoreExistsError(
                f"{str(error).rstrip('.')}, remove it yourself, or choose another address."
            ) from error
    if not overwrite and (existing["kind"] != kind or existing.get("complete")):
        raise StoreExistsError(
            f"{redact(url)} already holds {existing['kind']}; use --overwrite (overwrite=True) or another address."
        )
    return True


def remove_output(url: str, options: StorageOptions) -> None:
    """Remove what `check_output` has allowed to be removed."""
    filesystem, root = filesystem_of(url, options)
    with store_errors(url):
        check_fence()
        if patiently(lambda: filesystem.exists(root)):
            patiently(lambda: filesystem.rm(root, recursive=True))


def check_same(url: str, what: str, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Make sure that a store belongs to the same ``what`` (a training, an accumulation).

    Raises
    ------
    StoreExistsError
        If it belongs to another one, naming the first difference.
    """
    for name, value in now.items():
        if before.get(name) != value:
            raise StoreExistsError(
                f"{redact(url)} holds the output of another {what} ({name} is {before.get(name)} there and {value} "
                "here); choose another address, or --overwrite (overwrite=True)."
            )


def codec_to_use(url: str, options: StorageOptions, codec: str | None) -> str | None:
    """Return the codec with which the output at ``url`` is begun or goes on: its own if it is there.

    Raises
    ------
    StoreExistsError
        If it has another one than ``codec``.
    """
    existing = find_store(url, options)
    if existing is None:
        return codec
    if codec not in (None, codec_of(existing)):
        raise StoreExistsError(
            f"{redact(url)} has the codec {codec_of(existing)}, not {codec}; leave the codec out, choose another "
            "address, or use --overwrite (overwrite=True)."
        )
    return codec_of(existing)


def remove_partial_files(url: str) -> None:
    """Remove what a killed writer has left in a local store; object stores have no half-written objects."""
    if is_local(url):
        for partial in Path(url).rglob("*.partial"):
            partial.unlink(missing_ok=True)


def check_reachable(workers: int | None, *urls: str) -> None:
    """Make sure that worker processes would see the same stores as this one.

    Raises
    ------
    ParameterError
        If a store lies in this process's memory and there are to be workers.
    """
    if workers != 0 and any(url.startswith("memory://") for url in urls):
        raise ParameterError("memory:// lives in one process, so it needs workers=0 (--workers 0).")


def check_apart(source: str, output: str) -> None:
    """Make sure that writing ``output`` cannot touch the store it is made from.

    Raises
    ------
    ParameterError
        If one is the other or lies inside it.
    """
    places = [os.path.realpath(normalize_url(url)) if is_local(url) else normalize_url(url) for url in (source, output)]
    one, other = (f"{place}/" for place in places)
    if one.startswith(other) or other.startswith(one):
        raise ParameterError(
            f"the output {redact(output)} would overwrite its input {redact(source)}; choose another address."
        )


def clear_output(url: str, options: StorageOptions, *, kind: str, overwrite: bool) -> None:
    """Make room for a new store, see `check_output`."""
    if check_output(url, options, kind=kind, overwrite=overwrite):
        remove_output(url, options)


def stored_bytes(url: str, options: StorageOptions = None) -> int:
    """Return the size of a store in bytes, as stored on disk or in the object store."""
    filesystem, root = filesystem_of(url, options)
    with store_errors(url):
        return int(patiently(lambda: filesystem.du(root)))


@contextmanager
def completing(group: zarr.Group, url: str, *, without: Sequence[str] = ()) -> Iterator[zarr.Group]:
    """Complete a store: yield its root with the metadata in memory; they are written at the end, all gathered in it.

    So are arrays that are created in it, which should be small. Nothing of all that is written if an exception leaves
    the block, and the root is the last that is written otherwise.

    Parameters
    ----------
    group
        The root, open for writing.
    url
        Its address.
    without
        Names of temporary groups, which remain as they are and are not gathered.
    """
    root, _ = at_once([lambda: held(group, without=without, holds_new=True), check_fence])
    yield root
    consolidate(root, url)
    settle(root, root_first=False)


def commit(group: zarr.Group, url: str, attributes: Mapping[str, Any]) -> None:
    """Set the attribute ``mrdist`` and gather all metadata in the root, by one write of the root."""
    with completing(group, url) as root:
        root.attrs["mrdist"] = dict(attributes)


#: Filters of warnings belong to the process: runs in threads would put back each other's.
_FILTERING = Lock()


def consolidate(group: zarr.Group, url: str) -> None:
    """Consolidate the metadata, so that a store opens with one read; remove what killed writers left."""
    remove_partial_files(url)
    with _FILTERING, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Consolidated metadata", category=zarr.errors.ZarrUserWarning)
        zarr.consolidate_metadata(group.store, zarr_format=3)
