"""Copy an images store into one with chunks for fast training."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import product
from math import prod
from typing import Any

import numpy as np

from mrdist.arguments import Address, plain_arguments
from mrdist.codecs import check_codec
from mrdist.errors import ParameterError
from mrdist.execution import Scheduler, open_executor, peak_memory
from mrdist.geometry import Block, block_grid
from mrdist.planning import DEFAULT_MEMORY, MIB
from mrdist.planning.effort import seconds_to_copy
from mrdist.running.driving import driving, hold, run_tasks, tracked
from mrdist.running.workers import check_workers, seconds_between
from mrdist.storage import (
    Images,
    StorageOptions,
    check_apart,
    chunk_shape,
    copy_alignment,
    create_copy,
    create_images,
    describe,
    finish_copy,
    finish_images,
    is_local,
    normalize_url,
    redact,
    values_per_chunk,
    write_window,
)

_TASK_BYTES = 256 * MIB
"""Limit on the pixels that a task holds."""
_GOOD_TASK_BYTES = 32 * MIB
"""Pixels of a task that is worth its overhead, and small enough to share the work evenly."""


@dataclass(frozen=True)
class RechunkReport:
    """What a copy did.

    Attributes
    ----------
    url
        The new store.
    images, labels
        Its rows and labels.
    chunks
        Its chunk shape, (image, y, x, channel).
    start_seconds, run_seconds
        Until the workers were ready, and from then on.
    bytes_read
        Decoded bytes of all chunks that were read.
    peak_memory_bytes
        Largest resident size of a worker.
    workers, where
        Processes that were started, 0 where this one worked and None with a scheduler; and why, in words.
    """

    url: str
    images: int
    labels: tuple[str, ...]
    chunks: tuple[int, int, int, int]
    start_seconds: float
    run_seconds: float
    bytes_read: int
    peak_memory_bytes: int
    workers: int | None = 0
    where: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return what ``mrdist rechunk --json`` prints."""
        return {
            "url": redact(self.url),
            "images": self.images,
            "labels": list(self.labels),
            "chunks": list(self.chunks),
            "seconds": {"start": self.start_seconds, "run": self.run_seconds},
            "bytes_read": self.bytes_read,
            "peak_memory_bytes": self.peak_memory_bytes,
            "workers": self.workers,
            "where": self.where,
        }


@dataclass(frozen=True)
class _Tile:
    """Pixels of one label, or values of a linked one, that fill whole chunks of the new store."""

    images_url: str
    images_options: StorageOptions = field(repr=False)
    url: str
    storage_options: StorageOptions = field(repr=False)
    label: str
    start: int
    stop: int
    block: Block


@plain_arguments
@driving("rechunk")
def rechunk(
    images_url: Address,
    url: Address,
    *,
    chunks: tuple[int, int, int] | None = None,
    codec: str | None = None,
    workers: int | None = None,
    scheduler: Scheduler | None = None,
    overwrite: bool = False,
    progress: bool | None = None,
    storage_options: StorageOptions = None,
    output_storage_options: StorageOptions = None,
) -> RechunkReport:
    """Copy an images store with new chunks; pixels, coordinates and fingerprint stay the same.

    Of a linked store, the copy holds the values of the arrays, each in its dtype and units, and what is missing stays
    so; it needs the arrays no longer.

    Parameters
    ----------
    images_url
        An images store.
    url
        Where the copy goes.
    chunks
        Images, rows and columns of a chunk; by default many images of a small window.
    codec, workers, scheduler, overwrite, progress
        As in `mrdist.train`.
    storage_options, output_storage_options
        Options of the fsspec filesystems of the images and of the copy (by default the same).

    Returns
    -------
    RechunkReport

    Raises
    ------
    ParameterError
        If one store is or is inside the other, or a chunk is not positive or too large for a task.
    StoreExistsError
        If ``url`` exists and may not be replaced.
    StoreError
        If the images cannot be read, or the copy cannot be written.
    """
    check_codec(codec)
    images_url, url = normalize_url(images_url), normalize_url(url)
    check_apart(images_url, url)
    check_workers(workers, scheduler, images_url, url)
    if output_storage_options is None and not is_local(url):
        output_storage_options = storage_options
    images = Images.open(images_url, storage_options)
    new_chunks = chunk_shape(images.n_images, images.shape, images.n_channels, images.dtype.itemsize, chunks)
    tiles = {label: _tiles(images, label, new_chunks) for label in images.labels}
    hold(url, output_storage_options)
    if images.linked_arrays:
        create_copy(url, images, new_chunks, codec=codec, overwrite=overwrite, storage_options=output_storage_options)
    else:
        create_images(
            url,
            labels=images.labels,
            image=images.image.tolist(),
            subject=images.subject.tolist(),
            dataset=images.dataset.tolist(),
            split=images.split.tolist(),
            shape=images.shape,
            n_channels=images.n_channels,
            dtype=images.dtype,
            chunks=new_chunks[:3],
            codec=codec,
            overwrite=overwrite,
            storage_options=output_storage_options,
        )
    tasks = [
        _Tile(images_url, storage_options, url, output_storage_options, label, start, stop, block)
        for label, (parts, _) in tiles.items()
        for start, stop, block in parts
    ]
    n_read = sum(n_bytes for _, n_bytes in tiles.values())
    n_written = len(images.labels) * images.n_images * prod(images.shape) * images.n_channels * images.dtype.itemsize
    peak = 0
    with (
        open_executor(
            workers=workers,
            scheduler=scheduler,
            n_tasks=len(tasks),
            max_memory=DEFAULT_MEMORY,
            seconds=seconds_between(seconds_to_copy(n_read, n_written), n_read + n_written, images_url, url),
            module=__name__,
        ) as executor,
        tracked(len(tasks), 0, "tile", show=progress) as advance,
    ):
        started = time.perf_counter()
        for task, peak_of_task in run_tasks(
            executor,
            _copy,
            tasks,
            name="rechunk",
            describe=lambda t: f"{t.label}, images {t.start}:{t.stop}, {t.block}",
        ):
            peak = max(peak, peak_of_task)
            advance(1, task.label)
        copy_alignment(images, url, output_storage_options)
        provenance = describe(images_url, storage_options).get("provenance", {})
        if images.linked_arrays:
            finish_copy(url, provenance, output_storage_options)
        else:
            finish_images(
                url,
                present=images.present,
                checksum=images.checksum,
                face_mask=images.face_mask,
                provenance=provenance,
                storage_options=output_storage_options,
            )
        run_seconds = time.perf_counter() - started
        start_seconds = executor.start_seconds
    return RechunkReport(
        url=url,
        images=images.n_images,
        labels=images.labels,
        chunks=new_chunks,
        start_seconds=start_seconds,
        run_seconds=run_seconds,
        bytes_read=n_read,
        peak_memory_bytes=peak,
        **executor.told,
    )


def _tiles(images: Images, label: str, chunks: tuple[int, int, int, int]) -> tuple[list[tuple[int, int, Block]], int]:
    """Cut the values of a label into whole chunks of the copy; return them, and the bytes that they decode."""
    array = images.linked_arrays.get(label)
    factor = images.pixels_per_value(label)
    value = images.n_channels * (images.dtype if array is None else np.dtype(array.link.dtype)).itemsize
    n_images, shape = images.n_images, (images.shape[0] // factor, images.shape[1] // factor)
    read, written = (values_per_chunk(each, factor) for each in (images.chunks, chunks))
    tile, n_read = tile_shape((n_images, *shape), read, written, _TASK_BYTES // value)
    starts = range(0, n_images, tile[0])
    blocks = block_grid(shape, tile[1:])
    return [(start, min(start + tile[0], n_images), block) for start in starts for block in blocks], n_read * value


def tile_shape(
    shape: tuple[int, int, int], read: Sequence[int], written: Sequence[int], limit: int
) -> tuple[tuple[int, int, int], int]:
    """Choose what a task copies: whole written chunks, for which the fewest pixels have to be decoded.

    Parameters
    ----------
    shape
        Images, rows and columns of a label.
    read, written
        Chunk shapes of the two stores along the same axes.
    limit
        Pixels of all its images that a task may hold.

    Returns
    -------
    tile : tuple of int
        Images, rows and columns of a task: multiples of ``written``, or all there are.
    pixels_read : int
        Pixels that all tasks of a label decode.

    Raises
    ------
    ParameterError
        If a written chunk alone holds more than ``limit``.

    Examples
    --------
    Windows of 64 images cut from whole ones: a task holds 64 whole images and none is decoded twice.

    >>> tile_shape((200, 128, 128), (1, 128, 128), (64, 32, 32), 10**7)
    ((64, 128, 128), 3276800)

    Where that is too much, a task takes a strip, and every image is decoded twice.

    >>> tile_shape((200, 128, 128), (1, 128, 128), (64, 32, 32), 10**6)
    ((64, 64, 128), 6553600)
    """
    axes = [
        [(extent, _decoded(size, extent, chunk)) for extent in _doublings(size, unit)]
        for size, chunk, unit in zip(shape, read, written, strict=False)
    ]
    fitting = [
        (tile, prod(decoded))
        for choice in product(*axes)
        for tile, decoded in [tuple(zip(*choice, strict=True))]
        if prod(tile) <= limit
    ]
    if not fitting:
        n, height, width = written[:3]
        raise ParameterError(
            f"a chunk of {n} images x {height} x {width} pixels holds {n * height * width} pixels, but a task that "
            f"writes it may hold {limit}; choose smaller chunks."
        )
    good = limit * _GOOD_TASK_BYTES // _TASK_BYTES
    return min(fitting, key=lambda candidate: (candidate[1], abs(prod(candidate[0]) - good)))


def _doublings(size: int, unit: int) -> list[int]:
    """Extents of one chunk, two, four and so on up to all there is."""
    extents = [unit]
    while extents[-1] < size:
        extents.append(min(2 * extents[-1], size))
    return extents


def _decoded(size: int, extent: int, chunk: int) -> int:
    """Positions along an axis that tasks of ``extent`` decode, each reading every chunk that it touches whole."""
    bounds = [(start, min(start + extent, size)) for start in range(0, size, extent)]
    return sum(min(-(-stop // chunk) * chunk, size) - start // chunk * chunk for start, stop in bounds)


def _copy(task: _Tile) -> int:
    """Copy a tile; return the process's peak of resident bytes."""
    images = Images.open(task.images_url, task.images_options)
    array = images.linked_arrays.get(task.label)
    if array is None:
        pixels = images.reader().read(task.label, task.start, task.stop, task.block)
    else:
        pixels = array.values(task.start, task.stop, task.block)
    write_window(task.url, task.label, task.start, task.block, pixels, task.storage_options)
    return peak_memory()
