"""Pictures from photographs: models stay open, and memory limits the photographs at a time."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import PurePath
from typing import Any, BinaryIO

from anyio import CapacityLimiter
from anyio.lowlevel import RunVar
from anyio.to_thread import run_sync

from mrdist.errors import PhotographSizeError
from mrdist.execution import n_processors
from mrdist.pipeline.showing.opened import OpenedMapping, Prepared, Retouched, memory_of, upload_pixels
from mrdist.service.cache import Cache
from mrdist.service.catalog import Catalog
from mrdist.service.groups import check_single

MODEL_BYTES = 1 << 30
"""Limit of the weights that stay in memory."""
PHOTOGRAPH_BYTES = 1 << 26
"""Limit of the photographs that stay in memory, decoded and with their faces found, for the next change of a slider."""
LARGE_PIXELS = 1 << 22
"""Photographs with more pixels, which take up to a gigabyte, are processed one at a time."""
THREADS = 2 * min(n_processors(), 8)
"""Photographs processed at a time."""

_opened: Cache[OpenedMapping] = Cache(MODEL_BYTES, size=lambda opened: memory_of(opened.reader))
_prepared: Cache[Prepared] = Cache(PHOTOGRAPH_BYTES, size=lambda prepared: prepared.n_bytes)
_limiters: RunVar[tuple[CapacityLimiter, CapacityLimiter]] = RunVar("limiters")
_UNUSUAL = re.compile(r"[^\w .,()+-]")


def open_model(catalog: Catalog, name: str) -> OpenedMapping:
    """Return a complete model of the catalogue, kept open until it changes."""
    stamp = catalog.stamp("models", name)
    check_single(catalog, name)
    url = catalog.url_of("models", name)
    return _opened.get((url, stamp), lambda: OpenedMapping.open(url, catalog.storage_options, max_memory=MODEL_BYTES))


def prepare(opened: OpenedMapping, content: bytes, name: str, **how: Any) -> Prepared:
    """Return what `OpenedMapping.prepare` does; that of photographs seen last takes no time."""
    seconds: Mapping[str, float] = {}

    def make() -> Prepared:
        nonlocal seconds
        prepared = opened.prepare(content, name, **how)
        seconds = prepared.seconds
        return prepared

    key = (opened.key, hashlib.sha256(content).digest(), *how.items())
    return replace(_prepared.get(key, make), seconds=seconds)


def clean_name(name: str | None) -> str:
    """Return a safe name of an upload for error messages.

    Examples
    --------
    >>> clean_name("../../etc/pass<wd>.png"), clean_name(None)
    ('passwd.png', 'upload')
    """
    return _UNUSUAL.sub("", PurePath((name or "").replace("\\", "/")).name)[-60:].strip() or "upload"


async def retouch_all(
    file: BinaryIO, name: str, models: Sequence[Callable[[], OpenedMapping]], make: Callable[..., Retouched]
) -> list[Retouched]:
    """Make the pictures of all models from a photograph, in a thread.

    Parameters
    ----------
    file, name
        The photograph.
    models
        Functions that each open a model.
    make
        Called with an opened model, the photograph's bytes and its name.

    Raises
    ------
    MrdistError
        If the photograph or a model cannot be used.
    """
    limiters = _limiters.get(None)
    if limiters is None:
        limiters = CapacityLimiter(THREADS), CapacityLimiter(1)
        _limiters.set(limiters)

    def work(most_pixels: int | None) -> list[Retouched] | None:
        file.seek(0)
        content = file.read()
        if most_pixels is not None and (pixels := upload_pixels(content, name)) > most_pixels:
            if len(models) > 1:
                raise PhotographSizeError(
                    f"Photograph {name} has {pixels} pixels, but the limit for several models at once is "
                    f"{most_pixels}: make it smaller first, or name one model."
                )
            return None
        return [make(open_it(), content, name) for open_it in models]

    made = await run_sync(work, LARGE_PIXELS, limiter=limiters[0])
    if made is None:
        made = await run_sync(work, None, limiter=limiters[1])
        assert made is not None
    return made
