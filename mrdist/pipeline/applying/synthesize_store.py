"""Give every image of a store a new expression, block by block on the cluster."""

from __future__ import annotations

import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import prod
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from mrdist.arguments import Address, plain_arguments
from mrdist.codecs import check_codec
from mrdist.errors import DataError, MemoryLimitError
from mrdist.execution import Scheduler, open_executor, peak_memory
from mrdist.geometry import block_grid
from mrdist.moments import padded_window
from mrdist.morphing.dials import Dials
from mrdist.pipeline.applying.check import check_mapping, warn_of_unmoved
from mrdist.pipeline.applying.refine import importance_of
from mrdist.pipeline.applying.reports import StoreSynthesisReport
from mrdist.planning import COMPILING_MEMORY, DEFAULT_MEMORY, MIB
from mrdist.planning.effort import seconds_to_apply
from mrdist.refinement import Refinement, blend
from mrdist.running.driving import driving, hold, run_tasks, tracked
from mrdist.running.workers import check_workers, output_options, seconds_between
from mrdist.storage import (
    Images,
    OwnUnits,
    StorageOptions,
    WeightsReader,
    check_apart,
    chunk_shape,
    create_images,
    finish_images,
    normalize_url,
    redact,
    use_own_units,
    write_window,
)
from mrdist.synthesis import to_floats, to_pixels

_BATCH_BYTES = 16 * MIB
"""Predictions, as floats, that a task holds at a time."""
_CHUNKS_IN_FLIGHT = 10  # that zarr decodes or encodes at once


@dataclass(frozen=True)
class _Run:
    """Images that fill whole chunks of the new store."""

    weights_url: str
    weights_options: StorageOptions = field(repr=False)
    images_url: str
    images_options: StorageOptions = field(repr=False)
    url: str
    storage_options: StorageOptions = field(repr=False)
    start: int
    stop: int
    rows_at_a_time: int
    importance: npt.NDArray[np.float32] | None
    dials: Dials | None
    units: OwnUnits | None = None


@plain_arguments
@driving("synthesize")
def synthesize_store(
    weights_url: Address,
    images_url: Address,
    url: Address,
    *,
    refine: bool | Refinement = False,
    strength: float | Literal["own"] | None = None,
    mouth: str | None = None,
    workers: int | None = None,
    scheduler: Scheduler | None = None,
    max_memory: str | int = DEFAULT_MEMORY,
    codec: str | None = None,
    overwrite: bool = False,
    progress: bool | None = None,
    storage_options: StorageOptions = None,
    weights_storage_options: StorageOptions = None,
    output_storage_options: StorageOptions = None,
) -> StoreSynthesisReport:
    """Apply a trained mapping to every image of its source label and write an images store of its target label.

    A task owns a run of whole images that fills chunks of the new store. It goes through them from top to bottom, in
    strips of whole chunks as high as the memory allows, and so computes the checksum of every image as it writes.

    Parameters
    ----------
    weights_url
        A weights store; it knows its labels.
    images_url
        An images store with the source label.
    url
        Where the new store goes: the same rows, with pixels of the same dtype, clipped to 0..1 and rounded. A row
        without a source image has no image there either. What was learnt from a linked target of other values than
        pixels comes in its own units, NaN where no image of the target has a value, where nothing was learnt, or where
        the receptive field reads a value that the source image misses.
    refine, mouth
        As in `mrdist.synthesize`.
    strength
        The same; ``"own"`` is the person's own, where the store has the target.
    workers, scheduler, max_memory, codec, overwrite, progress
        As in `mrdist.train`.
    storage_options, weights_storage_options, output_storage_options
        Options of the fsspec filesystems of the images, of the weights and of the output (by default the same).

    Returns
    -------
    StoreSynthesisReport

    Raises
    ------
    ParameterError
        If the output is or is inside one of the other stores.
    DataError
        If images and weights do not fit each other, or no row has the source label.
    MemoryLimitError
        If even one row of chunks needs more than ``max_memory``.
    StoreExistsError
        If ``url`` exists and may not be replaced.
    StoreError
        If a store cannot be read or written.

    Warns
    -----
    Of images that stay as they are, since the mapping moves faces and their landmarks are not known, through the logger
    ``mrdist``.
    """
    check_codec(codec)
    weights_url, images_url, url = (normalize_url(each) for each in (weights_url, images_url, url))
    for source in (weights_url, images_url):
        check_apart(source, url)
    limit, _ = check_workers(workers, scheduler, weights_url, images_url, url, max_memory=max_memory)
    if weights_storage_options is None:
        weights_storage_options = storage_options
    output_storage_options = output_options(url, output_storage_options, storage_options)
    model = WeightsReader.open(weights_url, weights_storage_options).turned(Dials.given(strength, mouth))
    images = Images.open(images_url, storage_options)
    check_mapping(model, images)
    training = model.training
    unmoved = warn_of_unmoved(model, images, images.rows((training.source,), "all"))
    lost = _lost(images, model)
    incomplete = _incomplete(images, model)
    units = model.units_of("target")
    if images.dtype.kind != "f" and lost is None:
        units = None
    elif incomplete is not None:
        units = units or OwnUnits(0.0, 1.0, "")
    dtype = images.dtype if units is None else np.dtype(np.float32)
    chunks = chunk_shape(images.n_images, images.shape, images.n_channels, dtype.itemsize)
    rows_at_a_time = strip_height(model, images, chunks, limit)
    importance = importance_of(weights_url, refine, weights_storage_options)
    hold(url, output_storage_options)
    create_images(
        url,
        labels=[training.target],
        image=images.image.tolist(),
        subject=images.subject.tolist(),
        dataset=images.dataset.tolist(),
        split=images.split.tolist(),
        shape=images.shape,
        n_channels=images.n_channels,
        dtype=dtype,
        codec=codec,
        overwrite=overwrite,
        storage_options=output_storage_options,
    )
    if units is not None:
        use_own_units(url, training.target, units, lost, incomplete, output_storage_options)
    n_images = images.n_images
    tasks = [
        _Run(
            weights_url,
            weights_storage_options,
            images_url,
            storage_options,
            url,
            output_storage_options,
            start,
            min(start + chunks[0], n_images),
            rows_at_a_time,
            importance,
            model.dials,
            units,
        )
        for start in range(0, n_images, chunks[0])
    ]
    present = images.present[:, [images.column(training.source)]]
    checksum = np.zeros(present.shape, dtype=np.uint32)
    peak = 0
    with (
        open_executor(
            workers=workers,
            scheduler=scheduler,
            n_tasks=len(tasks),
            max_memory=limit,
            seconds=_seconds(model, images, dtype.itemsize, url),
            module=__name__,
        ) as executor,
        tracked(n_images, 0, "image", show=progress, images_per_step=1) as advance,
    ):
        started = time.perf_counter()
        for task, (sums, peak_of_task) in run_tasks(
            executor, _synthesize_run, tasks, name="synthesize", describe=lambda t: f"images {t.start}:{t.stop}"
        ):
            checksum[task.start : task.stop, 0] = sums
            peak = max(peak, peak_of_task)
            advance(len(sums), "")
        finish_images(
            url,
            present=present,
            checksum=checksum,
            face_mask=images.face_mask,
            provenance={"weights": redact(weights_url), "images": redact(images_url), "source": training.source},
            storage_options=output_storage_options,
        )
        run_seconds = time.perf_counter() - started
        start_seconds = executor.start_seconds
    return StoreSynthesisReport(
        url=url,
        label=training.target,
        images=n_images,
        present=int(present.sum()),
        start_seconds=start_seconds,
        run_seconds=run_seconds,
        peak_memory_bytes=peak,
        unmoved=unmoved,
        **executor.told,
    )


def _seconds(model: WeightsReader, images: Images, itemsize: int, url: str) -> float | None:
    """Return what one process takes to write values of so many bytes."""
    seconds = seconds_to_apply(images.shape, images.n_images, images.n_channels, model.numbers_per_pixel)
    n_values = images.n_images * prod(images.shape) * images.n_channels
    return seconds_between(seconds, n_values * (images.dtype.itemsize + itemsize), model.url, images.url, url)


def strip_height(model: WeightsReader, images: Images, chunks: tuple[int, int, int, int], max_memory: int) -> int:
    """Return how many rows of pixels of a run of images a task takes at a time.

    Parameters
    ----------
    model, images
        What is applied to what.
    chunks
        Chunk shape of the new store.
    max_memory
        Limit on the resident bytes of one worker process.

    Returns
    -------
    int
        A multiple of the chunks' height, or at least all rows.

    Raises
    ------
    MemoryLimitError
        If one row of chunks already needs more.
    """
    itemsize, floats = images.dtype.itemsize, np.dtype(model.training.dtype).itemsize
    run, unit, width = chunks[0], chunks[1], images.shape[1]
    line = width * images.n_channels
    # pixels as read, as written and as chunks; one image's window and predictions, clipped and not; the weights twice
    row = 3 * run * line * itemsize + line * (itemsize + 2 * floats)
    row += 2 * model.numbers_per_pixel * width * floats + run * line * images.value_itemsize
    row += 4 * run * width  # which values are missing, and which pixels read one
    halo = model.reach * (run + 1) * line * itemsize
    in_flight = 2 * _CHUNKS_IN_FLIGHT * max(prod(images.chunks), prod(chunks)) * max(itemsize, images.value_itemsize)
    rest = COMPILING_MEMORY + halo + in_flight + 3 * _BATCH_BYTES
    height = (max_memory - rest) // row // unit * unit
    if height < unit:
        raise MemoryLimitError(
            f"{run} images of {unit} x {width} pixels need {-(-(rest + unit * row) // MIB)} MiB in a worker "
            f"({COMPILING_MEMORY // MIB} MiB of them before any work), but max_memory is {max_memory // MIB} MiB; "
            "raise --max-memory."
        )
    return height


def _synthesize_run(task: _Run) -> tuple[npt.NDArray[np.uint32], int]:
    """Return the checksum of each image and the process's peak of resident bytes."""
    images = Images.open(task.images_url, task.images_options)
    model = WeightsReader.open(task.weights_url, task.weights_options).turned(task.dials)
    training = model.training
    reader, incomplete = images.reader(nan=True), _incomplete(images, model)
    n_images = task.stop - task.start
    chosen = np.flatnonzero(images.present[task.start : task.stop, images.column(training.source)])
    checksum = np.zeros(n_images, dtype=np.uint32)
    lost = _lost(images, model)
    with _told_where(task):
        codes = model.codes(images, training.source, task.start + chosen)
    for block in block_grid(images.shape, (task.rows_at_a_time, images.shape[1])):
        made: npt.NDArray[Any] = np.zeros(
            (n_images, *block.shape, images.n_channels), images.dtype if task.units is None else np.float32
        )
        if len(chosen):
            weights = model.block(block)
            window = weights.window
            inside = window.clipped(images.shape)
            within = block.within(window)
            pixels = reader.read(training.source, task.start, task.stop, inside)
            missing = None if incomplete is None else np.isnan(pixels).any(axis=-1)
            if missing is not None:
                pixels[missing] = 0
            held = 1 if task.importance is None else 3  # a blend holds the input and a difference beside the output
            batch = max(1, _BATCH_BYTES // (held * made[0].size * np.dtype(training.dtype).itemsize))
            for first in range(0, len(chosen), batch):
                rows = chosen[first : first + batch]
                x = padded_window(pixels[rows], window, (inside.y0, inside.x0))
                with _told_where(task):
                    output = weights.predict(x, None if codes is None else codes[first : first + batch])
                if task.importance is not None:
                    own = to_floats(x[:, *within], output.dtype)
                    output = blend(own, output, task.importance[block.slices])
                if missing is not None and model.field is not None:
                    unread = padded_window(missing[rows][..., np.newaxis], window, (inside.y0, inside.x0))[..., 0]
                    output[model.field.readers_of(unread.astype(bool))] = np.nan
                made[rows] = to_pixels(output, images.dtype) if task.units is None else task.units.values(output)
        if task.units is not None and lost is not None:
            made[:, lost[block.slices]] = np.nan
        write_window(task.url, training.target, task.start, block, made, task.storage_options)
        # an image's bytes lie row by row, so its checksum goes on where the strip above ended
        checksum[:] = [zlib.crc32(image.data, int(before)) for image, before in zip(made, checksum, strict=True)]
    return checksum, peak_memory()


def _lost(images: Images, model: WeightsReader) -> npt.NDArray[np.bool_] | None:
    """Return the pixels that no image of the target has or nothing was learnt of, shape (y, x); None if there are none.

    Where the target is not linked, they are those that a label had not.
    """
    target = model.training.target
    if target in images.labels:
        there = images.there(target)
    else:
        frame = model.face_frame if model.n_masked else None
        there = None if frame is None else frame.face_mask
    unlearnt = model.unlearnt
    if there is None or unlearnt is None:
        return unlearnt if there is None else ~there
    return ~there | unlearnt


def _incomplete(images: Images, model: WeightsReader) -> npt.NDArray[np.bool_] | None:
    """Return the output pixels, shape (y, x), that read a value which some images miss; None if there are none."""
    missing = images.incomplete(model.training.source)
    if missing is None or model.field is None:
        return None
    incomplete = model.field.readers_of(np.pad(missing, model.field.halo))
    return incomplete if incomplete.any() else None


@contextmanager
def _told_where(task: _Run) -> Iterator[None]:
    try:
        yield
    except DataError as error:
        raise DataError(f"in {redact(task.images_url)}, images {task.start}:{task.stop}: {error}") from error
