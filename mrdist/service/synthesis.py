"""Pictures from photographs: models that stay opened, and no more photographs at a time than memory bears."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from pathlib import PurePath
from typing import BinaryIO

from anyio import CapacityLimiter
from anyio.lowlevel import RunVar
from anyio.to_thread import run_sync

from mrdist.errors import PhotographSizeError
from mrdist.pipeline.opened import OpenedMapping, Retouched, memory_of, upload_pixels
from mrdist.service.cache import Cache
from mrdist.service.catalog import Catalog

MODEL_BYTES = 1 << 30
"""Of weights that stay in memory."""
LARGE_PIXELS = 1 << 22
"""A photograph of more pixels than these, which takes up to a gigabyte, waits for the one before it."""
THREADS = 2 * min(os.cpu_count() or 1, 8)
"""Photographs that are worked on at a time."""

_opened: Cache[OpenedMapping] = Cache(MODEL_BYTES, size=lambda opened: memory_of(opened.reader))
_limiters: RunVar[tuple[CapacityLimiter, CapacityLimiter]] = RunVar("limiters")
_UNUSUAL = re.compile(r"[^\w .,()+-]")


def open_model(catalog: Catalog, name: str) -> OpenedMapping:
    """Return a complete model of the catalogue, kept open until it changes."""
    stamp = catalog.stamp("models", name)
    url = catalog.url_of("models", name)
    return _opened.get((url, stamp), lambda: OpenedMapping.open(url, catalog.storage_options, max_memory=MODEL_BYTES))


def clean_name(name: str | None) -> str:
    """Return what errors may call an upload, whatever its sender has called it.

    Examples
    --------
    >>> clean_name("../../etc/pass<wd>.png"), clean_name(None)
    ('passwd.png', 'upload')
    """
    return _UNUSUAL.sub("", PurePath((name or "").replace("\\", "/")).name)[-60:].strip() or "upload"


async def retouch_all(
    file: BinaryIO, name: str, models: Sequence[Callable[[], OpenedMapping]], make: Callable[..., Retouched]
) -> list[Retouched]:
    """Have every model make its picture of a photograph, in a thread.

    Parameters
    ----------
    file, name
        The photograph.
    models
        Open a model each.
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
                    f"Photograph {name} has {pixels} pixels, and {most_pixels} are the limit for several models at "
                    "once: make it smaller first, or name one model."
                )
            return None
        return [make(open_it(), content, name) for open_it in models]

    made = await run_sync(work, LARGE_PIXELS, limiter=limiters[0])
    if made is None:
        made = await run_sync(work, None, limiter=limiters[1])
        assert made is not None
    return made
