"""Single files, local or remote: listed by folder or pattern, and written whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from mrdist.errors import DataError, StoreError
from mrdist.storage.access.files import File, Source
from mrdist.storage.access.remote import (
    StorageOptions,
    asking_bucket,
    filesystem_of,
    is_local,
    normalize_url,
    redact,
    told,
)
from mrdist.storage.access.retries import patiently
from mrdist.storage.access.urls import store_errors


def find_files(place: str, suffixes: Collection[str], storage_options: StorageOptions = None) -> dict[str, File]:
    """Return the files at a path, in a folder or of a pattern.

    Parameters
    ----------
    place
        Path or URL of a file, which need not exist; a pattern with ``*``, ``?`` or ``[``; or a folder.
    suffixes
        In lower case; of a folder, the files with one of these.
    storage_options
        Options of the fsspec filesystem.

    Returns
    -------
    dict of str to File
        By name, in order.

    Raises
    ------
    DataError
        If nothing matches a pattern, or a folder holds no such file.
    """
    signs = "*[" if place.startswith("http") else "*?["  # "?" begins the query of a URL
    with store_errors(place), asking_bucket(place, storage_options):
        filesystem, path = filesystem_of(place, storage_options)
        if any(sign in place for sign in signs) and not patiently(lambda: filesystem.exists(path)):
            names = patiently(lambda: [name for name in sorted(filesystem.glob(path)) if filesystem.isfile(name)])
            urls = [filesystem.unstrip_protocol(name) for name in names]
            if not urls:
                raise DataError(f"no file matches {redact(place)}; check the pattern.")
            files = [File(normalize_url(url), storage_options=storage_options) for url in urls]
        elif patiently(lambda: filesystem.isdir(path)):
            source = Source.open(place, storage_options)
            files = [file for file in map(source.file, source.files) if file.suffix in suffixes]
            if not files:
                raise DataError(
                    f"there is no photograph in {redact(place)} ({', '.join(sorted(suffixes))}); check the folder."
                )
        else:
            return {redact(place): File(normalize_url(place), storage_options=storage_options)}
    return {str(file): file for file in files}


def beside(file: File, suffixes: Sequence[str]) -> File | None:
    """Return the file of the same stem with the first of some suffixes, None if there is none."""
    for suffix in suffixes:
        stem, _, query = file.url.partition(Path(file.name).suffix + "?")
        url = f"{stem}{suffix}?{query}" if query else file.url.removesuffix(Path(file.name).suffix) + suffix
        with store_errors(url):
            filesystem, path = filesystem_of(url, file.storage_options)
            is_file = patiently(lambda: filesystem.isfile(path))  # noqa: B023 (called at once)
        if is_file:
            return File(url, storage_options=file.storage_options)
    return None


def same_place(one: str, other: str) -> bool:
    """Whether two paths or URLs name the same file."""
    places = [os.path.realpath(normalize_url(url)) if is_local(url) else normalize_url(url) for url in (one, other)]
    return places[0] == places[1]


def list_names(
    folder_url: str, storage_options: StorageOptions = None, kind: Literal["file", "directory"] | None = None
) -> list[str]:
    """Return the names of all that lies directly below a folder, in order; none if there is no such folder.

    Parameters
    ----------
    folder_url, storage_options
        The folder.
    kind
        Only those of this kind; a symbolic link is what it leads to.

    Raises
    ------
    StoreError
        If it cannot be listed.
    """
    filesystem, path = filesystem_of(folder_url, storage_options)
    with store_errors(folder_url):
        filesystem.invalidate_cache()
        try:
            entries = patiently(lambda: filesystem.ls(path, detail=True))
        except FileNotFoundError:
            return []
        chosen = [each for each in entries if kind is None or _kind_of(filesystem, each) == kind]
    return sorted(PurePosixPath(each["name"]).name for each in chosen)


def _kind_of(filesystem: Any, entry: Mapping[str, Any]) -> str:
    return str(filesystem.info(entry["name"])["type"]) if _leads_somewhere(entry) else str(entry["type"])


def _leads_somewhere(entry: Mapping[str, Any]) -> bool:
    return bool(entry.get("islink")) and Path(entry["name"]).exists()


def is_file(url: str, storage_options: StorageOptions = None) -> bool:
    """Whether there is a file; a listing that a client has kept does not count.

    Raises
    ------
    StoreError
        If the place cannot be read.
    """
    with store_errors(url):
        filesystem, path = filesystem_of(url, storage_options)
        filesystem.invalidate_cache()
        return bool(patiently(lambda: filesystem.isfile(path)))


def make_folder(url: str, storage_options: StorageOptions = None) -> None:
    """Make a folder for files and make sure that they can be written there; an object store has no folders to make.

    Raises
    ------
    StoreError
        If it cannot be made or written to.
    """
    try:
        if is_local(url):
            Path(normalize_url(url)).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"folder {redact(url)} cannot be made ({told(error)}); choose another --out.") from error
    check_writable(url, storage_options)


def check_writable(url: str, storage_options: StorageOptions = None) -> None:
    """Make sure that something can be written at ``url``, before much work is done for it.

    Raises
    ------
    StoreError
        If not.
    """
    if is_local(url):
        return
    with store_errors(url), asking_bucket(url, storage_options):
        filesystem, path = filesystem_of(f"{url}.probe", storage_options)
        patiently(lambda: filesystem.pipe_file(path, b""))
        patiently(lambda: filesystem.rm_file(path))


def read_file(url: str, storage_options: StorageOptions = None) -> bytes | None:
    """Return the content of a small file, None if there is none."""
    try:
        with store_errors(url), asking_bucket(url, storage_options):
            filesystem, path = filesystem_of(url, storage_options)
            return bytes(patiently(lambda: filesystem.cat_file(path)))
    except StoreError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            return None
        raise


def write_file(url: str, content: bytes | str, storage_options: StorageOptions = None) -> None:
    """Write a file; on a local disk to a temporary name and renamed, so that a full disk leaves no half of it.

    Raises
    ------
    StoreError
        If it cannot be written.
    """
    content = content.encode() if isinstance(content, str) else content
    if not is_local(url):
        with store_errors(url), asking_bucket(url, storage_options):
            filesystem, path = filesystem_of(url, storage_options)
            patiently(lambda: filesystem.pipe_file(path, content))
        return
    target = Path(normalize_url(url))
    partial = target.with_name(f"{target.name}.partial")
    try:
        partial.write_bytes(content)
        partial.replace(target)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise StoreError(
            f"{url} cannot be written ({told(error)}); free some space or choose another --out."
        ) from error
