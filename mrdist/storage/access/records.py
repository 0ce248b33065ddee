"""Small records beside the stores: one JSON object each, local or remote, read and written whole."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mrdist.errors import StoreError
from mrdist.storage.access.places import list_names
from mrdist.storage.access.retries import code_of, patiently
from mrdist.storage.access.urls import StorageOptions, filesystem_of, is_local, redact, store_errors

_REFUSED = {"PreconditionFailed", "ConditionalRequestConflict"}
_UNKNOWN = {"NotImplemented", "InvalidArgument", "InvalidRequest"}  # answers of servers without conditional put


def read_record(url: str, options: StorageOptions = None) -> dict[str, Any] | None:
    """Return the record at ``url``, None if there is none.

    Raises
    ------
    StoreError
        If it cannot be read, or is not a record.
    """
    filesystem, path = filesystem_of(url, options)
    with store_errors(url):
        try:
            content = patiently(lambda: filesystem.cat_file(path))
        except FileNotFoundError:
            return None
    try:
        record = json.loads(content)
    except ValueError:
        record = None
    if not isinstance(record, dict):
        raise StoreError(f"{redact(url)} is not a record of mrdist, which is one JSON object; remove it yourself.")
    return record


def write_record(url: str, record: Mapping[str, Any], options: StorageOptions = None) -> None:
    """Write or replace a record; a reader at the same time sees the old one or the new one.

    Raises
    ------
    StoreError
        If it cannot be written.
    """
    with store_errors(url):
        if is_local(url):
            with _beside(url, options, record) as (partial, path):
                partial.replace(path)
        else:
            filesystem, place = filesystem_of(url, options)
            patiently(lambda: filesystem.pipe_file(place, _encode(record)))


def create_record(url: str, record: Mapping[str, Any], options: StorageOptions = None) -> bool:
    """Write a record unless there is one; of several writers at once, one succeeds.

    If an object store has no conditional put, the record is read back to see which writer was the last.

    Parameters
    ----------
    url, options
        Where.
    record
        Different from what any other writer would write: equal ones count as one.

    Returns
    -------
    bool
        Whether it is this record that is there now.

    Raises
    ------
    StoreError
        If it cannot be written.
    """
    with store_errors(url):
        if is_local(url):
            with _beside(url, options, record) as (partial, path):
                try:
                    os.link(partial, path)
                except FileExistsError:
                    return False
                except OSError:  # a file system without links
                    return _create_whole(path, record)
            return True
        if read_record(url, options) is not None:
            return False
        filesystem, place = filesystem_of(url, options)
        try:
            patiently(lambda: filesystem.pipe_file(place, _encode(record), mode="create"))
        except OSError as error:
            code = code_of(error)
            if code in _UNKNOWN:
                patiently(lambda: filesystem.pipe_file(place, _encode(record)))
            elif not isinstance(error, FileExistsError) and code not in _REFUSED:
                raise
        # also where it was refused: a first try may have come through although its answer did not
        return bool(read_record(url, options) == json.loads(_encode(record)))


def remove_record(url: str, options: StorageOptions = None) -> None:
    """Remove a record, if there is one.

    Raises
    ------
    StoreError
        If it cannot be removed.
    """
    filesystem, path = filesystem_of(url, options)
    with store_errors(url):
        try:
            patiently(lambda: filesystem.rm_file(path))
        except FileNotFoundError:
            return


def list_records(folder_url: str, options: StorageOptions = None) -> list[str]:
    """Return the names of the files directly below a folder, in order; none if there is no such folder.

    Raises
    ------
    StoreError
        If it cannot be listed.
    """
    names = list_names(folder_url, options, "file")
    return [name for name in names if not name.endswith(".partial")]


def _encode(record: Mapping[str, Any]) -> bytes:
    return json.dumps(record, indent=1, allow_nan=False).encode() + b"\n"


@contextmanager
def _beside(url: str, options: StorageOptions, record: Mapping[str, Any]) -> Iterator[tuple[Path, Path]]:
    """Yield a whole copy of a record beside where it shall lie, and that place; the copy is gone afterwards."""
    path = Path(filesystem_of(url, options)[1])
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{uuid.uuid4().hex}.partial")
    try:
        with partial.open("xb") as stream:
            stream.write(_encode(record))
            stream.flush()
            os.fsync(stream.fileno())
        yield partial, path
    finally:
        partial.unlink(missing_ok=True)


def _create_whole(path: Path, record: Mapping[str, Any]) -> bool:
    try:
        with path.open("xb") as stream:
            stream.write(_encode(record))
    except FileExistsError:
        return False
    return True
