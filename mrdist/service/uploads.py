"""Photographs that clients put into the catalogue, to ingest them."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from anyio import CapacityLimiter
from anyio.lowlevel import RunVar
from anyio.to_thread import run_sync

from mrdist.datasets.layouts.records import PHOTOGRAPHS
from mrdist.errors import ParameterError
from mrdist.planning import MIB
from mrdist.service.catalog import NAME_PATTERN, SOURCE_PATTERN, Catalog
from mrdist.service.refusals import RefusedError
from mrdist.storage import is_local
from mrdist.storage.access.places import read_file, write_file

ACCEPTED = (*sorted(PHOTOGRAPHS), ".lm2", ".pts", ".tem")
"""Endings of photographs and of landmark files; manifests, which can name any other file, are not taken."""
MOST_FILES = 20_000
_KEPT_FREE = 512 * MIB
_AT_ONCE = 4  # files in memory; those that wait lie on the disk

_limiter: RunVar[CapacityLimiter] = RunVar("limiter")


async def keep_file(catalog: Catalog, source: str, path: str, file: BinaryIO) -> int:
    """Write an uploaded file as `keep` does, in a thread, and return its bytes; only a few are in memory at once."""
    limiter = _limiter.get(None)
    if limiter is None:
        limiter = CapacityLimiter(_AT_ONCE)
        _limiter.set(limiter)

    def work() -> int:
        content = file.read()
        keep(catalog, source, path, content)
        return len(content)

    return await run_sync(work, limiter=limiter)


def keep(catalog: Catalog, source: str, path: str, content: bytes) -> None:
    """Write a photograph into a folder of the catalogue's sources.

    Parameters
    ----------
    catalog
        The catalogue.
    source, path
        Name of the folder, and the place of the file in it.
    content
        Of the file.

    Raises
    ------
    ParameterError
        If the place could lead out of the folder, or the file is none that an ingest reads.
    RefusedError
        If another file lies there, or the disk is nearly full.
    """
    if not re.fullmatch(SOURCE_PATTERN[1:-1], f"{source}/{path}") or not re.fullmatch(NAME_PATTERN[1:-1], source):
        raise ParameterError(
            f"{path[:80]!r} cannot be the place of a photograph: use letters, digits, spaces, dots, dashes and "
            "underscores, in at most 6 folders."
        )
    if PurePosixPath(path).suffix.lower() not in ACCEPTED:
        raise ParameterError(f"{path[:80]!r} is no photograph or landmark file, which end in {', '.join(ACCEPTED)}.")
    url = f"{catalog.url}/sources/{source}/{path}"
    free = catalog.free_bytes()
    if free is not None and free < _KEPT_FREE + len(content):
        raise RefusedError(507, f"the catalogue's disk has only {free} bytes free, so it takes no more photographs.")
    if is_local(catalog.url):
        _make_folder(catalog, url, path)
    there = read_file(url, catalog.storage_options)
    if there == content:  # sent again
        return
    if there is not None:
        raise RefusedError(
            409, f"source {source!r} has another file {path[:80]!r}; choose another name for the source."
        )
    write_file(url, content, catalog.storage_options)


def _make_folder(catalog: Catalog, url: str, path: str) -> None:
    folder, top = Path(url).parent, Path(catalog.url, "sources")
    if not folder.resolve().is_relative_to(top.resolve()):
        raise ParameterError(f"{path[:80]!r} would follow a link out of the catalogue's sources/; choose another name.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise RefusedError(409, f"a file lies where {path[:80]!r} needs a folder; choose another name.") from None
