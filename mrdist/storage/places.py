"""Single files, wherever fsspec can put them: found by folder or pattern, and written whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import fsspec

from mrdist.errors import DataError, StoreError
from mrdist.storage.files import File, Source
from mrdist.storage.urls import StorageOptions, is_local, normalize_url, redact, store_errors


def find_files(place: str, suffixes: Collection[str], storage_options: StorageOptions = None) -> dict[str, File]:
    """Return the files that a name stands for.

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
        If nothing fits a pattern, or there is no such file in a folder.
    """
    filesystem, path = _filesystem(place, storage_options)
    if any(sign in place for sign in "*?[") and not filesystem.exists(path):
        found = [filesystem.unstrip_protocol(each) for each in sorted(filesystem.glob(path)) if filesystem.isfile(each)]
        if not found:
            raise DataError(f"no file fits {redact(place)}; check the pattern.")
        files = [File(normalize_url(url), storage_options=storage_options) for url in found]
    elif filesystem.isdir(path):
        source = Source.open(place, storage_options)
        files = [file for file in map(source.file, source.files) if file.suffix in suffixes]
        if not files:
            raise DataError(f"there is no photograph in {redact(place)} ({', '.join(sorted(suffixes))}).")
    else:
        return {place: File(normalize_url(place), storage_options=storage_options)}
    return {str(file): file for file in files}


def beside(file: File, suffixes: Sequence[str]) -> File | None:
    """Return the file of the same stem with the first of some suffixes, None if there is none."""
    for suffix in suffixes:
        url = file.url.removesuffix(Path(file.name).suffix) + suffix
        filesystem, path = _filesystem(url, file.storage_options)
        if filesystem.isfile(path):
            return File(url, storage_options=file.storage_options)
    return None


def same_place(one: str, other: str) -> bool:
    """Whether two paths or URLs name the same file."""
    places = [os.path.realpath(normalize_url(url)) if is_local(url) else normalize_url(url) for url in (one, other)]
    return places[0] == places[1]


def is_file(url: str, storage_options: StorageOptions = None) -> bool:
    """Whether there is a file; a listing that a client has kept does not count.

    Raises
    ------
    StoreError
        If that cannot be told.
    """
    with store_errors(url):
        filesystem, path = _filesystem(url, storage_options)
        filesystem.invalidate_cache()
        return bool(filesystem.isfile(path))


def make_folder(url: str, storage_options: StorageOptions = None) -> None:
    """Make a folder for files; an object store needs none.

    Raises
    ------
    StoreError
        If it cannot be made.
    """
    try:
        filesystem, path = _filesystem(url, storage_options)
        if is_local(url):
            filesystem.makedirs(path, exist_ok=True)
    except OSError as error:
        raise StoreError(
            f"folder {redact(url)} cannot be made ({error.strerror or error}); choose another --out."
        ) from error


def write_file(url: str, content: bytes, storage_options: StorageOptions = None) -> None:
    """Write a file; on disk beside and renamed, so that a full one leaves no half of it.

    Raises
    ------
    StoreError
        If it cannot be written.
    """
    partial = f"{url}.partial" if is_local(url) else url
    try:
        filesystem, path = _filesystem(partial, storage_options)
        try:
            with filesystem.open(path, "wb") as stream:
                stream.write(content)
            if partial != url:
                Path(path).replace(normalize_url(url))
        except OSError:
            if partial != url:
                Path(path).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise StoreError(
            f"{redact(url)} cannot be written ({error.strerror or error}); free some space or choose another --out."
        ) from error


def _filesystem(url: str, storage_options: StorageOptions) -> tuple[Any, str]:
    try:
        return fsspec.url_to_fs(normalize_url(url), **dict(storage_options or {}))  # type: ignore[no-any-return]
    except (ImportError, ValueError) as error:
        raise StoreError(f"{redact(url)} cannot be opened ({error}); use a path or a URL fsspec knows.") from error
